// Files of the caller: put in, made searchable, searched, taken away.
import { ask, request } from "../api.js";
import { attachmentList } from "../attachments.js";
import { useCell } from "../cell.js";
import { html, useEffect, useMemo, useRef, useState } from "../html.js";
import { DropZone } from "../parts/drop_zone.js";
import { IconButton } from "../parts/icons.js";
import { Passage } from "../parts/passage.js";
import { credential } from "../session.js";
import { download } from "../transfer.js";
import { momentOf, sizeOf } from "../words.js";
import { Jobs } from "./jobs.js";

export function View() {
  const held = useCell(credential);
  const [jobsAsked, setJobsAsked] = useState(0);
  const files = usePages(held);
  const search = (upload) => files.attempt(async () => {
    await ask("POST", `/uploads/${upload.upload_id}/process`);
    setJobsAsked((count) => count + 1);
  });
  const sending = useMemo(attachmentList, []);
  const names = new Map(files.uploads?.map((one) => [one.upload_id, one.filename]));
  return html`
    <${DropZone} label="Files" onFiles=${sending.add}>
      <div class="view">
        <h2>Files</h2>
        <${PutIn} sending=${sending} onArrived=${files.add} />
        ${files.problem && html`<p class="problem" role="alert">${files.problem}</p>`}
        <${Search} />
        <${Jobs} asked=${jobsAsked} held=${held} names=${names} />
        <section aria-labelledby="files-kept">
          <h3 id="files-kept">What is kept</h3>
          <${FileTable} files=${files} onSearchable=${search} />
        </section>
      </div>
    <//>
  `;
}

/** The uploads, page by page. */
function usePages(held) {
  const [uploads, setUploads] = useState(null);
  const [next, setNext] = useState(null);
  const [problem, setProblem] = useState(null);
  const attempt = async (work) => {
    try {
      await work();
      if (credential.value === held) setProblem(null);
    } catch (refusal) {
      if (credential.value === held) setProblem(refusal.message);
    }
  };
  const load = (after) => attempt(async () => {
    const page = await ask("GET", `/uploads?limit=50${after ? `&after=${encodeURIComponent(after)}` : ""}`);
    if (credential.value !== held) return; // the files of whoever was here before
    setUploads((before) => (after ? [...before, ...page.uploads] : page.uploads));
    setNext(page.next);
  });
  useEffect(() => void load(null), [held]);
  const remove = (upload) => attempt(async () => {
    if (!confirm(`Delete “${upload.filename}”?`)) return;
    await ask("DELETE", `/uploads/${upload.upload_id}`);
    setUploads((before) => before.filter((one) => one.upload_id !== upload.upload_id));
  });
  const fetchFile = (upload) => attempt(async () => {
    const answer = await request("GET", `/uploads/${upload.upload_id}/content`);
    download(upload.filename, await answer.blob());
  });
  return { uploads, next, problem, attempt, remove, fetchFile, more: () => load(next), add: (upload) => setUploads((before) => [upload, ...(before ?? [])]) };
}

function FileTable({ files, onSearchable }) {
  if (files.uploads === null) return html`<p class="quiet">${files.problem ? "" : "Loading…"}</p>`;
  if (files.uploads.length === 0) return html`<p class="quiet">No files yet.</p>`;
  return html`
    <div class="wide files" tabindex="0" role="region" aria-label="Kept files">
      <table>
        <thead><tr><th>Name</th><th data-align="right">Size</th><th class="since">Kept since</th><th><span class="unseen">Actions</span></th></tr></thead>
        <tbody>
          ${files.uploads.map(
            (one) => html`
              <tr key=${one.upload_id}>
                <td><button type="button" class="link" title=${`Download ${one.filename}`} onClick=${() => files.fetchFile(one)}><span>${one.filename}</span></button></td>
                <td data-align="right">${sizeOf(one.size)}</td>
                <td class="since quiet">${momentOf(one.created_at)}</td>
                <td class="cell-actions">
                  <button type="button" class="plain" onClick=${() => onSearchable(one)} aria-label=${`Make searchable: ${one.filename}`}>Make searchable</button>
                  <${IconButton} icon="trash" label=${`Delete ${one.filename}`} onClick=${() => files.remove(one)} />
                </td>
              </tr>
            `,
          )}
        </tbody>
      </table>
    </div>
    ${files.next && html`<p><button type="button" onClick=${files.more}>Show more</button></p>`}
  `;
}

function PutIn({ sending, onArrived }) {
  const list = useCell(sending.list);
  const field = useRef(null);
  useEffect(() => {
    for (const one of list.filter((each) => each.upload !== null)) {
      onArrived(one.upload);
      sending.remove(one.key);
    }
  }, [list]);
  return html`
    <div class="put-in">
      <button type="button" class="primary" onClick=${() => field.current.click()}>Add files</button>
      <span class="quiet">or drop them here</span>
      <input ref=${field} type="file" multiple hidden aria-label="Files" onChange=${(event) => (sending.add(event.target.files), (event.target.value = ""))} />
    </div>
    <ul class="sending">
      ${list.filter((one) => one.upload === null).map(
        (one) => html`
          <li key=${one.key}>
            ${one.name}
            ${one.error
              ? html`<span class="problem" role="alert">${one.error}</span><button type="button" class="plain" onClick=${() => sending.retry(one.key)}>Try again</button>`
              : html`<progress max="1" value=${one.share} aria-label=${`${one.name} is being sent`}></progress>`}
            <${IconButton} icon="close" label=${`Remove ${one.name}`} onClick=${() => sending.remove(one.key)} />
          </li>
        `,
      )}
    </ul>
  `;
}

function Search() {
  const [results, setResults] = useState(null);
  const [problem, setProblem] = useState(null);
  const [open, setOpen] = useState(null);
  async function onSubmit(event) {
    event.preventDefault();
    const query = event.target.elements.query.value.trim();
    if (query === "") return;
    try {
      setResults((await ask("POST", "/search", { query })).results);
      setProblem(null);
    } catch (refusal) {
      setProblem(refusal.message);
    }
  }
  return html`
    <form class="search-files" role="search" aria-label="Search in files" onSubmit=${onSubmit}>
      <input name="query" type="search" aria-label="Search in searchable files" placeholder="Search in searchable files" />
      <button>Search</button>
    </form>
    ${problem && html`<p class="problem" role="alert">${problem}</p>`}
    <div role="status">${results?.length === 0 && html`<p class="quiet">Nothing found.</p>`}</div>
    ${results?.length > 0 &&
    html`
      <ol class="found" aria-label="Found passages">
        ${results.map(
          (one) => html`
            <li><button type="button" class="hit" onClick=${() => setOpen(one)}>
              <b>${one.filename}${one.page ? `, page ${one.page}` : ""}</b><span>${one.text}</span>
            </button></li>
          `,
        )}
      </ol>
    `}
    ${open && html`<${Passage} passage=${open} onClose=${() => setOpen(null)} />`}
  `;
}
