// A form for each model, made from its own schema: what it takes, and what it answers.
import { ask } from "../api.js";
import { useCell } from "../cell.js";
import { html, useEffect, useState } from "../html.js";
import { fieldsOf, recordOf } from "../schema.js";
import { credential } from "../session.js";
import { Answer } from "./try_answer.js";

const DOORS = { classifier: "/classify", embedding: "/embed" };

const TEXT = { properties: { text: { type: "string" } }, required: ["text"] };
const RECORD = [{ name: "record", kind: "json", title: "record", hint: "As JSON: its fields are known once it is loaded, which asking does.", isRequired: true }];

/** A model that is not loaded has no schema yet; those behind a door of their own take a text. */
function fieldsOfModel(model) {
  if (model === null) return [];
  if (model.input_schema) return fieldsOf(model.input_schema);
  return DOORS[model.task] ? fieldsOf(TEXT) : RECORD;
}

/** Where a model of this kind is asked, and with what. */
function question(model, record) {
  const door = DOORS[model.task];
  return door ? [door, { ...record, model_name: model.name }] : [`/predict/${encodeURIComponent(model.name)}`, record];
}

export function View() {
  const held = useCell(credential);
  const [models, setModels] = useState(null);
  const [name, setName] = useState("");
  const [problem, setProblem] = useState(null);
  useEffect(() => {
    ask("GET", "/models").then(
      ({ models: found }) => {
        setModels(found.filter((one) => one.task !== "image"));
        setProblem(null);
      },
      (refusal) => setProblem(refusal.message),
    );
  }, [held]);
  const chosen = name || models?.[0]?.name;
  return html`
    <div class="view">
      <h2>Try</h2>
      ${problem && html`<p class="problem" role="alert">${problem}</p>`}
      ${models?.length > 0 &&
      html`
        <label class="field narrow"><span>Model</span>
          <select value=${chosen} onChange=${(event) => setName(event.target.value)}>${models.map((one) => html`<option value=${one.name}>${one.name} (${one.task})</option>`)}</select>
        </label>
        <${Form} key=${chosen} name=${chosen} />
      `}
    </div>
  `;
}

function Form({ name }) {
  const [model, setModel] = useState(null);
  const [values, setValues] = useState({});
  const [answer, setAnswer] = useState(null);
  const [isAsked, setAsked] = useState(false);
  const [problem, setProblem] = useState(null);
  const load = () => ask("GET", `/models/${encodeURIComponent(name)}`).then(setModel, (refusal) => setProblem(refusal.message));
  useEffect(() => void load(), []);
  const fields = fieldsOfModel(model);
  const set = (field) => (value) => setValues((before) => ({ ...before, [field]: value }));
  async function onSubmit(event) {
    event.preventDefault();
    setAsked(true);
    setProblem(null);
    try {
      const { record, ...named } = recordOf(fields, values);
      setAnswer(await ask("POST", ...question(model, fields === RECORD ? record : named)));
      if (!model.input_schema) await load();
    } catch (error) {
      setAnswer(null);
      setProblem(error.message);
    }
    setAsked(false);
  }
  const drawn = (one) => html`<${Field} key=${one.name} field=${one} value=${values[one.name]} onValue=${set(one.name)} />`;
  const first = fields.filter((one) => one.isRequired || one.name === "text");
  const rest = fields.filter((one) => !first.includes(one));
  return html`
    <form class="fields" onSubmit=${onSubmit}>
      <div class=${first.length > 3 ? "three" : "fields"}>${first.map(drawn)}</div>
      ${rest.length > 0 && html`<details open=${first.length === 0}><summary>More fields</summary><div class="three">${rest.map(drawn)}</div></details>`}
      ${model && html`<p><button class="primary" disabled=${isAsked}>${isAsked ? "Asking…" : "Ask"}</button></p>`}
    </form>
    ${problem && html`<p class="problem" role="alert">${problem}</p>`}
    <div role="status">${answer && html`<${Answer} answer=${answer} />`}</div>
  `;
}

function Field({ field, value = "", onValue }) {
  const onInput = (event) => onValue(event.target.value);
  const required = field.isRequired;
  if (field.kind === "boolean") {
    return html`<label class="check"><input type="checkbox" checked=${value === true} onChange=${(event) => onValue(event.target.checked)} /> ${field.title}</label>`;
  }
  return html`
    <label class="field">
      <span>${field.title}</span>
      ${field.kind === "text" || field.kind === "json"
        ? html`<textarea rows=${field.kind === "text" ? 4 : 2} value=${value} required=${required} onInput=${onInput}></textarea>`
        : field.kind === "choice"
          ? html`<select value=${value} required=${required} onChange=${onInput}><option value="">choose</option>${field.choices.map((one) => html`<option>${one}</option>`)}</select>`
          : ["number", "integer"].includes(field.kind)
            ? html`<input type="number" step=${field.kind === "integer" ? 1 : "any"} value=${value} required=${required} onInput=${onInput} ...${field.bounds} />`
            : html`<input value=${value} required=${required} placeholder=${field.kind === "list" ? "one, two" : ""} onInput=${onInput} />`}
      ${field.hint && html`<small>${field.hint}</small>`}
    </label>
  `;
}
