"""Two ways to choose between labels that no model was trained for, on the texts that the tests are labelled with.

    python -m bench.zero_shot [--every 3]

The way that is served is `service/predictors/zero_shot.py`, by an encoder. The other one is written down here: how
likely the language model finds each label after the text, less how likely it finds it after one that says nothing.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from service.models.config import load_catalog
from service.models.store import ModelStore
from service.predictors.limits import RecordLimits
from service.predictors.zero_shot import load_zero_shot
from service.settings import default_models_dir

LABELLED = Path(__file__).parent.parent / "tests" / "service" / "predictors" / "labelled"
SETS = ("sentiment", "topics", "support")
NOTHING_SAID = ("N/A", "", "[MASK]")
ROWS_AT_ONCE = 16
PROMPTS: Mapping[str, Callable[[str, Sequence[str]], str]] = {
    "Overall, this is …": lambda text, labels: f"{text}\nOverall, this is",
    "Label (… or …): …": lambda text, labels: f"Text: {text}\nLabel ({' or '.join(labels)}):",
}
Scores: TypeAlias = NDArray[np.float64]
Choose: TypeAlias = Callable[[Sequence[str], Sequence[str]], Scores]


class LabelLikelihood:
    """The logarithm of a label's probability after a prompt, over all its tokens."""

    def __init__(self) -> None:
        from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

        from streaming.engines.torch.general import open_model  # noqa: PLC0415  seconds to import

        prepared = ModelStore(default_models_dir()).prepared(load_catalog()["default"])
        assert prepared, "run `headwater models pull` first"
        with torch.inference_mode():
            self._model = open_model(prepared.path, dtype=torch.float32, device=torch.device("cpu"), quantized=False)
        self._tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(prepared.path)

    def scores(self, prompts: Sequence[str], labels: Sequence[str]) -> Scores:
        pairs = [(self._ids(prompt), self._ids(" " + label)) for prompt in prompts for label in labels]
        order = sorted(range(len(pairs)), key=lambda place: len(pairs[place][0]))
        found = np.empty(len(pairs))
        for begin in range(0, len(order), ROWS_AT_ONCE):
            places = order[begin : begin + ROWS_AT_ONCE]
            found[places] = self._batch([pairs[place] for place in places])
        return found.reshape(len(prompts), len(labels))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text)["input_ids"]
        return ids

    @torch.inference_mode()
    def _batch(self, pairs: Sequence[tuple[list[int], list[int]]]) -> list[float]:
        rows = [torch.tensor(prompt + label) for prompt, label in pairs]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        logits = self._model(input_ids=ids, attention_mask=mask).logits
        return [
            float(row[len(prompt) - 1 : len(prompt) + len(label) - 1].log_softmax(-1).gather(
                1, torch.tensor(label)[:, None]).sum())
            for row, (prompt, label) in zip(logits, pairs, strict=True)
        ]  # fmt: skip


def by_language_model(model: LabelLikelihood, prompt: str, *, is_calibrated: bool) -> Choose:
    def choose(texts: Sequence[str], labels: Sequence[str]) -> Scores:
        scores = model.scores([PROMPTS[prompt](text, labels) for text in texts], labels)
        if not is_calibrated:
            return scores
        nothing: Scores = model.scores([PROMPTS[prompt](text, labels) for text in NOTHING_SAID], labels).mean(0)
        return scores - nothing

    return choose


def by_encoder() -> Choose:
    entry = load_catalog()["sentiment"]
    prepared = ModelStore(default_models_dir()).prepared(entry)
    assert prepared, "run `headwater models pull` first"
    assert entry.labels
    model = load_zero_shot(
        prepared.path, name="sentiment", version="", labels=entry.labels, descriptions=entry.descriptions or {},
        limits=RecordLimits(),
    )  # fmt: skip

    def choose(texts: Sequence[str], labels: Sequence[str]) -> Scores:
        answers = model.predict([model.read({"text": text, "labels": list(labels)}) for text in texts])
        return np.array([list(answer["scores"].values()) for answer in answers])

    return choose


def measured(choose: Choose, name: str, every: int) -> str:
    rows = [json.loads(line) for line in (LABELLED / f"{name}.jsonl").read_text().splitlines()]
    labels = list(dict.fromkeys(row["label"] for row in rows))
    rows = rows[::every]
    began = time.perf_counter()
    scores = choose([row["text"] for row in rows], labels)
    took_ms = (time.perf_counter() - began) / len(rows) * 1000
    right = sum(labels[best] == row["label"] for best, row in zip(scores.argmax(1), rows, strict=True))
    return f"{right / len(rows):.3f} of {len(rows)}, {took_ms:.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="take every n-th text only")
    every = parser.parse_args().every
    print("| way |", " | ".join(SETS), "|", flush=True)
    print("|---" * (len(SETS) + 1) + "|")
    table: list[tuple[str, Choose]] = [("encoder", by_encoder())]
    model = LabelLikelihood()
    for prompt in PROMPTS:
        table.append((f"language model, “{prompt}”", by_language_model(model, prompt, is_calibrated=False)))
        table.append(("the same, calibrated", by_language_model(model, prompt, is_calibrated=True)))
    for way, choose in table:
        print(f"| {way} |", " | ".join(measured(choose, name, every) for name in SETS), "|", flush=True)


if __name__ == "__main__":
    main()
