"""Bytes in and out, with every failure told by name.

In: plain, gzip or BGZF, from a file or stdin; each way of being cut short is told apart.
Out: a sink whose errors name the output, and a pump that gives htslib a pipe to write to instead of the output.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import zlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Protocol

from splicebert_vep.errors import OutputError, VcfError
from splicebert_vep.files import reporting

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

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
