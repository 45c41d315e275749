"""Records as BCF: BCF records stay htslib's own, lines of text are read by htslib."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
import threading
from collections.abc import Iterator

import pysam

from splicebert_vep.errors import OutputError

from .bcf import parse_header
from .complete import TextForBcf
from .header import VcfHeader
from .info import Annotation, InfoEncoder, is_ours
from .records import BcfRecord, TextRecord
from .streams import reporting
from .text_encoder import annotated_line

_STDOUT = 1
#: What the system says; with any other errno, often a stale one, it is the record that htslib refused.
_SYSTEM = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EPIPE}


class BcfEncoder:
    """Write BCF by htslib to a path, or to stdout.

    No thread may carry htslib's output onwards: pysam holds the interpreter's lock while htslib writes, so a
    full pipe would never be emptied.
    """

    def __init__(self, path: str, name: str, header: VcfHeader) -> None:
        """Open the output; its header is written with the first record or the end.

        Args:
            path: where htslib writes, ``-`` for stdout.
            name: how messages call the output.
            header: what it holds.

        Raises:
            OutputError: the path cannot be opened, or htslib cannot read the header.
        """
        self._path = path
        self._header = header
        self._name = name
        self._info = InfoEncoder(header.fields)
        try:
            native = parse_header(header.to_bytes())
        except (OSError, ValueError) as error:
            raise OutputError(
                "BCF cannot hold this header",
                needed="a header that htslib can read",
                found=str(error),
                where=name,
                remedy="write VCF (.vcf or .vcf.gz) instead; bcftools view -h tells which line is wrong",
            ) from error
        if path == "-":
            sys.stdout.flush()
        self._file = _open_native(path, name, native)
        self._text: _TextToBcf | None = None
        self._earlier: list[str] | None = None

    def write(self, record: TextRecord | BcfRecord, annotation: Annotation) -> None:
        """Write a record; raises as ``VcfWriter.write``."""
        if isinstance(record, BcfRecord):
            self._write_native(record, annotation)
            return
        if self._text is None:
            self._text = _TextToBcf(self._header, self._file, self._name)
        items = self._info.text(annotation, len(record.alts)) if annotation else []
        self._text.write(record, items)

    def close(self) -> None:
        """Write the last records and the end marker.

        Raises:
            OutputError: htslib could not take a record, or the system refused.
            BrokenPipeError: the reader of a pipe has gone.
        """
        if self._text is not None:
            self._text.finish()
        with reporting(self._name):
            self._file.close()
        if self._path == "-" and _reader_gone():  # htslib's close says nothing of it
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def abort(self) -> None:
        """Write nothing more; on stdout no end marker either, which would make the output look whole."""
        if self._text is not None:
            self._text.stop()
        with contextlib.suppress(OSError), _stdout_to_nothing() if self._path == "-" else contextlib.nullcontext():
            self._file.close()

    def _write_native(self, record: BcfRecord, annotation: Annotation) -> None:
        native = record.native
        if self._earlier is None:
            self._earlier = [key for key in native.header.info if is_ours(key)]
        values = self._info.native(annotation, len(record.alts)) if annotation else []
        for key in self._earlier:
            if key in native.info:
                del native.info[key]
        try:
            native.translate(self._file.header)
            for key, value in values:
                native.info[key] = value
            self._file.write(native)
        except (OSError, ValueError) as error:
            raise _explained(error, self._name, record.where) from error


class _TextToBcf(threading.Thread):
    """Read lines by htslib on a thread and write its records; after an error the lines are only emptied."""

    def __init__(self, header: VcfHeader, out: pysam.VariantFile, name: str) -> None:
        super().__init__(name="vcf-to-bcf", daemon=True)
        self._out = out
        self._name = name
        self._check = TextForBcf(out.header)
        self._error: Exception | None = None
        self._taken = 0
        self._given = 0
        self._read_fd, write_fd = os.pipe()
        self._pipe = os.fdopen(write_fd, "wb", buffering=1 << 16)
        self.start()
        self._pipe.write(header.to_bytes())

    def write(self, record: TextRecord, items: list[tuple[bytes, bytes]]) -> None:
        if self._error is not None:
            raise self._error
        columns = self._check.check(record)
        self._given += 1
        self._pipe.write(annotated_line(columns, items, b"\n"))

    def finish(self) -> None:
        self.stop()
        if self._error is not None:
            raise self._error
        if self._taken != self._given:
            raise _refused(f"{self._taken} of {self._given} records arrived", self._name)

    def stop(self) -> None:
        if not self._pipe.closed:
            self._pipe.close()
        self.join()

    def run(self) -> None:
        with os.fdopen(self._read_fd, "rb", buffering=0) as pipe:
            try:
                with pysam.VariantFile(pipe, "r") as lines:
                    for record in lines:
                        self._out.write(record)
                        self._taken += 1
            except (OSError, ValueError) as error:
                self._error = _explained(error, self._name, f"{self._name}: record {self._taken + 1}")
            while pipe.read(1 << 16):
                pass


def _open_native(path: str, name: str, header: pysam.VariantHeader) -> pysam.VariantFile:
    try:
        with reporting(name):
            return pysam.VariantFile(path, "wb", header=header)
    except ValueError as error:  # pysam's word for some failures to open, without the system's reason
        raise OutputError(
            "the output could not be opened",
            needed="a place that may be written to",
            found=str(error),
            where=name,
            remedy="give another output path",
        ) from error


def _explained(error: OSError | ValueError, name: str, where: str) -> Exception:
    """Tell a failure of the system from a record that htslib does not take."""
    if isinstance(error, OSError) and error.errno in _SYSTEM:
        try:
            with reporting(name):
                raise error
        except (OutputError, BrokenPipeError) as told:
            return told
    return _refused(error, where)


def _refused(error: Exception | str, where: str) -> OutputError:
    return OutputError(
        "BCF cannot hold a record",
        needed="a record that htslib can read and write",
        found=str(error),
        where=where,
        remedy="write VCF (.vcf or .vcf.gz) instead, or mend the record",
    )


def _reader_gone() -> bool:
    poll = select.poll()
    poll.register(_STDOUT, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


@contextlib.contextmanager
def _stdout_to_nothing() -> Iterator[None]:
    kept, nothing = os.dup(_STDOUT), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, _STDOUT)
        yield
    finally:
        os.dup2(kept, _STDOUT)
        os.close(kept)
        os.close(nothing)
