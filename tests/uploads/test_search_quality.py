"""Questions with known answers over a company's documents, from the files to the ranking, with the real model."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.grounding import GroundingLimits, LibraryGrounding
from service.models.config import load_catalog
from service.models.on_demand import OnDemand
from service.models.store import ModelStore
from service.predictors.embedder import FleetEmbedder
from service.predictors.embedding import EmbeddingModel, load_embedding
from service.settings import default_models_dir
from streaming.grounding import Ask
from streaming.predictor import Message, TextRequest
from tests.uploads.corpus import Question, questions, write_corpus
from tests.uploads.libraries import Shelf, open_shelf
from uploads.index import IndexedDocument

FIRST = 5
SHARE = 0.9
REFUSALS = (
    "I'm sorry, but I don't know.",
    "The provided text does not contain any information about this.",
    "I'm sorry, but the document does not mention: {about}.",
    "There is no mention of {about} in the file. I recommend that you contact the company for more information.",
    "I cannot answer this question from the given pieces of the text.",
    "Based on the information provided, it is not possible to determine {about}.",
    "Unfortunately this is not specified in the document.",
)


def open_default() -> EmbeddingModel:
    prepared = ModelStore(default_models_dir()).prepared(load_catalog()["embeddings"])
    assert prepared is not None, "run `headwater models pull`"
    return load_embedding(prepared.path, name=prepared.name, version=prepared.version)


@pytest.mark.model
async def test_the_right_piece_is_among_the_first_five_and_is_quoted_when_it_is_told(tmp_path: Path) -> None:
    embedder = FleetEmbedder(OnDemand("embeddings", open_default, patience_s=60).get)
    paths, asked = write_corpus(tmp_path), questions()
    assert (len(paths) >= 20, len(asked) >= 60) == (True, True)
    async with open_shelf(tmp_path / "data", embedder) as shelf:
        kept = {path.name: await shelf.keep(path) for path in paths}
        entries = {name: await shelf.library.ingest(upload) for name, upload in kept.items()}
        missed = [question.text for question in asked if not await is_found(shelf, question)]
        grounding = LibraryGrounding(shelf.uploads, shelf.library, GroundingLimits())
        unquoted: list[str] = []
        refused: list[str] = []
        for number, question in enumerate(asked):
            grounded = await grounding.prepare(ask(question, kept[question.file].id), lambda progress: None)
            quotes = await grounded.cite(told(question, entries[question.file]))
            if not any(question.is_answered_by(quote.filename, quote.text) for quote in quotes):
                unquoted.append(question.text)
            refusal = REFUSALS[number % len(REFUSALS)].format(about=question.text.rstrip("?"))
            if quotes := await grounded.cite(refusal):
                refused.append(f"{refusal} <- {quotes[0].text}")
    embedder.close()
    assert len(missed) <= (1 - SHARE) * len(asked), missed
    assert len(unquoted) <= (1 - SHARE) * len(asked), unquoted
    assert len(refused) <= 2, refused


async def is_found(shelf: Shelf, question: Question) -> bool:
    hits = await shelf.library.best_pieces(question.text, "ann", None, FIRST)
    return any(question.is_answered_by(hit.filename, hit.piece.text) for hit in hits)


def told(question: Question, entry: IndexedDocument) -> str:
    """As a model says it that has read the right piece: its first line with the answer."""
    piece = next(one for one in entry.pieces if question.is_answered_by(entry.filename, one.text))
    lines = re.split(r"(?<=[.!?])\s+|\n\n", piece.text)
    return next(line for line in lines if question.answer[0] in " ".join(line.split()))


def ask(question: Question, upload_id: str) -> Ask:
    async def count_words(texts: Sequence[str]) -> Sequence[int]:
        return [len(text.split()) for text in texts]

    return Ask(TextRequest([Message("user", question.text)]), "ann", [upload_id], 2048, count_words)
