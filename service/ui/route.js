// Which view is open stands behind the `#` of the address: `#/c/<conversation>`, `#/files`, `#/models`, `#/try`.
import { cell } from "./cell.js";

export const VIEWS = ["files", "models", "try"];

function read() {
  const [, name, id] = location.hash.split("/");
  if (VIEWS.includes(name)) return { view: name, id: null };
  return { view: "chat", id: name === "c" ? id : null };
}

export const route = cell(read());
addEventListener("hashchange", () => (route.value = read()));

export function go(hash) {
  if (location.hash !== hash) location.hash = hash;
}

/** The same place under another address: the conversation that has just got its first message. */
export function rename(hash) {
  history.replaceState(null, "", hash);
  route.value = read();
}
