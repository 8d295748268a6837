// Who asks. A key or token is kept in memory, or until this tab is closed; never longer.
import { cell } from "./cell.js";

const NAME = "headwater.credential";

const kept = sessionStorage.getItem(NAME);
/** `{kind: "key" | "token", text}` or null. */
export const credential = cell(kept === null ? null : JSON.parse(kept));
/** True while the service has refused a request for want of a key. */
export const signInWanted = cell(false);

export function signIn(kind, text, isKept) {
  credential.value = { kind, text };
  if (isKept) sessionStorage.setItem(NAME, JSON.stringify(credential.value));
  signInWanted.value = false;
}

/** A refused request asks to sign in, unless somebody has signed in since it was sent. */
export function signInAfter(held) {
  if (held === credential.value) signInWanted.value = true;
}

export function signOut() {
  credential.value = null;
  sessionStorage.removeItem(NAME);
}

export function credentialHeaders() {
  const held = credential.value;
  if (held === null) return {};
  return held.kind === "key" ? { "X-API-Key": held.text } : { Authorization: `Bearer ${held.text}` };
}
