"""Questions with known answers over a company's documents, from the files to the ranking, with the real model."""

from pathlib import Path

import pytest

from service.models.config import load_catalog
from service.models.on_demand import OnDemand
from service.models.store import ModelStore
from service.predictors.embedder import FleetEmbedder
from service.predictors.embedding import EmbeddingModel, load_embedding
from service.settings import default_models_dir
from tests.uploads.corpus import questions, write_corpus
from tests.uploads.libraries import open_shelf

FIRST = 5
SHARE = 0.9


def open_default() -> EmbeddingModel:
    prepared = ModelStore(default_models_dir()).prepared(load_catalog()["embeddings"])
    assert prepared is not None, "run `headwater models pull`"
    return load_embedding(prepared.path, name=prepared.name, version=prepared.version)


@pytest.mark.model
async def test_the_right_piece_is_among_the_first_five(tmp_path: Path) -> None:
    embedder = FleetEmbedder(OnDemand("embeddings", open_default, patience_s=60).get)
    paths, asked = write_corpus(tmp_path), questions()
    missed: list[str] = []
    async with open_shelf(tmp_path / "data", embedder) as shelf:
        for path in paths:
            await shelf.library.ingest(await shelf.keep(path))
        for question in asked:
            hits = await shelf.library.best_pieces(question.text, "ann", None, FIRST)
            if not any(question.is_answered_by(hit.filename, hit.piece.text) for hit in hits):
                missed.append(question.text)
    embedder.close()
    assert len(paths) >= 20
    assert len(asked) >= 60
    assert len(asked) - len(missed) >= SHARE * len(asked), missed
