// One conversation: what was said, and the place to say more.
import * as answers from "../answers.js";
import { attachmentList } from "../attachments.js";
import { add, choose, current, removeMessage } from "../book.js";
import { useCell } from "../cell.js";
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../html.js";
import { rename } from "../route.js";
import { descendantsOf, pathOf } from "../tree.js";
import { Composer } from "./composer.js";
import { Icon } from "./icons.js";
import { Message } from "./message.js";

const NEAR_PX = 80;

function ask(parent, text, attachments) {
  const { conversation } = current.value;
  const question = { id: answers.newId(), conversation: conversation.id, parent, role: "user", text, at: Date.now(), attachments };
  const answer = answers.newAnswer(conversation.id, question.id);
  add(question, answer);
  rename(`#/c/${conversation.id}`);
  answers.start(answer);
}

function askAgain(message) {
  const answer = answers.newAnswer(message.conversation, message.parent);
  add(answer);
  answers.start(answer);
}

const actions = {
  edit: (message, text) => ask(message.parent, text, message.attachments ?? []),
  regenerate: askAgain,
  choose,
  remove(message) {
    if (!confirm("Delete this message and everything after it?")) return;
    const gone = new Set(descendantsOf(current.value.messages, message.id));
    answers.drop((one) => gone.has(one.id));
    removeMessage(message.id);
  },
};

export function Chat() {
  const { conversation, messages } = useCell(current);
  const running = useCell(answers.running);
  const path = useMemo(() => pathOf(messages, conversation.chosen), [messages, conversation.chosen]);
  const files = useMemo(attachmentList, []);
  useEffect(() => {
    for (const { message } of path) if (message.state === "running") answers.resume(message);
  }, [path]);
  const busy = path.find(({ message }) => running.has(message.id))?.message.id ?? null;
  const isEmpty = path.length === 0;
  return html`
    <${DropZone} onFiles=${files.add}>
      <${Scroller} of=${conversation.id} count=${path.length}>
        ${isEmpty && html`<div class="welcome"><h2>What would you like to know?</h2><p class="quiet">Ask anything, or drop a file and ask about it.</p></div>`}
        <ol class="thread" aria-label="Conversation">
          ${path.map((one) => html`<${Message} key=${one.message.id} ...${one} answer=${running.get(one.message.id)} actions=${actions} />`)}
        </ol>
      <//>
      <${Composer} files=${files} busy=${busy} onStop=${() => answers.stop(busy)} onAsk=${(text, attachments) => ask(path.at(-1)?.message.id ?? "", text, attachments)} />
    <//>
  `;
}

/** Keeps to the end while it grows, unless somebody has scrolled up to read. */
function Scroller({ of, count, children }) {
  const frame = useRef(null);
  const inside = useRef(null);
  const follows = useRef(true);
  const [isAway, setAway] = useState(false);
  const toEnd = () => frame.current?.scrollTo({ top: frame.current.scrollHeight }); // null: another view was opened
  useLayoutEffect(() => {
    follows.current = true;
    toEnd();
  }, [of, count]);
  useEffect(() => {
    const watch = new ResizeObserver(() => follows.current && toEnd());
    watch.observe(inside.current);
    return () => watch.disconnect();
  }, []);
  const onScroll = () => {
    const { scrollHeight, scrollTop, clientHeight } = frame.current;
    follows.current = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    setAway(!follows.current);
  };
  return html`
    <div class="scroller" ref=${frame} onScroll=${onScroll}>
      <div ref=${inside}>${children}</div>
    </div>
    ${isAway && html`<button type="button" class="to-end" aria-label="To the end" onClick=${toEnd}><${Icon} name="down" /></button>`}
  `;
}

function DropZone({ onFiles, children }) {
  const [isOver, setOver] = useState(false);
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
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
    <section class="chat" aria-label="Chat" onDragOver=${onDragOver} onDragLeave=${onDragLeave} onDrop=${onDrop}>
      ${children} ${isOver && html`<div class="drop" aria-hidden="true">Drop the files here</div>`}
    </section>
  `;
}
