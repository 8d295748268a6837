// Files on their way to the service: sent one by one, with how far they are.
import { refusal, unreachable } from "./api.js";
import { cell } from "./cell.js";
import { randomId } from "./ids.js";
import { credential, credentialHeaders } from "./session.js";

/** Sends a file. `onProgress(share)` hears of 0 to 1; returns `{done, abort}`. */
export function upload(file, onProgress) {
  const held = credential.value;
  const sent = new XMLHttpRequest(); // fetch does not tell how much of a body is sent
  const done = new Promise((resolve, reject) => {
    sent.upload.onprogress = ({ loaded, total }) => onProgress(total > 0 ? loaded / total : 0);
    sent.onerror = () => reject(unreachable());
    sent.onabort = () => reject(new DOMException("stopped", "AbortError"));
    sent.onload = () => {
      if (sent.status === 201) resolve(JSON.parse(sent.responseText));
      else reject(refusal(sent.status, sent.responseText, held));
    };
  });
  const form = new FormData();
  form.append("file", file, file.name || "pasted");
  sent.open("POST", "/uploads");
  for (const [name, value] of Object.entries(credentialHeaders(held))) sent.setRequestHeader(name, value);
  sent.send(form);
  return { done, abort: () => sent.abort() };
}

/** What the composer holds: `[{key, name, size, share, upload, error}]`; `upload` is there once it has arrived. */
export function attachmentList() {
  const list = cell([]);
  const aborts = new Map();
  const change = (key, fields) => (list.value = list.value.map((one) => (one.key === key ? { ...one, ...fields } : one)));

  async function send(key, file) {
    const { done, abort } = upload(file, (share) => change(key, { share }));
    aborts.set(key, abort);
    try {
      change(key, { upload: await done, share: 1 });
    } catch (error) {
      if (error.name !== "AbortError") change(key, { error: error.message });
    }
  }

  return {
    list,
    add(files) {
      for (const file of files) {
        const key = randomId();
        list.value = [...list.value, { key, file, name: file.name || "pasted", size: file.size, share: 0, upload: null, error: null }];
        send(key, file);
      }
    },
    retry(key) {
      change(key, { error: null, share: 0 });
      send(key, list.value.find((one) => one.key === key).file);
    },
    remove(key) {
      aborts.get(key)?.();
      list.value = list.value.filter((one) => one.key !== key);
    },
    clear: () => (list.value = []),
  };
}
