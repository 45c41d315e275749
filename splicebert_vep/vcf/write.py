"""Write VCF, bgzipped VCF or BCF: whole under its final name, or not at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Literal

import pysam
from zlib_ng import zlib_ng

from ..errors import OutputError, VcfError
from ..files import ByteOutput, publish_all
from .bcf import BcfConverter, BcfDictionary
from .header import VcfHeader
from .info import foreign_keys, splice_info
from .read import BGZF_END, CHUNK, InputStream, VcfRecord, open_input

Kind = Literal["vcf", "vcf.gz", "bcf"]
INDEXES = (".tbi", ".csi")
"""Suffixes of the indexes that a VCF or BCF may have."""

_BUFFER = 1 << 18
_TBI_LIMIT = 2**29
_LAST = _TBI_LIMIT - (1 << 20)  # leaves room for a long REF


def kind_of(path: str) -> Kind:
    """Return the format that an output path asks for; text when it asks for none."""
    name = path.lower()
    if name.endswith((".gz", ".bgz")):
        return "vcf.gz"
    return "bcf" if name.endswith(".bcf") else "vcf"


class VcfWriter(ByteOutput):
    """Write records with their new INFO items, in order; a context manager.

    A file is written under a temporary name beside it, checked, indexed (``.vcf.gz``: .tbi, or .csi for long
    contigs; ``.bcf``: .csi) and renamed when the ``with`` block ends well; when it ends by an exception, nothing
    is left. ``path`` may also be a pipe, a device, or ``-`` for stdout.

    The first records and the contig lengths of the reference complete a header for BCF.
    """

    def __init__(
        self,
        path: str,
        header: VcfHeader,
        kind: Kind | None = None,
        first: Iterable[VcfRecord] = (),
        contig_lengths: Mapping[str, int] | None = None,
    ) -> None:
        #: Sentences for the user, complete after the end.
        self.warnings: list[str] = []
        self.records = 0
        self._kind = kind or kind_of(path)
        self._dictionary: BcfDictionary | None = None
        if self._kind == "bcf":
            self._dictionary = BcfDictionary(header, first, contig_lengths or {})
            self.warnings += self._dictionary.notes
            header = self._dictionary.header
        self._foreign = foreign_keys(header.fields)
        self._header_lines = len(header.lines)
        self._long = any((length or 0) > _TBI_LIMIT for length in header.contigs().values())
        self._unsorted = ""
        self._chrom, self._pos = "", 0
        self._seen: set[str] = set()
        self._index: Path | None = None
        self._lines = [header.to_bytes()]
        self._size = len(self._lines[0])
        super().__init__(path)
        self._packer: BcfConverter | BgzfPacker | None = None
        try:
            if self._kind != "vcf":
                self._packer = BcfConverter(self) if self._kind == "bcf" else BgzfPacker(self)
        except BaseException:
            super().abort()
            raise

    def write(self, record: VcfRecord, info: bytes) -> None:
        """Write a record; its earlier SpliceBERT items give way to ``info``, as ``InfoEncoder.text`` returns it.

        Raises OutputError if the disk is full and the like, maybe some records late, or if BCF cannot hold the record.
        """
        if self._dictionary is not None:
            self._dictionary.check(record)
        columns = record.columns()
        columns[7] = splice_info(columns[7], info, self._foreign)
        line = b"\t".join(columns) + (b"\n" if self._dictionary else record.eol)
        self._lines.append(line)
        self._size += len(line)
        if self._size > _BUFFER:
            self._hand_over()
        self._follow(record.chrom, record.pos)
        self.records += 1

    def __enter__(self) -> VcfWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Finish and publish the output, or remove it when either or the block failed."""
        if kind is not None:
            self.abort()
            return
        try:
            self.finish()
            publish_all([self])
        except BaseException:
            self.abort()
            raise

    def finish(self) -> None:
        """Write the last bytes, check, index; a file is whole then, under its temporary name."""
        self._hand_over()
        if self._packer is not None:
            self._packer.close()
        super().finish()
        if self._dictionary and self._dictionary.rounded:
            names = ", ".join(self._dictionary.rounded)
            self.warnings.append(f"BCF holds about 7 digits of a Float, and rounded {names}; -O v or z keeps all")
        temporary = self.to.temporary
        if temporary is None or self._kind == "vcf":
            return
        self._check(temporary)
        if self._unsorted:
            self.warnings.append(f"{self.name}: no index was made, {self._unsorted}; sort it with bcftools sort")
            return
        csi = self._kind == "bcf" or self._long
        try:  # htslib tells BCF from text by itself; the preset is for text only
            pysam.tabix_index(str(temporary), preset="vcf", csi=csi, force=True, keep_original=True)
        except (OSError, ValueError):  # a POS or an END that no index reaches, no room on the disk
            self._remove_indexes()
            self.warnings.append(
                f"{self.name}: htslib could make no index; bcftools index tells why, the file is whole"
            )
        else:
            self._index = Path(f"{temporary}{'.csi' if csi else '.tbi'}")

    def _remove_indexes(self) -> None:
        for suffix in INDEXES if self.to.temporary is not None else ():
            Path(f"{self.to.temporary}{suffix}").unlink(missing_ok=True)

    def renames(self) -> list[tuple[Path | None, Path]]:
        """Return the file and its index with their final names; none for stdout, pipes and devices."""
        renames = super().renames()
        if renames and self._kind != "vcf":  # an index of an earlier file must never stand beside the new file
            stale: list[tuple[Path | None, Path]] = [(None, Path(f"{self.to.final}{suffix}")) for suffix in INDEXES]
            index = self._index
            renames = [*stale, *renames, *([(index, Path(f"{self.to.final}{index.suffix}"))] if index else [])]
        return renames

    def abort(self) -> None:
        """Give the output up: write nothing more and remove what is there, unless it is published."""
        if self._packer is not None:
            self._packer.abort()
        super().abort()
        self._remove_indexes()

    def _hand_over(self) -> None:
        data = b"".join(self._lines)
        self._lines.clear()
        self._size = 0
        (self._packer or self).write_bytes(data)

    def _follow(self, chrom: str, pos: int) -> None:
        """Watch whether records come as an index needs them, and how far contigs reach."""
        if chrom == self._chrom and self._pos <= pos <= _LAST:  # nearly always
            self._pos = pos
            return
        if chrom != self._chrom:
            if chrom in self._seen:
                self._unsorted = self._unsorted or f"contig {chrom} comes in more than one stretch"
            self._seen.add(chrom)
        elif pos < self._pos:
            self._unsorted = self._unsorted or f"{chrom}:{pos} comes after {chrom}:{self._pos}, not sorted"
        self._chrom, self._pos = chrom, pos
        self._long = self._long or pos > _LAST

    def _check(self, path: Path) -> None:
        """Read a packed file again, checksums and all."""
        needed = self.records if self._kind == "bcf" else self.records + self._header_lines
        try:
            with open_input(str(path)) as stream:
                found = _count_bcf(stream) if self._kind == "bcf" else _count_lines(stream)
        except VcfError as error:
            raise OutputError("The output is not whole.", found=str(error), where=self.name) from error
        if needed != found:
            lines = f"{found} lines or records of {needed} when read again"
            raise OutputError("The output is not whole.", found=lines, where=self.name)


