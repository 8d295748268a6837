// Markdown that grows: only its last block is read and drawn again, and of a long table, list or code block only the
// end. Once a block is over it is drawn whole a last time, so the result is that of a single reading.
import { blocks, fragment, hasDefinitions } from "./markdown.js";

const FENCE = /^(`{3,}|~{3,})/; // an indented one takes spaces from its lines, and is read anew each time
const MAYBE_ITEM = /^ {0,3}(?:\d{1,9}[.)]?|[-+*])?[ \t]*$/; // what may still become the next item of a list before it
const isSpace = (token) => token.type === "space";

export class GrowingMarkdown {
  /** `dress(element, isOver)` is called for each block, to add what is not Markdown. */
  constructor(root, dress = () => {}) {
    Object.assign(this, { root, dress, text: "", stable: 0, tail: null, end: null });
  }

  /** `text` begins with the text of the call before. */
  update(text, isDone = false) {
    this.text = text.replace(/\r\n?/g, "\n");
    if (isDone && hasDefinitions(this.text)) this.restart(); // a link's address may stand after the link
    if (!isDone && this.end?.grow(this.text)) return;
    this.end = null;
    this.draw(isDone);
  }

  restart() {
    this.root.replaceChildren();
    Object.assign(this, { stable: 0, tail: null, end: null });
  }

  draw(isDone) {
    const open = this.text.slice(this.stable);
    const tokens = blocks(open);
    const isExact = tokens.reduce((length, one) => length + one.raw.length, 0) === open.length;
    const last = isDone ? tokens.length : isExact ? lastBlock(tokens) : 0; // inexact: nothing is known about places
    this.tail?.remove();
    this.tail = null;
    for (const token of tokens.slice(0, last)) this.settle(token);
    if (!isDone) this.follow(tokens.slice(last), isExact);
  }

  settle(token) {
    this.stable += token.raw.length;
    if (isSpace(token)) return;
    const made = fragment([token]);
    const elements = [...made.children];
    this.root.append(made);
    for (const element of elements) this.dress(element, true);
  }

  follow(tokens, isExact) {
    if (tokens.length === 0) return;
    this.tail = document.createElement("div");
    this.tail.className = "open";
    this.tail.append(fragment(tokens));
    this.root.append(this.tail);
    const elements = [...this.tail.children];
    const told = tokens.filter((one) => !isSpace(one));
    if (isExact && told.length === 1 && elements.length === 1) {
      this.end = growingEnd(told[0], elements[0], this.stable, this.text);
    }
    for (const element of elements) this.dress(element, false);
  }
}

/** The index of the first block that may still change. */
function lastBlock(tokens) {
  const before = (end) => tokens.slice(0, end).findLastIndex((one) => !isSpace(one));
  const last = before(tokens.length);
  return Math.max(last > 0 && MAYBE_ITEM.test(tokens[last].raw) ? before(last) : last, 0);
}

function growingEnd(token, element, start, text) {
  const kinds = { code: GrowingCode, table: GrowingTable, list: GrowingList };
  const kind = kinds[token.type];
  return kind && kind.fits(token) ? new kind(token, element, start, text) : null;
}

class GrowingCode {
  static fits = (token) => {
    const fence = FENCE.exec(token.raw);
    return fence !== null && token.raw.includes("\n") && !closingOf(fence[1]).test(token.raw.slice(token.raw.indexOf("\n")));
  };

  constructor(token, element, start, text) {
    const [, fence] = FENCE.exec(token.raw);
    this.closing = closingOf(fence);
    this.maybe = new RegExp(`(?:^|\\n) {0,3}${fence[0]}*$`); // may become the closing line, so it is not shown yet
    this.body = start + token.raw.indexOf("\n") + 1;
    this.node = new Text("");
    this.shown = 0;
    element.querySelector("code").replaceChildren(this.node);
    this.grow(text);
  }

  grow(text) {
    const from = Math.max(this.body, text.lastIndexOf("\n", this.body + this.shown - 1) + 1);
    if (this.closing.test(text.slice(from))) return false;
    const body = text.slice(this.body).replace(this.maybe, "");
    if (body.length > this.shown) {
      this.node.appendData(body.slice(this.shown));
      this.shown = body.length;
    }
    return true;
  }
}

const closingOf = (fence) => new RegExp(`^ {0,3}${fence[0]}{${fence.length},}[ \\t]*$`, "m");

/** What table and list share: the last row or item is read again together with what came after it. */
class GrowingRows {
  constructor(element, start, prefix) {
    Object.assign(this, { element, start, prefix });
  }

  grow(text) {
    const tokens = blocks(this.prefix + text.slice(this.start));
    const [token] = tokens;
    if (!this.isSame(token) || tokens.slice(1).some((one) => !isSpace(one))) return false;
    const rows = this.rowsOf(fragment([token]));
    if (rows.length === 0) return false;
    this.body().lastElementChild?.remove();
    this.body().append(...rows);
    this.start += this.settled(token);
    return true;
  }
}

class GrowingTable extends GrowingRows {
  static fits = (token) => token.rows.length > 1;

  constructor(token, element, start) {
    const lines = token.raw.split("\n");
    super(element, start + offsetOfLastLine(token.raw), `${lines[0]}\n${lines[1]}\n`);
  }

  body = () => this.element.querySelector("tbody");
  isSame = (token) => token?.type === "table";
  rowsOf = (made) => [...made.querySelectorAll("tbody > tr")];
  settled = (token) => Math.max(0, offsetOfLastLine(token.raw) - this.prefix.length);
}

const offsetOfLastLine = (raw) => raw.replace(/\n+$/, "").lastIndexOf("\n") + 1;

class GrowingList extends GrowingRows {
  static fits = (token) => token.items.length > 1;

  constructor(token, element, start) {
    super(element, start + beforeLast(token), "");
    this.isOrdered = token.ordered;
  }

  body = () => this.element;
  isSame = (token) => token?.type === "list" && token.ordered === this.isOrdered;
  rowsOf = (made) => [...made.firstElementChild.children];
  settled = (token) => beforeLast(token);
}

const beforeLast = (token) => token.items.slice(0, -1).reduce((length, item) => length + item.raw.length, 0);
