// A conversation is a tree: what is edited or asked again stands beside what was there. All of this is plain data.
export const ROOT = "";

export function childrenOf(messages, parent) {
  return [...messages.values()].filter((one) => one.parent === parent).sort((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1));
}

/** The messages that are shown: from the root always the chosen child, the newest where none was chosen. */
export function pathOf(messages, chosen) {
  const path = [];
  let parent = ROOT;
  for (;;) {
    const children = childrenOf(messages, parent);
    if (children.length === 0) return path;
    const next = children.find((one) => one.id === chosen[parent]) ?? children.at(-1);
    path.push({ message: next, place: children.indexOf(next), siblings: children });
    parent = next.id;
  }
}

export function ancestorsOf(messages, id) {
  const found = [];
  for (let one = messages.get(id); one !== undefined; one = messages.get(one.parent)) found.unshift(one);
  return found;
}

export function descendantsOf(messages, id) {
  const found = [id];
  for (let at = 0; at < found.length; at++) {
    for (const one of messages.values()) if (one.parent === found[at]) found.push(one.id);
  }
  return found;
}

/** What the model is sent: messages that say something, and the files they brought. */
export function requestOf(path) {
  const said = path.filter((one) => one.text.trim() !== "");
  const uploads = path.flatMap((one) => one.attachments ?? []).map((one) => one.upload_id);
  return {
    messages: said.map((one) => ({ role: one.role, content: one.text })),
    ...(uploads.length > 0 ? { upload_ids: [...new Set(uploads)] } : {}),
  };
}
