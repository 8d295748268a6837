from collections.abc import Iterator
from pathlib import Path

import pytest

from streaming.engines.torch.engine import TorchEngine
from tests.streaming.engines.torch.support import opened
from tests.streaming.engines.torch.tiny import make_model


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def engine(tiny_folder: Path) -> Iterator[TorchEngine]:
    with opened(tiny_folder) as engine:
        yield engine
