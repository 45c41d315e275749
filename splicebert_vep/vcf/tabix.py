"""Read rows of a bgzipped, tabix-indexed VCF or table by place."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pysam

from ..errors import VcfError
from ..files import open_regular, sha256_of
from ..genome.contigs import ContigNames
from .read import BGZF_END

_HEAD_LINES = 100_000


class TabixTable:
    """Rows of a file whose index lies beside it; VcfError if missing, not bgzipped, cut off, not indexed or damaged."""

    def __init__(self, path: str) -> None:
        self.path = path
        _check_bgzipped(path)
        found = [path + suffix for suffix in (".tbi", ".csi") if os.path.exists(path + suffix)]
        if not found:
            raise VcfError("A file to join has no index (.tbi or .csi).", where=path, remedy=_tabix(path))
        self.index = found[0]
        self.warnings: list[str] = []
        if os.stat(self.index).st_mtime_ns < os.stat(path).st_mtime_ns:
            remedy = "if the rows have changed since, make it again with tabix -f"
            self.warnings.append(f"{self.index} is older than {path}: {remedy}")
        self.head = _head(path, *_comment_and_skip(self.index))
        try:
            self._file = pysam.TabixFile(path, index=self.index, encoding="latin-1")
            self.contigs: tuple[str, ...] = tuple(self._file.contigs)
            self._names = ContigNames(self.contigs, where=path)
        except (OSError, ValueError, struct.error) as error:
            raise _damaged(path, f"an index that htslib cannot read: {error}") from error

    @property
    def digest(self) -> str:
        """SHA-256 of the index, which changes whenever the file's content does and is read in no time."""
        return sha256_of(Path(self.index))

    def fetch(self, contig: str, start: int, end: int) -> Iterator[str] | None:
        """Return the rows that overlap [start, end), 0-based half-open; None when the file lacks the contig.

        Any name of the contig will do: chr17, 17 and NC_000017.11 are one.
        """
        own = self._names.find(contig)
        return None if own is None else self._rows(own, start, end)

    def _rows(self, contig: str, start: int, end: int) -> Iterator[str]:
        try:
            for row in self._file.fetch(contig, max(0, start), end):
                yield row if row.isascii() else row.encode("latin-1").decode("utf-8", "surrogateescape")
        except (OSError, ValueError) as error:
            raise _damaged(self.path, f"{contig}:{start + 1}-{end} cannot be read: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _check_bgzipped(path: str) -> None:
    try:
        with open_regular(path) as handle:
            head = handle.read(18)
            handle.seek(max(0, os.fstat(handle.fileno()).st_size - len(BGZF_END)))
            tail = handle.read()
    except OSError as error:
        found = error.strerror or str(error)
        raise VcfError("A file to join cannot be opened.", found=found, where=path, remedy="check --join") from error
    if head[:4] != b"\x1f\x8b\x08\x04" or head[12:14] != b"BC":
        packed = head[:2] == b"\x1f\x8b"
        found = "a file compressed by plain gzip" if packed else repr(head[:12].decode("latin-1"))
        remedy = f"sort it, then {'gunzip -c' if packed else 'cat'} FILE | bgzip > FILE.gz, then {_tabix(path)}"
        raise VcfError("A file to join is not compressed by bgzip.", found=found, where=path, remedy=remedy)
    if tail != BGZF_END:
        raise _damaged(path, "a file without the end mark of bgzip")


def _tabix(path: str) -> str:
    if ".vcf" in os.path.basename(path):
        return f"tabix -p vcf {path}"
    return f"tabix -s1 -b2 -e2 {path} for contig and position in the first two columns; -0 where positions are 0-based"


def _damaged(path: str, found: str) -> VcfError:
    remedy = f"get the file again, and make its index anew: {_tabix(path)}"
    return VcfError("A file to join is cut off or damaged.", found=found, where=path, remedy=remedy)


def _comment_and_skip(index: str) -> tuple[bytes, int]:
    """Return from an index the character that begins comments, and the number of first lines that are no rows."""
    try:
        with open_regular(index) as packed, gzip.open(packed, "rb") as handle:
            head = handle.read(40)
        magic, at = head[:4], {b"TBI\1": 24, b"CSI\1": 32}.get(head[:4])
        if at is None:
            raise _damaged(index, "no tabix index")
        if magic == b"CSI\1" and struct.unpack_from("<i", head, 12)[0] < 28:
            remedy = "bcftools view -Oz, then tabix -p vcf"
            raise VcfError("A file to join is a BCF; VCF or a table is needed.", where=index, remedy=remedy)
        comment, skip = struct.unpack_from("<2i", head, at)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise _damaged(index, f"an index that cannot be read: {error}") from error
    return bytes([comment & 0xFF]), skip


def _head(path: str, comment: bytes, skip: int) -> tuple[str, ...]:
    lines = []
    try:
        with gzip.open(path, "rb") as handle:
            for number, line in enumerate(islice(handle, _HEAD_LINES)):
                if number >= skip and not line.startswith(comment):
                    break
                lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, f"first lines that cannot be read: {error}") from error
    return tuple(lines)
