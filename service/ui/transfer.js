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

const isText = (value) => typeof value === "string";
const isId = (value) => isText(value) && /^[\w-]{1,64}$/.test(value);

function checked(file) {
  if (file?.format !== FORMAT || file.version !== VERSION) throw new Error("it is no export of this page");
  const { conversations: list, messages } = file;
  if (!Array.isArray(list) || !Array.isArray(messages)) throw new Error("it is not complete");
  const ids = new Set(list.map((one) => one.id));
  const isConversation = (one) => isId(one.id) && isText(one.title) && Number.isFinite(one.updated) && typeof one.chosen === "object" && one.chosen !== null;
  const isMessage = (one) =>
    isId(one.id) && ids.has(one.conversation) && (one.parent === "" || isId(one.parent)) && ["user", "assistant"].includes(one.role) && isText(one.text) && Number.isFinite(one.at);
  if (!list.every(isConversation) || !messages.every(isMessage)) throw new Error("something in it is not as it should be");
  return { conversations: list, messages: messages.map(plainMessage) };
}

/** Only what a message may hold: a file from elsewhere names no stream. */
function plainMessage({ id, conversation, parent, role, text, at, model, finish_reason, usage, timings, first_token_ms, citations, attachments, error }) {
  const given = { model, finish_reason, usage, timings, first_token_ms, citations, attachments, error };
  return { id, conversation, parent, role, text, at, ...given, state: error ? "failed" : "done", stream: null };
}
