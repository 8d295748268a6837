"""Opening models: what the operator is told, and what the client."""

import logging
from pathlib import Path

import pytest

from service.models.config import load_models
from service.models.loaders import load_model
from service.models.opening import Opening
from service.settings import Settings
from streaming.errors import EngineDown


def test_the_log_has_the_command_that_fetches_and_the_client_no_path(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "models.toml"
    path.write_text('[models.mine]\nuse = "default"\n')
    settings = Settings(_env_file=None, models=path, models_dir=tmp_path / "none")
    with caplog.at_level(logging.ERROR), pytest.raises(EngineDown) as error:
        Opening(settings, load_model).find(load_models(path)["mine"])
    assert f"`headwater models pull --models {path} mine`" in caplog.text
    assert str(tmp_path) not in error.value.message
