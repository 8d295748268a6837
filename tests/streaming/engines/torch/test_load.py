"""Opening a model: what the operator asked for and is not there."""

from dataclasses import replace
from pathlib import Path

import pytest

from streaming.engines.torch.load import load_predictor
from streaming.errors import EngineDown
from tests.streaming.engines.torch.support import EXACT


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "cuda:x", "meta", "mps", ""])
def test_a_device_that_is_not_there_is_one_line(tiny_folder: Path, device: str) -> None:
    with pytest.raises(EngineDown, match=r"is not on this machine; there are: cpu") as error:
        load_predictor(tiny_folder, name="tiny", version="0", settings=replace(EXACT, device=device))
    assert "\n" not in error.value.message
