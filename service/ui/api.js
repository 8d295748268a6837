// Requests to the service. Whatever goes wrong becomes a `Refusal` that says so in words.
import { credential, credentialHeaders, signInAfter } from "./session.js";

export class Refusal extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}

/** The answer as JSON, null without a body. `json` is sent as the body, in the name of `held`. */
export async function ask(method, path, json = undefined, held = credential.value) {
  const answer = await request(method, path, json, held);
  return answer.status === 204 ? null : await answer.json();
}

export async function request(method, path, json = undefined, held = credential.value) {
  const headers = { Accept: "application/json", ...credentialHeaders(held) };
  if (json !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: json === undefined ? undefined : JSON.stringify(json) });
  } catch {
    throw unreachable();
  }
  if (answer.ok) return answer;
  throw refusal(answer.status, await answer.text(), held);
}

export function unreachable() {
  return new Refusal(0, "unreachable", "The service cannot be reached. Is the network there?");
}

/** From an answer's status and body, which should be a problem of RFC 9457; `held` is the credential it was asked with. */
export function refusal(status, body, held) {
  if (status === 401) signInAfter(held);
  let problem = {};
  try {
    problem = JSON.parse(body) ?? {};
  } catch {
    problem = {};
  }
  return new Refusal(status, problem.code ?? "no_problem", words(status, problem));
}

function words(status, problem) {
  const fields = (problem.errors ?? []).map(({ loc, msg }) => `${loc.slice(1).join(".") || loc[0]}: ${msg}`);
  if (fields.length > 0) return `The service did not take this. ${fields.join("; ")}.`;
  return problem.detail ?? problem.error ?? `The service answered with status ${status}.`;
}
