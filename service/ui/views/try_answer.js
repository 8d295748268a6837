// What a model answered: the answer itself first, scores as bars, then everything as it came.
import { html } from "../html.js";

const NUMBERS_SHOWN = 8;

function told(answer) {
  if (answer.embedding) return `A vector of ${answer.embedding.length} numbers: ${answer.embedding.slice(0, NUMBERS_SHOWN).map((one) => one.toFixed(3)).join(", ")}, …`;
  const found = answer.category ?? answer.prediction;
  return typeof found === "string" || typeof found === "number" ? String(found) : null;
}

export function Answer({ answer }) {
  const words = told(answer);
  const scores = Object.entries(answer.scores ?? {}).sort(([, a], [, b]) => b - a);
  return html`
    <section class="answered" aria-label="Answer">
      ${words !== null && html`<p class="told">${words}</p>`}
      ${scores.length > 0 &&
      html`<dl class="scores">${scores.map(([label, share]) => html`<div><dt>${label}</dt><dd><progress max="1" value=${share} aria-label=${label}></progress> ${(share * 100).toFixed(1)} %</dd></div>`)}</dl>`}
      <details><summary>As it came</summary><pre tabindex="0">${JSON.stringify(answer, null, 2)}</pre></details>
    </section>
  `;
}
