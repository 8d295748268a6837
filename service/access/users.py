"""People who log in with a name and a password."""

import re
from dataclasses import dataclass, field

from service.access.principal import Scope

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}", re.ASCII)
NAME_RULE = "a letter or digit, then up to 63 letters, digits, `.`, `_`, `@`, `+` or `-`"


@dataclass(frozen=True, slots=True)
class User:
    """A key of the same name belongs to the same principal. `changed_at` ends the tokens that were given out before."""

    name: str
    scopes: frozenset[Scope]
    password_hash: str = field(repr=False)
    changed_at: float


def is_name(text: str) -> bool:
    return NAME.fullmatch(text) is not None
