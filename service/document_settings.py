"""The settings of documents: how much of a file is read, how it is cut, how it is searched."""

from pydantic import BaseModel, ConfigDict, Field

from uploads.documents.limits import DocumentLimits
from uploads.sandbox import Bounds

MIB = 1024 * 1024


class DocumentSettings(BaseModel):
    """Files that are read and searched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_pages: int = Field(default=2000, ge=1, le=100_000, description="Pages of a document.")
    max_characters: int = Field(default=5_000_000, ge=1, le=9_000_000, description="Characters of a document's text.")
    max_rows: int = Field(default=200_000, ge=1, description="Rows of a table, lines of JSON lines, paragraphs.")
    max_depth: int = Field(default=64, ge=1, le=500, description="How deep JSON may be nested.")
    max_pixels: int = Field(default=40_000_000, ge=1, description="Pixels of a picture, by its own header.")
    max_recognised_pages: int = Field(
        default=50, ge=0, description="Pages of one document that are only pictures and are read by text recognition."
    )
    max_unpacked_bytes: int = Field(
        default=256 * 1024 * 1024, ge=1024, description="What a Word document may unpack to."
    )
    piece_word_pieces: int = Field(
        default=200,
        ge=16,
        le=8192,
        description="The longest piece of a document, in word pieces; fewer than the model reads at once.",
    )
    piece_overlap_word_pieces: int = Field(
        default=40, ge=0, le=4096, description="What a piece repeats of the one before it."
    )
    parse_timeout_s: float = Field(default=300.0, gt=0, description="How long reading one file may take.")
    parse_cpu_s: int = Field(default=300, ge=1, description="Processor time that reading one file may take.")
    parse_memory_mib: int = Field(
        default=2048, ge=256, description="Address space for reading one file; text recognition needs 1536."
    )
    parse_processes: int = Field(default=2, ge=1, le=256, description="Files that are read at once.")
    recognition_idle_s: float = Field(
        default=600.0,
        ge=0,
        description="How long text recognition stays loaded, in about 250 MiB, after the last picture.",
    )
    max_query_chars: int = Field(default=4000, ge=1, description="The longest question to the search.")
    max_top_k: int = Field(default=50, ge=1, le=1000, description="Pieces that one search gives at most.")
    max_upload_ids: int = Field(default=100, ge=1, le=500, description="Uploads that one search can be limited to.")

    @property
    def limits(self) -> DocumentLimits:
        return DocumentLimits(
            max_pages=self.max_pages,
            max_characters=self.max_characters,
            max_rows=self.max_rows,
            max_pixels=self.max_pixels,
            max_depth=self.max_depth,
            max_unpacked_bytes=self.max_unpacked_bytes,
            max_recognised_pages=self.max_recognised_pages,
        )

    @property
    def bounds(self) -> Bounds:
        """Of a process that reads one file."""
        return Bounds(self.parse_timeout_s, self.parse_cpu_s, self.parse_memory_mib * MIB)
