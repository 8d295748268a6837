// Text for the clipboard, also where a page may only offer it by selecting it.

/** How long a button says what became of it. */
export const SHOWN_MS = 1500;

/** False where the browser does not let the page write to the clipboard. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** Pages that are neither https nor localhost have no clipboard of the newer kind. */
function copyBySelection(text) {
  const field = document.createElement("textarea");
  field.className = "unseen";
  field.value = text;
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  return isCopied;
}
