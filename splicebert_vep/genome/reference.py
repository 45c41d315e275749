"""The reference sequence: random access to a plain or BGZF-compressed FASTA through pyfaidx."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections import OrderedDict
from pathlib import Path
from types import TracebackType

import pyfaidx

from ..errors import FastaError, OutputError
from ..files import cache_root, temporary_name, whole_or_not
from .contigs import ContigNames

_BLOCK = 1 << 18  # nt; neighbouring windows come from one block
_BLOCKS_KEPT = 64  # 16 MB at most, whatever the genome's size
_BGZF_MAGIC = b"\x1f\x8b\x08\x04"


class Reference:
    """Read upper-case bases by contig name and 0-based half-open interval.

    The ``.fai`` (and ``.gzi``) beside the FASTA is used when it is there and not older than it; otherwise an index is
    made in the user's cache, so that a read-only folder works. Safe to share between threads, not between processes.

    Args:
        path: FASTA, plain or compressed by bgzip; soft-masked (lower-case) sequence is fine.

    Raises:
        FastaError: missing, empty, compressed by plain gzip, or not a FASTA.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        compressed = _check_format(self.path)
        self._fasta = _open_indexed(self.path, compressed)
        self.lengths: dict[str, int] = {name: entry.rlen for name, entry in self._fasta.faidx.index.items()}
        if not self.lengths:
            raise FastaError("The reference holds no sequence.", needed="a FASTA", where=str(self.path))
        self._names = ContigNames(self.lengths)
        self._blocks: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._md5: dict[str, str] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Reference:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def index(self) -> Path:
        """The ``.fai`` in use: beside the FASTA, or in the cache."""
        return Path(self._fasta.faidx.indexname)

    def close(self) -> None:
        """Close the file."""
        self._fasta.close()

    def find(self, contig: str) -> str | None:
        """Return the FASTA's own name of a contig under any naming (17, chr17, NC_000017.11), or None."""
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
        try:
            text = str(self._fasta.faidx.fetch(contig, start + 1, end))  # pyfaidx counts from 1, end inclusive
        except (pyfaidx.FetchError, OSError, ValueError) as error:
            raise FastaError(
                "The reference cannot be read.", found=str(error), where=f"{self.path} {contig}:{start + 1}-{end}"
            ) from error
        block = text.upper().encode("ascii", errors="replace")
        if len(block) != end - start:
            raise FastaError(
                "The reference and its index disagree.",
                needed=f"{end - start} bases",
                found=f"{len(block)} bases",
                where=f"{self.path} {contig}:{start + 1}-{end}",
                remedy="remove the .fai (and .gzi) file beside the FASTA and run again",
            )
        return block


def _check_format(path: Path) -> bool:
    """Tell whether the FASTA is BGZF-compressed; raise when it is no FASTA at all."""
    try:
        with path.open("rb") as handle:
            head = handle.read(16)
    except OSError as error:
        raise FastaError(
            "The reference FASTA cannot be opened.",
            found=error.strerror or str(error),
            where=str(path),
            remedy="check -R",
        ) from error
    packed_name = path.name.lower().endswith((".gz", ".bgz"))
    if head[:4] == _BGZF_MAGIC and head[12:14] == b"BC":
        if not packed_name:  # pyfaidx tells them apart by name
            raise FastaError(
                "The reference is compressed, but its name does not say so.",
                needed="a name that ends in .gz or .bgz",
                where=str(path),
                remedy="rename it, or link to it under such a name",
            )
        return True
    if head[:2] == b"\x1f\x8b":
        raise FastaError(
            "The reference is compressed by plain gzip, which has no random access.",
            needed="a plain or bgzip-compressed FASTA",
            where=str(path),
            remedy=f"gunzip -c {path} | bgzip > {path.name.removesuffix('.gz')}.bgz.fa.gz",
        )
    if head[:1] != b">":
        raise FastaError(
            "The reference is not a FASTA.",
            needed="a file that begins with '>'",
            found=repr(head[:10].decode("latin-1")) if head else "an empty file",
            where=str(path),
            remedy="check -R; it may have been swapped with the input",
        )
    if packed_name:
        raise FastaError(
            "The reference is not compressed, but its name says so.",
            needed="a name that does not end in .gz or .bgz, or bgzip-compressed content",
            where=str(path),
            remedy="rename it, or compress it with bgzip",
        )
    return False


def _open_indexed(path: Path, compressed: bool) -> pyfaidx.Fasta:
    beside = [Path(f"{path}.fai")] + ([Path(f"{path}.gzi")] if compressed else [])
    age = path.stat().st_mtime_ns
    if all(index.exists() and index.stat().st_mtime_ns >= age for index in beside):
        return _open(path, beside)
    stem = _cache_stem(path)
    cached = [stem.with_suffix(".fai")] + ([stem.with_suffix(".gzi")] if compressed else [])
    if not all(index.exists() for index in cached):
        try:
            stem.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FastaError(
                "The reference has no up-to-date index and none can be made.",
                needed=f"{path.name}.fai beside the FASTA (and .gzi for bgzip), or a cache that can be written",
                found=f"{error.strerror}: {stem.parent}",
                where=str(path),
                remedy="run samtools faidx on the FASTA, or set SPLICEBERT_VEP_CACHE to a folder of yours",
            ) from error
        # Two processes may index the same FASTA at once: each makes its own and the last rename wins.
        made = [temporary_name(index) for index in cached]
        try:
            _open(path, made).close()
            for temporary, index in zip(made, cached, strict=True):
                os.replace(temporary, index)
        finally:
            for temporary in made:
                temporary.unlink(missing_ok=True)
    return _open(path, cached)


def _open(path: Path, indexes: list[Path]) -> pyfaidx.Fasta:
    gzi = {"gzi_indexname": str(indexes[1])} if len(indexes) > 1 else {}
    try:
        return pyfaidx.Fasta(str(path), indexname=str(indexes[0]), as_raw=True, sequence_always_upper=True, **gzi)
    except (
        pyfaidx.FastaIndexingError,
        pyfaidx.IndexNotFoundError,
        pyfaidx.UnsupportedCompressionFormat,
        ValueError,
        OSError,
    ) as error:
        raise FastaError("The reference cannot be indexed.", found=str(error), where=str(path)) from error


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
    key = hashlib.sha256(about.encode()).hexdigest()[:32]
    return cache_root() / "fasta" / key