def _count_lines(stream: InputStream) -> int:
    return sum(data.count(b"\n") for data in iter(lambda: stream.read1(CHUNK), b""))


def _count_bcf(stream: InputStream) -> int:
    stream.read(5)
    stream.read(int.from_bytes(stream.read(4), "little"))
    count = 0
    while sizes := stream.read(8):
        stream.read(int.from_bytes(sizes[:4], "little") + int.from_bytes(sizes[4:], "little"))
        count += 1
    return count


class BgzfPacker:
    """Pack bytes into BGZF blocks on other threads, and put them in order.

    ``pysam.BGZFile`` packs on the thread that writes, tells no reason when a disk is full, and always writes an end
    marker, also when a stream is given up.
    """

    _BLOCK = 0xFF00  # as bgzip; packed and unpacked sizes of a block stay below 64 KiB
    _AHEAD = 32

    def __init__(self, out: ByteOutput) -> None:
        self._out = out
        self._rest = b""
        self._pool = ThreadPoolExecutor(2)
        self._packed: deque[Future[bytes]] = deque()

    def write_bytes(self, data: bytes) -> None:
        """Take bytes; raises as ``ByteOutput.write_bytes``."""
        data = self._rest + data
        whole = len(data) - len(data) % self._BLOCK
        self._rest = data[whole:]
        for start in range(0, whole, self._BLOCK):
            self._packed.append(self._pool.submit(_bgzf_block, data[start : start + self._BLOCK]))
        self._put(self._AHEAD)

    def close(self) -> None:
        """Write the last bytes and the end marker; raises as ``ByteOutput.write_bytes``."""
        if self._rest:
            self._packed.append(self._pool.submit(_bgzf_block, self._rest))
        self._put(0)
        self._out.write_bytes(BGZF_END)
        self._pool.shutdown()

    def abort(self) -> None:
        """Write nothing more, and no end marker, because it would make the output look whole."""
        self._pool.shutdown(cancel_futures=True)

    def _put(self, ahead: int) -> None:
        while len(self._packed) > ahead:
            self._out.write_bytes(self._packed.popleft().result())


_LEVEL = 6  # zlib-ng makes there what zlib makes in twice its time; libdeflate is as fast, isal a quarter larger


def _bgzf_block(data: bytes) -> bytes:
    """Return a gzip member whose extra field holds its own size (SAM specification, section 4.1).

    Data that cannot be packed are stored, with 20 bytes more: a block stays below 64 KiB.
    """
    packed = zlib_ng.compress(data, _LEVEL, -15)
    head = bytes.fromhex("1f8b08040000000000ff060042430200")
    size = (len(head) + 2 + len(packed) + 8 - 1).to_bytes(2, "little")
    return head + size + packed + zlib_ng.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
