"""`models.toml`: which models there are, where they come from and how they are run. Reads files, fetches nothing."""

import shlex
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from service.models.errors import InvalidModels, UnknownModel
from service.models.kinds import WITHOUT_SOURCE, KindOptions, check_options, layout_of
from service.models.layout import ModelKind
from service.models.reference import Reference, parse_reference

Table: TypeAlias = dict[str, Any]
ModelName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Sha256: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

CATALOG = Path(__file__).with_name("catalog.toml")
STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class GenerationDefaults(BaseModel):
    """What a request gets when it does not say. None leaves it to the engine."""

    model_config = STRICT

    temperature: float | None = Field(default=None, ge=0, le=10)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    max_tokens: int | None = Field(default=None, ge=1)


class SelfTest(BaseModel):
    """An input with its known answer: a prompt and what its answer holds, or a record and fields of what it gives."""

    model_config = STRICT

    input: str | Table
    output: str | Table | None = None
    tolerance: float = Field(default=1e-6, ge=0)


class ModelEntry(KindOptions):
    """One model. `references` are the parts of one file in order, or a single file, package or folder.

    `file` is the member of a package or of a hub's repository; one that ends with `/` is a folder of a package.
    `size_bytes` and `sha256` are those of that file after joining; of a folder `digests` has the sha256 of every file
    that is taken from it, by its path.
    """

    model_config = STRICT

    name: ModelName
    kind: ModelKind = "language"
    references: tuple[Reference, ...] = ()
    file: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = None
    size_bytes: int | None = Field(default=None, ge=1)
    sha256: Sha256 | None = None
    digests: dict[str, Sha256] = Field(default_factory=dict)
    load: bool | Literal["start", "first_use"] = True
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    quantization: Literal["auto", "none"] = "auto"
    max_context_tokens: int | None = Field(default=None, ge=16)
    unload_after_s: float | None = Field(default=None, gt=0)
    watch_interval_s: float | None = Field(default=None, ge=0.1)
    self_test: Annotated[tuple[SelfTest, ...], Field(strict=False)] = ()
    defaults: GenerationDefaults = GenerationDefaults()

    @property
    def loads_at_start(self) -> bool:
        """`load = true` leaves it to the kind."""
        return self.load == "start" or (self.load is True and self.kind == "language")

    @property
    def layout(self) -> ModelKind:
        """Whose files it is made of."""
        return layout_of(self.kind, self)


def load_catalog() -> dict[str, ModelEntry]:
    """The models that come with Headwater."""
    tables = _read(CATALOG)
    return _entries(tables, CATALOG, tables)


def load_models(path: Path | None) -> dict[str, ModelEntry]:
    """The models of `path`; without one, the catalog. Raises `InvalidModels` with one line that says where."""
    if path is None:
        return load_catalog()
    tables = _read(path)
    if not tables:
        raise InvalidModels(f"{path}: names no model; a model starts with a line such as [models.default]")
    return _entries(tables, path, _read(CATALOG))


def language_models(path: Path | None) -> dict[str, ModelEntry]:
    """Those that are loaded at the start; the others wait until somebody needs them."""
    return {
        name: entry for name, entry in load_models(path).items() if entry.loads_at_start and entry.kind == "language"
    }


def served_models(path: Path | None) -> dict[str, ModelEntry]:
    """Those of the list, and for each kind that it has no model of the built-in ones; language models are chosen."""
    listed = {name: entry for name, entry in load_models(path).items() if entry.load}
    kinds = {"language", *(entry.kind for entry in listed.values())}
    builtin = {name: entry for name, entry in load_catalog().items() if entry.load and entry.kind not in kinds}
    return {**builtin, **listed}


def pull_command(path: Path | None, *names: str) -> str:
    """What to type to fetch models of this list; without names all that are served."""
    options = [] if path is None else ["--models", str(path)]
    return shlex.join(["headwater", "models", "pull", *options, *names])


