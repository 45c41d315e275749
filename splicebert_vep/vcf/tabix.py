"""Read rows of a bgzipped, tabix-indexed VCF or table by place."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

import pysam

from ..errors import VcfError
from ..genome.contigs import ContigNames

_BGZF = b"\x1f\x8b\x08\x04"
_BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_HEAD_LINES = 100_000


class TabixTable:
    """Rows of an indexed file.

    Args:
        path: of the file; its index lies beside it, ``.tbi`` or ``.csi``.

    Raises:
        VcfError: missing, not bgzipped, cut off, without index, or damaged.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        _check_bgzipped(path)
        self.index = _index_of(path)
        self.warnings: list[str] = []
        if os.stat(self.index).st_mtime_ns < os.stat(path).st_mtime_ns:
            self.warnings.append(
                f"{self.index} is older than {path}: if the rows have changed since, make it again with tabix -f"
            )
        self.head = _head(path, *_comment_and_skip(self.index))
        loud = pysam.set_verbosity(0)  # htslib would print to stderr what is said here
        try:
            self._file = pysam.TabixFile(path, index=self.index, encoding="latin-1")
            self.contigs: tuple[str, ...] = tuple(self._file.contigs)
            self._names = ContigNames(self.contigs)
        except (OSError, ValueError, struct.error) as error:
            raise _damaged(path, f"an index that htslib cannot read: {error}") from error
        finally:
            pysam.set_verbosity(loud)

    @property
    def digest(self) -> str:
        """SHA-256 of the index, which changes whenever the file's content does and is read in no time."""
        with open(self.index, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()

    def fetch(self, contig: str, start: int, end: int) -> Iterator[str] | None:
        """Return the rows that overlap [start, end), 0-based half-open; None when the file lacks the contig.

        Args:
            contig: any name of the contig: chr17, 17 and NC_000017.11 are one.

        Raises:
            VcfError: the file is damaged there.
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
        with open(path, "rb") as handle:
            head = handle.read(18)
            handle.seek(0, os.SEEK_END)
            handle.seek(max(0, handle.tell() - len(_BGZF_END)))
            tail = handle.read()
    except OSError as error:
        raise VcfError(
            "A file to join cannot be opened.", found=error.strerror or str(error), where=path, remedy="check --join"
        ) from error
    if head[:4] != _BGZF or head[12:14] != b"BC":
        kind = "a file compressed by plain gzip" if head[:2] == b"\x1f\x8b" else repr(head[:12].decode("latin-1"))
        unpack = "gunzip -c" if head[:2] == b"\x1f\x8b" else "cat"
        raise VcfError(
            "A file to join is not compressed by bgzip.",
            needed="a sorted VCF or table, compressed by bgzip and indexed by tabix",
            found=kind,
            where=path,
            remedy=f"{unpack} FILE | bgzip > FILE.gz, then {_tabix(path)}",
        )
    if tail != _BGZF_END:
        raise _damaged(path, "a file without the end mark of bgzip")


def _index_of(path: str) -> str:
    for suffix in (".tbi", ".csi"):
        if os.path.exists(path + suffix):
            return path + suffix
    raise VcfError(
        "A file to join has no index.", needed=f"{path}.tbi or .csi", found="none", where=path, remedy=_tabix(path)
    )


def _tabix(path: str) -> str:
    if ".vcf" in os.path.basename(path):
        return f"tabix -p vcf {path}"
    return f"tabix -s1 -b2 -e2 {path} for contig and position in the first two columns; -0 where positions are 0-based"


def _damaged(path: str, found: str) -> VcfError:
    return VcfError(
        "A file to join is cut off or damaged.",
        needed="a whole file and the index that was made of it",
        found=found,
        where=path,
        remedy=f"get the file again, and make its index anew: {_tabix(path)}",
    )


def _comment_and_skip(index: str) -> tuple[bytes, int]:
    """Return the character that comments begin with, and how many first lines are no rows, as the index says."""
    try:
        with gzip.open(index, "rb") as handle:
            magic = handle.read(4)
            if magic == b"TBI\1":
                handle.read(4)
            elif magic == b"CSI\1":
                handle.read(8)
                if _ints(handle, 1)[0] < 28:
                    raise VcfError(
                        "The index of a file to join is not one of text.",
                        needed="a bgzipped VCF or table; not a BCF",
                        where=index,
                        remedy="bcftools view -Oz, then tabix -p vcf",
                    )
            else:
                raise _damaged(index, "no tabix index")
            *_, comment, skip = _ints(handle, 6)
    except (OSError, EOFError, struct.error) as error:
        raise _damaged(index, f"an index that cannot be read: {error}") from error
    return bytes([comment & 0xFF]), skip


def _ints(handle: BinaryIO | gzip.GzipFile, count: int) -> tuple[int, ...]:
    return struct.unpack(f"<{count}i", handle.read(4 * count))


def _head(path: str, comment: bytes, skip: int) -> tuple[str, ...]:
    lines = []
    try:
        with gzip.open(path, "rb") as handle:
            for number, line in enumerate(islice(handle, _HEAD_LINES)):
                if number >= skip and not line.startswith(comment):
                    break
                lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
    except (OSError, EOFError) as error:
        raise _damaged(path, f"first lines that cannot be read: {error}") from error
    return tuple(lines)
