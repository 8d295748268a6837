// With EventSource: the browser reconnects by itself and goes on where it was. It can send no header, so the question
// is posted first and the answer is read at an address that carries a ticket.
import { SERVICE, headers, problemOf } from "./service.js";

export async function askBySource(messages, on) {
  const body = JSON.stringify({ messages, grace_s: 30 });
  const made = await fetch(`${SERVICE}/chat/streams`, { method: "POST", headers, body });
  if (!made.ok) throw await problemOf(made);
  const { stream_id: id, url } = await made.json();
  const source = new EventSource(SERVICE + url);
  const last = (name, tell) =>
    source.addEventListener(name, (event) => {
      source.close();
      tell(JSON.parse(event.data));
    });
  source.onmessage = (event) => on.text(JSON.parse(event.data).text);
  source.onerror = () => (source.readyState === EventSource.CLOSED ? on.over("lost") : on.state("reconnecting"));
  last("end", on.end);
  last("failed", ({ error }) => on.over(error.message));
  last("gap", ({ message }) => on.over(message));
  return () => fetch(`${SERVICE}/chat/streams/${id}`, { method: "DELETE", headers });
}
