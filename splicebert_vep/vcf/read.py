"""Read VCF, gzipped VCF and BCF, from files and stdin, as records that keep their text.

A record of BCF is printed by htslib, and each of its floats gets as many digits as it holds (htslib prints 6).
cyvcf2 is not used here: its ``variant_from_string`` counts characters where VCF counts bytes, so that ``ST=ééabc``
loses its end, and it turns ``END=abc`` into a missing value.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar

import numpy as np
import pysam
from isal import igzip, igzip_lib

from ..errors import VcfError
from .header import VcfHeader
from .info import info_items

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 20
"""Bytes handed on at a time."""
#: The empty block that ends every whole BGZF file.
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_HEAD = 18  # bytes up to the end of the BGZF subfield
_LETTERS = 1 << 25  # a chunk of records with half a million samples ends there
_AGAIN = "copy or download it again, or write it again from its source"

R = TypeVar("R", bound=Any)  # a VcfRecord, or a variant given by hand

pysam.set_verbosity(0)  # this package checks for itself, and reports with file and record, what htslib would print


class VcfRecord:
    """A record, split no further than its INFO column.

    ``pos`` is 1-based as in VCF; ``alts`` is empty when ALT is ``.``; ``number`` is the 1-based place of the record in
    its file; ``eol`` is the end of its line; ``size`` is the length of its line in bytes.
    """

    __slots__ = ("_columns", "_header_lines", "_source", "alts", "chrom", "eol", "id", "number", "pos", "ref", "size")

    def __init__(self, line: bytes, number: int, source: str = "", header_lines: int | None = 0) -> None:
        """Split a line with its end; raises VcfError for fewer than 8 columns, or if POS is no whole number.

        ``source`` and ``header_lines`` (before the first record; None for BCF, which has no lines) are for messages.
        """
        self.number = number
        self.size = len(line)
        self._source = source
        self._header_lines = header_lines
        self.eol = b"\r\n" if line.endswith(b"\r\n") else b"\n"
        columns = line.rstrip(b"\r\n").split(b"\t", 8)
        if len(columns) < 8:
            found = f"{len(columns)}: {_excerpt(line)}"
            raise VcfError("A record has too few columns.", found=found, where=self.where, remedy=_AGAIN)
        if not columns[1].isdigit() or len(columns[1]) > 18:
            problem, remedy = "POS of a record is no position.", "columns of a VCF are separated by tabs"
            raise VcfError(problem, found=_excerpt(columns[1]), where=self.where, remedy=remedy)
        self._columns = columns
        self.pos = int(columns[1])
        self.chrom = columns[0].decode("utf-8", "surrogateescape")
        self.id = columns[2].decode("utf-8", "surrogateescape")
        self.ref = columns[3].decode("utf-8", "surrogateescape")
        alt = columns[4].decode("utf-8", "surrogateescape")
        self.alts: tuple[str, ...] = () if alt in (".", "") else tuple(alt.split(","))

    @property
    def where(self) -> str:
        """File and line, or file and record number, for messages."""
        if self._header_lines is None:
            return f"{self._source}: record {self.number}"
        return f"{self._source}:{self._header_lines + self.number}"

    @property
    def site(self) -> bytes:
        """CHROM, POS, ID, REF and ALT as they are written."""
        return b"\t".join(self._columns[:5])

    def columns(self) -> list[bytes]:
        """Return the first 8 columns and, where there are more, the rest as one, without line end."""
        return self._columns.copy()

    def info(self) -> dict[str, str]:
        """Return the INFO items by key, as text; a flag is the empty string."""
        return info_items(self._columns[7])


def chunked(records: Iterator[R], size: int) -> Iterator[list[R]]:
    """Yield records in lists of ``size``, or fewer where they are long."""
    while chunk := list(_chunk(records, size)):
        yield chunk


def _chunk(records: Iterator[R], size: int) -> Iterator[R]:
    letters = 0
    for record in islice(records, size):
        yield record
        letters += record.size
        if letters > _LETTERS:
            return


def _excerpt(text: bytes) -> str:
    return repr(text[:60].decode("utf-8", "replace").rstrip("\r\n"))


def open_vcf(path: str) -> VcfReader:
    """Open a VCF or BCF; ``-`` is stdin.

    Plain text, gzip, BGZF and BCF (packed or not) are told apart by their first bytes.

    Raises:
        VcfError: not readable, empty, not a VCF, without a whole header; later, while records are read: cut
            off, damaged, or a malformed record.
    """
    return VcfReader(path)


class VcfReader:
    """Iterate over the records of a file, once; a context manager."""

    header: VcfHeader
    kind: Literal["vcf", "bcf"]

    def __init__(self, path: str) -> None:
        #: Sentences for the user, complete after the last record.
        self.warnings: list[str] = []
        self._records: Iterator[VcfRecord]
        with contextlib.ExitStack() as stack:
            stream = stack.enter_context(open_input(path))
            self.name, self.share_read = stream.source_name, stream.share_read
            head = stream.read(5)
            if head.startswith(b"BCF\x02"):
                self.kind = "bcf"
                head += self._read_bcf_header(stream)
                self._records = self._bcf_records(stream, head, stack)
            else:
                self.kind = "vcf"
                self.header = VcfHeader.parse(self._header_lines(stream, head), self.name)
                self._records = self._text_records(stream)
            self._stack = stack.pop_all()

    def __iter__(self) -> Iterator[VcfRecord]:
        return self

    def __next__(self) -> VcfRecord:
        """Return the next record; raises VcfError for a malformed record and for a file that is cut off."""
        return next(self._records)

    def __enter__(self) -> VcfReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the rest of it stays unread."""
        self._stack.close()

    def _header_lines(self, stream: InputStream, head: bytes) -> list[bytes]:
        if head != b"##fil":
            return [head + stream.read1(40)]  # enough for the message: a binary file may have no line end
        lines = []
        line = head + stream.readline()
        while line.startswith(b"#"):
            lines.append(line)
            if line.startswith(b"#CHROM"):
                return lines
            line = stream.readline()
        return [*lines, line] if line else lines  # a line that should not be here goes into the message

    def _text_records(self, stream: InputStream) -> Iterator[VcfRecord]:
        tabs = self.header.columns_count - 1
        before = len(self.header.lines)
        for number, line in enumerate(stream, start=1):
            if line.count(b"\t") != tabs:
                where, count = f"{self.name}:{before + number}", line.count(b"\t") + 1
                found = f"{count} columns, where the header has {tabs + 1}: {_excerpt(line)}"
                if not line.endswith(b"\n"):
                    raise _cut_off(where, f"a last record of {found}")
                remedy = "separate columns by tabs, or write the file again from its source"
                problem = "A record and the header differ in their number of columns."
                raise VcfError(problem, found=found, where=where, remedy=remedy)
            if b"\0" in line:  # VCF 4.3, section 1.2; htslib takes the rest of such a line for absent
                problem, where = "A record holds a null character.", f"{self.name}:{before + number}"
                raise VcfError(problem, found=_excerpt(line), where=where, remedy=_AGAIN)
            yield VcfRecord(line, number, self.name, before)
            if not line.endswith(b"\n"):
                told = f"{self.name}:{before + number}: the last line has no line end"
                self.warnings.append(f"{told}; if the file was cut off there, its last column is not whole")

    def _read_bcf_header(self, stream: InputStream) -> bytes:
        length = stream.read(4)
        size = int.from_bytes(length, "little")
        text = stream.read(size)
        if len(length) < 4 or len(text) < size:
            raise _cut_off(self.name, "a BCF header that is not whole")
        self.header = VcfHeader.parse_bcf(text, self.name)
        return length + text

    def _bcf_records(self, stream: InputStream, head: bytes, stack: contextlib.ExitStack) -> Iterator[VcfRecord]:
        """Have htslib read a pipe, so that files and stdin go the same way and our check for a cut-off file holds."""
        read_fd, write_fd = os.pipe()
        errors: list[Exception] = []

        def feed() -> None:
            try:
                with open(write_fd, "wb") as pipe:
                    pipe.write(head)
                    while data := stream.read1(CHUNK):
                        pipe.write(data)
            except BrokenPipeError:
                pass  # the reader was closed before the end of the file
            except (VcfError, OSError, ValueError) as error:  # raised again by the thread that reads records
                errors.append(error)

        thread = threading.Thread(target=feed, name="vcf-feed", daemon=True)
        thread.start()
        stack.callback(thread.join)
        pipe = stack.enter_context(os.fdopen(read_fd, "rb"))
        try:
            native = stack.enter_context(pysam.VariantFile(pipe, "r"))
        except (OSError, ValueError) as error:
            raise VcfError("The BCF header cannot be read.", found=str(error), where=self.name) from error

        def records() -> Iterator[VcfRecord]:
            floats = [_floats(self.header.types(section)) for section in ("INFO", "FORMAT")]
            number = 0
            try:
                for number, record in enumerate(native, start=1):
                    yield VcfRecord(bcf_line(record, *floats), number, self.name, None)
            except (OSError, ValueError, LookupError, OverflowError) as error:  # what pysam raises for broken records
                thread.join()
                found = f"a record that htslib cannot read: {error}"
                raise errors[0] if errors else _cut_off(f"{self.name}: record {number + 1}", found) from error
            thread.join()
            if errors:
                raise errors[0]

        return records()


