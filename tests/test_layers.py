"""Who may import whom, read from the sources with `ast`: the table of ARCHITECTURE.md, kept true.

Imports inside functions and under TYPE_CHECKING count as well: a type is knowledge, too.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("service", "streaming", "uploads")
PROTOCOLS = ("streaming.engine", "streaming.log", "streaming.predictor")
DOMAIN = (*PROTOCOLS, "streaming.generation", "streaming.events", "streaming.errors")
EDGE = (
    *("streaming.routes", "streaming.responses", "streaming.sse"),
    *("uploads.routes", "uploads.responses", "uploads.tus_routes"),
    *("uploads.job_routes", "uploads.job_events", "uploads.process_routes", "uploads.search_routes"),
    "service",
)
MODEL_LIBRARIES = (
    *("torch", "transformers", "tokenizers", "safetensors", "gguf"),
    *("sklearn", "skops", "joblib", "pandas", "onnxruntime"),
)
DISTRIBUTIONS = {
    "huggingface-hub": "huggingface_hub",
    "prometheus-client": "prometheus_client",
    "markdown-it-py": "markdown_it",
    "python-docx": "docx",
    "pillow": "PIL",
    "opentelemetry-sdk": "opentelemetry",
    "pyjwt": "jwt",
    "scikit-learn": "sklearn",
}


@dataclass(frozen=True)
class Rule:
    """Modules under `who`, but for `exempt`, import nothing under `never`, but for `unless`."""

    who: tuple[str, ...]
    never: tuple[str, ...]
    reason: str
    exempt: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()


RULES = (
    Rule(("streaming",), ("service", "uploads"), "text generation knows neither the service around it nor files"),
    Rule(("uploads",), ("service", "streaming"), "files know neither the service around them nor models"),
    Rule(
        ("streaming.engines", "streaming.logs"),
        ("streaming",),
        "an engine or a log knows its protocol, generations, events and errors: no routes, no schemas, no neighbour",
        # an engine shows that it lives, and its self-test needs a log that keeps nothing
        unless=(*DOMAIN, "streaming.heart", "streaming.logs.discard"),
    ),
    Rule(("uploads.stores",), ("uploads.routes", "uploads.schemas"), "a store knows its protocol, not the wire"),
    Rule(DOMAIN, ("streaming",), "the domain knows only the domain", unless=DOMAIN),
    Rule(
        PACKAGES,
        ("fastapi", "starlette", "sse_starlette", "uvicorn"),
        "HTTP lives at the edge: routes, responses, sse and service",
        exempt=EDGE,
    ),
    Rule(
        PACKAGES,
        MODEL_LIBRARIES,
        "model libraries are slow to import and stay behind the Engine protocol",
        exempt=("streaming.engines.torch", "service.models.prepare", "service.predictors"),
    ),
    Rule(
        ("service",),
        ("streaming.engines", "streaming.logs", "uploads.stores"),
        "only the place that opens engines, logs and stores names a concrete one",
        exempt=("service.lifespan", "service.storage", "service.models", "service.access.database"),
    ),
)


@dataclass(frozen=True)
class Import:
    module: str
    line: int
    target: str


def is_under(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, Path]:
    return {module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def targets(node: ast.AST, module: str, *, is_package: bool, known: frozenset[str]) -> list[str]:
    """The full names a statement imports; `from package import module` names the module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        above = module.split(".")
        kept = len(above) - node.level + (1 if is_package else 0)
        base = ".".join([*above[:kept], *([base] if base else [])])
    return [name if (name := f"{base}.{alias.name}") in known else base for alias in node.names]


def imports() -> Iterator[Import]:
    known = modules()
    for module, path in known.items():
        for node in ast.walk(ast.parse(path.read_text())):
            for target in targets(node, module, is_package=path.name == "__init__.py", known=frozenset(known)):
                yield Import(module, getattr(node, "lineno", 0), target)


def implementation(module: str) -> tuple[str, ...]:
    """`streaming.engines.torch` of `streaming.engines.torch.worker`: an implementation may import itself."""
    return (".".join(module.split(".")[:3]),)


def breaks(rule: Rule, found: Import) -> bool:
    if not is_under(found.module, rule.who) or is_under(found.module, rule.exempt):
        return False
    own = implementation(found.module) if found.module.count(".") > 1 else ()
    return is_under(found.target, rule.never) and not is_under(found.target, (*rule.unless, *own))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.reason)
def test_imports_go_one_way(rule: Rule) -> None:
    broken = [f"{one.module}:{one.line} imports {one.target}" for one in imports() if breaks(rule, one)]
    assert not broken, f"{rule.reason}:\n" + "\n".join(broken)


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("streaming.sse", "service.settings"),
        ("uploads.jobs", "streaming.events"),
        ("streaming.engines.echo", "streaming.sse"),
        ("streaming.engines.echo", "streaming.engines.torch.worker"),
        ("streaming.logs.memory", "fastapi"),
        ("streaming.events", "torch"),
        ("service.app", "streaming.engines.echo"),
    ],
)
def test_a_forbidden_import_is_seen(module: str, target: str) -> None:
    assert any(breaks(rule, Import(module, 1, target)) for rule in RULES)


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("service.app", "streaming.sse"),
        ("streaming.engines.torch.worker", "streaming.engines.torch.scheduler"),
        ("streaming.engines.torch.runner", "torch"),
        ("streaming.routes", "fastapi"),
    ],
)
def test_an_allowed_import_passes(module: str, target: str) -> None:
    assert not any(breaks(rule, Import(module, 1, target)) for rule in RULES)


def test_every_library_is_a_declared_dependency() -> None:
    """A library that comes only because another one needs it disappears one day."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["otel"]]
    names = [re.split(r"[\[<>=!~; ]", line)[0].lower() for line in lines]
    declared = {DISTRIBUTIONS.get(name, name.replace("-", "_")) for name in names}
    known = declared | set(sys.stdlib_module_names) | set(PACKAGES)
    missing = {f"{one.module} imports {one.target}" for one in imports() if one.target.split(".")[0] not in known}
    assert not missing


def test_the_command_line_starts_without_heavy_libraries() -> None:
    """`headwater --help` answers at once, and a start does not pay for what it does not use."""
    heavy = ("torch", "transformers", "fastapi", "httpx", "numpy")
    code = f"import sys, service.cli; print(*[name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []
