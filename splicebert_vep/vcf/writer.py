"""Write VCF, bgzipped VCF or BCF: whole under its final name, or not at all."""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import TracebackType
from typing import Literal

from splicebert_vep.errors import OutputError
from splicebert_vep.files import reporting, temporary_name

from .bcf_encoder import BcfEncoder
from .finish import count_bcf, count_lines, index, sync
from .header import VcfHeader
from .info import Annotation
from .records import BcfRecord, TextRecord
from .streams import Sink
from .text_encoder import BgzipEncoder, TextEncoder

Kind = Literal["vcf", "vcf.gz", "bcf"]
_INDEXES = (".tbi", ".csi")


def kind_of(path: str) -> Kind:
    """Return the format that an output path asks for; text when it asks for none."""
    if path.endswith((".gz", ".bgz")):
        return "vcf.gz"
    return "bcf" if path.endswith(".bcf") else "vcf"


def open_writer(path: str, header: VcfHeader, *, kind: Kind | None = None) -> VcfWriter:
    """Open an output; ``-`` is stdout.

    A file is written under a temporary name beside it, checked, indexed (``.vcf.gz``: .tbi, or .csi for long
    contigs; ``.bcf``: .csi) and renamed when the ``with`` block ends well; when it ends by an exception, nothing
    is left. For BCF the header has been through ``complete_for_bcf``.

    Args:
        path: output file, a pipe or device, or ``-``.
        header: as ``VcfHeader.annotated`` returns it; its fields say what annotations may hold.
        kind: the format, where the path's suffix does not say it.

    Raises:
        OutputError: cannot be opened, or (BCF) the header cannot be read by htslib.
    """
    return VcfWriter(path, header, kind or kind_of(path))


_ENCODERS: dict[Kind, type[TextEncoder | BcfEncoder]] = {"vcf": TextEncoder, "vcf.gz": BgzipEncoder, "bcf": BcfEncoder}


class VcfWriter:
    """Take records with their annotations, in order; a context manager.

    ``records`` counts what was written; ``warnings`` holds sentences for the user, complete after the end.
    """

    def __init__(self, path: str, header: VcfHeader, kind: Kind) -> None:
        """Open the output; raises as ``open_writer``."""
        self.records = 0
        self.warnings: list[str] = list(header.notes)
        self._kind = kind
        self._header = header
        self._order = _Order(header)
        self._name = "<stdout>" if path == "-" else path
        self._target, self._temporary = _places(path)
        self._sink = _open_sink(self._temporary or self._target, self._name)
        try:
            self._encoder = _ENCODERS[kind](self._sink, header)
        except BaseException:
            self._remove()
            raise

    def write(self, record: TextRecord | BcfRecord, annotation: Annotation) -> None:
        """Write a record; its earlier SpliceBERT items give way to the annotation.

        A record without ALT takes no annotation.

        Raises:
            OutputError: disk full and the like, maybe some records late; or BCF cannot hold the record.
            BrokenPipeError: the reader of a pipe has gone.
            ValueError: the annotation does not fit the declared fields.
        """
        self._encoder.write(record, annotation if record.alts else {})
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
        """Finish: write the last bytes, check, index, rename.

        Raises:
            OutputError: the output is not whole; nothing is left under its name.
            BrokenPipeError: the reader of a pipe has gone.
        """
        try:
            self._encoder.close()
            self._sink.finish()
            if self._temporary is not None and self._target is not None:
                self._check(self._temporary)
                self._publish(self._temporary, self._target)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Give the output up: write nothing more and remove what is there."""
        self._encoder.abort()
        self._remove()

    def _remove(self) -> None:
        self._sink.abandon()
        if self._temporary is not None:
            for suffix in ("", *_INDEXES):
                Path(f"{self._temporary}{suffix}").unlink(missing_ok=True)

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
            "the output is not whole",
            needed=needed,
            found=found,
            where=self._name,
            remedy="look after the disk, and run again",
        )

    def _publish(self, temporary: Path, target: Path) -> None:
        built: Path | None = None
        if self._kind != "vcf" and self._order.problem:
            self.warnings.append(f"{self._name}: no index was made, {self._order.problem}; sort it with bcftools sort")
        elif self._kind != "vcf":
            built = index(temporary, self._kind, long_contigs=self._order.long, where=self._name)
        with reporting(self._name):
            if self._kind != "vcf":  # an index of an earlier file must never stand beside the new one
                for suffix in _INDEXES:
                    Path(f"{target}{suffix}").unlink(missing_ok=True)
            os.replace(temporary, target)
            if built is not None:
                os.replace(built, f"{target}{built.suffix}")


class _Order:
    """Watch whether records come as an index needs them, and how far contigs reach."""

    _TBI_LIMIT = 2**29

    def __init__(self, header: VcfHeader) -> None:
        self.long = any((length or 0) > self._TBI_LIMIT for length in header.contigs().values())
        self.problem = ""
        self._chrom: str | None = None
        self._pos = 0
        self._seen: set[str] = set()

    def add(self, chrom: str, pos: int) -> None:
        if chrom != self._chrom:
            if chrom in self._seen and not self.problem:
                self.problem = f"contig {chrom} comes in more than one stretch"
            self._seen.add(chrom)
            self._chrom = chrom
        elif pos < self._pos and not self.problem:
            self.problem = f"records are not sorted ({chrom}:{pos} comes after {chrom}:{self._pos})"
        self._pos = pos
        if pos > self._TBI_LIMIT - (1 << 20):  # leaves room for a long REF
            self.long = True


def _places(path: str) -> tuple[Path | None, Path | None]:
    """Return the final path and the temporary one; no paths for stdout, no temporary for pipes and devices."""
    if path == "-":
        return None, None
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise OutputError("the output path is a folder", needed="a file name", found="a folder", where=path)
    if target.exists() and not target.is_file():
        return target, None
    return target, temporary_name(target)


def _open_sink(path: Path | None, name: str) -> Sink:
    if path is None:
        return Sink.stdout()
    with reporting(name):
        return Sink(io.FileIO(path, "w"), name)
