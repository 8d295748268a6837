// Conversations as a file, out of this browser and into it.
import { conversations, load } from "./book.js";
import * as database from "./database.js";
import { counted } from "./words.js";

const FORMAT = "headwater-conversations";
const VERSION = 1;

export async function exportAll() {
  const messages = await database.all("messages");
  save(`headwater-${new Date().toISOString().slice(0, 10)}.json`, conversations.value, messages);
}

export async function exportOne(conversation) {
  const name = conversation.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 40) || "conversation";
  save(`${name}.json`, [conversation], await database.messagesOf(conversation.id));
}

function save(name, list, messages) {
  const kept = new Set(list.map((one) => one.id));
  const file = { format: FORMAT, version: VERSION, conversations: list, messages: messages.filter((one) => kept.has(one.conversation)).map(withoutStream) };
  download(name, new Blob([JSON.stringify(file, null, 2)], { type: "application/json" }));
}

/** Where an answer is read from is a ticket, and belongs to this browser only. */
const withoutStream = (message) => ({ ...message, stream: null, state: message.state === "running" ? "done" : message.state });

export function download(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** What happened, in words. */
export async function importFile(file) {
  let read;
  try {
    read = checked(JSON.parse(await file.text()));
  } catch (error) {
    return `This file was not imported: ${error instanceof SyntaxError ? "it is not JSON" : error.message}.`;
  }
  await database.putAll(read.conversations, read.messages);
  await load();
  return `${counted(read.conversations.length, "conversation")} imported.`;
}

function checked(file) {
  if (file?.format !== FORMAT || file.version !== VERSION) throw new Error("it is no export of this page");
  const { conversations: list, messages } = file;
  if (!isListOf(isConversation)(list) || !isListOf(isMessage)(messages)) throw new Error("something in it is not as it should be");
  const ids = new Set(list.map((one) => one.id));
  if (!messages.every((one) => ids.has(one.conversation))) throw new Error("it is not complete");
  return { conversations: list.map(plainConversation), messages: messages.map(plainMessage) };
}

const plainConversation = ({ id, title, created, updated, chosen }) => ({ id, title, created: created ?? updated, updated, chosen });

/** Only what a message may hold: a file from elsewhere names no stream. */
function plainMessage({ id, conversation, parent, role, text, at, model, finish_reason, usage, timings, first_token_ms, citations, attachments, error }) {
  const given = { model, finish_reason, usage, timings, first_token_ms, citations, attachments, error };
  return { id, conversation, parent, role, text, at, ...given, state: error ? "failed" : "done", stream: null };
}

const isText = (value) => typeof value === "string";
const isNumber = (value) => Number.isFinite(value);
const isId = (value) => isText(value) && /^[\w-]{1,64}$/.test(value);
const isMaybe = (is) => (value) => value == null || is(value);
const isListOf = (is) => (value) => Array.isArray(value) && value.every(is);
const has = (fields) => (value) => typeof value === "object" && value !== null && Object.entries(fields).every(([name, is]) => is(value[name]));

const isConversation = has({ id: isId, title: isText, created: isMaybe(isNumber), updated: isNumber, chosen: has({}) });
const isCitation = has({ upload_id: isText, filename: isText, page: isMaybe(isNumber), start: isNumber, end: isNumber, text: isText });
const isMessage = has({
  id: isId,
  conversation: isId,
  parent: (value) => value === "" || isId(value),
  role: (value) => ["user", "assistant"].includes(value),
  text: isText,
  at: isNumber,
  model: isMaybe(isText),
  finish_reason: isMaybe(isText),
  usage: isMaybe(has({ prompt_tokens: isNumber, completion_tokens: isNumber })),
  timings: isMaybe(has({ tokens_per_second: isMaybe(isNumber) })),
  first_token_ms: isMaybe(isNumber),
  citations: isMaybe(isListOf(isCitation)),
  attachments: isMaybe(isListOf(has({ upload_id: isText, filename: isText }))),
  error: isMaybe(has({ message: isText })),
});