def _floats(types: Mapping[str, str]) -> frozenset[bytes]:
    """Return the Float keys as bytes, which pysam takes as they are; it decodes text as UTF-8."""
    return frozenset(key.encode("utf-8", "surrogateescape") for key, kind in types.items() if kind == "Float")


def bcf_line(record: pysam.VariantRecord, infos: frozenset[bytes], formats: frozenset[bytes]) -> bytes:
    """Return the line of a BCF record, without line end; its Float keys get as many digits as they hold."""
    try:
        line = str(record).encode()
    except UnicodeDecodeError as error:  # pysam takes text for UTF-8; the line as htslib made it is in here
        line = error.object
    columns = line.rstrip(b"\n").split(b"\t")
    if columns[5] != b".":
        columns[5] = _exact(columns[5], (record.qual,))
    items = columns[7].split(b";")
    for i, item in enumerate(items):
        key, equals, text = item.partition(b"=")
        if equals and key in infos:
            items[i] = key + b"=" + _exact(text, record.info[key])  # type: ignore[index]
    columns[7] = b";".join(items)
    if len(columns) > 9 and not formats.isdisjoint(keys := columns[8].split(b":")):
        for at, sample in enumerate(record.samples.values(), start=9):
            parts = columns[at].split(b":")
            for i, key in enumerate(keys[: len(parts)]):
                if key in formats:
                    parts[i] = _exact(parts[i], sample[key])  # type: ignore[index]
            columns[at] = b":".join(parts)
    return b"\t".join(columns)


