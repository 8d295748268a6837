"""Writes docs/settings.md from `service.settings`; `make docs` calls it, a test sees that the file is current."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from service.settings import CONFIG_VARIABLE, Settings
from service.settings_load import variable_of

INTRODUCTION = f"""# Settings

Made from the code by `make docs`; do not edit it here.

Each of these is an environment variable. The same names can stand in a file `.env` where the service is started, and,
in lower case and without `HEADWATER_`, in a TOML file that `{CONFIG_VARIABLE}` names; a name with `__` is then a key in
a table. Options of `headwater serve` come first, then variables, then `.env`, then the TOML file. A name that is not
known is an error, so a slip of the pen is seen at the start.

| variable | default | what it is |
|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Row:
    variable: str
    default: str
    description: str


def rows(model: type[BaseModel] = Settings, path: str = "") -> Iterator[Row]:
    """All settings in the order of the code; those of a group after its place."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from rows(field.annotation, f"{path}{name}__")
        else:
            yield Row(variable_of(path + name), default_of(field), described(field))


def described(field: FieldInfo) -> str:
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    listed = f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else ""
    return (field.description or "") + listed


def default_of(field: FieldInfo) -> str:
    """As it would be written into a variable; empty where nothing is set."""
    if field.default_factory is not None:
        return "(the user's cache folder)"
    if field.default is None or field.is_required():
        return ""
    if isinstance(field.default, tuple):
        return ",".join(map(str, field.default))
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


def document() -> str:
    return INTRODUCTION + "".join(f"| `{row.variable}` | {row.default} | {row.description} |\n" for row in rows())


if __name__ == "__main__":
    sys.stdout.write(document())
