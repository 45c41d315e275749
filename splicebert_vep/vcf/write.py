"""Write VCF, bgzipped VCF or BCF: whole under its final name, or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal

import pysam

from ..errors import OutputError, VcfError
from ..files import destination, reporting
from .bcf import Bgzf, TextToBcf
from .header import VcfHeader
from .info import foreign_keys, splice_info
from .read import CHUNK, BcfRecord, Pump, Sink, TextRecord, VcfRecord, open_input

_BUFFER = 1 << 18


def annotated_line(columns: list[bytes], info: bytes, foreign: Collection[bytes], end: bytes) -> bytes:
    """Splice INFO items into column 8 of a record, as ``splice_info`` does; all else is as it came."""
    columns[7] = splice_info(columns[7], info, foreign)
    return b"\t".join(columns) + end


class TextEncoder:
    """Write lines to a sink."""

    def __init__(self, sink: Sink, header: VcfHeader) -> None:
        """Write the header; raises as ``Sink.write``."""
        self._sink = sink
        self._foreign = foreign_keys(header.fields)
        self._lines = [header.to_bytes()]
        self._size = 0

    def write(self, record: TextRecord | BcfRecord, info: bytes) -> None:
        """Write a record as a line; raises as ``VcfWriter.write``."""
        end = record.eol if isinstance(record, TextRecord) else b"\n"
        line = annotated_line(record.columns(), info, self._foreign, end)
        self._lines.append(line)
        self._size += len(line)
        if self._size > _BUFFER:
            self._put()

    def close(self) -> None:
        """Hand over the last lines; raises as ``Sink.write``."""
        self._put()

    def abort(self) -> None:
        """Drop what was not handed over."""
        self._lines.clear()

    def _put(self) -> None:
        data = b"".join(self._lines)
        self._lines.clear()
        self._size = 0
        self._deliver(data)

    def _deliver(self, data: bytes) -> None:
        self._sink.write(data)


class BgzipEncoder(TextEncoder):
    """Write lines as BGZF; htslib packs them, on their way through a pipe so that errors have names."""

    def __init__(self, sink: Sink, header: VcfHeader) -> None:
        """Start the pump and write the header."""
        super().__init__(sink, header)
        self._pump = Pump(sink)
        self._file = Bgzf(self._pump.fd)

    def close(self) -> None:
        """Write the last lines and the end marker; raises as ``Sink.write``."""
        super().close()
        self._file.close()
        self._pump.finish()

    def abort(self) -> None:
        """Drop what was not handed over; the end marker goes nowhere: it would make the output look whole."""
        super().abort()
        self._pump.discard()
        self._file.close()
        self._pump.join()

    def _deliver(self, data: bytes) -> None:
        self._pump.check()
        self._file.write(data)


class BcfEncoder:
    """Write BCF to a sink: lines go through a pipe to htslib, its BCF through another to the sink."""

    def __init__(self, sink: Sink, header: VcfHeader) -> None:
        """Start both and hand over the header."""
        self._name = sink.name
        self._foreign = foreign_keys(header.fields)
        self._check = TextForBcf(header)
        self._given = 0
        self._pump = Pump(sink)
        read_fd, write_fd = os.pipe()
        self._pipe = os.fdopen(write_fd, "wb", buffering=1 << 18)
        self._thread = TextToBcf(read_fd, self._pump.fd)
        self._put(header.to_bytes())

    def write(self, record: TextRecord | BcfRecord, info: bytes) -> None:
        """Write a record; raises as ``VcfWriter.write``."""
        # a BCF record is defined by its own header, of which ours has all that is not an earlier annotation
        columns = self._check.check(record) if isinstance(record, TextRecord) else record.columns()
        self._put(annotated_line(columns, info, self._foreign, b"\n"))
        self._given += 1

    def close(self) -> None:
        """Write the last records and the end marker.

        Raises:
            OutputError: htslib could not take a record, or the sink failed.
            BrokenPipeError: the reader of a pipe has gone.
        """
        with contextlib.suppress(BrokenPipeError):  # htslib has stopped, and says so below
            self._pipe.close()
        self._finish()

    def abort(self) -> None:
        """Write nothing more; the end marker goes nowhere, because it would make the output look whole."""
        self._pump.discard()
        with contextlib.suppress(BrokenPipeError):
            self._pipe.close()
        self._thread.join()
        self._pump.join()

    def _put(self, data: bytes) -> None:
        self._pump.check()
        try:
            self._pipe.write(data)
        except BrokenPipeError:
            self._finish()

    def _finish(self) -> None:
        self._thread.join()
        self._pump.finish()
        taken = self._thread.records
        if self._thread.error is None and taken == self._given:
            return
        header = taken == 0 and "header" in str(self._thread.error)
        raise OutputError(
            f"BCF cannot hold {'this header' if header else 'a record'}",
            needed=f"a {'header' if header else 'record'} that htslib can read",
            found=f"htslib failed while {self._thread.error or 'ending'}",
            where=self._name if header else f"{self._name}: record {taken + 1}",
            remedy="write VCF (.vcf or .vcf.gz) instead; bcftools view tells more about the input",
        )


_DUMMY = "Not defined in the input header; added by splicebert-vep because BCF needs it"
_INFO_KEY = re.compile(r"[0-9A-Za-z_.+-]+\Z")  # wider than the format's rule: htslib takes 1000GAF and GERP++
_PLAIN = re.compile(r"[^\s,;=<>\"]+\Z")
_INT_MIN, _INT_MAX = -(2**31) + 8, 2**31 - 1  # the smallest values mark missing and end of vector
_WRITE_VCF = "write VCF (.vcf or .vcf.gz) instead"


def complete_for_bcf(
    header: VcfHeader, first_records: Iterable[VcfRecord], contig_lengths: Mapping[str, int] | None = None
) -> VcfHeader:
    """Return a header that defines what the first records use, in types that hold their values.

    Undefined INFO and FORMAT keys become ``Number=.,Type=String``, which keeps their text; keys without a
    value become flags. A header without any contig gets all of ``contig_lengths``, where these are in the
    naming of the records. A declared number type that values do not fit is widened (Integer, Float, String),
    with a note in the header's ``notes``.

    Raises:
        OutputError: a name that no header line can hold.
    """
    seen = _Seen(header)
    for record in first_records:
        if isinstance(record, TextRecord):  # BCF defines all of its own
            seen.add(record)
    return seen.complete(header, contig_lengths or {})


class _Seen:
    """What records use and the header lacks, with the first record of each."""

    def __init__(self, header: VcfHeader) -> None:
        known = header.identifiers()
        self._contigs = known["contig"]
        self._filters = known["FILTER"] | {"PASS"}
        self._formats = known["FORMAT"]
        self._types = header.info_types()
        self._new: dict[str, dict[str, VcfRecord]] = {"contig": {}, "FILTER": {}, "INFO key": {}, "FORMAT key": {}}
        self._valued: set[str] = set()
        self._wider: dict[str, str] = {}

    def add(self, record: TextRecord) -> None:
        columns = record.columns()
        if record.chrom not in self._contigs:
            self._new["contig"].setdefault(record.chrom, record)
        for name in _filters(columns):
            if name not in self._filters:
                self._new["FILTER"].setdefault(name, record)
        for key in _formats(columns):
            if key not in self._formats:
                self._new["FORMAT key"].setdefault(key, record)
        for key, value in _info(columns):
            kind = self._wider.get(key) or self._types.get(key)
            if kind is None:
                self._new["INFO key"].setdefault(key, record)
                if value is not None:
                    self._valued.add(key)
            elif value is not None and not _fits(kind, value):
                self._wider[key] = "Float" if _fits("Float", value) else "String"

    def complete(self, header: VcfHeader, lengths: Mapping[str, int]) -> VcfHeader:
        for what, names in self._new.items():
            shape = _INFO_KEY if what.endswith("key") else _PLAIN
            for name, record in names.items():
                if not shape.match(name):
                    raise _undefined(what, name, record, _WRITE_VCF)
        contigs = list(self._new["contig"])
        if not self._contigs and any(name in lengths for name in contigs):
            contigs = [*lengths, *(name for name in contigs if name not in lengths)]
        added = []
        for name in contigs:
            added.append(f"##contig=<ID={name},length={lengths[name]}>" if name in lengths else f"##contig=<ID={name}>")
        for name in self._new["FILTER"]:
            added.append(f'##FILTER=<ID={name},Description="{_DUMMY}">')
        for key in self._new["INFO key"]:
            shape_text = "Number=.,Type=String" if key in self._valued else "Number=0,Type=Flag"
            added.append(f'##INFO=<ID={key},{shape_text},Description="{_DUMMY}">')
        for key in self._new["FORMAT key"]:
            number = "1" if key == "GT" else "."
            added.append(f'##FORMAT=<ID={key},Number={number},Type=String,Description="{_DUMMY}">')
        header = header.extended([line.encode("utf-8", "surrogateescape") for line in added])
        note = "INFO {key}: declared type changed to {type}, because BCF could not hold its values otherwise"
        return header.retyped(self._wider, note)


class TextForBcf:
    """Check that htslib can take a text record whole."""

    def __init__(self, header: VcfHeader) -> None:
        """Read what a header defines."""
        known = header.identifiers()
        self._contigs = known["contig"]
        self._filters = known["FILTER"] | {"PASS"}
        self._infos = header.info_types()
        self._formats = known["FORMAT"]
        self._seen_filters: set[bytes] = set()
        self._seen_formats: set[bytes] = set()

    def check(self, record: TextRecord) -> list[bytes]:
        """Return the record's columns.

        Raises:
            OutputError: something is undefined, or a number cannot be held; names it, the record and the remedy.
        """
        columns = record.columns()
        if record.chrom not in self._contigs:
            raise _undefined("contig", record.chrom, record)
        if columns[6] not in self._seen_filters:
            for name in _filters(columns):
                if name not in self._filters:
                    raise _undefined("FILTER", name, record)
            self._seen_filters.add(columns[6])
        if len(columns) > 8 and (keys := columns[8].partition(b"\t")[0]) not in self._seen_formats:
            for key in _formats(columns):
                if key not in self._formats:
                    raise _undefined("FORMAT key", key, record)
            self._seen_formats.add(keys)
        if columns[5] != b"." and not _is_float(columns[5]):
            raise _no_number("QUAL", "a number", columns[5], record)
        for key, value in _info(columns):
            kind = self._infos.get(key)
            if kind is None:
                raise _undefined("INFO key", key, record)
            if value is not None and not _fits(kind, value):
                raise _no_number(f"INFO {key}", f"values of the declared type {kind}", value, record)
        return columns


def _filters(columns: list[bytes]) -> list[str]:
    return [] if columns[6] in (b".", b"") else _header_text(columns[6]).split(";")


def _info(columns: list[bytes]) -> list[tuple[str, bytes | None]]:
    if columns[7] == b".":
        return []
    items = []
    for item in columns[7].split(b";"):
        key, equals, value = item.partition(b"=")
        if key:
            items.append((_header_text(key), value if equals else None))
    return items


def _formats(columns: list[bytes]) -> list[str]:
    if len(columns) < 9 or (keys := columns[8].partition(b"\t")[0]) in (b".", b""):
        return []
    return _header_text(keys).split(":")


def _fits(kind: str, value: bytes) -> bool:
    """Tell whether htslib keeps a value's text or number; it would set others to missing without a word."""
    if kind not in ("Integer", "Float") or value.isdigit() and len(value) < 10:
        return True
    fits = _is_int if kind == "Integer" else _is_float
    return all(token in (b".", b"") or fits(token) for token in value.split(b","))


def _is_float(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_int(text: bytes) -> bool:
    try:
        return _INT_MIN <= int(text) <= _INT_MAX
    except ValueError:
        return False


def _header_text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _undefined(what: str, name: str, record: VcfRecord, remedy: str = "") -> OutputError:
    shown = ascii(name)
    return OutputError(
        f"BCF cannot hold this record: its {what} {shown} is not defined in the header",
        needed=f"a header line for {what} {shown}",
        found="none in the header, and none of the first records had it",
        where=record.where,
        remedy=remedy or f"{_WRITE_VCF}, or define it with bcftools annotate -h (contigs: bcftools reheader --fai)",
    )


def _no_number(what: str, needed: str, found: bytes, record: VcfRecord) -> OutputError:
    return OutputError(
        f"BCF cannot hold this record: {what} does not fit its type",
        needed=needed,
        found=ascii(_header_text(found[:60])),
        where=record.where,
        remedy=f"{_WRITE_VCF}, or mend the header or the value",
    )


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
