// Reads one answer's events. The browser's EventSource goes on after a broken network by itself; what it gives up on
// (a proxy's error, a page that was loaded anew) is opened again after the last event that arrived.
import { ask } from "./api.js";

const NAMES = ["start", "queue", "progress", "citation", "end", "failed", "gap"];
const LAST = new Set(["end", "failed", "gap"]);
const ENDED = new Set(["finished", "failed", "cancelled"]);
const WAITS_MS = [500, 1000, 2000, 4000, 8000, 15000];

/**
 * `place`: `{id, url, last}` of the stream; `last` is the id of the last event that is known, or null.
 * `on.event(name, data, id)` gets each event, `on.broken()` hears that the network is lost, `on.mended()` that it is
 * back, `on.lost(refusal)` that the answer cannot be read any more. Returns a function that stops reading.
 */
export function read(place, on) {
  let source = null;
  let timer = null;
  let failures = 0;
  let last = place.last;

  function open() {
    source = new EventSource(last === null ? place.url : `${place.url}&last_event_id=${encodeURIComponent(last)}`);
    source.onmessage = (event) => take("text", event);
    for (const name of NAMES) source.addEventListener(name, (event) => take(name, event));
    source.onopen = () => on.mended();
    source.onerror = () => {
      on.broken();
      if (source.readyState === EventSource.CLOSED) reopen();
    };
  }

  function take(name, event) {
    failures = 0;
    last = event.lastEventId;
    if (LAST.has(name)) close();
    on.event(name, JSON.parse(event.data), last);
  }

  /** A status other than 200 tells an EventSource nothing, so the answer's state is asked for. */
  async function reopen() {
    const wait = WAITS_MS[Math.min(failures++, WAITS_MS.length - 1)];
    try {
      const state = await ask("GET", `/chat/streams/${place.id}`);
      if (source === null) return;
      last ??= state.position >= 0 ? `${place.id}.0` : null; // its ticket may be too old to open it anew
      if (ENDED.has(state.state) && last === `${place.id}.${state.position}`) {
        close();
        on.event("end", { finish_reason: state.finish_reason ?? "stop", usage: state.usage, timings: null }, last);
        return;
      }
    } catch (refusal) {
      if (source === null) return;
      if (refusal.status === 404) {
        close();
        on.lost(refusal);
        return;
      }
    }
    if (source !== null) timer = setTimeout(open, wait);
  }

  function close() {
    clearTimeout(timer);
    source?.close();
    source = null;
  }

  open();
  return close;
}
