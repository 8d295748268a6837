// With fetch: one request with a body and headers of one's own. What EventSource does by itself is done here by hand:
// the events are taken apart, and after a broken connection Last-Event-ID asks for the rest.
import { SERVICE, headers, problemOf } from "./service.js";

const PAUSE_MS = 1500;

export async function askByFetch(messages, on) {
  const stopped = new AbortController();
  const body = JSON.stringify({ messages, grace_s: 30 });
  const first = await fetch(`${SERVICE}/chat/stream`, { method: "POST", headers, body, signal: stopped.signal });
  if (!first.ok) throw await problemOf(first);
  const place = { last: "" };
  follow(first, place, stopped.signal, on);
  return async () => {
    stopped.abort();
    await fetch(`${SERVICE}/chat/streams/${place.last.split(".")[0]}`, { method: "DELETE", headers });
  };
}

async function follow(answer, place, signal, on) {
  for (;;) {
    try {
      for await (const { id, name, data } of eventsOf(answer)) {
        place.last = id;
        if (name === "message") on.text(data.text);
        if (name === "end") return on.end(data);
        if (name === "failed" || name === "gap") return on.over(data.error?.message ?? data.message);
      }
    } catch {
      if (signal.aborted) return on.over("stopped");
    }
    if (place.last === "") return on.over("lost before anything had arrived");
    on.state("reconnecting");
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    answer = await rest(place.last, signal).catch(() => answer);
    if (answer.status === 204) return on.over("everything was sent");
    if (answer.status >= 400 && answer.status < 500) return on.over((await problemOf(answer)).message);
  }
}

function rest(last, signal) {
  return fetch(`${SERVICE}/chat/stream`, { headers: { ...headers, "Last-Event-ID": last }, signal });
}

/** Server-sent events: blocks of lines with an empty line behind each; a line that begins with a colon means nothing. */
async function* eventsOf(answer) {
  let rest = "";
  for await (const piece of pieces(answer.body.pipeThrough(new TextDecoderStream()))) {
    const blocks = (rest + piece).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) yield eventOf(block);
  }
}

async function* pieces(stream) {
  const reader = stream.getReader(); // not every browser lets one loop over a stream
  for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
}

function eventOf(block) {
  const fields = { event: "message", id: "", data: "" };
  for (const line of block.split("\n")) {
    const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
    if (name) fields[name] = value;
  }
  return { id: fields.id, name: fields.event, data: JSON.parse(fields.data) };
}
