// How answers are made, as this browser keeps it. An option that is empty is the model's default.
import { keptCell } from "./cell.js";

export const options = keptCell("options", { model: "", system: "", temperature: "", max_tokens: "", seed: "" });

export function setOption(name, value) {
  options.value = { ...options.value, [name]: value };
}

/** The fields of a request; numbers as numbers, nothing that is empty. */
export function requestOptions(chosen) {
  const fields = {};
  for (const name of ["model", "system"]) if (chosen[name].trim() !== "") fields[name] = chosen[name];
  for (const name of ["temperature", "max_tokens", "seed"]) {
    if (String(chosen[name]).trim() !== "") fields[name] = Number(chosen[name]);
  }
  return fields;
}

export const isChanged = (chosen) => Object.keys(requestOptions({ ...chosen, model: "" })).length > 0;
