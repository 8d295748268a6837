"""A place on 127.0.0.1 that every kind of source is pointed at: no test of models reaches the internet."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.models.servers import Site, open_site


@pytest.fixture
def site() -> Iterator[Site]:
    with open_site() as opened:
        yield opened


@pytest.fixture
def local_sources(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The user's own settings of pip and npm are put aside for these."""
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_INDEX_URL", f"{site.url}/simple")
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", site.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    return site
