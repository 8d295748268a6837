"""Pictures: the text that is seen in them, line by line, with how sure the recognition is.

The models come in rapidocr's wheel; nothing is fetched.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from uploads.documents.document import Document, Section, assemble
from uploads.documents.errors import BrokenDocument, DocumentTooLarge
from uploads.documents.limits import DocumentLimits

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
SIDE_PIXELS = 2000  # what the recognition itself works with at most
SAME_LINE = 0.5  # of a line's height
BETWEEN_COLUMNS = "  "
WARM_SIDE = 64
THREADS = 1  # text for people who chat goes before pictures


@dataclass(frozen=True, slots=True)
class Words:
    """A run of text in a picture. `top`, `left` and `height` are in pixels of the recognised picture."""

    text: str
    confidence: float
    top: float
    left: float
    height: float


def read(path: Path, limits: DocumentLimits) -> Document:
    """One section for each frame: a scanner's TIFF holds a page in each, of an animation only the first counts."""
    sections: list[Section] = []
    with opened(path, limits) as image:
        for number, frame in enumerate(_frames(image), start=1):
            if number > limits.max_recognised_pages:
                raise DocumentTooLarge(f"The picture has more than {limits.max_recognised_pages} pages.")
            sections.append(Section(text_of(recognise(_prepared(frame, limits))), page=number))
    return assemble(sections, limits.max_characters, pages=len(sections))


def read_words(path: Path, limits: DocumentLimits) -> list[Words]:
    """Of the first frame."""
    with opened(path, limits) as image:
        return recognise(_prepared(image, limits))


@contextmanager
def opened(path: Path, limits: DocumentLimits) -> Iterator[Image.Image]:
    """The header is read; pixels come later. Raises `BrokenDocument` and `DocumentTooLarge`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sizes that our own bound judges, and about odd metadata
            with Image.open(path, formats=FORMATS) as image:
                _check_pixels(image, limits)
                yield image
    except Image.DecompressionBombError:
        raise _too_many_pixels(limits) from None
    except UnidentifiedImageError:
        raise BrokenDocument("The file is no picture, or a damaged one.") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow's decoders raise
        raise BrokenDocument("The picture is damaged.") from error


def recognise(image: Image.Image) -> list[Words]:
    """From top to bottom, and from left to right."""
    found = _engine()(image)
    boxes = found.boxes if found.boxes is not None else ()
    words = [
        Words(text, float(score), top=float(box[:, 1].min()), left=float(box[:, 0].min()), height=float(_height(box)))
        for text, score, box in zip(found.txts or (), found.scores or (), boxes, strict=True)
    ]
    return sorted(words, key=lambda one: (one.top, one.left))


def text_of(words: Sequence[Words]) -> str:
    """What stands side by side goes on one line: columns of a table, a label and its value."""
    lines: list[list[Words]] = []
    for one in words:
        if lines and abs(one.top - lines[-1][0].top) < SAME_LINE * lines[-1][0].height:
            lines[-1].append(one)
        else:
            lines.append([one])
    ordered = (sorted(line, key=lambda one: one.left) for line in lines)
    return "\n".join(BETWEEN_COLUMNS.join(one.text for one in line) for line in ordered)


def _frames(image: Image.Image) -> Iterator[Image.Image]:
    yield from ImageSequence.Iterator(image) if image.format == "TIFF" else (image,)


def _prepared(image: Image.Image, limits: DocumentLimits) -> Image.Image:
    """In a mode that the recognition reads; it chooses a ground for transparency."""
    turned = upright(image, limits)
    return turned.convert("RGBA" if turned.has_transparency_data else "RGB")


def upright(image: Image.Image, limits: DocumentLimits) -> Image.Image:
    """As a viewer shows it, and no larger than is of use. Raises what Pillow raises: only within `opened`."""
    _check_pixels(image, limits)
    image.draft("RGB", (SIDE_PIXELS, SIDE_PIXELS))
    turned = ImageOps.exif_transpose(image)
    turned.thumbnail((SIDE_PIXELS, SIDE_PIXELS))
    return turned


def _check_pixels(image: Image.Image, limits: DocumentLimits) -> None:
    if image.width * image.height > limits.max_pixels:
        raise _too_many_pixels(limits)


def _too_many_pixels(limits: DocumentLimits) -> DocumentTooLarge:
    return DocumentTooLarge(f"The picture has more than {limits.max_pixels:,} pixels.")


def _height(box: Any) -> Any:
    return box[:, 1].max() - box[:, 1].min()


def warm_up() -> None:
    """Loads what recognition needs, in a process that pictures are then read in forks of."""
    recognise(Image.new("RGB", (WARM_SIDE, WARM_SIDE), "white"))


@cache
def _engine() -> Any:
    """One for each process, made when the first picture comes."""
    from rapidocr import RapidOCR  # noqa: PLC0415  half a second, and only pictures need it

    return RapidOCR(params={"Global.log_level": "critical", "EngineConfig.onnxruntime.intra_op_num_threads": THREADS})
