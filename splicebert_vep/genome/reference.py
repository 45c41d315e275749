"""The reference sequence: random access to a plain or BGZF-compressed FASTA through htslib."""

from __future__ import annotations

import bisect
import contextlib
import gzip
import hashlib
import json
import os
import struct
import sys
import threading
import zlib
from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import Any

import pysam

from ..errors import FastaError, OutputError
from ..files import cache_root, temporary_name, whole_or_not
from .contigs import ContigNames

_BLOCK = 1 << 18  # nt; neighbouring windows come from one block
_NEW_INDEX = "remove the .fai (and .gzi) file beside the FASTA and run again"
_LONGEST_HEADER = 1 << 16  # bytes that are read between two sequences
_BLOCKS_KEPT = 64  # 16 MB at most, whatever the genome's size
_indexing = threading.Lock()  # samtools keeps the state of its option parser in global variables
pysam.set_verbosity(0)  # errors are raised here; htslib would print them to stderr as well


class Reference:
    """Read upper-case bases by contig name and 0-based half-open interval.

    The ``.fai`` (and ``.gzi``) beside the FASTA is used when it is there and not older than it; otherwise an index is
    made in the user's cache, so that a read-only folder works. Safe to share between threads, not between processes.

    Args:
        path: FASTA, plain or compressed by bgzip; soft-masked (lower-case) sequence is fine.
        assembly: what it is of, in words; counts where neither its contigs' names nor their lengths tell it.

    Raises:
        FastaError: missing, empty, compressed by plain gzip, not a FASTA, or with two sequences of one name.
    """

    def __init__(self, path: str | Path, *, assembly: str | None = None) -> None:
        self.path = Path(path)
        indexes = _find_or_make_indexes(self.path, compressed=_check_format(self.path))
        _refuse_repeated_names(self.path, indexes)
        self.index = indexes[0]  #: the ``.fai`` in use: beside the FASTA, or in the cache
        try:
            self._fasta = pysam.FastaFile(str(self.path), *map(str, indexes))
        except (OSError, ValueError) as error:
            raise FastaError("The reference cannot be opened.", found=str(error), where=str(self.path)) from error
        self.lengths: dict[str, int] = dict(zip(self._fasta.references, self._fasta.lengths, strict=True))
        if not self.lengths:
            raise FastaError("The reference holds no sequence.", needed="a FASTA", where=str(self.path))
        self._names = ContigNames(self.lengths, assembly=assembly, where=str(self.path))
        self._blocks: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._md5: dict[str, str] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Reference:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._fasta.close()

    def find(self, contig: str) -> str | None:
        """Return the FASTA's own name of a contig under any naming (17, chr17, NC_000017.11), or None.

        Raises:
            BuildError: ``contig`` is an accession of another assembly than the FASTA's.
        """
        return self._names.find(contig)

    def fetch(self, contig: str, start: int, end: int) -> bytes:
        """Return the upper-case bases of [start, end), 0-based half-open, cut at the contig's ends.

        Raises:
            KeyError: ``contig`` is not the FASTA's own name of a contig; see ``find``.
            FastaError: the file cannot be read there.
        """
        start, end = max(0, start), min(end, self.lengths[contig])
        if start >= end:
            return b""
        first, last = start // _BLOCK, (end - 1) // _BLOCK
        if first == last:
            return self._block(contig, first)[start - first * _BLOCK : end - first * _BLOCK]
        joined = b"".join(self._block(contig, number) for number in range(first, last + 1))
        return joined[start - first * _BLOCK : end - first * _BLOCK]

    def digest(self) -> str:
        """Return the SHA-256 of the FASTA file as it is on disk; remembered in the cache by path, size and time."""
        memory = _cache_stem(self.path).with_suffix(".sha256")
        if memory.exists():
            return memory.read_text(encoding="ascii").strip()
        with self.path.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        _remember(memory, digest + "\n")
        return digest

    def md5(self, contig: str) -> str:
        """Return the MD5 of a contig's upper-case sequence, as SAM's M5 has it; remembered in the cache.

        Raises:
            KeyError, FastaError: as ``fetch``.
        """
        if contig not in self._md5:
            memory = _cache_stem(self.path).with_suffix(".md5.json")
            self._md5.update(_read_memory(memory))
            if contig not in self._md5:
                digest = hashlib.md5(usedforsecurity=False)
                for number in range(-(-self.lengths[contig] // _BLOCK)):
                    with self._lock:
                        block = self._read_block(contig, number)
                    digest.update(block)
                self._md5[contig] = digest.hexdigest()
                _remember(memory, json.dumps({**_read_memory(memory), **self._md5}))
        return self._md5[contig]

    def _block(self, contig: str, number: int) -> bytes:
        with self._lock:
            key = (contig, number)
            block = self._blocks.get(key)
            if block is None:
                block = self._blocks[key] = self._read_block(contig, number)
                if len(self._blocks) > _BLOCKS_KEPT:
                    self._blocks.popitem(last=False)
            else:
                self._blocks.move_to_end(key)
            return block

    def _read_block(self, contig: str, number: int) -> bytes:
        start = number * _BLOCK
        end = min(start + _BLOCK, self.lengths[contig])
        where = f"{self.path} {contig}:{start + 1}-{end}"
        try:
            block: bytes = self._fasta.fetch(contig, start, end).upper().encode("ascii", errors="replace")
        except (OSError, ValueError) as error:
            raise FastaError(
                "The reference cannot be read.", found=str(error), where=where, remedy=_NEW_INDEX
            ) from error
        if len(block) != end - start:
            found = f"{len(block)} of {end - start} bases"
            raise FastaError("The reference and its index disagree.", found=found, where=where, remedy=_NEW_INDEX)
        return block


def _check_format(path: Path) -> bool:
    """Tell whether the FASTA is BGZF-compressed; raise when the file is no FASTA at all."""
    try:
        with path.open("rb") as handle:
            head = handle.read(16)
    except OSError as error:
        raise FastaError(
            "The reference FASTA cannot be opened.", found=error.strerror or str(error), where=str(path),
            remedy="check -R",
        ) from error  # fmt: skip
    if head[:4] == b"\x1f\x8b\x08\x04" and head[12:14] == b"BC":
        return True
    if head[:2] == b"\x1f\x8b":
        raise FastaError(
            "The reference is compressed by plain gzip, which has no random access.", where=str(path),
            remedy=f"gunzip -c {path} | bgzip > {path.name.removesuffix('.gz')}.bgz.fa.gz",
        )  # fmt: skip
    if head[:1] != b">":
        raise FastaError(
            "The reference is not a FASTA.", needed="a file that begins with '>'",
            found=repr(head[:10].decode("latin-1")) if head else "an empty file", where=str(path),
            remedy="check -R; it may have been swapped with the input",
        )  # fmt: skip
    return False


def _find_or_make_indexes(path: Path, *, compressed: bool) -> list[Path]:
    """Return the ``.fai`` (and ``.gzi``) of a FASTA: those beside it when they are not older, else in the cache."""
    suffixes = (".fai", ".gzi") if compressed else (".fai",)
    beside = [Path(f"{path}{suffix}") for suffix in suffixes]
    age = path.stat().st_mtime_ns
    if all(index.exists() and index.stat().st_mtime_ns >= age for index in beside):
        return beside
    stem = _cache_stem(path)
    cached = [stem.with_suffix(suffix) for suffix in suffixes]
    if all(index.exists() for index in cached):
        return cached
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FastaError(
            "The reference has no up-to-date index and none can be made.",
            needed=f"{path.name}.fai beside the FASTA (and .gzi for bgzip), or a cache that can be written",
            found=f"{error.strerror}: {stem.parent}", where=str(path),
            remedy="run samtools faidx on the FASTA, or set SPLICEBERT_VEP_CACHE to a folder of yours",
        ) from error  # fmt: skip
    # Two processes may index the same FASTA at once: each makes its own and the last rename wins.
    made = [temporary_name(index) for index in cached]
    options = ["--fai-idx", str(made[0])] + (["--gzi-idx", str(made[1])] if compressed else [])
    try:
        with _indexing:
            words: list[Any] = [os.fsencode(word) for word in (str(path), *options)]  # pysam encodes UTF-8 only
            pysam.faidx(*words)
        for temporary, index in zip(made, cached, strict=True):
            os.replace(temporary, index)
    except (pysam.utils.SamtoolsError, OSError) as error:
        raise FastaError(
            "The reference cannot be indexed.",
            needed=f"sequences of lines of one length without empty lines between them, and room in {stem.parent}",
            found=_uneven(path) if isinstance(error, pysam.utils.SamtoolsError) else str(error), where=str(path),
            remedy="wrap its lines anew, e.g. with seqtk seq -l 60, or download it again",
        ) from error  # fmt: skip
    finally:
        for temporary in made:
            temporary.unlink(missing_ok=True)
    return cached


def _uneven(path: Path) -> str:
    """Return the first line of a FASTA that keeps it from being indexed, in words."""
    widths: list[int] = []
    try:
        with gzip.open(path) if _check_format(path) else path.open("rb") as lines:
            for number, line in enumerate(map(bytes.rstrip, lines), 1):
                if line.startswith(b">"):
                    widths = []
                elif line and widths and (widths[-1] < widths[0] or len(line) > widths[0]):
                    return f"line {number} of {len(line)} bases after one of {widths[-1]}, where lines have {widths[0]}"
                else:
                    widths.append(len(line))
    except (OSError, EOFError, zlib.error) as error:
        return str(error)
    return "a sequence without bases, or a cut file"


def _refuse_repeated_names(path: Path, indexes: list[Path]) -> None:
    """Raise FastaError for a second sequence of one name: htslib leaves it out, so it lies between two of the index."""
    memory = _cache_stem(path).with_suffix(".names")
    if memory.exists():  # a bgzip file of some thousand sequences takes a second
        return
    blocks = [(0, 0)]  # of bgzip: where each begins in the text and in the file
    try:
        lines = indexes[0].read_text(encoding="utf-8", errors="replace").splitlines()
        rows = sorted(
            (int(row[2]), int(row[1]), int(row[3]) or 1, int(row[4])) for row in (x.split("\t") for x in lines)
        )
        known = {line.partition("\t")[0] for line in lines}
        ends = [0, *(start + length // bases * width + length % bases for start, length, bases, width in rows)]
        if len(indexes) > 1:
            blocks += [(plain, packed) for packed, plain in struct.iter_unpack("<QQ", indexes[1].read_bytes()[8:])]
        with pysam.BGZFile(str(path), "rb", None) if len(indexes) > 1 else path.open("rb") as file:
            for end, start in zip(ends, [*(row[0] for row in rows), None], strict=True):
                room = _LONGEST_HEADER if start is None else max(0, min(start - end, _LONGEST_HEADER))
                plain, packed = blocks[bisect.bisect_right(blocks, (end, sys.maxsize)) - 1]
                file.seek(packed << 16 if len(indexes) > 1 else end)
                between = file.read(end - plain + room)[end - plain :] if len(indexes) > 1 else file.read(room)
                headers = [line[1:].split() for line in between.splitlines() if line.startswith(b">")]
                if start is not None and start - end <= room:
                    headers = headers[:-1]  # the last is that of the next sequence of the index
                names = [words[0].decode("utf-8", errors="replace") for words in headers if words]
                if name := next((name for name in names if name in known), None):
                    raise FastaError(
                        f"The reference has two sequences called {name}.", needed="one sequence of each name",
                        where=str(path), remedy="take one of them out, or rename it, and remove the .fai",
                    )  # fmt: skip
    except (OSError, ValueError, struct.error):
        return  # an index that lies is told where it is read
    _remember(memory, "each is there once\n")


def _remember(memory: Path, text: str) -> None:
    with contextlib.suppress(OSError, OutputError):  # remembering is a convenience; what is remembered is at hand
        memory.parent.mkdir(parents=True, exist_ok=True)
        with whole_or_not(memory) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _read_memory(memory: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there yet, or not ours
        return {}
    return found


def _cache_stem(path: Path) -> Path:
    """Name cache files after the FASTA's path, size and times, so that a changed file never meets an old index."""
    real = path.resolve()
    stat = real.stat()
    # The time of the inode's change as well: rsync and cp -p keep the time of the content's.
    about = f"{real}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}\0{stat.st_ino}"
    key = hashlib.sha256(os.fsencode(about)).hexdigest()[:32]
    return cache_root() / "fasta" / key
