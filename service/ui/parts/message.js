// One thing that was said, by a person or by the model, with what can be done about it.
import { copy, SHOWN_MS } from "../clipboard.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { AnswerBody, numbersOf } from "./answer_body.js";
import { Icon, IconButton } from "./icons.js";

export function Message(given) {
  return given.message.role === "user" ? html`<${Question} ...${given} />` : html`<${AnswerMessage} ...${given} />`;
}

function Question({ message, place, siblings, actions }) {
  const [isEdited, setEdited] = useState(false);
  if (isEdited) return html`<li class="message question"><${Editing} message=${message} onDone=${() => setEdited(false)} onSend=${(text) => actions.edit(message, text)} /></li>`;
  return html`
    <li class="message question">
      <h3 class="unseen">You</h3>
      ${message.attachments?.length > 0 && html`<ul class="attachments" aria-label="Files">${message.attachments.map((one) => html`<li class="attachment"><${Icon} name="file" /><span class="attachment-name">${one.filename}</span></li>`)}</ul>`}
      <div class="said">${message.text}</div>
      <div class="actions">
        <${Branches} place=${place} siblings=${siblings} onChoose=${actions.choose} />
        <${CopyButton} text=${() => message.text} />
        <${IconButton} icon="edit" label="Edit and ask again" onClick=${() => setEdited(true)} />
        <${IconButton} icon="trash" label="Delete from here on" onClick=${() => actions.remove(message)} />
      </div>
    </li>
  `;
}

function AnswerMessage({ message, place, siblings, answer, actions }) {
  const isRunning = message.state === "running";
  return html`
    <li class="message answer" aria-busy=${isRunning}>
      <h3 class="unseen">Answer</h3>
      <${AnswerBody} key=${answer ? "running" : "over"} message=${message} answer=${answer} onRetry=${() => actions.regenerate(message)} />
      ${!isRunning &&
      html`
        <div class="actions">
          <${Branches} place=${place} siblings=${siblings} onChoose=${actions.choose} />
          <${CopyButton} text=${() => message.text} />
          <${IconButton} icon="redo" label="Answer again" onClick=${() => actions.regenerate(message)} />
          <${IconButton} icon="trash" label="Delete from here on" onClick=${() => actions.remove(message)} />
          ${!message.error && html`<span class="numbers">${numbersOf(message)}</span>`}
        </div>
      `}
    </li>
  `;
}

function Branches({ place, siblings, onChoose }) {
  if (siblings.length < 2) return null;
  const to = (step) => () => onChoose(siblings[place].parent, siblings[place + step].id);
  return html`
    <span class="branches" role="group" aria-label="Versions">
      <${IconButton} icon="left" label="The version before" disabled=${place === 0} onClick=${to(-1)} />
      <span>${place + 1} / ${siblings.length}</span>
      <${IconButton} icon="right" label="The next version" disabled=${place === siblings.length - 1} onClick=${to(1)} />
    </span>
  `;
}

function CopyButton({ text }) {
  const [said, setSaid] = useState("Copy");
  const onClick = async () => {
    setSaid((await copy(text())) ? "Copied" : "Not allowed");
    setTimeout(() => setSaid("Copy"), SHOWN_MS);
  };
  return html`<${IconButton} icon="copy" label=${said} onClick=${onClick} />${said !== "Copy" && html`<span class="quiet" role="status">${said}</span>`}`;
}

function Editing({ message, onDone, onSend }) {
  const field = useRef(null);
  useEffect(() => {
    field.current.focus();
    field.current.setSelectionRange(message.text.length, message.text.length);
  }, []);
  const send = () => {
    const text = field.current.value;
    if (text.trim() === "") return;
    onDone();
    onSend(text);
  };
  const onKeyDown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    } else if (event.key === "Escape") {
      event.stopPropagation();
      onDone();
    }
  };
  return html`
    <form class="editing" onSubmit=${(event) => (event.preventDefault(), send())}>
      <textarea ref=${field} aria-label="Your message, changed" rows=${Math.min(message.text.split("\n").length + 1, 12)} defaultValue=${message.text} onKeyDown=${onKeyDown}></textarea>
      <div class="editing-line">
        <button type="button" class="plain" onClick=${onDone}>Leave it</button>
        <button class="primary">Ask again</button>
      </div>
    </form>
  `;
}
