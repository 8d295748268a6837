// Work in the background: how far it is, and what came of it.
import { ask, request } from "../api.js";
import { html, useState } from "../html.js";
import { download } from "../transfer.js";
import { useWatched } from "./watched.js";

const EVERY_MS = 1000;
const SHOWN = 10;
const isRunning = (job) => job.status === "queued" || job.status === "running";
const KINDS = { ingest: (name) => `Making ${name} searchable`, batch: () => "A batch of rows" };
const STATES = { queued: "waits", running: "runs", succeeded: "done", failed: "failed", cancelled: "stopped" };

/** `names` are the files' by the ids of their uploads. */
export function Jobs({ asked, held, names }) {
  const [round, setRound] = useState(0);
  const [refused, setRefused] = useState(null);
  const [answer, fault] = useWatched(`/jobs?limit=${SHOWN}`, ({ jobs }) => jobs.some(isRunning), EVERY_MS, [asked, held, round]);
  const jobs = answer?.jobs ?? [];
  const attempt = async (work) => {
    try {
      await work();
      setRefused(null);
      setRound((count) => count + 1);
    } catch (refusal) {
      setRefused(refusal.message);
    }
  };
  const problem = refused ?? fault;
  if (jobs.length === 0 && problem === null) return null;
  return html`
    <section aria-labelledby="jobs">
      <h3 id="jobs">In the background</h3>
      ${problem && html`<p class="problem" role="alert">${problem}</p>`}
      <ul class="jobs">${jobs.map((job) => html`<${Job} key=${job.job_id} job=${job} name=${names.get(job.upload_id) ?? "a file"} attempt=${attempt} />`)}</ul>
    </section>
  `;
}

function Job({ job, name, attempt }) {
  const fetchResult = () => attempt(async () => {
    const answer = await request("GET", job.result.url);
    download(job.result.filename, await answer.blob());
  });
  const words = `${KINDS[job.kind]?.(name) ?? job.kind}: ${STATES[job.status]}`;
  return html`
    <li>
      <span>${words}${job.total && isRunning(job) ? ` (${job.done} of ${job.total})` : ""}</span>
      ${isRunning(job) && html`<progress max="1" value=${job.progress} aria-label=${words}></progress>`}
      ${job.error && html`<span class="problem">${job.error.message}</span>`}
      ${isRunning(job) && html`<button type="button" class="plain" onClick=${() => attempt(() => ask("DELETE", `/jobs/${job.job_id}`))}>Stop</button>`}
      ${job.result && html`<button type="button" class="plain" onClick=${fetchResult}>Download ${job.result.filename}</button>`}
    </li>
  `;
}
