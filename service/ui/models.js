// Which models there are, as the service tells it.
import { ask } from "./api.js";
import { cell } from "./cell.js";

/** `[{name, state, …}]`, or null until it is known. */
export const models = cell(null);

/** Those that can be talked to. */
export async function loadModels() {
  const { models: found } = await ask("GET", "/models");
  models.value = found.filter((one) => one.task === "language");
}
