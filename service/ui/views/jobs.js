// Work in the background: how far it is, and what came of it.
import { ask, request } from "../api.js";
import { html, useEffect, useState } from "../html.js";
import { download } from "../transfer.js";

const EVERY_MS = 1000; // EventSource could not bring a key along
const SHOWN = 10;
const isRunning = (job) => job.status === "queued" || job.status === "running";
const KINDS = { ingest: "Making a file searchable", batch: "A batch of rows" };
const STATES = { queued: "waits", running: "runs", succeeded: "done", failed: "failed", cancelled: "stopped" };

export function Jobs({ asked, held }) {
  const [jobs, setJobs] = useState([]);
  const [problem, setProblem] = useState(null);
  const [round, setRound] = useState(0);
  useEffect(() => {
    let timer = null;
    let isWanted = true;
    const look = async () => {
      try {
        const page = await ask("GET", `/jobs?limit=${SHOWN}`);
        if (!isWanted) return;
        setJobs(page.jobs);
        setProblem(null);
        if (page.jobs.some(isRunning)) timer = setTimeout(look, EVERY_MS);
      } catch (refusal) {
        if (isWanted) setProblem(refusal.message);
      }
    };
    look();
    return () => {
      isWanted = false;
      clearTimeout(timer);
    };
  }, [asked, held, round]);
  const attempt = async (work) => {
    try {
      await work();
      setRound((count) => count + 1);
    } catch (refusal) {
      setProblem(refusal.message);
    }
  };
  if (jobs.length === 0 && problem === null) return null;
  return html`
    <section aria-labelledby="jobs">
      <h3 id="jobs">In the background</h3>
      ${problem && html`<p class="problem" role="alert">${problem}</p>`}
      <ul class="jobs">${jobs.map((job) => html`<${Job} key=${job.job_id} job=${job} attempt=${attempt} />`)}</ul>
    </section>
  `;
}

function Job({ job, attempt }) {
  const fetchResult = () => attempt(async () => {
    const answer = await request("GET", job.result.url);
    download(job.result.filename, await answer.blob());
  });
  const words = `${KINDS[job.kind] ?? job.kind}: ${STATES[job.status]}`;
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
