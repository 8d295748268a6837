// The page: a question, an answer that grows, a stop button.
import { askByFetch } from "./by_fetch.js";
import { askBySource } from "./by_source.js";

const [form, question, answer, state, stop] = ["form", "question", "answer", "state", "stop"].map((id) =>
  document.getElementById(id),
);
const ways = { source: askBySource, fetch: askByFetch };

const on = {
  text: (text) => answer.append(text),
  state: (words) => (state.textContent = words),
  end({ finish_reason: reason, usage, timings }) {
    on.over(`${reason}: ${usage.completion_tokens} tokens, ${Math.round(timings.tokens_per_second)} a second`);
  },
  over(words) {
    on.state(words);
    setBusy(false);
  },
};

/** One answer at a time. */
function setBusy(isBusy) {
  stop.disabled = !isBusy;
  for (const way of form.elements.way) way.disabled = isBusy;
}

form.onsubmit = async (event) => {
  event.preventDefault();
  answer.textContent = "";
  on.state("asking");
  setBusy(true);
  stop.onclick = null;
  try {
    stop.onclick = await ways[event.submitter.value]([{ role: "user", content: question.value }], on);
  } catch (error) {
    on.over(error.message);
  }
};
