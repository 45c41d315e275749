"""Who carries an allele."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import TracebackType
from typing import IO, TYPE_CHECKING, Literal, Protocol

import pysam

from ..errors import OutputError, VcfError
from ..files import reporting
from .bcf import Feed, FloatFields, header_text, line_of
from .header import VcfHeader
from .info import info_items

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class VcfRecord(Protocol):
    """What the pipeline may know of a record, whatever the file's format.

    ``pos`` is 1-based as in VCF; ``alts`` is empty when ALT is ``.``; ``number`` is the 1-based place of
    the record in its file; ``where`` names file and line or record, for messages.
    """

    @property
    def chrom(self) -> str: ...
    @property
    def pos(self) -> int: ...
    @property
    def id(self) -> str: ...
    @property
    def ref(self) -> str: ...
    @property
    def alts(self) -> tuple[str, ...]: ...
    @property
    def number(self) -> int: ...
    @property
    def where(self) -> str: ...

    def columns(self) -> list[bytes]:
        """Return the first 8 columns and, where there are more, the rest as one, without line end."""
        ...

    def info(self) -> dict[str, str]:
        """Return the INFO items by key, as text; a flag is the empty string."""
        ...


class TextRecord:
    """A line of VCF text, split no further than its INFO column."""

    __slots__ = ("_columns", "_header_lines", "_source", "alts", "chrom", "eol", "id", "number", "pos", "ref")

    def __init__(self, line: bytes, number: int, source: str = "", header_lines: int = 0) -> None:
        """Split a line.

        Args:
            line: the line with its end (``\\n``, ``\\r\\n`` or, at the end of a file, none).
            number: 1-based place among the records.
            source: file name, for messages.
            header_lines: lines before the first record, for messages.

        Raises:
            VcfError: fewer than 8 columns, or POS is not a whole number.
        """
        self.number = number
        self._source = source
        self._header_lines = header_lines
        self.eol = b"\r\n" if line.endswith(b"\r\n") else b"\n"
        columns = line.rstrip(b"\r\n").split(b"\t", 8)
        if len(columns) < 8:
            raise VcfError(
                "A record is not whole: it has too few columns.",
                needed="at least 8 columns separated by tabs",
                found=f"{len(columns)}: {_excerpt(line)}",
                where=self.where,
                remedy="the file may be cut off or edited by hand: get it again, or mend the line",
            )
        self._columns = columns
        if not columns[1].isdigit():
            raise VcfError(
                "A record has no usable position.",
                needed="a whole number in the POS column",
                found=_excerpt(columns[1]),
                where=self.where,
                remedy="mend the line; columns of a VCF are separated by tabs",
            )
        self.pos = int(columns[1])
        self.chrom = columns[0].decode("utf-8", "surrogateescape")
        self.id = columns[2].decode("utf-8", "surrogateescape")
        self.ref = columns[3].decode("utf-8", "surrogateescape")
        alt = columns[4].decode("utf-8", "surrogateescape")
        self.alts: tuple[str, ...] = () if alt in (".", "") else tuple(alt.split(","))

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self._source}:{self._header_lines + self.number}"

    def columns(self) -> list[bytes]:
        """Return the first 8 columns and, where there are more, the rest as one, without line end."""
        return self._columns.copy()

    def info(self) -> dict[str, str]:
        """Return the INFO items by key, as text; a flag is the empty string."""
        return info_items(self._columns[7])


class BcfRecord:
    """A BCF record as htslib holds it."""

    __slots__ = ("_floats", "_source", "alts", "chrom", "id", "native", "number", "pos", "ref")

    def __init__(self, native: pysam.VariantRecord, number: int, floats: FloatFields, source: str = "") -> None:
        """Wrap an htslib record; ``number`` is its 1-based place, ``source`` the file's name for messages."""
        self._floats = floats
        self.native = native
        self.number = number
        self._source = source
        self.pos: int = native.pos
        try:
            self.chrom: str = native.chrom
            self.id: str = native.id or "."
            self.ref: str = native.ref or "."
            self.alts: tuple[str, ...] = tuple(native.alts or ())
        except UnicodeDecodeError:  # pysam reads UTF-8 only; the bytes are kept as they are
            text = TextRecord(line_of(native, floats), number, source)
            self.chrom, self.id, self.ref, self.alts = text.chrom, text.id, text.ref, text.alts

    @property
    def where(self) -> str:
        """File and record number."""
        return f"{self._source}: record {self.number}"

    def columns(self) -> list[bytes]:
        """Return the first 8 columns and, where there are more, the rest as one, without line end."""
        return line_of(self.native, self._floats).split(b"\t", 8)

    def info(self) -> dict[str, str]:
        """Return the INFO items by key, as text; a flag is the empty string."""
        return info_items(self.columns()[7])


