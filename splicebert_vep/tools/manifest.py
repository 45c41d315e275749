"""The files of a cohort."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import CohortError

#: The store in the folder of a run that is given no other.
STORE = "scores.sqlite"
_SUFFIXES = (".vcf.gz", ".vcf.bgz", ".vcf", ".bcf")
_HEADS = (b"\x1f\x8b", b"BCF\x02", b"##fileformat=VCF")
_COLUMN_NAMES = ("path", "file", "vcf")


@dataclass(frozen=True, slots=True)
class CohortFile:
    """One VCF or BCF of a cohort."""

    path: str  # absolute
    name: str  # of its outputs
    signature: tuple[int, int, int]  # bytes, times of the last change of content and of inode in ns


def read_manifest(manifest: str) -> list[CohortFile]:
    """Return the files of a cohort in their order.

    Args:
        manifest: a table of paths, one a line, with an optional second tab-separated column of names, relative to its
            own folder, ``#`` starts a comment; or a pattern such as ``'vcfs/*.vcf.gz'``; or a VCF or BCF itself.

    Raises:
        CohortError: no file, a file that is not there, or two of one name.
    """
    try:
        if any(sign in manifest for sign in "*?[") and not os.path.exists(manifest):
            found = [(path, "") for path in sorted(glob.glob(manifest, recursive=True)) if not os.path.isdir(path)]
        elif _is_vcf(manifest):
            found = [(manifest, "")]
        else:
            found = list(_table_lines(Path(manifest)))
    except (OSError, UnicodeDecodeError) as error:
        raise CohortError("The manifest cannot be read.", found=str(error), where=manifest) from error
    if not found:
        raise CohortError("The cohort has no files.", needed="paths of VCF or BCF files", where=manifest)
    files: dict[str, CohortFile] = {}
    for path, name in found:
        one = _cohort_file(path, name, manifest)
        if one.name in files:
            problem = f"Two files of the cohort are named {one.name}: name them in the manifest's second column."
            raise CohortError(problem, found=f"{files[one.name].path} and {one.path}", where=manifest)
        files[one.name] = one
    return list(files.values())


def _is_vcf(path: str) -> bool:
    with open(path, "rb") as handle:
        return handle.read(16).startswith(_HEADS)


def _table_lines(manifest: Path) -> Iterator[tuple[str, str]]:
    first = True
    for number, line in enumerate(manifest.read_text(encoding="utf-8-sig").splitlines(), start=1):
        cells = [cell.strip() for cell in line.split("\t")]
        if not cells[0] or cells[0].startswith("#") or (first and cells[0].lower() in _COLUMN_NAMES):
            continue
        if len(cells) > 2:
            problem = "A line of the manifest has more columns than a path and a name."
            raise CohortError(problem, found=f"{len(cells)} columns", where=f"{manifest}:{number}")
        first = False
        yield os.path.join(manifest.parent, cells[0]), cells[1] if len(cells) == 2 else ""


def _cohort_file(path: str, name: str, manifest: str) -> CohortFile:
    if not name:
        name = os.path.basename(path)
        name = next((name[: -len(end)] for end in _SUFFIXES if name.lower().endswith(end)), name)
    if "/" in name or name.startswith("."):
        raise CohortError("A name of the manifest cannot be a file's name.", found=name, where=manifest)
    return CohortFile(os.path.abspath(path), name, signature_of(path, f"{path}, named by {manifest}"))


def signature_of(path: str, where: str) -> tuple[int, int, int]:
    """Return the signature of a file as it is now; CohortError names the place where it is not there."""
    try:
        about = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a null character
        raise CohortError("A file of the cohort is not there.", found=str(error), where=where) from error
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns
