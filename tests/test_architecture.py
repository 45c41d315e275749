"""Imports point one way: the core never knows tools, training or the command line; no two modules need each other."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

import splicebert_vep
import splicebert_vep_spec

PACKAGE = Path(splicebert_vep.__file__).parent
SPEC = Path(splicebert_vep_spec.__file__).parent

#: Rooms that the core must never import: they stand on the Annotator.
ABOVE_CORE = {"tools": {"train", "cli"}, "train": {"tools", "cli"}, "cli": set()}

Imports = Mapping[str, set[str]]


def name_of(parts: tuple[str, ...]) -> str:
    """Return the dotted name of a module below the package; a package is its ``__init__``."""
    return ".".join(parts).removesuffix(".py").removesuffix("__init__").rstrip(".")


def imports_of(source: str, module: str, known: Iterable[str], *, is_package: bool = False) -> set[str]:
    """Return the modules of the package that a module imports, inside functions too."""
    known = set(known)
    found = set()
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("splicebert_vep.")]
            found |= {name.partition(".")[2] for name in names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[: len([p for p in package if p]) - node.level + 1]
            elif node.module == "splicebert_vep" or (node.module or "").startswith("splicebert_vep."):
                base = []
            else:
                continue
            own = (node.module or "").removeprefix("splicebert_vep").lstrip(".") if not node.level else node.module
            target = ".".join([*base, *([own] if own else [])])
            below = {f"{target}.{alias.name}".lstrip(".") for alias in node.names}
            found |= below & known or ({target} if target in known else set())
    return found - {module}


def read_package() -> dict[str, set[str]]:
    """Return the imports of every module of the package."""
    paths = {name_of(path.relative_to(PACKAGE).parts): path for path in PACKAGE.rglob("*.py")}
    return {
        name: imports_of(path.read_text(), name, paths, is_package=path.name == "__init__.py")
        for name, path in paths.items()
        if name  # the package's own __init__ hands names on, lazily
    }


def upward(imports: Imports) -> list[str]:
    """Return the imports that run from the core to what stands on it, or between its wings."""
    wrong = []
    for module, targets in imports.items():
        room = module.partition(".")[0]
        forbidden = ABOVE_CORE.get(room, set(ABOVE_CORE))
        wrong += [f"{module} -> {target}" for target in targets if target.partition(".")[0] in forbidden - {room}]
    return sorted(wrong)


def circles(imports: Imports) -> list[list[str]]:
    """Return the groups of modules that need each other, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in sorted(imports.get(module, ())):
            if target not in index:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], index[target])
        if low[module] == index[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in sorted(imports):
        if module not in index:
            visit(module)
    return found


def test_no_import_runs_upwards():
    assert upward(read_package()) == []


def test_no_modules_need_each_other():
    assert circles(read_package()) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("scoring.pipeline", "from ..tools.report import page"),
        ("annotator", "from .cli.main import main"),
        ("genome.reference", "import splicebert_vep.train.loop"),
        ("model.engine", "def f():\n    from splicebert_vep.tools import verify"),
        ("tools.verify", "from ..cli import options"),
        ("train.loop", "from ..tools import verify"),
    ],
)
def test_a_planted_upward_import_is_caught(module, source):
    planted = read_package()
    planted[module] = imports_of(source, module, [*planted, "tools.report.page"])
    assert upward(planted)


def test_a_planted_circle_is_caught():
    planted = read_package()
    planted["sequence.tokens"] = imports_of("from ..annotator import Annotator", "sequence.tokens", planted)
    planted["annotator"] |= {"sequence.tokens"}
    assert circles(planted) == [sorted(circles(planted)[0])]
    assert {"annotator", "sequence.tokens"} <= set(circles(planted)[0])


def test_the_contract_needs_pluggy_and_the_standard_library_only():
    allowed = {*sys.stdlib_module_names, "pluggy", "splicebert_vep_spec"}
    for path in SPEC.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {alias.name.partition(".")[0] for alias in node.names} <= allowed, path
            elif isinstance(node, ast.ImportFrom) and not node.level:
                assert (node.module or "").partition(".")[0] in allowed, path


def test_only_the_command_line_exits_and_prints():
    for path in PACKAGE.rglob("*.py"):
        if "cli" in path.relative_to(PACKAGE).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in ("print", "exit", "sys.exit", "quit"), path


def test_the_contract_exports_names_that_exist():
    assert [name for name in splicebert_vep_spec.__all__ if not hasattr(splicebert_vep_spec, name)] == []
    assert list(splicebert_vep_spec.__all__) == sorted(splicebert_vep_spec.__all__)
