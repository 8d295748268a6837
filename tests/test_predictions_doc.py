"""docs/predictions.md: its curl commands are run as they are written, against a real server."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.models.config import load_models
from service.models.store import ModelStore
from service.settings import default_models_dir
from tests.server import RunningServer, echo_settings, serving
from tests.service.routes.served import write_wine

PAGE = Path(__file__).parent.parent / "docs" / "predictions.md"
URL = "http://127.0.0.1:8000"
WITHIN_S = 60.0


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """With the page's own list of models beside the built-in ones."""
    folder = tmp_path_factory.mktemp("predictions")
    write_wine(folder / "wine.skops")
    models = folder / "models.toml"
    models.write_text("".join(blocks("toml")))
    models_dir = folder / "prepared"
    models_dir.mkdir()
    for prepared in default_models_dir().glob("embeddings-*"):
        (models_dir / prepared.name).symlink_to(prepared)
    ModelStore(models_dir).pull(load_models(models)["wine"])
    with serving(echo_settings(data_dir=folder / "data", models=models, models_dir=models_dir)) as server:
        yield server


def curl(running: RunningServer, command: str) -> Any:
    asked = command.strip().replace(URL, running.url).replace("curl ", "curl -sS --fail-with-body ", 1)
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.model
def test_the_commands_of_the_page_answer_what_it_says(running: RunningServer) -> None:
    linear, wine, invocation, sentiment, labels, vector, batch = (curl(running, one) for one in blocks("sh"))
    assert linear == {"prediction": 6.0, "status": "success"}
    assert wine["prediction"] == 1
    assert set(wine["probabilities"]) == {"0", "1"}
    assert invocation == {"predictions": [1]}
    assert (sentiment["text"], sentiment["category"]) == ("The staff was friendly and quick.", "positive")
    assert labels["category"] == "shipping"
    assert (len(vector["embedding"]), vector["model_used"]) == (384, "embeddings")
    assert batch == {"predictions": ["positive", "negative"], "count": 2}
    for answer in (linear, invocation, batch):
        assert json.dumps(answer, separators=(",", ":")) in PAGE.read_text()