def _excerpt(text: bytes) -> str:
    return repr(text[:60].decode("utf-8", "replace"))


_BCF = b"BCF\x02"


def open_vcf(path: str) -> VcfReader:
    """Open a VCF or BCF; ``-`` is stdin.

    Plain text, gzip, BGZF and BCF (packed or not) are told apart by their first bytes.

    Raises:
        VcfError: not readable, empty, not a VCF, without a whole header; later, while records are read: cut
            off, damaged, or a malformed record.
    """
    return VcfReader(path)


class VcfReader:
    """Iterate over the records of a file, once; a context manager.

    VCF gives ``TextRecord``, BCF gives ``BcfRecord``.
    """

    header: VcfHeader
    kind: Literal["vcf", "bcf"]

    def __init__(self, path: str) -> None:
        """Read the header; raises as ``open_vcf``."""
        self.name = input_name(path)
        self._feed: Feed | None = None
        self._records: Iterator[TextRecord | BcfRecord]
        with contextlib.ExitStack() as stack:
            stream = stack.enter_context(open_input(path))
            head = stream.read(5)
            if head.startswith(_BCF):
                self.kind = "bcf"
                raw = self._read_bcf_header(stream, head)
                self._records = self._bcf_records(self._open_native(stream, raw, stack))
            else:
                self.kind = "vcf"
                self.header = VcfHeader.parse(self._header_lines(stream, head), self.name)
                self._records = self._text_records(stream)
            self._stream = stream
            self._stack = stack.pop_all()

    @property
    def samples_count(self) -> int:
        """How many samples the file has."""
        return self.header.samples_count

    def share_read(self) -> float | None:
        """Return the share of the file that was read so far, for a progress bar; None for stdin and pipes."""
        return self._stream.share_read()

    def __iter__(self) -> Iterator[TextRecord | BcfRecord]:
        """Return itself."""
        return self

    def __next__(self) -> TextRecord | BcfRecord:
        """Return the next record; raises VcfError for a malformed one and for a file that is cut off."""
        return next(self._records)

    def __enter__(self) -> VcfReader:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; the rest of it stays unread."""
        self._stack.close()

    def _header_lines(self, stream: io.BufferedReader, head: bytes) -> list[bytes]:
        if head != b"##fileformat"[:5]:
            return [head + stream.read1(40)]  # enough for the message: a binary file may have no line end
        lines = []
        line = head + stream.readline()
        while line.startswith(b"#"):
            lines.append(line)
            if line.startswith(b"#CHROM"):
                return lines
            line = stream.readline()
        return [*lines, line] if line else lines  # a line that should not be here goes into the message

    def _text_records(self, stream: io.BufferedReader) -> Iterator[TextRecord]:
        columns = self.header.columns_count
        tabs = columns - 1
        before = len(self.header.lines)
        for number, line in enumerate(stream, start=1):
            if line.count(b"\t") != tabs:
                raise self._wrong_columns(line, columns, f"{self.name}:{before + number}")
            yield TextRecord(line, number, self.name, before)

    def _wrong_columns(self, line: bytes, columns: int, where: str) -> VcfError:
        count = line.count(b"\t") + 1
        found = f"{count} columns: {line[:60].decode('utf-8', 'replace').rstrip()!r}"
        if not line.endswith(b"\n"):
            return cut_off(where, f"a last record of {found}, where the header has {columns}")
        return VcfError(
            "A record and the header differ in their number of columns.",
            needed=f"{columns} columns separated by tabs, as in the #CHROM line",
            found=found,
            where=where,
            remedy="mend the line, or write the file again from its source",
        )

    def _read_bcf_header(self, stream: io.BufferedReader, head: bytes) -> bytes:
        length = stream.read(4)
        text = stream.read(int.from_bytes(length, "little"))
        if len(length) < 4 or len(text) < int.from_bytes(length, "little"):
            raise cut_off(self.name, "a BCF header that is not whole")
        self.header = VcfHeader.parse(header_text(text), self.name)
        return head + length + text

    def _open_native(self, stream: io.BufferedReader, raw: bytes, stack: contextlib.ExitStack) -> pysam.VariantFile:
        def produce(write: Callable[[bytes], object]) -> None:
            write(raw)
            while data := stream.read1(CHUNK):
                write(data)

        # htslib reads a pipe, so that files and stdin go one way and our own check for a cut-off file holds.
        feed = self._feed = Feed(produce)
        stack.callback(feed.join)
        pipe = stack.enter_context(os.fdopen(feed.fd, "rb"))
        try:
            native = pysam.VariantFile(pipe, "r")
        except (OSError, ValueError) as error:
            raise VcfError("The BCF header cannot be read.", found=str(error), where=self.name) from error
        stack.callback(native.close)
        return native

    def _bcf_records(self, native: pysam.VariantFile) -> Iterator[BcfRecord]:
        floats = FloatFields.of(native.header)
        number = 0
        while True:
            try:
                record = next(native)
            except StopIteration:
                self._raise_feed_error()
                return
            except (OSError, ValueError) as error:
                self._raise_feed_error()
                found = f"a record that htslib cannot read: {error}"
                raise cut_off(f"{self.name}: record {number + 1}", found) from error
            number += 1
            yield BcfRecord(record, number, floats, self.name)

    def _raise_feed_error(self) -> None:
        if self._feed is not None:
            self._feed.join()
            if self._feed.error is not None:
                raise self._feed.error


#: Bytes handed on at a time.
CHUNK = 1 << 20
#: Compressed bytes read at a time: small, because zlib copies what follows each BGZF block.
_PACKED_CHUNK = 1 << 17
_GZIP = b"\x1f\x8b"
_HEAD = 18  # bytes up to the end of the BGZF subfield


class _Source(Protocol):
    def read1(self, size: int = ..., /) -> bytes: ...


@contextlib.contextmanager
def open_input(path: str) -> Iterator[Input]:
    """Open a file, or stdin for ``-``, and give its bytes inflated.

    Raises:
        VcfError: cannot be opened, is empty, and, while it is read, cut off or damaged.
    """
    name = input_name(path)
    try:
        file = None if path == "-" else open(path, "rb")  # noqa: SIM115 (closed by the stack below)
    except OSError as error:
        raise VcfError(
            "The VCF cannot be opened.",
            needed="a readable file",
            found=error.strerror or str(error),
            where=name,
            remedy="check the path",
        ) from error
    with contextlib.ExitStack() as stack:
        source: _Source = file or sys.stdin.buffer  # type: ignore[assignment]
        if file:
            stack.callback(file.close)
        head = b""
        while len(head) < _HEAD and (more := _read(source, _HEAD - len(head), name)):
            head += more
        if not head:
            raise VcfError(
                "The VCF is empty.",
                needed="a VCF or BCF with its header",
                found="0 bytes",
                where=name,
                remedy="look at the command that wrote it: it may have failed",
            )
        raw = _Inflated(source, head, name) if head.startswith(_GZIP) else _Plain(source, head, name)
        size = os.fstat(file.fileno()).st_size if file else 0  # 0 also for a pipe that has a name
        yield stack.enter_context(Input(raw, size))


class Input(io.BufferedReader):
    """Inflated bytes, and how far the file behind them has been read."""

    def __init__(self, raw: _Plain, size: int) -> None:
        super().__init__(raw, CHUNK)
        self._plain = raw
        self._size = size

    def share_read(self) -> float | None:
        """Return the share of the file's own bytes that was read, None for a stream."""
        return self._plain.taken / self._size if self._size else None


def input_name(path: str) -> str:
    """Return how messages call an input."""
    return "<stdin>" if path == "-" else path


def cut_off(name: str, found: str) -> VcfError:
    """Make the error for an input that ends too early."""
    return VcfError(
        "The file is cut off.",
        needed="a whole file",
        found=found,
        where=name,
        remedy="copy or download it again, or write it again from its source",
    )


def _read(source: _Source, size: int, name: str) -> bytes:
    try:
        return source.read1(size)
    except OSError as error:
        raise VcfError("The VCF cannot be read.", found=error.strerror or str(error), where=name) from error


class _Plain(io.RawIOBase):
    """The bytes already read, then the rest of the source."""

    def __init__(self, source: _Source, head: bytes, name: str) -> None:
        self._source = source
        self._name = name
        self.taken = len(head)
        self._pending = memoryview(head)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        target = memoryview(buffer).cast("B")
        if not self._pending:
            self._pending = memoryview(self._more())
        size = min(len(target), len(self._pending))
        target[:size] = self._pending[:size]
        self._pending = self._pending[size:]
        return size

    def _take(self, size: int) -> bytes:
        data = _read(self._source, size, self._name)
        self.taken += len(data)
        return data

    def _more(self) -> bytes:
        return self._take(CHUNK)


class _Inflated(_Plain):
    """Inflate gzip members one after the other; BGZF is gzip whose last member is empty."""

    def __init__(self, source: _Source, head: bytes, name: str) -> None:
        super().__init__(source, b"", name)
        self.taken = len(head)
        self._bgzf = len(head) == _HEAD and bool(head[3] & 4) and head[12:16] == b"BC\x02\x00"
        self._packed = head
        self._member = zlib.decompressobj(wbits=31)  # 31: gzip header and CRC are checked
        self._inside = True
        self._size = 0

    def _more(self) -> bytes:
        while True:
            packed = self._packed or self._take(_PACKED_CHUNK)
            if not packed:
                self._check_end()
                return b""
            if not self._inside:
                packed = packed.lstrip(b"\0")  # padding between members, as tapes leave it
                self._packed = packed
                if not packed:
                    continue
                self._member = zlib.decompressobj(wbits=31)
                self._inside = True
                self._size = 0
            try:
                data = self._member.decompress(packed, CHUNK)
            except zlib.error as error:
                raise VcfError(
                    "The file is damaged.",
                    needed="gzip or BGZF data",
                    found=str(error),
                    where=self._name,
                    remedy="copy or download it again",
                ) from error
            self._size += len(data)
            if self._member.eof:
                self._inside = False
                self._packed = self._member.unused_data
            else:
                self._packed = self._member.unconsumed_tail
            if data:
                return data

    def _check_end(self) -> None:
        if self._inside:
            raise cut_off(self._name, "gzip data that stops within a block")
        if self._bgzf and self._size:
            raise cut_off(self._name, "BGZF data without its end marker")


class Sink:
    """Write bytes to a file or stdout without a buffer of its own; ``size`` counts them."""

    def __init__(self, raw: IO[bytes] | io.RawIOBase, name: str, *, closing: bool = True) -> None:
        """Take an open output; ``closing`` says whether it is ours to close."""
        self._raw = raw
        self._closing = closing
        self.name = name
        self.size = 0

    @classmethod
    def stdout(cls) -> Sink:
        """Write to stdout, below Python's buffer, so that nothing stays in it to fail again at exit."""
        sys.stdout.flush()
        buffer = sys.stdout.buffer
        return cls(getattr(buffer, "raw", buffer), "<stdout>", closing=False)

    def write(self, data: bytes) -> None:
        """Write all bytes.

        Raises:
            OutputError: the system refused (disk full, file too large, quota).
            BrokenPipeError: the reader of a pipe has gone.
        """
        view = memoryview(data)
        with reporting(self.name):
            while view:
                done = self._raw.write(view) or 0
                self.size += done
                view = view[done:]

    def flush(self) -> None:
        """Hand everything to the system; raises as ``write``."""
        with reporting(self.name):
            self._raw.flush()

    def finish(self) -> None:
        """Hand everything to the system, and close a file; raises as ``write``."""
        self.flush()
        if self._closing:
            with reporting(self.name):
                self._raw.close()

    def abandon(self) -> None:
        """Close a file without minding what the system says."""
        if self._closing:
            with contextlib.suppress(OSError):
                self._raw.close()


class Pump(threading.Thread):
    """Carry bytes from a pipe to a sink on a thread; htslib writes to ``fd``, and closes it.

    After an error the pipe is still emptied, so that htslib never meets one of its own, of which it would
    tell less.
    """

    def __init__(self, sink: Sink) -> None:
        """Open the pipe and start."""
        super().__init__(name="vcf-pump", daemon=True)
        self._sink = sink
        self._read_fd, self.fd = os.pipe()
        self._error: Exception | None = None
        self._discarding = False
        self.start()

    def run(self) -> None:
        """Carry bytes until the pipe is closed."""
        with os.fdopen(self._read_fd, "rb", buffering=0) as pipe:
            while data := pipe.read(CHUNK):
                if self._error is None and not self._discarding:
                    try:
                        self._sink.write(data)
                    except (OutputError, BrokenPipeError, ValueError) as error:  # raised by the writing thread
                        self._error = error

    def discard(self) -> None:
        """Write nothing more."""
        self._discarding = True

    def check(self) -> None:
        """Raise what went wrong so far (OutputError or BrokenPipeError)."""
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Wait for the last byte, then raise as ``check``."""
        self.join()
        self.check()


def carriers(record: VcfRecord) -> list[int | None]:
    """Return how many samples of a record carry each of its ALTs at least once; None where it has no genotypes."""
    columns = record.columns()
    samples = columns[8].split(b"\t") if len(columns) > 8 else []
    keys = samples[0].split(b":") if samples else []
    if b"GT" not in keys or len(samples) < 2:
        return [None] * len(record.alts)
    at = keys.index(b"GT")
    del samples[0]
    if len(keys) > 1:
        samples = [sample.split(b":", at + 1)[at] if sample.count(b":") >= at else b"." for sample in samples]
    found = [0] * len(record.alts)
    for genotype, count in Counter(samples).items():
        for number in _alleles(genotype):
            if 1 <= number <= len(found):
                found[number - 1] += count
    return list(found)


@lru_cache(maxsize=1024)
def _alleles(genotype: bytes) -> frozenset[int]:
    """Return the numbers of the alleles of ``0/1``, ``1|2``, ``1``; a missing one has none."""
    return frozenset(int(part) for part in genotype.replace(b"|", b"/").split(b"/") if part.isdigit())
