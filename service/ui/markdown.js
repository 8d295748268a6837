// Markdown of a model, which is hostile until proven otherwise, as a fragment of this page's document.
// Markup in it is shown as text, pictures become links, links lead to http, https and mailto only; DOMPurify then
// lets pass what this page itself would have written, and nothing else.
import { Marked } from "./vendor/marked.mjs";
import "./vendor/purify.js";

const LINK = /^(?:https?:\/\/|mailto:)/i;
const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const TAGS =
  "a blockquote br code del em h1 h2 h3 h4 h5 h6 hr li ol p pre strong table tbody td th thead tr ul span div".split(" ");
const PURIFY = {
  ALLOWED_TAGS: TAGS,
  ALLOWED_ATTR: ["href", "target", "rel", "start", "data-align", "data-language"],
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  ALLOWED_URI_REGEXP: LINK,
  ADD_URI_SAFE_ATTR: ["target", "rel", "start", "data-align", "data-language"], // their values are no addresses
  RETURN_DOM_FRAGMENT: true,
};

const escape = (text) => text.replace(/[&<>"']/g, (one) => ESCAPES[one]);

function link(href, inner) {
  const address = href.trim();
  if (!LINK.test(address)) return inner;
  return `<a href="${escape(address)}" target="_blank" rel="noopener noreferrer nofollow">${inner}</a>`;
}

const renderer = {
  html: ({ text }) => escape(text),
  checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  image: ({ href, text }) => link(href, escape(text || "picture")),
  code: ({ text, lang }) => `<pre data-language="${escape((lang ?? "").split(/\s/)[0])}"><code>${escape(text)}</code></pre>`,
  link({ href, tokens }) {
    return link(href, this.parser.parseInline(tokens));
  },
  tablecell({ tokens, header, align }) {
    const tag = header ? "th" : "td";
    return `<${tag}${align ? ` data-align="${align}"` : ""}>${this.parser.parseInline(tokens)}</${tag}>`;
  },
};

const marked = new Marked({ gfm: true, renderer });

/** The blocks of a text. What is nested so deeply that it cannot be read is one block of plain text. */
export function blocks(text) {
  try {
    return marked.lexer(text);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return [{ type: "code", raw: text, text, lang: "" }];
  }
}

export function fragment(tokens) {
  return globalThis.DOMPurify.sanitize(marked.parser(tokens), PURIFY);
}

export const hasDefinitions = (text) => /^ {0,3}\[[^\]\n]+\]:/m.test(text);
