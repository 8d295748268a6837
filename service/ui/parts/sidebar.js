// The conversations of this browser: found, opened, renamed, taken away, carried elsewhere.
import { drop } from "../answers.js";
import { begin, conversations, current, remove, rename, search } from "../book.js";
import { useCell } from "../cell.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { go } from "../route.js";
import { credential, signOut, wantSignIn } from "../session.js";
import { exportAll, exportOne, importFile } from "../transfer.js";
import { dayOf } from "../words.js";
import { Icon } from "./icons.js";
import { Menu } from "./menu.js";

export function newConversation() {
  begin();
  go("#/");
  requestAnimationFrame(() => document.getElementById("question")?.focus());
}

export function Sidebar({ onClose }) {
  const list = useCell(conversations);
  const [words, setWords] = useState("");
  const found = useFound(words, list);
  const shown = found === null ? list : list.filter((one) => found.has(one.id));
  return html`
    <aside class="sidebar" aria-label="Conversations">
      <div class="brand"><${Wave} /><h1>Headwater</h1></div>
      <button type="button" class="new" onClick=${() => (newConversation(), onClose())}><${Icon} name="plus" /> New conversation</button>
      <${Search} words=${words} onWords=${setWords} />
      <nav class="conversations" aria-label="Earlier conversations">
        ${groups(shown).map(
          ([day, ones]) => html`
            <h2 key=${day}>${day}</h2>
            <ul>${ones.map((one) => html`<${Row} key=${one.id} conversation=${one} onOpen=${onClose} />`)}</ul>
          `,
        )}
        ${shown.length === 0 && html`<p class="quiet">${words.trim() ? "Nothing found." : "What you ask is kept in this browser only."}</p>`}
      </nav>
      <${Foot} />
    </aside>
  `;
}

const Wave = () => html`
  <svg class="wave" viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="8" /><path d="M7 12c3-3 6-3 9 0s6 3 9 0M7 20c3-3 6-3 9 0s6 3 9 0" /></svg>
`;

function groups(list) {
  const found = new Map();
  for (const one of list) found.set(dayOf(one.updated), [...(found.get(dayOf(one.updated)) ?? []), one]);
  return [...found];
}

/** The ids that hold the words; null while there are none. */
function useFound(words, list) {
  const [found, setFound] = useState(null);
  useEffect(() => {
    let isWanted = true;
    if (words.trim() === "") setFound(null);
    else search(words).then((ids) => isWanted && setFound(ids));
    return () => (isWanted = false);
  }, [words, list]);
  return found;
}

function Search({ words, onWords }) {
  const field = useRef(null);
  useEffect(() => {
    const focus = () => requestAnimationFrame(() => field.current.select());
    addEventListener("headwater-search", focus);
    return () => removeEventListener("headwater-search", focus);
  }, []);
  const onKeyDown = (event) => {
    if (event.key !== "Escape" || words === "") return;
    event.stopPropagation();
    onWords("");
  };
  return html`
    <label class="search">
      <${Icon} name="search" />
      <span class="unseen">Search conversations</span>
      <input ref=${field} type="search" placeholder="Search" title="Ctrl+K" value=${words} onInput=${(event) => onWords(event.target.value)} onKeyDown=${onKeyDown} />
    </label>
  `;
}

function Row({ conversation, onOpen }) {
  const isOpen = useCell(current).conversation.id === conversation.id;
  const [isRenamed, setRenamed] = useState(false);
  if (isRenamed) return html`<li><${Renaming} conversation=${conversation} onDone=${() => setRenamed(false)} /></li>`;
  const items = [
    ["Rename", () => setRenamed(true)],
    ["Export", () => exportOne(conversation)],
    ["Delete", () => takeAway(conversation), "danger"],
  ];
  return html`
    <li class="row">
      <a href=${`#/c/${conversation.id}`} aria-current=${isOpen ? "true" : undefined} onClick=${onOpen}>${conversation.title}</a>
      <${Menu} label=${`More about ${conversation.title}`} items=${items} />
    </li>
  `;
}

async function takeAway(conversation) {
  if (!confirm(`Delete “${conversation.title}”? It is kept nowhere else.`)) return;
  const isOpen = current.value.conversation.id === conversation.id;
  drop((message) => message.conversation === conversation.id);
  await remove(conversation.id);
  if (isOpen) go("#/");
}

function Renaming({ conversation, onDone }) {
  const field = useRef(null);
  useEffect(() => {
    field.current.focus();
    field.current.select();
  }, []);
  const onBlur = (event) => {
    const title = event.target.value.trim();
    if (title !== "" && title !== conversation.title) rename(conversation, title);
    onDone();
  };
  const onKeyDown = (event) => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.stopPropagation();
    if (event.key === "Escape") event.target.value = conversation.title;
    event.target.blur();
  };
  return html`<input ref=${field} class="renaming" aria-label="Title" defaultValue=${conversation.title} onKeyDown=${onKeyDown} onBlur=${onBlur} />`;
}

function Foot() {
  const held = useCell(credential);
  const [said, setSaid] = useState("");
  const onFile = async (event) => {
    setSaid(await importFile(event.target.files[0]));
    event.target.value = "";
  };
  return html`
    <footer class="foot">
      <div>
        <button type="button" class="plain" onClick=${exportAll}>Export all</button>
        <label class="plain" tabindex="-1">Import<input type="file" class="unseen" accept="application/json,.json" onChange=${onFile} /></label>
        ${held
          ? html`<button type="button" class="plain" onClick=${signOut}>Sign out</button>`
          : html`<button type="button" class="plain" onClick=${wantSignIn}>Sign in</button>`}
      </div>
      <p class="quiet" role="status">${said}</p>
    </footer>
  `;
}
