// A value that tells who reads it when it changes. All state that is shared lives in cells.
import { storage } from "./storage.js";
import { useLayoutEffect, useReducer } from "./vendor/hooks.mjs";

export function cell(value) {
  const readers = new Set();
  return {
    get value() {
      return value;
    },
    set value(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const reader of [...readers]) reader(next);
    },
    subscribe(reader) {
      readers.add(reader);
      return () => readers.delete(reader);
    },
  };
}

export function useCell(source) {
  const [, draw] = useReducer((count) => count + 1, 0);
  useLayoutEffect(() => source.subscribe(draw), [source]);
  return source.value;
}

/** A cell whose value outlives the page, as JSON in this browser. */
export function keptCell(name, initial) {
  const key = `headwater.${name}`;
  const local = storage("localStorage");
  const kept = local.getItem(key);
  const made = cell(kept === null ? initial : parsed(kept, initial));
  made.subscribe((value) => local.setItem(key, JSON.stringify(value)));
  return made;
}

function parsed(text, otherwise) {
  try {
    return JSON.parse(text);
  } catch {
    return otherwise;
  }
}
