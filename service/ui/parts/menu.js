// A button that opens a few actions. Arrow keys move, Esc closes and gives the focus back.
import { html, useEffect, useRef, useState } from "../html.js";
import { IconButton } from "./icons.js";

export function Menu({ label, items }) {
  const [isOpen, setOpen] = useState(false);
  const frame = useRef(null);
  useEffect(() => {
    if (!isOpen) return undefined;
    frame.current.querySelector("[role=menuitem]").focus();
    const onAway = (event) => !frame.current.contains(event.target) && setOpen(false);
    addEventListener("pointerdown", onAway);
    return () => removeEventListener("pointerdown", onAway);
  }, [isOpen]);
  const close = () => {
    setOpen(false);
    frame.current.querySelector("button").focus();
  };
  const onKeyDown = (event) => {
    const all = [...frame.current.querySelectorAll("[role=menuitem]")];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") {
      event.stopPropagation();
      close();
    } else if (step !== undefined) {
      event.preventDefault();
      all[(all.indexOf(document.activeElement) + step + all.length) % all.length].focus();
    }
  };
  return html`
    <div class="menu" ref=${frame} onKeyDown=${isOpen ? onKeyDown : undefined}>
      <${IconButton} icon="more" label=${label} aria-haspopup="menu" aria-expanded=${isOpen} onClick=${() => setOpen(!isOpen)} />
      ${isOpen &&
      html`
        <div role="menu" aria-label=${label}>
          ${items.map(([name, act, kind]) => html`<button type="button" role="menuitem" class=${kind ?? ""} onClick=${() => (close(), act())}>${name}</button>`)}
        </div>
      `}
    </div>
  `;
}
