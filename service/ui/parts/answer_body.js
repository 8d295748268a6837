// What the model said: growing while it comes, then with its quotes, its numbers, or what went wrong.
import { useCell } from "../cell.js";
import { dress } from "../dress.js";
import { GrowingMarkdown } from "../growing.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../html.js";
import { reader, say } from "../speech.js";
import { counted, seconds } from "../words.js";
import { Passage } from "./passage.js";

const SHARE = 4; // drawing takes at most about a quarter of the time

export function AnswerBody({ message, answer, onRetry }) {
  if (answer) return html`<${Running} answer=${answer} />`;
  return message.state === "running" ? html`<${PhaseWords} phase=${ASKING} />` : html`<${Over} message=${message} onRetry=${onRetry} />`;
}

function Running({ answer }) {
  const frame = useRef(null);
  useEffect(() => drawing(frame.current, answer), [answer]);
  return html`<div class="markdown" ref=${frame}></div><${Phase} answer=${answer} />`;
}

/** Draws at most once a frame, and less often when that is not quick. Returns what ends it. */
function drawing(frame, answer) {
  const growing = new GrowingMarkdown(frame, dress);
  const speak = reader(answer.text.length);
  let text = "";
  let asked = 0;
  let notBefore = 0;
  function draw(now) {
    asked = 0;
    if (now < notBefore) {
      asked = requestAnimationFrame(draw);
      return;
    }
    const begun = performance.now();
    growing.update(text);
    speak(text, false);
    notBefore = now + (performance.now() - begun) * SHARE;
  }
  const leave = answer.follow((grown) => {
    text = grown;
    asked ||= requestAnimationFrame(draw);
  });
  return () => {
    leave();
    cancelAnimationFrame(asked);
    speak(answer.text, true);
  };
}

const PHASES = {
  asking: () => "Asking…",
  waiting: ({ position, eta_ms: eta }) => `Number ${position} in the line${eta == null ? "" : `, about ${seconds(eta)}`}`,
  reading: () => "Reading the question…",
  progress: (phase) => (phase.phase === "ingest" ? ingest(phase) : `Reading the question: ${phase.done} of ${phase.total} tokens`),
  writing: () => "",
  broken: () => "The connection is lost. Trying again…",
  stopping: () => "Stopping…",
};
const STEPS = { wait: "Waiting to read", read: "Reading", embed: "Learning", index: "Filing" };
const ingest = ({ step, filename, done, total }) => `${STEPS[step] ?? "Reading"} ${filename ?? "the files"}${total ? `: ${done} of ${total}` : "…"}`;

const Phase = ({ answer }) => html`<${PhaseWords} phase=${useCell(answer.phase)} />`;
const ASKING = { kind: "asking" }; // another tab does, or did before it was closed

function PhaseWords({ phase }) {
  const words = PHASES[phase.kind](phase);
  const share = phase.kind === "progress" && phase.total > 0 ? phase.done / phase.total : null;
  return html`
    <div class="phase" role="status">
      <span class="pulse" aria-hidden="true"></span>
      ${words && html`<span>${words}</span>`}
      ${share !== null && html`<progress max="1" value=${share} aria-label=${words}></progress>`}
    </div>
  `;
}

function Over({ message, onRetry }) {
  const frame = useRef(null);
  useLayoutEffect(() => {
    frame.current.replaceChildren();
    new GrowingMarkdown(frame.current, dress).update(message.text, true);
  }, [message.text]);
  useEffect(() => {
    if (message.error) say(message.error.message);
  }, [message.error]);
  return html`
    <div class="markdown" ref=${frame}></div>
    ${message.citations?.length > 0 && html`<${Citations} citations=${message.citations} />`}
    ${message.error && html`<div class="problem-box" role="alert"><p>${message.error.message}</p><button type="button" onClick=${onRetry}>Try again</button></div>`}
  `;
}

const REASONS = { cancelled: "stopped", length: "cut at the longest length" };

export function numbersOf({ model, usage, timings, first_token_ms: first, finish_reason: reason }) {
  const parts = [
    REASONS[reason],
    model && model !== "default" ? model : null,
    usage && counted(usage.completion_tokens, "token"),
    timings?.tokens_per_second > 0 ? `${timings.tokens_per_second.toFixed(timings.tokens_per_second < 10 ? 1 : 0)} tokens/s` : null,
    first != null ? `first after ${seconds(first)}` : null,
    usage && `${counted(usage.prompt_tokens, "token")} read`,
  ];
  return parts.filter(Boolean).join(" · ");
}

function Citations({ citations }) {
  const [open, setOpen] = useState(null);
  return html`
    <ol class="citations" aria-label="Passages from the files">
      ${citations.map(
        (one, index) => html`
          <li><button type="button" onClick=${() => setOpen(one)}><b>${index + 1}</b> ${one.filename}${one.page ? `, page ${one.page}` : ""}</button></li>
        `,
      )}
    </ol>
    ${open && html`<${Passage} passage=${open} onClose=${() => setOpen(null)} />`}
  `;
}
