// What a screen reader hears of an answer: whole sentences, one after the other, never single tokens.
const SENTENCE = /[\s\S]*?(?:[.!?…:;](?=\s)|\n)/y;
const KEPT = 6;

const region = () => document.getElementById("speech");

export function say(text) {
  const plain = text.replace(/```\w*|[*_`#>|]+|\[(.*?)\]\(.*?\)/g, "$1").replace(/\s+/g, " ").trim();
  if (plain === "") return;
  const line = document.createElement("p");
  line.textContent = plain;
  region().append(line);
  while (region().childElementCount > KEPT) region().firstElementChild.remove();
}

/** Follows a growing text from `from` on; `hear(text, isDone)` says each sentence once it is whole. */
export function reader(from) {
  let said = from;
  return (text, isDone) => {
    SENTENCE.lastIndex = said;
    const found = [];
    for (let match = SENTENCE.exec(text); match !== null && match[0] !== ""; match = SENTENCE.exec(text)) {
      found.push(match[0]);
      said += match[0].length;
    }
    if (isDone) found.push(text.slice(said));
    if (isDone) said = text.length;
    say(found.join(" "));
  };
}
