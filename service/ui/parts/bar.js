// The line on top: which view, which model, and how answers are made.
import { useCell } from "../cell.js";
import { html, useState } from "../html.js";
import { models } from "../models.js";
import { isChanged, options, setOption } from "../options.js";
import { current } from "../book.js";
import { IconButton } from "./icons.js";
import { OptionsDialog } from "./options_dialog.js";

const TABS = [["chat", "Chat"], ["files", "Files"], ["models", "Models"], ["try", "Try"]];

export function Bar({ view, isDrawn, onMenu }) {
  const { conversation, messages } = useCell(current);
  const chat = messages.size > 0 ? `#/c/${conversation.id}` : "#/";
  return html`
    <header class="bar">
      <${IconButton} icon="menu" label="Conversations" class="icon-button menu-button" aria-expanded=${isDrawn} onClick=${onMenu} />
      <nav aria-label="Views">
        ${TABS.map(
          ([name, label]) => html`
            <a href=${name === "chat" ? chat : `#/${name}`} aria-current=${view === name ? "page" : undefined}>${label}</a>
          `,
        )}
      </nav>
      ${view === "chat" && html`<${ChatChoices} />`}
    </header>
  `;
}

function ChatChoices() {
  const chosen = useCell(options);
  const [isOpen, setOpen] = useState(false);
  return html`
    <div class="choices">
      <${ModelChoice} chosen=${chosen.model} />
      <span class=${isChanged(chosen) ? "marked" : ""}>
        <${IconButton} icon="sliders" label=${isChanged(chosen) ? "Options (changed)" : "Options"} onClick=${() => setOpen(true)} />
      </span>
      ${isOpen && html`<${OptionsDialog} onClose=${() => setOpen(false)} />`}
    </div>
  `;
}

function ModelChoice({ chosen }) {
  const found = useCell(models) ?? [];
  const names = found.map((one) => one.name);
  if (names.length < 2 && (chosen === "" || names.includes(chosen))) return null; // nothing to choose
  const shown = chosen !== "" && !names.includes(chosen) ? [...names, chosen] : names;
  return html`
    <label class="model-choice">
      <span class="unseen">Model</span>
      <select value=${chosen} onChange=${(event) => setOption("model", event.target.value)}>
        <option value="">Default model</option>
        ${shown.map((name) => html`<option value=${name}>${name}</option>`)}
      </select>
    </label>
  `;
}
