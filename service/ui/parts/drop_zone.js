// Where files may be dropped. One that misses every such place is refused: the browser would open it in the page's stead.
import { html, useState } from "../html.js";

const hasFiles = (event) => event.dataTransfer?.types.includes("Files");

export function DropZone({ label, onFiles, children }) {
  const [isOver, setOver] = useState(false);
  const onDragOver = (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    setOver(true);
  };
  const onDragLeave = (event) => !event.currentTarget.contains(event.relatedTarget) && setOver(false);
  const onDrop = (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    setOver(false);
    onFiles(event.dataTransfer.files);
  };
  return html`
    <section class="drop-zone" aria-label=${label} onDragOver=${onDragOver} onDragLeave=${onDragLeave} onDrop=${onDrop}>
      ${children} ${isOver && html`<div class="drop" aria-hidden="true">Drop the files here</div>`}
    </section>
  `;
}

export function refuseElsewhere() {
  addEventListener("dragover", refuse);
  addEventListener("drop", refuse);
}

function refuse(event) {
  if (event.defaultPrevented || !hasFiles(event)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "none";
}
