// Keeps the page itself, so that it opens without a network and earlier conversations can be read. What the service
// answers is never kept: only `/` and the page's own files pass through here.
const CACHE = "headwater-page";

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));

addEventListener("fetch", (event) => {
  const { method, mode, url } = event.request;
  const { origin, pathname } = new URL(url);
  if (method !== "GET" || origin !== location.origin) return;
  if (mode === "navigate" && pathname === "/") event.respondWith(newest(event.request));
  else if (pathname.startsWith("/ui/")) event.respondWith(kept(event.request));
});

/** The page as it is now; without a network as it was. */
async function newest(request) {
  const cache = await caches.open(CACHE);
  try {
    const answer = await fetch(request);
    if (answer.ok) await cache.put("/", answer.clone());
    return answer;
  } catch (error) {
    const found = await cache.match("/");
    if (found === undefined) throw error;
    return found;
  }
}

/** A file under its version never changes. Those of other versions go when a new one comes. */
async function kept(request) {
  const cache = await caches.open(CACHE);
  const found = await cache.match(request);
  if (found !== undefined) return found;
  const answer = await fetch(request);
  if (answer.ok) {
    await cache.put(request, answer.clone());
    await forgetOthers(cache, versionOf(request.url));
  }
  return answer;
}

const versionOf = (url) => new URL(url).pathname.split("/")[2];

async function forgetOthers(cache, version) {
  for (const request of await cache.keys()) {
    if (new URL(request.url).pathname.startsWith("/ui/") && versionOf(request.url) !== version) await cache.delete(request);
  }
}
