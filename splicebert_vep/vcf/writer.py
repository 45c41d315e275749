"""Write VCF, bgzipped VCF or BCF: whole under its final name, or not at all."""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import TracebackType
from typing import Literal

from splicebert_vep.errors import OutputError
from splicebert_vep.files import destination, reporting

from .bcf_encoder import BcfEncoder
from .finish import count_bcf, count_lines, index, sync
from .header import VcfHeader
from .records import BcfRecord, TextRecord
from .streams import Sink
from .text_encoder import BgzipEncoder, TextEncoder

Kind = Literal["vcf", "vcf.gz", "bcf"]
_INDEXES = (".tbi", ".csi")


def kind_of(path: str) -> Kind:
    """Return the format that an output path asks for; text when it asks for none."""
    name = path.lower()
    if name.endswith((".gz", ".bgz")):
        return "vcf.gz"
    return "bcf" if name.endswith(".bcf") else "vcf"


def open_writer(path: str, header: VcfHeader, *, kind: Kind | None = None) -> VcfWriter:
    """Open an output; ``-`` is stdout.

    A file is written under a temporary name beside it, checked, indexed (``.vcf.gz``: .tbi, or .csi for long
    contigs; ``.bcf``: .csi) and renamed when the ``with`` block ends well; when it ends by an exception, nothing
    is left. For BCF the header has been through ``complete_for_bcf``.

    Args:
        path: output file, a pipe or device, or ``-``.
        header: as ``VcfHeader.annotated`` returns it; its fields say which keys may be written.
        kind: the format, where the path's suffix does not say it.

    Raises:
        OutputError: cannot be opened, or (BCF) the header cannot be read by htslib.
    """
    return VcfWriter(path, header, kind or kind_of(path))


_ENCODERS: dict[Kind, type[TextEncoder | BcfEncoder]] = {"vcf": TextEncoder, "vcf.gz": BgzipEncoder, "bcf": BcfEncoder}


class VcfWriter:
    """Take records with their new INFO items, in order; a context manager.

    ``records`` counts what was written; ``warnings`` holds sentences for the user, complete after the end.
    """

    def __init__(self, path: str, header: VcfHeader, kind: Kind) -> None:
        """Open the output; raises as ``open_writer``."""
        self.records = 0
        self.warnings: list[str] = list(header.notes)
        self._kind = kind
        self._header = header
        self._order = _Order(header)
        self._to = destination(path)
        self._name = self._to.name
        self._index: Path | None = None
        self._sink = _open_sink(self._to.path, self._name)
        try:
            self._encoder = _ENCODERS[kind](self._sink, header)
        except BaseException:
            self._remove()
            raise

    def write(self, record: TextRecord | BcfRecord, info: bytes) -> None:
        """Write a record; its earlier SpliceBERT items give way to new ones.

        Args:
            record: as it was read.
            info: new INFO items of the header's fields, as ``InfoEncoder.text`` returns them.

        Raises:
            OutputError: disk full and the like, maybe some records late; or BCF cannot hold the record.
            BrokenPipeError: the reader of a pipe has gone.
        """
        self._encoder.write(record, info)
        self._order.add(record.chrom, record.pos)
        self.records += 1

    def __enter__(self) -> VcfWriter:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Finish the output, or remove it when the block failed."""
        if kind is None:
            self.close()
        else:
            self.abort()

    def close(self) -> None:
        """Finish and publish; raises as they do, and leaves nothing then."""
        try:
            self.finish()
            self.publish()
        except BaseException:
            self.abort()
            raise

    def finish(self) -> None:
        """Write the last bytes, check, index; a file is whole then, under its temporary name.

        Raises:
            OutputError: the output is not whole.
            BrokenPipeError: the reader of a pipe has gone.
        """
        self._encoder.close()
        self._sink.finish()
        temporary = self._to.temporary
        if temporary is None:
            return
        self._check(temporary)
        if self._kind != "vcf" and self._order.problem:
            self.warnings.append(f"{self._name}: no index was made, {self._order.problem}; sort it with bcftools sort")
        elif self._kind != "vcf":
            self._index = index(temporary, self._kind, long_contigs=self._order.long, where=self._name)

    def publish(self) -> None:
        """Put file and index under their final names; nothing to do for stdout, pipes and devices.

        Raises:
            OutputError: they could not be renamed.
        """
        final = self._to.final
        if self._to.temporary is None or final is None:
            return
        with reporting(self._name):
            if self._kind != "vcf":  # an index of an earlier file must never stand beside the new one
                for suffix in _INDEXES:
                    Path(f"{final}{suffix}").unlink(missing_ok=True)
            self._to.publish()
            if self._index is not None:
                os.replace(self._index, f"{final}{self._index.suffix}")

    def abort(self) -> None:
        """Give the output up: write nothing more and remove what is there, unless it is published."""
        self._encoder.abort()
        self._remove()

    def _remove(self) -> None:
        self._sink.abandon()
        self._to.discard()
        for suffix in _INDEXES:
            if self._to.temporary is not None:
                Path(f"{self._to.temporary}{suffix}").unlink(missing_ok=True)

    def _check(self, path: Path) -> None:
        with reporting(self._name):
            size = sync(path)
        if size != self._sink.size:
            raise self._not_whole(f"{self._sink.size} bytes", f"{size} bytes")
        if self._kind == "bcf":
            needed, found = self.records, count_bcf(path, self._name)
        elif self._kind == "vcf.gz":
            needed, found = len(self._header.lines) + self.records, count_lines(path, self._name)
        else:
            return
        if needed != found:
            raise self._not_whole(f"{needed} lines or records", f"{found} when read again")

    def _not_whole(self, needed: str, found: str) -> OutputError:
        return OutputError(
            "The output is not whole.",
            needed=needed,
            found=found,
            where=self._name,
            remedy="look after the disk, and run again",
        )


class _Order:
    """Watch whether records come as an index needs them, and how far contigs reach."""

    _TBI_LIMIT = 2**29
    _LAST = _TBI_LIMIT - (1 << 20)  # leaves room for a long REF

    def __init__(self, header: VcfHeader) -> None:
        self.long = any((length or 0) > self._TBI_LIMIT for length in header.contigs().values())
        self.problem = ""
        self._chrom: str | None = None
        self._pos = 0
        self._seen: set[str] = set()

    def add(self, chrom: str, pos: int) -> None:
        if chrom == self._chrom and self._pos <= pos <= self._LAST:  # nearly always
            self._pos = pos
            return
        if chrom != self._chrom:
            if chrom in self._seen and not self.problem:
                self.problem = f"contig {chrom} comes in more than one stretch"
            self._seen.add(chrom)
            self._chrom = chrom
        elif pos < self._pos and not self.problem:
            self.problem = f"records are not sorted ({chrom}:{pos} comes after {chrom}:{self._pos})"
        self._pos = pos
        if pos > self._LAST:
            self.long = True


def _open_sink(path: Path | None, name: str) -> Sink:
    if path is None:
        return Sink.stdout()
    with reporting(name):
        return Sink(io.FileIO(path, "w"), name)
