"""The few functions of htslib, as pysam ships it, that pysam's own classes cannot stand in for.

``pysam.VariantFile.write`` rewrites INFO/END: it adds END to records with a symbolic allele, even where the header
written before does not define it, and deletes END where it equals the end of REF. ``pysam.BGZFile`` holds the
interpreter's lock while it writes. The functions here touch no record, release the lock, and are called with
opaque pointers only.
"""

from __future__ import annotations

import ctypes
import os
import threading
from typing import Any

from pysam import libchtslib  # type: ignore[attr-defined]  # its stubs leave it out

from splicebert_vep.errors import OutputError

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
