// Who asks. A key or token is kept in memory, or until this tab is closed; never longer.
import { cell } from "./cell.js";
import { storage } from "./storage.js";

const NAME = "headwater.credential";
const WANTED = "This service wants to know who asks.";
const REFUSED = { key: "The service does not take this key.", token: "You are no longer signed in: your time is over." };

const tab = storage("sessionStorage");
const kept = tab.getItem(NAME);
/** `{kind: "key" | "token", text}` or null. */
export const credential = cell(kept === null ? null : JSON.parse(kept));
/** While somebody is asked to sign in: why, in words. Else null. */
export const signInWanted = cell(null);

export function wantSignIn() {
  signInWanted.value = WANTED;
}

export function closeSignIn() {
  signInWanted.value = null;
}

/** `held` is what the service has taken already. */
export function signIn(held, isKept) {
  credential.value = held;
  if (isKept) tab.setItem(NAME, JSON.stringify(held));
  closeSignIn();
}

/** A refused request asks to sign in, unless somebody has signed in since it was sent. What was refused is not kept. */
export function signInAfter(held) {
  if (held !== credential.value) return;
  if (held === null) signInWanted.value ??= WANTED;
  else {
    signInWanted.value = REFUSED[held.kind];
    signOut();
  }
}

export function signOut() {
  credential.value = null;
  tab.removeItem(NAME);
}

export function credentialHeaders(held) {
  if (held === null) return {};
  return held.kind === "key" ? { "X-API-Key": held.text } : { Authorization: `Bearer ${held.text}` };
}
