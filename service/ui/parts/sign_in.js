// Asked for when the service wants to know who calls: a key, or a name and a password for a token.
import { ask } from "../api.js";
import { html, useState } from "../html.js";
import { closeSignIn, signIn } from "../session.js";
import { Dialog } from "./dialog.js";

/** What the service has taken, as `{kind, text}`; throws what it says of anything else. */
async function credentialFrom(way, field) {
  if (way === "password") {
    const { access_token: text } = await ask("POST", "/login", { username: field("username"), password: field("password") });
    return { kind: "token", text };
  }
  const found = { kind: "key", text: field("key").trim() };
  await ask("GET", "/protected", undefined, found);
  return found;
}

export function SignIn({ why }) {
  const [way, setWay] = useState("key");
  const [isKept, setKept] = useState(false);
  const [isAsked, setAsked] = useState(false);
  const [problem, setProblem] = useState(null);
  async function onSubmit(event) {
    event.preventDefault();
    const { elements } = event.target;
    setAsked(true);
    try {
      signIn(await credentialFrom(way, (name) => elements[name].value), isKept);
    } catch (refusal) {
      setProblem(refusal.message);
    }
    setAsked(false);
  }
  const choose = (name) => () => (setWay(name), setProblem(null));
  return html`
    <${Dialog} title="Sign in" onClose=${closeSignIn}>
      <form class="fields" onSubmit=${onSubmit}>
        <p class="quiet">${why}</p>
        <fieldset class="segments">
          <legend class="unseen">With</legend>
          <label><input type="radio" name="way" checked=${way === "key"} onChange=${choose("key")} /><span>API key</span></label>
          <label><input type="radio" name="way" checked=${way === "password"} onChange=${choose("password")} /><span>Password</span></label>
        </fieldset>
        ${way === "key"
          ? html`<label class="field"><span>Key</span><input name="key" type="password" autocomplete="off" pattern="\\s*[!-~]+\\s*" title="A key has no spaces in it" required autofocus /></label>`
          : html`
              <label class="field"><span>Name</span><input name="username" autocomplete="username" required /></label>
              <label class="field"><span>Password</span><input name="password" type="password" autocomplete="current-password" required /></label>
            `}
        <label class="check"><input type="checkbox" checked=${isKept} onChange=${(event) => setKept(event.target.checked)} /> Keep it until this tab is closed</label>
        ${problem && html`<p class="problem" role="alert">${problem}</p>`}
        <button class="primary" disabled=${isAsked}>Sign in</button>
      </form>
    <//>
  `;
}
