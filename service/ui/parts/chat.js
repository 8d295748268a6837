// One conversation: what was said, and the place to say more.
import * as answers from "../answers.js";
import { add, choose, current, removeMessage } from "../book.js";
import { useCell } from "../cell.js";
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../html.js";
import { randomId } from "../ids.js";
import { rename } from "../route.js";
import { descendantsOf, pathOf } from "../tree.js";
import { addFiles, Composer } from "./composer.js";
import { DropZone } from "./drop_zone.js";
import { Icon } from "./icons.js";
import { Message } from "./message.js";

const NEAR_PX = 80;

function ask(parent, text, attachments) {
  const { conversation } = current.value;
  const question = { id: randomId(), conversation: conversation.id, parent, role: "user", text, at: Date.now(), attachments };
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
  useEffect(() => {
    for (const { message } of path) if (message.state === "running") answers.resume(message);
  }, [path]);
  const busy = path.find(({ message }) => running.has(message.id))?.message.id ?? null;
  const isEmpty = path.length === 0;
  return html`
    <${DropZone} label="Chat" onFiles=${addFiles}>
      <${Scroller} of=${conversation.id} count=${path.length}>
        ${isEmpty && html`<div class="welcome"><h2>What would you like to know?</h2><p class="quiet">Ask anything, or drop a file and ask about it.</p></div>`}
        <ol class="thread" aria-label="Conversation">
          ${path.map((one) => html`<${Message} key=${one.message.id} ...${one} answer=${running.get(one.message.id)} actions=${actions} />`)}
        </ol>
      <//>
      <${Composer} busy=${busy} onStop=${() => answers.stop(busy)} onAsk=${(text, attachments) => ask(path.at(-1)?.message.id ?? "", text, attachments)} />
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
  const look = () => {
    if (frame.current === null) return;
    const { scrollHeight, scrollTop, clientHeight } = frame.current;
    follows.current = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    setAway(!follows.current);
  };
  useEffect(() => {
    const watch = new ResizeObserver(() => {
      if (follows.current) toEnd();
      look(); // what has become short enough is not scrolled, and nobody is away from its end
    });
    watch.observe(inside.current);
    watch.observe(frame.current);
    return () => watch.disconnect();
  }, []);
  return html`
    <div class="scrolled">
      <div class="scroller" ref=${frame} onScroll=${look}>
        <div ref=${inside}>${children}</div>
      </div>
      ${isAway && html`<button type="button" class="to-end" aria-label="To the end" onClick=${toEnd}><${Icon} name="down" /></button>`}
    </div>
  `;
}
