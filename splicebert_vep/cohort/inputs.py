"""Which files a cohort is made of."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CohortError

_SUFFIXES = (".vcf.gz", ".vcf.bgz", ".vcf", ".bcf")
_HEADS = (b"\x1f\x8b", b"BCF\x02", b"##fileformat=VCF")
_COLUMN_NAMES = ("path", "file", "vcf")


@dataclass(frozen=True, slots=True)
class Input:
    """One VCF or BCF of a cohort.

    Args:
        path: absolute.
        name: what its outputs are called.
        signature: what changes when the file does: path, bytes, times of the last change in ns.
    """

    path: str
    name: str
    signature: Sequence[Any]


def read_manifest(manifest: str) -> list[Input]:
    """Return the files of a cohort in their order.

    Args:
        manifest: a table of paths, one a line, with an optional second tab-separated column of names, relative to its
            own folder, ``#`` starts a comment; or a pattern such as ``'vcfs/*.vcf.gz'``; or a VCF or BCF itself.

    Raises:
        CohortError: no file, a file that is not there, or two of one name.
    """
    if any(sign in manifest for sign in "*?[") and not os.path.exists(manifest):
        found = [(path, "") for path in sorted(glob.glob(manifest, recursive=True)) if not os.path.isdir(path)]
    elif os.path.exists(manifest) and not os.path.isfile(manifest):
        raise CohortError("The manifest is no file.", needed="a file, or a pattern in quotes", where=manifest)
    elif _is_vcf(manifest):
        found = [(manifest, "")]
    else:
        found = _read_table(Path(manifest))
    if not found:
        raise CohortError("The cohort has no files.", needed="paths of VCF or BCF files", where=manifest)
    inputs = [_input(path, name, manifest) for path, name in found]
    _check_names(inputs, manifest)
    return inputs


def _is_vcf(path: str) -> bool:
    try:
        with open(path, "rb") as handle:
            return handle.read(16).startswith(_HEADS)
    except OSError as error:
        raise CohortError(
            "The manifest cannot be opened.",
            needed="a table of paths, a pattern in quotes, or a VCF or BCF",
            found=error.strerror or str(error),
            where=path,
            remedy="check the path",
        ) from error


def _read_table(manifest: Path) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    try:
        lines = manifest.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CohortError("The manifest is not text.", found=str(error), where=str(manifest)) from error
    for number, line in enumerate(lines, start=1):
        cells = [cell.strip() for cell in line.split("\t")]
        if not cells[0] or cells[0].startswith("#") or (not found and cells[0].lower() in _COLUMN_NAMES):
            continue
        if len(cells) > 2:
            raise CohortError(
                "A line of the manifest has too many columns.",
                needed="a path and, after a tab, a name if it is to have one",
                found=f"{len(cells)} columns",
                where=f"{manifest}:{number}",
            )
        path = os.path.join(manifest.parent, cells[0])
        found.append((path, cells[1] if len(cells) == 2 else ""))
    return found


def _input(path: str, name: str, manifest: str) -> Input:
    absolute = os.path.abspath(path)
    if not name:
        name = os.path.basename(path)
        name = next((name[: -len(end)] for end in _SUFFIXES if name.lower().endswith(end)), name)
    if "/" in name or name.startswith("."):
        raise CohortError("A name of the manifest cannot be a file's name.", found=name, where=manifest)
    try:
        signature = signature_of(absolute)
    except OSError as error:
        raise CohortError(
            "A file of the cohort is not there.",
            found=error.strerror or str(error),
            where=f"{path}, named by {manifest}",
            remedy="mend the manifest; paths in it are relative to its own folder",
        ) from error
    return Input(absolute, name, signature)


def signature_of(path: str) -> list[Any]:
    """Return path, bytes and times of the last change of content and inode, ns; raises OSError as ``os.stat``."""
    about = os.stat(path)
    return [path, about.st_size, about.st_mtime_ns, about.st_ctime_ns]


def _check_names(inputs: Sequence[Input], manifest: str) -> None:
    seen: dict[str, str] = {}
    for one in inputs:
        if one.name in seen:
            raise CohortError(
                "Two files of the cohort have one name.",
                needed="a name of its own for each, in the second column of the manifest",
                found=f"{one.name}: {seen[one.name]} and {one.path}",
                where=manifest,
            )
        seen[one.name] = one.path
