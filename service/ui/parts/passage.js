// A passage of a file as it stands there, and the way to the file itself.
import { request } from "../api.js";
import { html, useState } from "../html.js";
import { download } from "../transfer.js";
import { Dialog } from "./dialog.js";

export function Passage({ passage, onClose }) {
  const [problem, setProblem] = useState(null);
  const fetchFile = async () => {
    try {
      const answer = await request("GET", `/uploads/${encodeURIComponent(passage.upload_id)}/content`);
      download(passage.filename, await answer.blob());
    } catch (refusal) {
      setProblem(refusal.message);
    }
  };
  return html`
    <${Dialog} title=${passage.filename} onClose=${onClose} wide>
      <p class="quiet">${passage.page ? `Page ${passage.page} · ` : ""}characters ${passage.start} to ${passage.end}</p>
      <blockquote class="passage" tabindex="0">${passage.text}</blockquote>
      ${problem && html`<p class="problem" role="alert">${problem}</p>`}
      <button type="button" onClick=${fetchFile}>Download the file</button>
    <//>
  `;
}
