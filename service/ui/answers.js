// Answers that are being made: each reads its stream, whatever conversation is open, and is written down as it grows.
import { ask } from "./api.js";
import { change, current, keep } from "./book.js";
import { cell } from "./cell.js";
import { randomId } from "./ids.js";
import { options, requestOptions } from "./options.js";
import { read } from "./stream.js";
import { ancestorsOf, requestOf } from "./tree.js";

const KEEP_EVERY_MS = 500;
const ASKED_WITHIN_MS = 15_000;
const GRACE_S = 60; // how long the service goes on without us: a page that is loaded anew, a train in a tunnel

/** The running answers by the id of their message. A cell, so that a view hears when one begins or ends. */
export const running = cell(new Map());

class Answer {
  constructor(message) {
    this.message = message;
    this.text = message.text;
    this.phase = cell({ kind: "asking" });
    this.readers = new Set();
    this.close = () => {};
    this.isStopped = false;
    this.isDropped = false;
    this.startedAt = performance.now();
    this.keptAt = 0;
  }

  /** `reader(text)` hears of every piece. */
  follow(reader) {
    this.readers.add(reader);
    reader(this.text);
    return () => this.readers.delete(reader);
  }

  update(fields) {
    this.message = { ...this.message, text: this.text, ...fields };
  }

  take(name, data, id) {
    this.update({ stream: { ...this.message.stream, last: id } });
    EVENTS[name](this, data);
    const now = performance.now();
    if (this.message.state === "running" && now - this.keptAt > KEEP_EVERY_MS) {
      this.keptAt = now;
      keep(this.message);
    }
  }

  grow(piece) {
    if (this.message.first_token_ms == null) this.update({ first_token_ms: performance.now() - this.startedAt });
    this.text += piece;
    this.update({});
    if (this.phase.value.kind !== "writing") this.phase.value = { kind: "writing" };
    for (const reader of this.readers) reader(this.text);
  }

  /** The network is gone; what the answer was at is told again when it is back. */
  breakOff() {
    if (this.phase.value.kind !== "broken") this.phase.value = { kind: "broken", before: this.phase.value };
  }

  mend() {
    if (this.phase.value.kind === "broken") this.phase.value = this.phase.value.before;
  }

  end(fields) {
    this.close();
    this.update(fields);
    running.value = without(running.value, this.message.id);
    change(this.message);
  }

  fail(code, message, isRetryable) {
    this.end({ state: "failed", error: { code, message, retryable: isRetryable } });
  }
}

const EVENTS = {
  start: (answer, data) => {
    answer.update({ model: data.model, model_version: data.model_version, seed: data.seed, documents: data.documents ?? [] });
    if (answer.phase.value.kind !== "writing") answer.phase.value = { kind: "reading" };
  },
  queue: (answer, data) => (answer.phase.value = { kind: "waiting", position: data.position, eta_ms: data.eta_ms }),
  progress: (answer, data) => (answer.phase.value = { kind: "progress", ...data, phase: data.phase }),
  text: (answer, data) => answer.grow(data.text),
  citation: (answer, data) => answer.update({ citations: [...(answer.message.citations ?? []), data] }),
  end: (answer, data) =>
    answer.end({ state: "done", finish_reason: data.finish_reason, usage: data.usage, timings: data.timings }),
  failed: (answer, data) => answer.fail(data.error.code, data.error.message, data.error.retryable),
  gap: (answer, data) => answer.fail(`gap_${data.reason}`, data.message, false),
};

function without(map, key) {
  const copy = new Map(map);
  copy.delete(key);
  return copy;
}

/** A new, empty answer below `parent`; it is not asked for yet. */
export function newAnswer(conversation, parent) {
  return { id: randomId(), conversation, parent, role: "assistant", text: "", at: Date.now(), state: "running", stream: null };
}

export async function start(message) {
  const answer = track(new Answer(message));
  const path = ancestorsOf(current.value.messages, message.parent);
  try {
    const body = { ...requestOf(path), ...requestOptions(options.value), grace_s: GRACE_S };
    const made = await ask("POST", "/chat/streams", body);
    answer.update({ stream: { id: made.stream_id, url: made.url, last: null } });
    if (answer.isDropped) return void (await cancel(answer));
    await keep(answer.message, true);
    if (answer.isStopped) await cancel(answer);
    follow(answer);
  } catch (refusal) {
    if (!answer.isDropped) answer.fail(refusal.code ?? "page_failed", refusal.message, true);
  }
}

/** Goes on with an answer that was being read when the page was left. */
export function resume(message) {
  if (running.value.has(message.id)) return;
  if (message.stream !== null) follow(track(new Answer(message)));
  else setTimeout(() => giveUp(message.id), Math.max(0, message.at + ASKED_WITHIN_MS - Date.now()));
}

/** Another tab may just be asking for it; after a while nobody is. */
function giveUp(id) {
  const message = current.value.messages.get(id);
  if (message === undefined || message.state !== "running" || message.stream !== null || running.value.has(id)) return;
  new Answer(message).fail("not_sent", "The page was closed before the service took the question.", true);
}

function track(answer) {
  running.value = new Map(running.value).set(answer.message.id, answer);
  return answer;
}

function follow(answer) {
  answer.close = read(answer.message.stream, {
    event: (name, data, id) => answer.take(name, data, id),
    broken: () => answer.breakOff(),
    mended: () => answer.mend(),
    lost: (refusal) => answer.fail(refusal.code, refusal.message, true),
  });
}

/** Ends an answer, also before its first token: the stream then says so itself. */
export async function stop(id) {
  const answer = running.value.get(id);
  if (answer === undefined || answer.isStopped) return;
  answer.isStopped = true;
  answer.phase.value = { kind: "stopping" };
  if (answer.message.stream !== null) await cancel(answer);
}

/** Ends answers whose messages are being taken away; nothing of them is written down any more. */
export function drop(isGone) {
  for (const answer of running.value.values()) {
    if (!isGone(answer.message)) continue;
    answer.isDropped = true;
    answer.close();
    running.value = without(running.value, answer.message.id);
    if (answer.message.stream !== null) cancel(answer);
  }
}

async function cancel(answer) {
  try {
    await ask("DELETE", `/chat/streams/${answer.message.stream.id}`);
  } catch (refusal) {
    if (!answer.isDropped) answer.fail(refusal.code ?? "page_failed", refusal.message, true);
  }
}
