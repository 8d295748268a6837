// The browser's own dialog: it keeps the focus inside, closes with Esc and gives the focus back.
import { html, useEffect, useRef } from "../html.js";
import { IconButton } from "./icons.js";

export function Dialog({ title, onClose, children, wide = false }) {
  const element = useRef(null);
  useEffect(() => {
    element.current.showModal();
  }, []);
  const onClick = (event) => event.target === element.current && element.current.close(); // beside it
  return html`
    <dialog ref=${element} class=${wide ? "dialog wide-dialog" : "dialog"} aria-labelledby="dialog-title" onClose=${onClose} onClick=${onClick}>
      <div class="dialog-inside">
        <div class="dialog-head">
          <h2 id="dialog-title">${title}</h2>
          <${IconButton} icon="close" label="Close" onClick=${() => element.current.close()} />
        </div>
        ${children}
      </div>
    </dialog>
  `;
}
