"""Prove that a written file is whole, and index it."""

from __future__ import annotations

import os
from pathlib import Path

import pysam

from splicebert_vep.errors import OutputError, VcfError

from .streams import CHUNK, open_input


def sync(path: Path) -> int:
    """Wait until a file is on the disk; return its size. Raises OSError as the system does."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def count_lines(path: Path, where: str) -> int:
    """Count the lines of a bgzipped file by reading it again; its checksums and end marker are checked.

    Raises:
        OutputError: it cannot be read to its end.
    """
    count = 0
    try:
        with open_input(str(path)) as stream:
            while data := stream.read1(CHUNK):
                count += data.count(b"\n")
    except VcfError as error:
        raise _unreadable(where, f"{error.problem} ({error.found})") from error
    return count


def count_bcf(path: Path, where: str) -> int:
    """Count the records of a BCF file by reading it again.

    Raises:
        OutputError: it cannot be read to its end.
    """
    try:
        with pysam.VariantFile(str(path)) as file:
            return sum(1 for _ in file)
    except (OSError, ValueError) as error:
        raise _unreadable(where, str(error)) from error


def index(path: Path, kind: str, *, long_contigs: bool, where: str) -> Path:
    """Index a bgzipped VCF (.tbi, or .csi for contigs beyond 2^29) or a BCF (.csi); return the index file.

    Raises:
        OutputError: htslib could not.
    """
    csi = kind == "bcf" or long_contigs
    try:
        # htslib tells BCF from text by itself; the preset is for text only
        pysam.tabix_index(str(path), preset="vcf", csi=csi, force=True, keep_original=True)
    except (OSError, ValueError) as error:
        raise OutputError(
            "The output could not be indexed.",
            found=str(error),
            where=where,
            remedy="free some disk space; bcftools index tells more about the file",
        ) from error
    return Path(f"{path}{'.csi' if csi else '.tbi'}")


def _unreadable(where: str, found: str) -> OutputError:
    return OutputError("The output is not whole.", needed="a file that can be read again", found=found, where=where)