def _read(path: Path) -> dict[str, Table]:
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InvalidModels(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidModels(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidModels(f"{path}: is not TOML: {error}") from error
    if unknown := sorted(set(content) - {"models"}):
        raise InvalidModels(f"{path}: unknown key {unknown[0]!r}; every model stands under [models.<name>]")
    tables = content.get("models", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise InvalidModels(f"{path}: every model stands in a table of its own, [models.<name>]")
    return tables


def _entries(tables: dict[str, Table], path: Path, catalog: dict[str, Table]) -> dict[str, ModelEntry]:
    return {name: _entry(name, table, path, catalog) for name, table in tables.items()}


def _entry(name: str, table: Table, path: Path, catalog: dict[str, Table]) -> ModelEntry:
    where = f"{path}: [models.{name}]"
    fields = _with_used(table, where, catalog)
    try:
        references = _references(fields, where, path.parent)
        entry = ModelEntry.model_validate({**fields, "name": name, "references": references})
    except ValidationError as error:
        raise InvalidModels(f"{where} {_first_problem(error)}") from None
    _check_file(entry, where)
    check_options(entry, entry.kind, entry.sha256, where)
    _check_self_tests(entry, where)
    return entry


def _with_used(table: Table, where: str, catalog: dict[str, Table]) -> Table:
    """The table on top of the catalog's entry that its `use` names."""
    fields = dict(table)
    if "name" in fields or "references" in fields:
        raise InvalidModels(f"{where} unknown key {'name' if 'name' in fields else 'references'!r}")
    if "use" not in fields:
        return fields
    used = fields.pop("use")
    if not isinstance(used, str) or used not in catalog:
        raise UnknownModel(f"{where} use = {used!r} names no built-in model; there are: {', '.join(sorted(catalog))}")
    base = _with_used(catalog[used], where, catalog)
    base["load"] = True  # whoever writes an entry wants it; `load = false` says otherwise
    if "source" in fields or "sources" in fields:
        base = {key: value for key, value in base.items() if key not in ("source", "sources")}
    if "labels" in fields:
        base.pop("descriptions", None)  # they are of other labels
    if isinstance(fields.get("defaults"), dict):
        fields["defaults"] = {**base.get("defaults", {}), **fields["defaults"]}
    return {**base, **fields}


def _references(fields: Table, where: str, folder: Path) -> tuple[Reference, ...]:
    """Takes `source` or `sources` out of `fields`."""
    single, several = fields.pop("source", None), fields.pop("sources", None)
    if single is None and several is None and fields.get("kind") in WITHOUT_SOURCE:
        return ()
    if (single is None) == (several is None):
        raise InvalidModels(f'{where} needs one of source = "…" and sources = ["…", "…"] (or use = "…")')
    texts = several if single is None else [single]
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise InvalidModels(f"{where} a source is a string such as pypi:name==1.2.3, sources a list of them")
    try:
        return tuple(parse_reference(text, folder) for text in texts)
    except InvalidModels as error:
        raise type(error)(f"{where} {error.message}") from None


def _check_file(entry: ModelEntry, where: str) -> None:
    schemes = {reference.scheme for reference in entry.references}
    if not schemes and (entry.file or entry.sha256 or entry.size_bytes):
        raise InvalidModels(f"{where} file, sha256 and size_bytes are those of a source, and there is none")
    if schemes & {"pypi", "npm"} and entry.file is None:
        raise InvalidModels(f'{where} needs file = "…": the model\'s path inside the package')
    if (named := schemes & {"file", "s3"}) and entry.file is not None:
        raise InvalidModels(f"{where} a {min(named)}: source names its file itself; remove the key 'file'")
    is_s3_folder = "s3" in schemes and any(reference.name.endswith("/") for reference in entry.references)
    is_folder = entry.file.endswith("/") if entry.file else schemes == {"hf"} or is_s3_folder
    if is_folder and (entry.sha256 or entry.size_bytes):
        raise InvalidModels(f"{where} size_bytes and sha256 are those of one file, and this source is a folder")
    if entry.digests and entry.file and not is_folder:
        raise InvalidModels(f"{where} digests are those of a folder's files, and this source is one file")
    if is_folder and len(entry.references) > 1:
        raise InvalidModels(f"{where} several sources are the parts of one file, and these are folders")


def _check_self_tests(entry: ModelEntry, where: str) -> None:
    wanted = str if entry.kind == "language" else dict
    for test in entry.self_test:
        if not isinstance(test.input, wanted) or not isinstance(test.output, wanted | None):
            told = "a prompt and a text of its answer" if entry.kind == "language" else "tables: a record and fields"
            raise InvalidModels(f"{where} self_test: input and output of a model of kind {entry.kind} are {told}")


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}"
    if key == "name":
        return "a name is a letter or digit, then up to 63 letters, digits, '.', '_' or '-'"
    return f"{key}: {problem['msg']}"
