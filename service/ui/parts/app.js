// The whole page: conversations at the side, the views beside them, and the keys that work everywhere.
import * as answers from "../answers.js";
import { begin, current, load, open, trouble } from "../book.js";
import { useCell } from "../cell.js";
import { html, useEffect, useLayoutEffect, useState } from "../html.js";
import { loadModels } from "../models.js";
import { go, route } from "../route.js";
import { credential, signInWanted } from "../session.js";
import { pathOf } from "../tree.js";
import { Bar } from "./bar.js";
import { Chat } from "./chat.js";
import { LaterView } from "./later_view.js";
import { newConversation, Sidebar } from "./sidebar.js";
import { SignIn } from "./sign_in.js";

/** Where the conversations are a drawer, as style/shell.css has it. */
const NARROW = matchMedia("(max-width: 820px)");

async function openRoute({ view, id }) {
  if (view !== "chat") return;
  if (id === null) {
    if (current.value.messages.size > 0) begin();
  } else if (current.value.conversation.id !== id && !(await open(id))) {
    go("#/");
  }
}

function stopShown() {
  const { messages, conversation } = current.value;
  const shown = pathOf(messages, conversation.chosen).map(({ message }) => message.id);
  const found = shown.find((id) => answers.running.value.has(id));
  if (found !== undefined) answers.stop(found);
  return found !== undefined;
}

function onKey(event) {
  const isCommand = event.ctrlKey || event.metaKey;
  if (event.key === "Escape" && !document.querySelector("dialog[open]") && stopShown()) event.preventDefault();
  else if (isCommand && !event.shiftKey && event.key.toLowerCase() === "k") {
    event.preventDefault();
    dispatchEvent(new Event("headwater-search"));
  } else if (isCommand && event.shiftKey && event.key.toLowerCase() === "n") {
    event.preventDefault();
    newConversation();
  }
}

export function App() {
  const place = useCell(route);
  const why = useCell(signInWanted);
  const problem = useCell(trouble);
  const held = useCell(credential);
  const [isDrawn, setDrawn] = useState(false);
  useEffect(() => {
    load();
    addEventListener("keydown", onKey);
    const onSearch = () => setDrawn(NARROW.matches);
    addEventListener("headwater-search", onSearch);
    return () => {
      removeEventListener("keydown", onKey);
      removeEventListener("headwater-search", onSearch);
    };
  }, []);
  useEffect(() => void loadModels().catch(() => {}), [held]);
  useEffect(() => {
    openRoute(place);
    setDrawn(false);
  }, [place]);
  useLayoutEffect(() => {
    if (isDrawn) document.querySelector(".sidebar .new").focus();
  }, [isDrawn]);
  const onEscape = (event) => {
    if (event.key !== "Escape" || !isDrawn) return;
    event.stopPropagation();
    setDrawn(false);
    document.querySelector(".menu-button").focus();
  };
  return html`
    <div class="shell" data-drawer=${isDrawn ? "open" : "closed"} onKeyDown=${onEscape}>
      <button type="button" class="skip" onClick=${() => document.getElementById("main").focus()}>Skip to the content</button>
      <${Sidebar} onClose=${() => setDrawn(false)} />
      ${isDrawn && html`<button type="button" class="veil" aria-label="Close the list of conversations" onClick=${() => setDrawn(false)}></button>`}
      <div class="stage">
        <${Bar} view=${place.view} isDrawn=${isDrawn} onMenu=${() => setDrawn(!isDrawn)} />
        ${problem && html`<p class="notice" role="status">${problem}</p>`}
        <main id="main" tabindex="-1">
          ${place.view === "chat" ? html`<${Chat} />` : html`<${LaterView} key=${place.view} name=${place.view} />`}
        </main>
      </div>
      ${why !== null && html`<${SignIn} why=${why} />`}
    </div>
  `;
}
