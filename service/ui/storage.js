// What this browser keeps for the page. One that keeps nothing for it (all cookies blocked) refuses even to be asked;
// then everything is as on a first visit.

/** `name` is `localStorage` or `sessionStorage`. */
export function storage(name) {
  try {
    return globalThis[name];
  } catch {
    return { getItem: () => null, setItem() {}, removeItem() {} };
  }
}
