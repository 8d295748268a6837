// Which models there are, as the service tells it.
import { ask } from "./api.js";
import { cell } from "./cell.js";

/** `[{name, state}]`, or null until it is known. */
export const models = cell(null);

export async function loadModels() {
  const { models: states } = await ask("GET", "/health");
  models.value = Object.entries(states).map(([name, state]) => ({ name, state }));
}
