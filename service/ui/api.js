// Requests to the service. Whatever goes wrong becomes a `Refusal` that says so in words.
import { credential, credentialHeaders, signInAfter } from "./session.js";

export class Refusal extends Error {
  constructor(status, code, message, retryAfterS = null) {
    super(message);
    Object.assign(this, { status, code, retryAfterS });
  }
}

/** The answer as JSON, null without a body. `json` is sent as the body. */
export async function ask(method, path, json = undefined, signal = undefined) {
  const answer = await request(method, path, json, signal);
  return answer.status === 204 ? null : await answer.json();
}

export async function request(method, path, json, signal) {
  const headers = { Accept: "application/json", ...credentialHeaders() };
  if (json !== undefined) headers["Content-Type"] = "application/json";
  const held = credential.value;
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: json === undefined ? undefined : JSON.stringify(json), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable();
  }
  if (answer.ok) return answer;
  const body = await answer.text();
  throw refusal(answer.status, body, answer.headers.get("Retry-After"), held);
}

export function unreachable() {
  return new Refusal(0, "unreachable", "The service cannot be reached. Is the network there?");
}

/** From an answer's status and body, which should be a problem of RFC 9457; `held` is the credential it was asked with. */
export function refusal(status, body, retryAfter, held) {
  if (status === 401) signInAfter(held);
  let problem = {};
  try {
    problem = JSON.parse(body) ?? {};
  } catch {
    problem = {};
  }
  const seconds = Number.parseFloat(retryAfter ?? "");
  return new Refusal(status, problem.code ?? "no_problem", words(status, problem), Number.isFinite(seconds) ? seconds : null);
}

function words(status, problem) {
  const fields = (problem.errors ?? []).map(({ loc, msg }) => `${loc.slice(1).join(".") || loc[0]}: ${msg}`);
  if (fields.length > 0) return `The service did not take this. ${fields.join("; ")}.`;
  return problem.detail ?? problem.error ?? `The service answered with status ${status}.`;
}
