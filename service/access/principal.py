"""A caller as the service sees it: an id that owns what is made, and what it may do."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

Scope: TypeAlias = Literal["predict", "upload", "admin", "metrics"]
Credential: TypeAlias = Literal["none", "key", "token", "ticket"]

SCOPES: tuple[Scope, ...] = get_args(Scope)
DEFAULT_SCOPES: frozenset[Scope] = frozenset(("predict", "upload"))
IMPLIED: dict[Scope, frozenset[Scope]] = {"admin": frozenset(("metrics",))}


@dataclass(frozen=True, slots=True)
class Principal:
    """`id` is the owner of everything it makes. `name` is how it is greeted.

    `key_id` is that of the key it showed, `issued_at` when its token was given out.
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    credential: Credential
    key_id: str = ""
    issued_at: float = 0.0

    def lacks(self, wanted: Collection[Scope]) -> list[Scope]:
        held = self.scopes.union(*(IMPLIED.get(scope, frozenset()) for scope in self.scopes))
        return sorted(set(wanted) - held)


STRANGER = Principal("stranger", "stranger", frozenset(), "none")
"""Whoever asks a public route of a closed service without a credential. Owns nothing: no route of it makes anything."""


def anonymous(*, may_administer: bool) -> Principal:
    """Everybody, while the service is open."""
    scopes = (*DEFAULT_SCOPES, "metrics", *(("admin",) if may_administer else ()))
    return Principal("anonymous", "anonymous", frozenset(scopes), "none")
