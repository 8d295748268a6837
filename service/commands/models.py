"""`headwater models pull|list`: fetch and prepare models before they are served. Draws progress, decides nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from service.commands.failing import INTERRUPTED, WRONGLY_ASKED, fail
from service.models.config import ModelEntry, load_catalog, load_models
from service.models.errors import ModelsError, UnknownModel
from service.models.store import ModelStore

MIB = 1 << 20
HEADINGS = ("NAME", "KIND", "SOURCE", "SIZE", "STATE", "VERSION", "PATH")

app = typer.Typer(help="Fetch models and see which are ready.", no_args_is_help=True)

Names = Annotated[list[str] | None, typer.Argument(help="Models of models.toml; without any, all that are served.")]
Models = Annotated[Path | None, typer.Option(help="The file that lists the models; the built-in list if not given.")]
ModelsDir = Annotated[
    Path | None, typer.Option(help="Where prepared models are kept; the user's cache folder if not given.")
]


@app.command()
def pull(names: Names = None, models: Models = None, models_dir: ModelsDir = None) -> None:
    """Fetch models, check them and prepare them for loading. What is ready already is left alone."""
    with _one_line_errors():
        models, models_dir = _places(models, models_dir)
        entries = _chosen(load_models(models), names or [])
        store = ModelStore(models_dir)
        for entry in entries:
            _pull(store, entry)


@app.command("list")
def list_models(models: Models = None, models_dir: ModelsDir = None) -> None:
    """Show every model of models.toml, and the built-in ones, with the state of its prepared copy."""
    with _one_line_errors():
        models, models_dir = _places(models, models_dir)
        entries = {**load_catalog(), **load_models(models)}
        store = ModelStore(models_dir)
        _draw([_row(store, entry) for entry in entries.values()])


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except ModelsError as error:
        fail(error.message)
    except OSError as error:  # a full disk, a folder that may not be written
        fail(str(error))
    except KeyboardInterrupt:
        typer.echo("interrupted; nothing half-done is left", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _places(models: Path | None, models_dir: Path | None) -> tuple[Path | None, Path]:
    """The command line first, then the service's settings."""
    from service.settings_load import SettingsError, load_settings

    try:
        settings = load_settings(models=models, models_dir=models_dir)
    except SettingsError as error:
        fail(error.message, WRONGLY_ASKED)
    return settings.models, settings.models_dir


def _chosen(entries: dict[str, ModelEntry], names: list[str]) -> list[ModelEntry]:
    if not names:
        return [entry for entry in entries.values() if entry.load and entry.references]
    known = {**load_catalog(), **entries}
    for name in names:
        if name not in known:
            raise UnknownModel(f"no model is called {name!r}; there are: {', '.join(sorted(known))}")
    return [known[name] for name in names]


def _pull(store: ModelStore, entry: ModelEntry) -> None:
    from service.models.terminal import TerminalProgress

    if not entry.references:
        typer.echo(f"{entry.name} needs no files")
        return
    known = store.prepared(entry)
    with TerminalProgress(entry.name) as progress:
        model = store.pull(entry, progress)
    state = "is ready" if known and known.version == model.version else "pulled"
    typer.echo(f"{entry.name} {state}: {model.path} ({model.manifest.size_bytes / MIB:.0f} MiB)")


def _row(store: ModelStore, entry: ModelEntry) -> tuple[str, ...]:
    if not entry.references:
        return entry.name, entry.kind, "-", "-", "needs no files", "-", "-"
    model = store.prepared(entry)
    source = " + ".join(str(reference) for reference in entry.references)
    if model is None:
        size = f"{entry.size_bytes / MIB:.0f} MiB to fetch" if entry.size_bytes else "-"
        return entry.name, entry.kind, source, size, "not pulled", "-", "-"
    size = f"{model.manifest.size_bytes / MIB:.0f} MiB"
    return entry.name, entry.kind, source, size, "prepared", model.version, str(model.path)


def _draw(rows: list[tuple[str, ...]]) -> None:
    """Plain columns: the same for people and for `awk`."""
    table = [HEADINGS, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADINGS))]
    for row in table:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
