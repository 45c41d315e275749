"""BCF records and headers as text, without losing a byte or a digit.

htslib prints floats with 6 significant digits and pysam decodes text as UTF-8; both are mended here.
"""

from __future__ import annotations

import ctypes
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pysam
from pysam import libchtslib  # type: ignore[attr-defined]  # its stubs leave it out

from ..errors import OutputError, VcfError

_LIBRARY = ctypes.CDLL(libchtslib.__file__)


def _bind(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(_LIBRARY, name)
    function.restype = result
    function.argtypes = arguments
    return function


_pointer, _int, _text, _size = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t
_bgzf_dopen = _bind("bgzf_dopen", _pointer, _int, _text)
_bgzf_write = _bind("bgzf_write", ctypes.c_ssize_t, _pointer, _text, _size)
_bgzf_mt = _bind("bgzf_mt", _int, _pointer, _int, _int)
_bgzf_close = _bind("bgzf_close", _int, _pointer)
_hdopen = _bind("hdopen", _pointer, _int, _text)
_hts_hopen = _bind("hts_hopen", _pointer, _pointer, _text, _text)
_hts_close = _bind("hts_close", _int, _pointer)
_bcf_hdr_read = _bind("bcf_hdr_read", _pointer, _pointer)
_bcf_hdr_write = _bind("bcf_hdr_write", _int, _pointer, _pointer)
_bcf_hdr_destroy = _bind("bcf_hdr_destroy", None, _pointer)
_bcf_init = _bind("bcf_init", _pointer)
_bcf_destroy = _bind("bcf_destroy", None, _pointer)
_bcf_read = _bind("bcf_read", _int, _pointer, _pointer, _pointer)
_bcf_write = _bind("bcf_write", _int, _pointer, _pointer, _pointer)
_hts_version = _bind("hts_version", _text)


def htslib_version() -> str:
    """Return the version of the htslib that pysam ships."""
    return str(_hts_version().decode("ascii"))


_PACKERS, _BLOCKS = 2, 64


class HtslibError(OutputError):
    """Htslib refused; it gives no more than the step that failed."""


class Bgzf:
    """Write BGZF to a file descriptor, which is closed with it."""

    def __init__(self, fd: int) -> None:
        """Take a descriptor; raises HtslibError."""
        self._handle = _bgzf_dopen(fd, b"w")
        if not self._handle:
            os.close(fd)
            raise HtslibError("opening BGZF output")
        if (os.cpu_count() or 1) > 1:  # blocks are packed on other threads; the bytes are the same
            _bgzf_mt(self._handle, _PACKERS, _BLOCKS)

    def write(self, data: bytes) -> None:
        """Write bytes; raises HtslibError."""
        if _bgzf_write(self._handle, data, len(data)) != len(data):
            raise HtslibError("writing BGZF output")

    def close(self) -> None:
        """Write the end marker and close, once; raises HtslibError."""
        handle, self._handle = self._handle, None
        if handle and _bgzf_close(handle):
            raise HtslibError("closing BGZF output")


class TextToBcf(threading.Thread):
    """Read VCF text from one descriptor and write BCF to another, closing both; on a thread of its own.

    ``records`` counts what was written. ``error`` says what went wrong; the reading end is closed then, so
    that whoever writes the text meets a broken pipe.
    """

    def __init__(self, text_fd: int, bcf_fd: int) -> None:
        """Start."""
        super().__init__(name="vcf-to-bcf", daemon=True)
        self._fds = text_fd, bcf_fd
        self.records = 0
        self.error: HtslibError | None = None
        self.start()

    def run(self) -> None:
        """Copy until the text ends."""
        text = _hts_hopen(_hdopen(self._fds[0], b"r"), b"text", b"r")
        out = _hts_hopen(_hdopen(self._fds[1], b"w"), b"bcf", b"wb")
        try:
            self._copy(text, out)
        except HtslibError as error:
            self.error = error
        if text:
            _hts_close(text)
        if out and _hts_close(out) and self.error is None:
            self.error = HtslibError("closing BCF output")

    def _copy(self, text: int | None, out: int | None) -> None:
        header = _bcf_hdr_read(text) if text and out else None
        if not header:
            raise HtslibError("reading the header")
        record = _bcf_init()
        try:
            if _bcf_hdr_write(out, header) < 0:
                raise HtslibError("writing the header")
            while (status := _bcf_read(text, header, record)) >= 0:
                # a record that was read with an error, an undefined key say, is refused here
                if _bcf_write(out, header, record) < 0:
                    raise HtslibError("writing a record")
                self.records += 1
            if status != -1:  # -1 is the end of the text
                raise HtslibError("reading a record")
        finally:
            _bcf_destroy(record)
            _bcf_hdr_destroy(header)


# What htslib would say on stderr is checked, and reported with file and record, by this package.
pysam.set_verbosity(0)

_IDX = re.compile(rb",IDX=\d+>(\r?\n)\Z")


class Feed(threading.Thread):
    """Run a producer on a thread that writes into a pipe; htslib reads the other end.

    ``fd`` is the read end and belongs to the caller. ``error`` holds what the producer raised.
    """

    def __init__(self, produce: Callable[[Callable[[bytes], object]], None]) -> None:
        super().__init__(name="vcf-feed", daemon=True)
        self._produce = produce
        self.fd, self._write_fd = os.pipe()
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        """Produce until done; a reader that went away ends it quietly."""
        try:
            with os.fdopen(self._write_fd, "wb", buffering=1 << 16) as pipe:
                self._produce(pipe.write)
        except BrokenPipeError:
            pass  # the reader was closed before the end, which is its right
        except (VcfError, OSError, ValueError) as error:  # raised by the reading thread
            self.error = error


def header_text(text: bytes) -> list[bytes]:
    """Split the header of a BCF file into lines of VCF text, without BCF's own IDX attributes."""
    lines = text.rstrip(b"\0").splitlines(keepends=True)
    return [_IDX.sub(rb">\1", line) if line.startswith(b"##") else line for line in lines]


@dataclass(frozen=True)
class FloatFields:
    """Which INFO and FORMAT keys a header declares as floats."""

    info: frozenset[bytes]
    formats: frozenset[str]

    @classmethod
    def of(cls, header: pysam.VariantHeader) -> FloatFields:
        """Read them once a file; asking htslib for each record is slow."""
        return cls(
            frozenset(key.encode() for key, item in header.info.items() if item.type == "Float"),
            frozenset(key for key, item in header.formats.items() if item.type == "Float"),
        )


def line_of(record: pysam.VariantRecord, floats: FloatFields) -> bytes:
    """Print a record as a line of VCF text, without line end, each float with as many digits as it holds."""
    try:
        line = str(record).encode()
    except UnicodeDecodeError as error:  # pysam takes text for UTF-8; the line as htslib made it is in here
        line = error.object
    columns = line.rstrip(b"\n").split(b"\t")
    if columns[5] != b".":
        columns[5] = _exact(columns[5], (record.qual,))
    if columns[7] != b".":
        items = columns[7].split(b";")
        for i, item in enumerate(items):
            key, equals, text = item.partition(b"=")
            if equals and key in floats.info:
                items[i] = key + b"=" + _exact(text, record.info[key.decode()])
        columns[7] = b";".join(items)
    if len(columns) > 9:
        _mend_samples(record, columns, floats)
    return b"\t".join(columns)


def _mend_samples(record: pysam.VariantRecord, columns: list[bytes], floats: FloatFields) -> None:
    wanted = [(i, key) for i, key in enumerate(columns[8].decode().split(":")) if key in floats.formats]
    if not wanted:
        return
    for at, sample in enumerate(record.samples.values(), start=9):
        parts = columns[at].split(b":")
        for i, key in wanted:
            if i < len(parts):
                parts[i] = _exact(parts[i], sample[key])
        columns[at] = b":".join(parts)


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
