// Which models there are, in which version and state; who may, loads another version.
import { ask } from "../api.js";
import { useCell } from "../cell.js";
import { html, useState } from "../html.js";
import { credential } from "../session.js";
import { sizeOf } from "../words.js";
import { useWatched } from "./watched.js";

const EVERY_MS = 2000;
const STATES = { ready: "ready", loading: "loading", failed: "failed", unloaded: "loads when it is asked" };
const isMoving = (model) => model.is_loading || model.state === "loading";

export function View() {
  const held = useCell(credential);
  const [round, setRound] = useState(0);
  const [refused, setRefused] = useState(null);
  const [answer, fault] = useWatched("/models", ({ models }) => models.some(isMoving), EVERY_MS, [held, round]);
  const reload = async (name, version) => {
    try {
      await ask("POST", `/models/${encodeURIComponent(name)}/reload`, version ? { version } : {});
      setRefused(null);
      setRound((count) => count + 1);
    } catch (refusal) {
      setRefused(refusal.message);
    }
  };
  const problem = refused ?? fault;
  return html`
    <div class="view">
      <h2>Models</h2>
      ${problem && html`<p class="problem" role="alert">${problem}</p>`}
      ${answer === null && !problem && html`<p class="quiet">Loading…</p>`}
      <ul class="cards">${answer?.models.map((model) => html`<${Card} key=${model.name} model=${model} onReload=${reload} />`)}</ul>
    </div>
  `;
}

function Card({ model, onReload }) {
  const words = isMoving(model) && model.state === "ready" ? "ready, and loading another version" : STATES[model.state];
  return html`
    <li class="card">
      <header><h3>${model.name}</h3><span class="state" data-state=${model.state}>${words}</span></header>
      <dl>
        <div><dt>Kind</dt><dd>${model.task}</dd></div>
        <div><dt>Version</dt><dd><code>${model.version ?? "none"}</code></dd></div>
        ${model.size_bytes != null && html`<div><dt>Memory</dt><dd>${sizeOf(model.size_bytes)}</dd></div>`}
        ${model.loaded_at && html`<div><dt>Loaded</dt><dd>${new Date(model.loaded_at).toLocaleString()}</dd></div>`}
      </dl>
      ${model.failure && html`<p class="problem">${model.failure.message}</p>`}
      <${Versions} model=${model} onReload=${onReload} />
    </li>
  `;
}

/** Versions are asked for when somebody wants to see them. */
function Versions({ model, onReload }) {
  const [known, setKnown] = useState(null);
  const [problem, setProblem] = useState(null);
  const onToggle = async (event) => {
    if (!event.target.open) return;
    try {
      setKnown((await ask("GET", `/models/${encodeURIComponent(model.name)}`)).versions);
    } catch (refusal) {
      setProblem(refusal.message);
    }
  };
  return html`
    <details onToggle=${onToggle}>
      <summary>Versions</summary>
      ${problem && html`<p class="problem" role="alert">${problem}</p>`}
      <ul class="versions">
        ${known?.map(
          (one) => html`
            <li key=${one.version}>
              <code>${one.version}</code> <span class="quiet">${sizeOf(one.size_bytes)}</span>
              ${one.version === model.version ? html`<span class="quiet">answers now</span>` : html`<button type="button" class="plain" onClick=${() => onReload(model.name, one.version)}>Load this one</button>`}
            </li>
          `,
        )}
      </ul>
      <button type="button" onClick=${() => onReload(model.name, null)}>Load the newest</button>
    </details>
  `;
}
