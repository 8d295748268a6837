"""Reads the settings of a process. What is wrong with them is told in one line that names the variable or the file."""

import difflib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, TomlConfigSettingsSource

from service.settings import CONFIG_VARIABLE, PREFIX, Settings

API_KEY_VARIABLE = "HEADWATER_API_KEY"  # read by the commands that ask a server; no setting of one


class SettingsError(Exception):
    """The service cannot start like this. `message` is one line for the operator."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class FileSettings(Settings):
    """The TOML file alone: what is wrong in it is then told with its name."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *_: PydanticBaseSettingsSource, **__: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (TomlConfigSettingsSource(settings_cls, Path(os.environ[CONFIG_VARIABLE])),)


def load_settings(**given: Any) -> Settings:
    """`given` goes before everything else; None means not given. Raises `SettingsError`."""
    refuse_unknown(key for key in os.environ if key.startswith(PREFIX))
    if config := os.environ.get(CONFIG_VARIABLE):
        check_file(config)
    try:
        return Settings(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        raise SettingsError(first_problem(error)) from None
    except ValueError as error:
        raise SettingsError(unparsed(error)) from None


def check_file(path: str) -> None:
    """Raises `SettingsError` with the file's name. How its values go with those of other sources is seen later."""
    if not Path(path).is_file():
        raise SettingsError(f"{CONFIG_VARIABLE}: there is no file {path}")
    try:
        FileSettings()
    except ValidationError as error:
        if error.errors()[0]["loc"]:
            raise SettingsError(f"{path}: {first_problem(error, lambda name: name.replace('__', '.'))}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"is not TOML: {error}"
        raise SettingsError(f"{path}: {reason}") from None


def refuse_unknown(variables: Iterable[str]) -> None:
    known = [CONFIG_VARIABLE, API_KEY_VARIABLE, *(variable_of(path) for path in setting_paths(Settings))]
    groups = {variable_of(name) for name in Settings.model_fields}
    for variable in sorted(variables):
        if variable.upper() not in {*known, *groups}:
            raise SettingsError(f"{variable} is no setting{suggestion(variable.upper(), known)}")


def setting_paths(model: type[BaseModel]) -> Iterable[str]:
    """The names of all settings, nested ones as `group__name`."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from (f"{name}__{inner}" for inner in setting_paths(field.annotation))
        else:
            yield name


def variable_of(path: str) -> str:
    return PREFIX + path.upper()


def suggestion(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def first_problem(error: ValidationError, named: Callable[[str], str] = variable_of) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    place = place_of([str(part) for part in problem["loc"]], named)
    if problem["type"] == "extra_forbidden":
        return f"{place} is no setting{suggestion(place, map(named, setting_paths(Settings)))}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def place_of(parts: Sequence[str], named: Callable[[str], str]) -> str:
    """The setting, and where in its value: keys of a mapping are not part of a variable's name."""
    known = set(setting_paths(Settings))
    for length in range(1, len(parts)):
        if (path := "__".join(parts[:length])) in known:
            return f"{named(path)} at {'.'.join(parts[length:])}"
    return named("__".join(parts)) if parts else ""


def unparsed(error: ValueError) -> str:
    """The library names the group of the variable whose value is to be JSON and is none."""
    group = re.search(r'field "(\w+)"', str(error))
    paths = [path for path in setting_paths(Settings) if group and path.partition("__")[0] == group[1]]
    variables = [variable_of(path) for path in paths if is_json(path)]
    return f"{' or '.join(variables)}: not JSON" if variables else " ".join(str(error).split())


def is_json(path: str) -> bool:
    model: type[BaseModel] = Settings
    *groups, name = path.split("__")
    for group in groups:
        model = cast(type[BaseModel], model.model_fields[group].annotation)
    return get_origin(model.model_fields[name].annotation) in (dict, list, tuple, frozenset)
