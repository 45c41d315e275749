"""Read VCF or BCF from a file or stdin, by what the bytes are and not by the file's name."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Literal

import pysam

from splicebert_vep.errors import VcfError

from .bcf import Feed, FloatFields, header_text
from .header import VcfHeader
from .records import BcfRecord, TextRecord
from .streams import CHUNK, cut_off, input_name, open_input

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
