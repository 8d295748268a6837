// System prompt, temperature, length and seed; empty fields are the model's own choice.
import { useCell } from "../cell.js";
import { html } from "../html.js";
import { options, setOption } from "../options.js";
import { theme, THEMES } from "../theme_choice.js";
import { Dialog } from "./dialog.js";

const NUMBERS = [
  ["temperature", "Temperature", "0 always takes the likeliest word, 2 is wild", { min: 0, max: 2, step: "any" }],
  ["max_tokens", "Longest answer", "in tokens", { min: 1, max: 1048576, step: 1 }],
  ["seed", "Seed", "the same seed gives the same answer", { min: 0, max: 9007199254740991, step: 1 }],
];

export function OptionsDialog({ onClose }) {
  const chosen = useCell(options);
  const set = (name) => (event) => event.target.checkValidity() && setOption(name, event.target.value);
  return html`
    <${Dialog} title="Options" onClose=${onClose}>
      <form class="fields" onSubmit=${(event) => event.preventDefault()}>
        <label class="field">
          <span>System prompt</span>
          <textarea rows="4" placeholder="An instruction before every conversation" value=${chosen.system} onInput=${set("system")}></textarea>
        </label>
        <div class="three">
          ${NUMBERS.map(
            ([name, label, hint, bounds]) => html`
              <label class="field">
                <span>${label}</span>
                <input type="number" inputmode="decimal" placeholder="default" value=${chosen[name]} onInput=${set(name)} ...${bounds} />
                <small>${hint}</small>
              </label>
            `,
          )}
        </div>
        <fieldset class="segments">
          <legend>Appearance</legend>
          <${ThemeChoice} />
        </fieldset>
      </form>
    <//>
  `;
}

function ThemeChoice() {
  const chosen = useCell(theme);
  return THEMES.map(
    (name) => html`
      <label><input type="radio" name="theme" value=${name} checked=${chosen === name} onChange=${() => (theme.value = name)} /><span>${name[0].toUpperCase() + name.slice(1)}</span></label>
    `,
  );
}
