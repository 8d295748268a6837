"""How long a question takes at 10,000 and 100,000 pieces: `python -m bench.search`.

Texts are drawn from the sentences of the tests' corpus, vectors at random (the product costs the same). The questions
are those of the corpus, embedded by the default model. The index is on disk; one round warms its pages.
"""

import argparse
import asyncio
import itertools
import random
import tempfile
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path

import numpy as np

from bench import report
from service.models.on_demand import OnDemand
from service.predictors.embedder import FleetEmbedder
from tests.uploads.corpus import CORPUS, questions
from tests.uploads.test_search_quality import open_default
from uploads.documents.document import Document
from uploads.documents.pieces import Piece
from uploads.index import Embedded, IndexedDocument, Question, Vector
from uploads.stores.index import SqliteIndex

PIECES_A_DOCUMENT = 500
SENTENCES_A_PIECE = 9  # about 200 word pieces
DIMENSIONS = 384
LIMIT = 10
OWNER = "bench"
VERSION = "bench"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pieces", type=int, nargs="+", default=[10_000, 100_000])
    sizes = parser.parse_args().pieces
    rows = asyncio.run(measured(sizes))
    report.show("A question to the search index, ms", report.machine(), rows)
    report.save("search", {"machine": report.machine(), "rows": rows})


async def measured(sizes: Sequence[int]) -> list[dict[str, str]]:
    embedder = FleetEmbedder(OnDemand("embeddings", open_default, patience_s=60).get)
    encoder = await embedder.open()
    texts = [question.text for question in questions()]
    asked = [(text, await encoder.embed_query(text)) for text in texts]
    embedding_s = [await timed(encoder.embed_query(text)) for text in texts]
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(await measure(Path(folder), size, asked, embedding_s))
    embedder.close()
    return rows


async def measure(
    folder: Path, size: int, asked: Sequence[tuple[str, Vector]], embedding_s: Sequence[float]
) -> dict[str, str]:
    index = SqliteIndex(folder)
    fill_s = await timed(fill(index, size))
    wanted = [Question(text, vector, VERSION, LIMIT) for text, vector in asked]
    first_s = await timed(index.search(OWNER, wanted[0]))
    alone_s = [await timed(index.search(OWNER, one)) for one in [*wanted, *wanted]][len(wanted) :]
    together_s = await timed(asyncio.gather(*(index.search(OWNER, one) for one in wanted)))
    disk = bytes_in(folder)
    await index.close()
    return {
        "pieces": f"{size:,}",
        "p50": f"{report.middle(alone_s) * 1000:.1f}",
        "p95": f"{report.percentile(alone_s, 0.95) * 1000:.1f}",
        "first": f"{first_s * 1000:.0f}",
        "questions/s": f"{len(wanted) / together_s:.0f}",
        "embedding p50": f"{report.middle(embedding_s) * 1000:.1f}",
        "pieces/s in": f"{size / fill_s:,.0f}",
        "disk MB": f"{disk / 1e6:.0f}",
    }


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


async def fill(index: SqliteIndex, size: int) -> None:
    dice = random.Random(7)
    generator = np.random.default_rng(7)
    sentences = known_sentences()
    for first in range(0, size, PIECES_A_DOCUMENT):
        count = min(PIECES_A_DOCUMENT, size - first)
        vectors = generator.standard_normal((count, DIMENSIONS), np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        texts = [". ".join(dice.choices(sentences, k=SENTENCES_A_PIECE)) for _ in range(count)]
        await index.put(OWNER, entry(f"u{first}", texts), Embedded(vectors, VERSION))


def known_sentences() -> list[str]:
    texts = (path.read_text().replace("\n", " ") for path in sorted((CORPUS / "files").iterdir()))
    return [sentence for text in texts for sentence in text.split(". ")]


def entry(upload_id: str, texts: Sequence[str]) -> IndexedDocument:
    starts = itertools.accumulate((len(text) + 1 for text in texts), initial=0)
    pieces = [
        Piece(number, start, start + len(text), 1, "", text)
        for number, (start, text) in enumerate(zip(starts, texts, strict=False))
    ]
    return IndexedDocument(upload_id, "bench.txt", Document("\n".join(texts), ()), pieces)


async def timed(work: Awaitable[object]) -> float:
    begin = time.perf_counter()
    await work
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