def _exact(text: bytes, values: object) -> bytes:
    """Print float32 values so that reading gives them back; text that does so already stays."""
    values = values if isinstance(values, tuple) else (values,)
    tokens = text.split(b",")
    if len(tokens) != len(values):
        return text
    for i, value in enumerate(values):
        if value is None or value == float(tokens[i]) or value != value:
            continue
        single = np.float32(value)
        if np.float32(float(tokens[i])) != single:
            plain = 1e-4 <= abs(value) < 1e16
            tokens[i] = (np.format_float_positional(single, trim="-") if plain else str(single)).encode()
    return b",".join(tokens)


def open_input(path: str) -> InputStream:
    """Open a file, or stdin for ``-``, as a stream of its bytes, inflated where they are gzip or BGZF."""
    name = "<stdin>" if path == "-" else path
    try:
        file: BinaryIO = sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: SIM115 (the stream closes it)
    except OSError as error:
        found = error.strerror or str(error)
        raise VcfError("The VCF cannot be opened.", found=found, where=name, remedy="check the path") from error
    source = _Source(file, name)
    try:
        return InputStream(source)
    except BaseException:
        source.close()
        raise


class InputStream(io.BufferedReader):
    """Inflated bytes, and how far the file behind them has been read."""

    def __init__(self, source: _Source) -> None:
        super().__init__(_Inflated(source) if source.head.startswith(b"\x1f\x8b") else source, CHUNK)
        self._source = source
        self.source_name = source.name

    def share_read(self) -> float | None:
        """Return the share of the file's own bytes that was read so far; None for stdin and pipes."""
        return self._source.taken / self._source.size if self._source.size else None


