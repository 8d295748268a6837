// Asked for when the service wants to know who calls: a key, or a name and a password for a token.
import { ask } from "../api.js";
import { html, useState } from "../html.js";
import { signIn, signInWanted } from "../session.js";
import { Dialog } from "./dialog.js";

export function SignIn() {
  const [way, setWay] = useState("key");
  const [isKept, setKept] = useState(false);
  const [problem, setProblem] = useState(null);
  async function onSubmit(event) {
    event.preventDefault();
    const field = (name) => event.target.elements[name].value.trim();
    try {
      if (way === "key") signIn("key", field("key"), isKept);
      else {
        const { access_token: token } = await ask("POST", "/login", { username: field("username"), password: field("password") });
        signIn("token", token, isKept);
      }
    } catch (refusal) {
      setProblem(refusal.message);
    }
  }
  return html`
    <${Dialog} title="Sign in" onClose=${() => (signInWanted.value = false)}>
      <form class="fields" onSubmit=${onSubmit}>
        <p class="quiet">This service wants to know who asks.</p>
        <fieldset class="segments">
          <legend class="unseen">With</legend>
          <label><input type="radio" name="way" checked=${way === "key"} onChange=${() => setWay("key")} /><span>API key</span></label>
          <label><input type="radio" name="way" checked=${way === "password"} onChange=${() => setWay("password")} /><span>Password</span></label>
        </fieldset>
        ${way === "key"
          ? html`<label class="field"><span>Key</span><input name="key" type="password" autocomplete="off" required autofocus /></label>`
          : html`
              <label class="field"><span>Name</span><input name="username" autocomplete="username" required /></label>
              <label class="field"><span>Password</span><input name="password" type="password" autocomplete="current-password" required /></label>
            `}
        <label class="check"><input type="checkbox" checked=${isKept} onChange=${(event) => setKept(event.target.checked)} /> Keep it until this tab is closed</label>
        ${problem && html`<p class="problem" role="alert">${problem}</p>`}
        <button class="primary">Sign in</button>
      </form>
    <//>
  `;
}
