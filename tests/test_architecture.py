"""Who may import whom, held by reading the imports; and how long a file may get."""

import ast
from pathlib import Path

import pytest

import splicebert_vep
import splicebert_vep_spec

PACKAGE = Path(splicebert_vep.__file__).parent
SPEC = Path(splicebert_vep_spec.__file__).parent

#: What every room may import besides itself and other distributions.
COMMON = {"errors", "files", "sequence", "__version__"}
ROOMS = ("vcf", "genome", "model", "scoring", "adapters", "store")
#: Third-party libraries that live in one room only.
HOMES = {
    "pysam": {"vcf"},
    "pyfaidx": {"genome"},
    "torch": {"model", "scoring", "training"},
    "sqlite3": {"store", "cohort"},
    "click": {"cli"},
    "cloup": {"cli"},
}


def imports(source: str, package: tuple[str, ...]) -> set[tuple[str, ...]]:
    """Absolute dotted names that a module imports; ``package`` is the package that the module lies in."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = base + (tuple(node.module.split(".")) if node.module else ())
            # "from . import x" and "from package import room" name modules too
            found |= {(*module, alias.name) for alias in node.names} if len(module) < 2 else {module}
    return found


def violations(source: str, parts: tuple[str, ...]) -> list[str]:
    """What a module at ``parts`` (below splicebert_vep) imports against the rule."""
    room = parts[0] if len(parts) > 1 else ""
    wrong = []
    for name in imports(source, ("splicebert_vep", *parts[:-1])):
        if name[0] in HOMES and room not in HOMES[name[0]]:
            wrong.append(".".join(name))
        if name[0] != "splicebert_vep" or len(name) < 2:
            continue
        target = name[1]
        if (
            room == "sequence"
            and target != "sequence"
            or room in ROOMS
            and target != room
            and target not in COMMON
            or target == "cli"
            and room != "cli"
            or parts == ("pipeline.py",)
            and target in ROOMS
        ):
            wrong.append(".".join(name))
    return sorted(wrong)


def modules() -> list[tuple[str, ...]]:
    return [path.relative_to(PACKAGE).parts for path in sorted(PACKAGE.rglob("*.py"))]


@pytest.mark.parametrize("parts", modules(), ids="/".join)
def test_rooms_do_not_import_each_other(parts):
    assert violations(PACKAGE.joinpath(*parts).read_text(), parts) == []


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("from splicebert_vep.genome.reference import Reference", ("vcf", "reader.py")),
        ("from ..model import engine", ("scoring", "x.py")),
        ("from splicebert_vep import vcf", ("adapters", "x.py")),
        ("import splicebert_vep.store", ("genome", "x.py")),
        ("from ..errors import VcfError", ("sequence", "x.py")),
        ("import pysam", ("genome", "x.py")),
        ("def f():\n    import torch", ("sequence", "x.py")),
        ("from ..genome.reference import Reference", ("store", "x.py")),
        ("import sqlite3", ("genome", "x.py")),
        ("import click", ("annotator.py",)),
        ("from .vcf.reader import open_vcf", ("pipeline.py",)),
        ("from .cli.main import main", ("annotator.py",)),
    ],
)
def test_a_planted_violation_is_caught(source, parts):
    assert violations(source, parts)


def test_the_contract_needs_pluggy_and_the_standard_library_only():
    import sys

    allowed = set(sys.stdlib_module_names) | {"pluggy", "splicebert_vep_spec"}
    for path in sorted(SPEC.rglob("*.py")):
        package = ("splicebert_vep_spec", *path.relative_to(SPEC).parts[:-1])
        found = {name[0] for name in imports(path.read_text(), package)}
        assert found <= allowed, path.name


def test_only_the_command_line_exits_and_prints():
    for parts in modules():
        if parts[0] == "cli":
            continue
        for node in ast.walk(ast.parse(PACKAGE.joinpath(*parts).read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("print", "exit", "sys.exit", "quit"), "/".join(parts)


def test_no_file_outgrows_one_room():
    for path in [*PACKAGE.rglob("*.py"), *SPEC.rglob("*.py")]:
        assert len(path.read_text().splitlines()) <= 400, path


def test_what_the_contract_exports_is_there():
    missing = [name for name in splicebert_vep_spec.__all__ if not hasattr(splicebert_vep_spec, name)]
    assert missing == []
    assert list(splicebert_vep_spec.__all__) == sorted(splicebert_vep_spec.__all__)
