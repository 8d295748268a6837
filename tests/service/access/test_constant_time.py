"""Secrets are compared in constant time: no `==` on a digest, a secret, a ticket or a token, read from the sources."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PLACES = [*sorted((ROOT / "service" / "access").glob("*.py")), ROOT / "streaming" / "tickets.py"]
SECRETIVE = ("digest", "secret", "ticket", "password")


def names_in(node: ast.AST) -> set[str]:
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return names | {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}


def is_constant(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id.isupper())


def comparisons(source: str) -> list[int]:
    """Lines where something that sounds secret is compared with `==` or `!=` to what is no constant."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare) or not any(isinstance(one, ast.Eq | ast.NotEq) for one in node.ops):
            continue
        sides = [node.left, *node.comparators]
        is_secret = any(word in name.lower() for side in sides for name in names_in(side) for word in SECRETIVE)
        if is_secret and not any(is_constant(side) for side in sides):
            found.append(node.lineno)
    return found


@pytest.mark.parametrize("path", PLACES, ids=lambda path: path.name)
def test_no_secret_is_compared_by_equality(path: Path) -> None:
    assert comparisons(path.read_text()) == []


@pytest.mark.parametrize(
    "source", ["a.digest == b", "x = digest_of(secret) != kept", "(A if k is None else k.digest) == b"]
)
def test_such_a_comparison_is_seen(source: str) -> None:
    assert comparisons(source) == [1]
