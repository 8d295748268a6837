// Where the service is. Another address: VITE_SERVICE=https://headwater.example.org npm run build
export const SERVICE = import.meta.env.VITE_SERVICE ?? "http://127.0.0.1:8000";

// A service with keys wants one here. Do not put a key into a page for strangers: let them log in (POST /login).
export const headers = { "Content-Type": "application/json" };

/** A refusal in the service's own words. */
export async function problemOf(answer) {
  const problem = await answer.json().catch(() => ({}));
  return new Error(problem.detail ?? `The service answered with status ${answer.status}.`);
}
