"""`hf:` a repository of a model hub, through its own library and cache (HF_ENDPOINT, HF_HOME, HF_TOKEN)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import tqdm

from service.models.errors import FetchFailed, Mismatch, NotAtSource, PickledWeights, SourceUnreachable
from service.models.layout import has_weights, model_files, pickles
from service.models.progress import Progress
from service.models.reference import Reference
from service.models.sources import Wanted

DEFAULT_REVISION = "main"


@dataclass(frozen=True, slots=True)
class HubSource:
    """`endpoint` and `cache` name a hub and a folder other than the environment's."""

    reference: Reference
    endpoint: str | None = None
    cache: Path | None = None

    def pin(self) -> Reference:
        if self.reference.is_fixed:
            return self.reference
        with self._errors():
            revision = self.reference.version or DEFAULT_REVISION
            commit = HfApi(endpoint=self.endpoint).model_info(self.reference.name, revision=revision).sha
        if commit is None:
            raise FetchFailed(f"{self.reference}: the hub names no commit")
        return Reference("hf", self.reference.name, commit)

    def fetch(self, wanted: Wanted, destination: Path, progress: Progress) -> Path:
        progress.step(f"asking the hub about {self.reference}")
        with self._errors():
            sizes = self._sizes()
            names = [wanted.file] if wanted.file else model_files(sizes, wanted.kind)
            self._check(names, sizes, wanted)
            progress.step(f"downloading {self.reference}", sum(sizes[name] for name in names))
            paths = [self._download(name, progress) for name in names]
        if wanted.file:
            return paths[0].resolve()
        return paths[0].parents[names[0].count("/")]

    def _sizes(self) -> dict[str, int]:
        info = HfApi(endpoint=self.endpoint).model_info(
            self.reference.name, revision=self.reference.version or DEFAULT_REVISION, files_metadata=True
        )
        return {file.rfilename: file.size or 0 for file in info.siblings or ()}

    def _check(self, names: list[str], sizes: dict[str, int], wanted: Wanted) -> None:
        if missing := [name for name in names if name not in sizes]:
            raise NotAtSource(f"{self.reference}: holds no {missing[0]}; it holds {', '.join(sorted(sizes)[:20])}")
        if wanted.max_bytes is not None and sum(sizes[name] for name in names) > wanted.max_bytes:
            raise Mismatch(f"{self.reference}: {wanted.file} is larger than the {wanted.max_bytes:,} bytes declared")
        if wanted.file or has_weights(names, wanted.kind):
            return
        if pickles(sizes):
            raise PickledWeights(
                f"{self.reference}: has its weights only as pickles (.bin, .pt), which run code when loaded; "
                "name a repository or revision with safetensors, or a GGUF file with file = "
            )
        ggufs = sorted(name for name in sizes if name.endswith(".gguf"))
        hint = f'; name one of its GGUF files, such as file = "{ggufs[0]}"' if ggufs else ""
        raise NotAtSource(f"{self.reference}: holds no safetensors{hint}")

    def _download(self, name: str, progress: Progress) -> Path:
        class Bar(tqdm):
            """The library's progress bars are classes; this one passes the bytes on and draws nothing."""

            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]  # theirs

            def update(self, n: float | None = 1) -> None:
                progress.advance(int(n or 0))

        return Path(
            hf_hub_download(
                self.reference.name,
                name,
                revision=self.reference.version or DEFAULT_REVISION,
                endpoint=self.endpoint,
                cache_dir=self.cache,
                tqdm_class=Bar,
            )
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        where = self.endpoint or HfApi().endpoint
        try:
            yield
        except GatedRepoError as error:
            raise NotAtSource(f"{self.reference}: asks for consent first; accept its terms and set HF_TOKEN") from error
        except RepositoryNotFoundError as error:
            raise NotAtSource(f"{self.reference}: not at {where}, or private: then set HF_TOKEN") from error
        except (RevisionNotFoundError, HFValidationError) as error:
            raise NotAtSource(f"{self.reference}: {where} has no such revision or name") from error
        except (HfHubHTTPError, LocalEntryNotFoundError, httpx2.HTTPError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise SourceUnreachable(
                f"{self.reference}: {where} cannot be read ({reason}); check the network, HF_ENDPOINT and the proxy, "
                "then pull again"
            ) from error
        except EntryNotFoundError as error:
            raise NotAtSource(f"{self.reference}: {where} has no such file") from error
