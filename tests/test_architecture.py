"""Imports point one way: the core never knows tools, training or the command line; no two modules need each other."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

import splicebert_vep
import splicebert_vep_spec

ROOT = "splicebert_vep"
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
    names = {f"{ROOT}.{name}" for name in known}
    package = f"{ROOT}.{module}" if is_package else f"{ROOT}.{module}".rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            target = resolve_name("." * node.level + (node.module or ""), package)
            found |= {f"{target}.{alias.name}" for alias in node.names} & names or {target}
    return {name.removeprefix(f"{ROOT}.") for name in found & names} - {module}


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


def test_no_import_runs_upwards():
    assert upward(read_package()) == []


def test_no_modules_need_each_other():
    TopologicalSorter(read_package()).prepare()  # raises CycleError


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
    with pytest.raises(CycleError):
        TopologicalSorter(planted).prepare()


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
