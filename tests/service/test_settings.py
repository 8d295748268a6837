"""Settings: where they come from, and what is refused with one clear line."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import CONFIG_VARIABLE, PREFIX, Settings
from service.settings_load import SettingsError, load_settings, setting_paths


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder and no variable of ours."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def message_of(**given: object) -> str:
    with pytest.raises(SettingsError) as error:
        load_settings(**given)
    assert "\n" not in error.value.message
    return error.value.message


def test_nothing_has_to_be_set() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.engine) == ("127.0.0.1", 8000, "torch")
    assert settings.cors_origins == ("http://localhost:3000", "http://localhost:5173")


def test_arguments_win_over_variables_over_env_file_over_toml(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("all.toml").write_text(
        "port = 1\nmax_running = 1\nmax_waiting = 1\nthreads = 1\n[echo]\ntokens_per_second = 1\n"
    )
    Path(".env").write_text("HEADWATER_PORT=2\nHEADWATER_MAX_RUNNING=2\nHEADWATER_MAX_WAITING=2\nOTHER=x\n")
    monkeypatch.setenv(CONFIG_VARIABLE, "all.toml")
    monkeypatch.setenv("HEADWATER_PORT", "3")
    monkeypatch.setenv("HEADWATER_MAX_RUNNING", "3")
    settings = load_settings(port=4)
    assert (settings.port, settings.max_running, settings.max_waiting, settings.threads) == (4, 3, 2, 1)
    assert settings.echo.tokens_per_second == 1


def test_a_nested_setting_has_two_underscores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_ECHO__TOKENS_PER_SECOND", "7")
    assert load_settings().echo.tokens_per_second == 7


@pytest.mark.parametrize("value", ["http://a,http://b", '["http://a", "http://b"]', " http://a , http://b ,"])
def test_origins_are_a_list_with_commas_or_json(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HEADWATER_CORS_ORIGINS", value)
    assert load_settings().cors_origins == ("http://a", "http://b")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("HEADWATER_PROT", "HEADWATER_PORT"), ("HEADWATER_ECHO__TOKEN_PER_SECOND", "HEADWATER_ECHO__TOKENS_PER_SECOND")],
)
def test_an_unknown_variable_is_refused_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, name: str, nearest: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert message_of() == f"{name} is no setting; did you mean {nearest}?"


@pytest.mark.parametrize("line", ["HEADWATER_PROT=1", "HEADWATER_ECHO__TOKEN_PER_SECOND=1"])
def test_an_unknown_key_in_the_env_file_is_refused(line: str) -> None:
    Path(".env").write_text(line + "\n")
    assert "is no setting" in message_of()


@pytest.mark.parametrize("line", ["prot = 1", "[echo]\ntoken_per_second = 1", "[other]\nx = 1"])
def test_an_unknown_key_in_the_toml_file_is_refused(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    Path("all.toml").write_text(line + "\n")
    monkeypatch.setenv(CONFIG_VARIABLE, "all.toml")
    assert "is no setting" in message_of()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no file all.toml"),
        (b"nonsense", "all.toml: is not TOML: "),
        (b"a = \xff", "all.toml: is not TOML: "),
        (b"prot = 1", "all.toml: prot is no setting; did you mean port?"),
        (b'port = "many"', "all.toml: port: Input should be a valid integer"),
        (b"echo = 3", "all.toml: echo: "),
        (b"[echo]\ntokens_per_second = -1", "all.toml: echo.tokens_per_second: "),
        (b"[echo]\ntoken_per_second = 1", "all.toml: echo.token_per_second is no setting; did you mean echo.tokens"),
    ],
)
def test_what_is_wrong_in_the_toml_file_is_told_with_its_name(
    monkeypatch: pytest.MonkeyPatch, content: bytes | None, said: str
) -> None:
    if content is not None:
        Path("all.toml").write_bytes(content)
    monkeypatch.setenv(CONFIG_VARIABLE, "all.toml")
    assert said in message_of()


def test_a_value_of_the_toml_file_may_need_another_from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("all.toml").write_text('cors_origins = "*"')
    monkeypatch.setenv(CONFIG_VARIABLE, "all.toml")
    assert load_settings(cors_credentials=False).cors_origins == ("*",)


def test_a_wrong_value_names_its_variable() -> None:
    assert message_of(port=70_000).startswith("HEADWATER_PORT: ")
    assert message_of(echo={"tokens_per_second": -1}).startswith("HEADWATER_ECHO__TOKENS_PER_SECOND: ")


def test_every_origin_with_credentials_is_refused() -> None:
    assert message_of(cors_origins="*").startswith("HEADWATER_CORS_ORIGINS=* ")
    assert load_settings(cors_origins="*", cors_credentials=False).cors_origins == ("*",)


def test_settings_are_frozen_and_described() -> None:
    with pytest.raises(ValidationError):
        load_settings().port = 1  # type: ignore[misc]  # that is the point
    assert all(field.description for field in Settings.model_fields.values())
    assert "echo__tokens_per_second" in list(setting_paths(Settings))


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        (
            "LIMITS__REDIS_URL",
            "foo://:secret@host",
            "HEADWATER_LIMITS__REDIS_URL: no address of a Redis: write it as redis:",
        ),
        ("ACCESS__REFRESH_S", "60", "HEADWATER_ACCESS: stale_s has to be twice refresh_s"),
        ("ACCESS__STALE_S", "3", "HEADWATER_ACCESS: stale_s has to be twice refresh_s"),
        ("LIMITS__ROUTES", "x", "HEADWATER_LIMITS__ROUTES: not JSON"),
        ("LIMITS__ROUTES", '{"POST /login": "x"}', "HEADWATER_LIMITS__ROUTES at POST /login: 'x' is no rate"),
        ("LIMITS__ROUTES", '{"POST /serach": "1/minute"}', "HEADWATER_LIMITS__ROUTES: POST /serach is no route"),
        (
            "ACCESS__USERS",
            '{"ann": {"password_hash": "x"}}',
            "HEADWATER_ACCESS__USERS at ann.password_hash: not an argon2",
        ),
    ],
)
def test_a_mistake_inside_a_value_is_told_with_the_variable_that_has_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    monkeypatch.setenv(PREFIX + variable, value)
    assert message_of().startswith(told)
