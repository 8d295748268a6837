// What a block gets beside its Markdown: a code block its language, a copy button and, once it is over, colours; a wide
// table a frame that scrolls.
import { copy, SHOWN_MS } from "./clipboard.js";
import { highlight } from "./highlight.js";

export function dress(element, isOver) {
  for (const pre of element.matches("pre") ? [element] : element.querySelectorAll("pre")) dressCode(pre, isOver);
  for (const table of element.matches("table") ? [element] : element.querySelectorAll("table")) dressTable(table);
}

function dressCode(pre, isOver) {
  const language = pre.dataset.language ?? "";
  const frame = made("figure", "code");
  const head = made("figcaption", "code-head");
  const name = made("span", "code-name");
  name.textContent = language;
  head.append(name, copyButton(() => pre.textContent.replace(/\n$/, ""), "Copy code"));
  pre.replaceWith(frame);
  pre.tabIndex = 0; // so that the keyboard can scroll it
  frame.append(head, pre);
  if (isOver) highlight(pre.querySelector("code"), language);
}

function dressTable(table) {
  const frame = made("div", "wide");
  frame.tabIndex = 0;
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", "Table");
  table.replaceWith(frame);
  frame.append(table);
}

function copyButton(text, label) {
  const button = made("button", "code-copy");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", label);
  button.onclick = async () => {
    button.textContent = (await copy(text())) ? "Copied" : "Not allowed";
    setTimeout(() => (button.textContent = "Copy"), SHOWN_MS);
  };
  return button;
}

function made(tag, name) {
  const element = document.createElement(tag);
  element.className = name;
  return element;
}
