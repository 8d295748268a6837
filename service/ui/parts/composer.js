// Where one writes. Enter sends, Shift+Enter begins a line; files come by button, drop or paste.
import { attachmentList } from "../attachments.js";
import { cell, useCell } from "../cell.js";
import { html, useEffect, useRef } from "../html.js";
import { sizeOf } from "../words.js";
import { Icon, IconButton } from "./icons.js";

const ROWS_MAX = 12;

/** What is not sent yet. It outlives this view: one may look into another and come back. */
const draft = cell("");
const files = attachmentList();
export const addFiles = files.add;

export function Composer({ busy, onStop, onAsk }) {
  const text = useCell(draft);
  const list = useCell(files.list);
  const field = useRef(null);
  useEffect(() => {
    if (matchMedia("(pointer: fine)").matches) field.current.focus(); // a phone would open its keyboard
  }, []);
  const isWaiting = list.some((one) => one.upload === null);
  const canSend = text.trim() !== "" && !busy && !isWaiting;
  function send() {
    if (!canSend) return;
    onAsk(text, list.map((one) => one.upload));
    draft.value = "";
    files.clear();
  }
  function onKeyDown(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  }
  function onPaste(event) {
    const { files: pasted, types } = event.clipboardData;
    const isText = types.includes("text/plain") && types.includes("text/html"); // word processors add a picture of it
    if (pasted.length === 0 || isText) return;
    event.preventDefault();
    files.add(pasted);
  }
  return html`
    <form class="composer" onSubmit=${(event) => (event.preventDefault(), send())}>
      ${list.length > 0 && html`<ul class="attachments" aria-label="Files">${list.map((one) => html`<${Attachment} key=${one.key} one=${one} />`)}</ul>`}
      <textarea
        id="question" ref=${field} rows=${Math.min(text.split("\n").length, ROWS_MAX)} aria-label="Your message"
        placeholder="Write a message" value=${text} onInput=${(event) => (draft.value = event.target.value)} onKeyDown=${onKeyDown} onPaste=${onPaste}
      ></textarea>
      <div class="composer-line">
        <${AttachButton} />
        <span class="quiet hint" aria-hidden="true">${isWaiting ? "The files are on their way" : "Enter sends · Shift+Enter begins a line"}</span>
        ${busy
          ? html`<button type="button" class="round" aria-label="Stop" title="Stop (Esc)" onClick=${onStop}><${Icon} name="stop" /></button>`
          : html`<button class="round" aria-label="Send" title="Send (Enter)" disabled=${!canSend}><${Icon} name="send" /></button>`}
      </div>
    </form>
  `;
}

function AttachButton() {
  const field = useRef(null);
  const onChange = (event) => {
    files.add(event.target.files);
    event.target.value = "";
  };
  return html`
    <${IconButton} icon="attach" label="Attach files" onClick=${() => field.current.click()} />
    <input ref=${field} type="file" multiple hidden aria-label="Files" onChange=${onChange} />
  `;
}

function Attachment({ one }) {
  return html`
    <li class=${one.error ? "attachment failed" : "attachment"}>
      <${Icon} name="file" />
      <span class="attachment-name">${one.name}</span>
      ${one.error
        ? html`<span class="problem" role="alert">${one.error}</span><button type="button" class="plain" onClick=${() => files.retry(one.key)}>Try again</button>`
        : one.upload
          ? html`<span class="quiet">${sizeOf(one.size)}</span>`
          : html`<progress max="1" value=${one.share} aria-label=${`${one.name} is being sent`}></progress>`}
      <${IconButton} icon="close" label=${`Remove ${one.name}`} onClick=${() => files.remove(one.key)} />
    </li>
  `;
}
