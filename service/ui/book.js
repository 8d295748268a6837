// The conversations of this browser: which there are, which one is open, and how they change. Other tabs hear of it.
import { cell } from "./cell.js";
import * as database from "./database.js";
import { randomId } from "./ids.js";
import { descendantsOf } from "./tree.js";

/** `{id, title, created, updated, chosen: {parent: child}}`, the newest first. */
export const conversations = cell([]);
/** The open one: `{conversation, messages: Map}`; a conversation is written down with its first message. */
export const current = cell(fresh());
/** What keeps the browser from keeping conversations, in words, or null. */
export const trouble = cell(null);

const neighbours = new BroadcastChannel("headwater");
neighbours.onmessage = ({ data }) => hear(data);

function fresh() {
  const now = Date.now();
  return { conversation: { id: randomId(), title: "", created: now, updated: now, chosen: {} }, messages: new Map() };
}

async function safely(work) {
  try {
    return await work();
  } catch (error) {
    trouble.value = `This browser does not keep conversations: ${error?.message ?? "its storage cannot be opened"}`;
    return undefined;
  }
}

export async function load() {
  const found = (await safely(() => database.all("conversations"))) ?? [];
  conversations.value = found.sort((a, b) => b.updated - a.updated);
}

export function begin() {
  current.value = fresh();
}

/** False when there is no such conversation. */
export async function open(id) {
  const conversation = await safely(() => database.get("conversations", id));
  if (conversation === undefined) return false;
  const messages = (await safely(() => database.messagesOf(id))) ?? [];
  current.value = { conversation, messages: new Map(messages.map((one) => [one.id, one])) };
  return true;
}

function show(conversation, messages) {
  if (current.value.conversation.id === conversation.id) current.value = { conversation, messages };
  const others = conversations.value.filter((one) => one.id !== conversation.id);
  conversations.value = [conversation, ...others].sort((a, b) => b.updated - a.updated);
}

async function write(conversation, messages) {
  await safely(() => database.putAll([conversation], messages));
  neighbours.postMessage({ kind: "changed", id: conversation.id });
}

/** Puts messages into the open conversation, each chosen among its siblings. */
export function add(...added) {
  const { conversation, messages } = current.value;
  const chosen = { ...conversation.chosen };
  for (const one of added) chosen[one.parent] = one.id;
  const title = conversation.title || titleOf(added[0].text);
  const changed = { ...conversation, chosen, title, updated: Date.now() };
  show(changed, new Map([...messages, ...added.map((one) => [one.id, one])]));
  return write(changed, added);
}

const TITLE_CHARS = 60;

function titleOf(text) {
  const line = text.trim().split("\n")[0].replace(/\s+/g, " ");
  return line.length > TITLE_CHARS ? `${line.slice(0, TITLE_CHARS).trimEnd()}…` : line || "New conversation";
}

/** A message as it is now: shown if its conversation is open, and written down. */
export function change(message) {
  const { conversation, messages } = current.value;
  if (conversation.id === message.conversation && messages.has(message.id)) {
    current.value = { conversation, messages: new Map(messages).set(message.id, message) };
  }
  return keep(message, true);
}

/** Written down only: how far an answer is. */
export async function keep(message, isTold = false) {
  await safely(() => database.replaceMessage(message));
  if (isTold) neighbours.postMessage({ kind: "changed", id: message.conversation });
}

export function choose(parent, id) {
  const { conversation, messages } = current.value;
  const changed = { ...conversation, chosen: { ...conversation.chosen, [parent]: id } };
  show(changed, messages);
  return write(changed, []);
}

/** Takes a message away, and all that came after it. */
export async function removeMessage(id) {
  const { conversation, messages } = current.value;
  const gone = descendantsOf(messages, id);
  const left = new Map([...messages].filter(([key]) => !gone.includes(key)));
  show(conversation, left);
  await safely(() => database.removeMessages(gone));
  neighbours.postMessage({ kind: "changed", id: conversation.id });
}

export async function rename(conversation, title) {
  const changed = { ...conversation, title };
  if (current.value.conversation.id === conversation.id) current.value = { ...current.value, conversation: changed };
  conversations.value = conversations.value.map((one) => (one.id === changed.id ? changed : one));
  await write(changed, []);
}

export async function remove(id) {
  conversations.value = conversations.value.filter((one) => one.id !== id);
  if (current.value.conversation.id === id) begin();
  await safely(() => database.removeConversation(id));
  neighbours.postMessage({ kind: "removed", id });
}

async function hear({ kind, id }) {
  await load();
  if (current.value.conversation.id !== id) return;
  if (kind === "removed") begin();
  else await open(id);
}

/** Ids of the conversations that hold all these words, in their title or in a message. */
export async function search(words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const texts = new Map(conversations.value.map((one) => [one.id, one.title.toLowerCase()]));
  for (const message of (await safely(() => database.all("messages"))) ?? []) {
    if (texts.has(message.conversation)) texts.set(message.conversation, `${texts.get(message.conversation)}\n${message.text.toLowerCase()}`);
  }
  return new Set([...texts].filter(([, text]) => wanted.every((word) => text.includes(word))).map(([id]) => id));
}
