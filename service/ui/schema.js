// From a model's schema to the fields of a form, and from what was written there to a record. Plain data, no drawing.

/** `[{name, kind, title, hint, isRequired, choices, bounds}]`; kinds are text, line, number, integer, boolean, choice, list and json. */
export function fieldsOf(schema) {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).map(([name, given]) => {
    const plain = withoutNull(resolved(given, schema));
    return {
      name,
      kind: kindOf(name, plain, schema),
      title: name.replaceAll("_", " "),
      hint: given.description ?? "",
      isRequired: required.has(name),
      choices: plain.enum ?? [],
      itemKind: plain.type === "array" ? (resolved(plain.items ?? {}, schema).type ?? "string") : null,
      bounds: { min: plain.minimum, max: plain.maximum },
    };
  });
}

function resolved(given, schema) {
  const name = given.$ref?.split("/").at(-1);
  return name ? (schema.$defs?.[name] ?? {}) : given;
}

function withoutNull(given) {
  const others = (given.anyOf ?? []).filter((one) => one.type !== "null");
  const found = others.length > 0 ? others[0] : given;
  if (!Array.isArray(found.type)) return found;
  return { ...found, type: found.type.find((one) => one !== "null") };
}

function kindOf(name, { type, enum: choices, items }, schema) {
  if (choices) return "choice";
  if (type === "string") return name === "text" ? "text" : "line";
  if (type === "number" || type === "integer" || type === "boolean") return type;
  const inner = type === "array" ? resolved(items ?? {}, schema).type : null;
  return ["string", "number", "integer", undefined].includes(inner) && type === "array" ? "list" : "json";
}

/** The record of a form. Empty fields are left out; what is no JSON raises an Error in words. */
export function recordOf(fields, values) {
  const record = {};
  for (const field of fields) {
    const value = values[field.name];
    if (value === undefined || value === "") continue;
    record[field.name] = read(field, value);
  }
  return record;
}

function read({ name, kind, itemKind }, value) {
  if (kind === "number" || kind === "integer") return Number(value);
  if (kind === "list") {
    const items = value.split(/[,\n]/).map((one) => one.trim()).filter(Boolean);
    return itemKind === "string" ? items : items.map(Number);
  }
  if (kind !== "json") return value;
  try {
    return JSON.parse(value);
  } catch {
    throw new Error(`${name}: this is not JSON.`);
  }
}