class _Source(io.RawIOBase):
    """The bytes of a file or of stdin; remembers the first and the last of them."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        super().__init__()
        self._file = file
        self.name = name
        self.taken = 0
        self.last = b""
        self.size = 0 if file is sys.stdin.buffer else os.fstat(file.fileno()).st_size  # 0 also for a named pipe
        self.head = self._pending = b""
        while len(self.head) < _HEAD and (more := self.read(_HEAD - len(self.head))):
            self.head += more
        if not self.head:
            remedy = "look at the command that wrote it: it may have failed"
            raise VcfError("The VCF is empty.", found="0 bytes", where=name, remedy=remedy)
        self._pending = self.head

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        target = memoryview(buffer).cast("B")
        if self._pending:
            count = min(len(target), len(self._pending))
            target[:count] = self._pending[:count]
            self._pending = self._pending[count:]
            return count
        try:
            count = int(self._file.readinto1(target))  # type: ignore[attr-defined]
        except OSError as error:
            raise VcfError("The VCF cannot be read.", found=error.strerror or str(error), where=self.name) from error
        self.taken += count
        self.last = (self.last + bytes(target[max(0, count - len(BGZF_END)) : count]))[-len(BGZF_END) :]
        return count

    def close(self) -> None:
        if self._file is not sys.stdin.buffer:
            self._file.close()
        super().close()


class _Inflated(io.RawIOBase):
    """Gzip members, one after the other; BGZF is gzip whose last member is empty."""

    def __init__(self, source: _Source) -> None:
        super().__init__()
        self._source = source
        self._bgzf = bool(source.head[3] & 4) and source.head[12:16] == b"BC\x02\x00"
        self._file = igzip.IGzipFile(fileobj=source, mode="rb")  # type: ignore[no-untyped-call]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        try:
            count = self._file.readinto1(buffer)
        except EOFError as error:
            raise _cut_off(self._source.name, "gzip data that stops within a block") from error
        except (OSError, igzip_lib.error) as error:  # type: ignore[misc]
            raise VcfError("The file is damaged.", found=str(error), where=self._source.name, remedy=_AGAIN) from error
        if not count and self._bgzf and self._source.last != BGZF_END:
            raise _cut_off(self._source.name, "BGZF data without its end marker")
        return count

    def close(self) -> None:
        self._source.close()
        super().close()


def _cut_off(where: str, found: str) -> VcfError:
    return VcfError("The file is cut off.", found=found, where=where, remedy=_AGAIN)


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
    counted = Counter(samples) if len(samples) > 1 else {samples[0]: 1}
    for genotype, count in counted.items():
        for number in _alleles(genotype):
            if 1 <= number <= len(found):
                found[number - 1] += count
    return list(found)


@lru_cache(maxsize=1024)
def _alleles(genotype: bytes) -> frozenset[int]:
    """Return the numbers of the alleles of ``0/1``, ``1|2``, ``1``; a missing allele has none."""
    return frozenset(int(part) for part in genotype.replace(b"|", b"/").split(b"/") if part.isdigit())
