// The views beside the chat are fetched when they are first opened.
import { html, useEffect, useState } from "../html.js";

const VIEWS = {
  files: () => import("../views/files.js"),
  models: () => import("../views/models.js"),
  try: () => import("../views/try.js"),
};

export function LaterView({ name }) {
  const [found, setFound] = useState(null);
  const [problem, setProblem] = useState(null);
  useEffect(() => {
    VIEWS[name]().then(
      (module) => setFound(() => module.View),
      () => setProblem("This part of the page could not be loaded. Is the network there?"),
    );
  }, []);
  if (problem) return html`<p class="notice" role="alert">${problem}</p>`;
  return found ? html`<${found} />` : html`<p class="quiet view" role="status">Loading…</p>`;
}
