"""The reference sequence: random access to a plain or BGZF-compressed FASTA through htslib."""

from __future__ import annotations

import bisect
import contextlib
import ctypes
import gzip
import hashlib
import json
import logging
import os
import struct
import sys
import threading
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import pysam
import pysam.libchtslib as htslib

from ..errors import FastaError, OutputError, SettingsError
from ..files import cache_root, destination, whole_or_not
from .contigs import ContigNames

log = logging.getLogger(__name__)

_BLOCK = 1 << 18  # nt; neighbouring windows come from one block
_NEW_INDEX = "remove the .fai (and .gzi) file beside the FASTA and run again"
_LONGEST_HEADER = 1 << 16  # bytes that are read between two sequences
_BLOCKS_KEPT = 16  # 4 MB at most, whatever the genome's size
_IN_MEMORY = Path("/proc/self/fd")  # where files in memory have names
pysam.set_verbosity(0)  # errors are raised here; htslib would print them to stderr as well


class Reference:
    """Read upper-case bases by contig name and 0-based half-open interval.

    The ``.fai`` (and ``.gzi``) beside the FASTA is used when it is there and not older than it; otherwise an index is
    made in the user's cache, so that a read-only folder works, or in memory where the cache cannot be written either.
    Safe to share between threads, not between processes.

    Args:
        path: FASTA, plain or compressed by bgzip; soft-masked (lower-case) sequence is fine.
        assembly: what it is of, in words; counts where neither its contigs' names nor their lengths tell it.

    Raises:
        FastaError: missing, empty, compressed by plain gzip, not a FASTA, or with two sequences of one name.
    """

    def __init__(self, path: str | Path, *, assembly: str | None = None) -> None:
        self.path = Path(path)
        with contextlib.ExitStack() as in_memory:
            indexes = _find_or_make_indexes(self.path, in_memory, compressed=_check_format(self.path))
            _refuse_repeated_names(self.path, indexes)
            try:
                self._fasta = pysam.FastaFile(str(self.path), *map(str, indexes))  # it reads them whole
            except (OSError, ValueError) as error:
                raise FastaError("The reference cannot be opened.", found=str(error), where=str(self.path)) from error
        #: The ``.fai`` in use, beside the FASTA or in the cache; None where no cache can be written.
        self.index = None if indexes[0].parent == _IN_MEMORY else indexes[0]
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

    @property
    def assembly(self) -> str | None:
        """Name of the assembly, None where it is not known."""
        return self._names.assembly

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
        memory = _cache_file(self.path, ".sha256")
        if memory and memory.exists():
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
            memory = _cache_file(self.path, ".md5.json")
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


def _find_or_make_indexes(path: Path, in_memory: contextlib.ExitStack, *, compressed: bool) -> list[Path]:
    """Return the ``.fai`` (and ``.gzi``) of a FASTA: those beside it when they are not older, else in the cache.

    Where no cache can be written, as in a read-only container, they are in memory until ``in_memory`` is closed.
    """
    suffixes = (".fai", ".gzi") if compressed else (".fai",)
    beside = [Path(f"{path}{suffix}") for suffix in suffixes]
    age = path.stat().st_mtime_ns
    if all(index.exists() and index.stat().st_mtime_ns >= age for index in beside):
        return beside
    cached = [file for suffix in suffixes if (file := _cache_file(path, suffix))]
    if cached and all(index.exists() for index in cached):
        return cached
    # Two processes may index the same FASTA at once: each makes its own and the last rename wins.
    outputs, place = [destination(index) for index in cached], str(cached[0].parent) if cached else ""
    try:
        if not cached:
            raise OSError("there is no home folder")
        cached[0].parent.mkdir(parents=True, exist_ok=True)
        made = [output.claim() for output in outputs]
        made[0].touch()
    except OSError as error:
        outputs, place = [], "memory"
        made = _files_in_memory(path, in_memory, suffixes, error)
    try:
        if _htslib().fai_build3(*(os.fsencode(file) for file in (path, *made)), *[None] * (not compressed)) != 0:
            raise FastaError(
                "The reference cannot be indexed.",
                needed=f"sequences of lines of one length without empty lines between them, and room in {place}",
                found=_uneven(path), where=str(path),
                remedy="wrap its lines anew, e.g. with seqtk seq -l 60, or download it again",
            )  # fmt: skip
        for output in outputs:
            output.publish()
    finally:
        for output in outputs:
            output.discard()
    return cached if outputs else made


def _htslib() -> ctypes.CDLL:
    """Return pysam's htslib: ``pysam.faidx`` has the same, behind a file for its messages in a temporary folder."""
    library = ctypes.CDLL(htslib.__file__)
    library.fai_build3.argtypes = [ctypes.c_char_p] * 3  # FASTA, .fai and, where it is compressed, .gzi
    return library


def _files_in_memory(
    path: Path, stack: contextlib.ExitStack, suffixes: Sequence[str], why: OSError
) -> list[Path]:  # fmt: skip
    """Return files in memory, one a suffix, that go with the stack; only Linux has them.

    Raises:
        FastaError: this system has no such files.
    """
    found = f"{why.strerror or why}{f': {why.filename}' if why.filename else ''}"
    if not hasattr(os, "memfd_create"):
        raise FastaError(
            "The reference has no up-to-date index and none can be made.",
            needed=f"{path.name}.fai beside the FASTA (and .gzi for bgzip), or a cache that can be written",
            found=found, where=str(path),
            remedy="run samtools faidx on the FASTA, or set SPLICEBERT_VEP_CACHE to a folder of yours",
        )  # fmt: skip
    log.warning(
        "no cache can be written (%s): %s is indexed in every run; keep its .fai%s beside it, "
        "or set SPLICEBERT_VEP_CACHE to a folder of yours", found, path, " and .gzi" if len(suffixes) > 1 else "",
    )  # fmt: skip
    handles = [os.memfd_create(f"{path.name}{suffix}") for suffix in suffixes]
    for handle in handles:
        stack.callback(os.close, handle)
    return [_IN_MEMORY / str(handle) for handle in handles]


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
    memory = _cache_file(path, ".names")
    if memory and memory.exists():  # a bgzip file of some thousand sequences takes a second
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
    except (OSError, ValueError, LookupError, OverflowError, struct.error):
        return  # an index that lies is told where it is read
    _remember(memory, "each is there once\n")


def _remember(memory: Path | None, text: str) -> None:
    if memory is None:
        return
    with contextlib.suppress(OSError, OutputError):  # remembering is a convenience; what is remembered is at hand
        memory.parent.mkdir(parents=True, exist_ok=True)
        with whole_or_not(memory) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _read_memory(memory: Path | None) -> dict[str, str]:
    if memory is None:
        return {}
    try:
        found: dict[str, str] = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there yet, or not ours
        return {}
    return found


def _cache_file(path: Path, suffix: str) -> Path | None:
    """Name a cache file after the FASTA's path, size and times, so that a changed file never meets an old index.

    None is for a user who has no home folder and named none.
    """
    real = path.resolve()
    stat = real.stat()
    # The time of the inode's change as well: rsync and cp -p keep the time of the content's.
    about = f"{real}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}\0{stat.st_ino}"
    key = hashlib.sha256(os.fsencode(about)).hexdigest()[:32]
    try:
        return cache_root() / "fasta" / f"{key}{suffix}"
    except SettingsError:
        return None
