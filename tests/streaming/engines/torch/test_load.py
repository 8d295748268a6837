"""Opening a model: what the operator asked for and is not there."""

import gc
import time
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

from streaming.engines.torch.engine import TorchEngine
from streaming.engines.torch.load import load_predictor
from streaming.errors import EngineDown
from tests.streaming.engines.torch.support import EXACT


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "cuda:x", "meta", "mps", ""])
def test_a_device_that_is_not_there_is_one_line(tiny_folder: Path, device: str) -> None:
    with pytest.raises(EngineDown, match=r"is not on this machine; there are: cpu") as error:
        load_predictor(tiny_folder, name="tiny", version="0", settings=replace(EXACT, device=device))
    assert "\n" not in error.value.message


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_closed_model_leaves_memory_without_a_search_for_garbage(tiny_folder: Path, dtype: str) -> None:
    """What was loaded first is frozen, and a circle in it would never be found."""
    gc.collect()
    gc.disable()
    try:
        predictor = load_predictor(tiny_folder, name="tiny", version="0", settings=replace(EXACT, dtype=dtype))
        engine = predictor.engine
        assert isinstance(engine, TorchEngine)
        runner = weakref.ref(engine._worker._runner)
        engine.close(0)
        del predictor, engine
        deadline = time.monotonic() + 60
        while runner() is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert runner() is None
    finally:
        gc.enable()
