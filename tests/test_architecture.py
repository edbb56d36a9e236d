"""The structure of the package: imports run downwards, modules are small, names are unique."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mjasync

PACKAGE = Path(mjasync.__file__).parent
MODULES = {
    ".".join(("mjasync", *path.relative_to(PACKAGE).with_suffix("").parts)): path
    for path in PACKAGE.rglob("*.py")
}
MAX_LINES = 400
ENTRY_POINTS = {"__init__", "__main__"}
FORBIDDEN = {
    "mjasync._protocol": ("aiohttp", "asyncio", "mjasync._http", "mjasync._polling"),
    "mjasync._http": ("mjasync._polling", "mjasync._client", "mjasync._task"),
    "mjasync._polling": ("mjasync._client", "mjasync._task"),
    "mjasync.simulator": (
        "mjasync._client",
        "mjasync._task",
        "mjasync._http",
        "mjasync._polling",
        "mjasync._protocol",
        "mjasync.batch",
        "mjasync.cli",
    ),
    "mjasync.batch": ("mjasync.cli",),
}
"""What the modules of a package do not import."""


def parse(module: str) -> ast.Module:
    """Parse the source of a module."""
    return ast.parse(MODULES[module].read_text("utf-8"))


def imports_of(module: str) -> Iterator[str]:
    """Yield the modules that a module imports, for typing and in functions as well."""
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            for name in node.names:
                submodule = f"{base}.{name.name}"
                if submodule in MODULES:
                    yield submodule
                elif f"{base}.__init__" in MODULES:
                    yield f"{base}.__init__"
                else:
                    yield base


def test_no_circular_imports() -> None:
    """No module imports, directly or not, a module that imports it."""
    graph = {module: {name for name in imports_of(module) if name in MODULES} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_run_downwards(package: str) -> None:
    """A package imports nothing of the packages above it."""
    above = {
        (module, name)
        for module in MODULES
        if module.startswith(f"{package}.")
        for name in imports_of(module)
        if any(f"{name}.".startswith(f"{prefix}.") for prefix in FORBIDDEN[package])
    }
    assert not above


def test_the_command_line_uses_only_public_names() -> None:
    """The command line imports no private module or name, and reads no private attribute."""
    private = set()
    for module in MODULES:
        if module.startswith("mjasync.cli."):
            for node in ast.walk(parse(module)):
                if isinstance(node, ast.ImportFrom) and node.module != "__future__":
                    path = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                    private |= {(module, name) for name in path if name.startswith("_")}
                elif isinstance(node, ast.Attribute) and ast.unparse(node.value) != "self":
                    is_private = node.attr.startswith("_") and not node.attr.startswith("__")
                    private |= {(module, ast.unparse(node))} if is_private else set()
    assert not private


def test_modules_are_small() -> None:
    """No module is longer than 400 lines."""
    lengths = {
        module: len(path.read_text("utf-8").splitlines()) for module, path in MODULES.items()
    }
    assert not {m: n for m, n in lengths.items() if n > MAX_LINES}


def test_module_names_are_unique() -> None:
    """No two modules have the same name, underscores aside."""
    named = defaultdict(list)
    for module, path in MODULES.items():
        if path.stem not in ENTRY_POINTS:
            named[path.stem.strip("_")].append(module)
    assert not {name: modules for name, modules in named.items() if len(modules) > 1}


def test_class_names_are_unique() -> None:
    """No two classes have the same name, underscores aside."""
    named = defaultdict(list)
    for module in MODULES:
        for node in ast.walk(parse(module)):
            if isinstance(node, ast.ClassDef):
                named[node.name.strip("_")].append(module)
    assert not {name: modules for name, modules in named.items() if len(modules) > 1}
