// Where the page begins.
import { html, render } from "./html.js";
import { App } from "./parts/app.js";
import { refuseElsewhere } from "./parts/drop_zone.js";

render(html`<${App} />`, document.getElementById("page"));
refuseElsewhere();

// Only https and localhost have workers; elsewhere the page works as well, but needs the service to open.
if ("serviceWorker" in navigator) navigator.serviceWorker.register(trusted("/worker.js")).catch(() => {});

/** Where a browser asks for it: a script's address from this one place, which knows only one. */
function trusted(address) {
  if (!("trustedTypes" in globalThis)) return address;
  return globalThis.trustedTypes.createPolicy("headwater", { createScriptURL: () => "/worker.js" }).createScriptURL(address);
}
