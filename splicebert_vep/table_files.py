"""Files that table adapters fill: text lines or a binary format; whole under their final name, or not there at all."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Sequence
from typing import IO

from splicebert_vep_spec import RecordReport, RunInfo, TableAdapter, TextAdapter

from .contract import Origin
from .errors import SettingsError
from .files import destination, reporting

_PACKED = (".gz", ".bgz", ".zst", ".bz2", ".xz")


class TextFile:
    """Write the lines of a text adapter; bytes that are no UTF-8 leave as they came.

    Raises:
        SettingsError: the name promises a compressed file, or the adapter refused the run.
        OutputError: it cannot be opened.
        PluginError: the adapter failed.
    """

    def __init__(self, adapter: TextAdapter, origin: Origin, path: str, run: RunInfo) -> None:
        if path.endswith(_PACKED):
            raise SettingsError(
                f"{adapter.name} is written as plain text.", needed="a name without a compressor's suffix", found=path
            )
        self._adapter, self._origin, self._run = adapter, origin, run
        with origin.guarding("head"):
            head = self._joined("head", adapter.head(run))
        self._to = destination(path)
        with reporting(self._to.name):
            # A descriptor of its own: closing it must not close the program's stdout.
            self._out: IO[bytes] = open(self._to.path or os.dup(sys.stdout.fileno()), "wb")  # noqa: SIM115
        self._write(head)

    def write(self, reports: Sequence[RecordReport]) -> None:
        """Append the lines of a chunk."""
        with self._origin.guarding("lines"):
            text = b"".join(self._joined("lines", self._adapter.lines(report, self._run)) for report in reports)
        self._write(text)

    def finish(self) -> None:
        """Write the last bytes; the file is whole then, under its temporary name."""
        with reporting(self._to.name):
            self._out.flush()
            if self._to.temporary is not None:
                os.fsync(self._out.fileno())
            self._out.close()

    def publish(self) -> None:
        """Put the file under its final name."""
        self._to.publish()

    def abort(self) -> None:
        """Remove what is not published."""
        with contextlib.suppress(OSError):  # the disk may be what failed, and that error is on its way to the user
            self._out.close()
        self._to.discard()

    def _joined(self, method: str, lines: Iterable[str]) -> bytes:
        parts = [lines] if isinstance(lines, str) else list(lines)
        for line in parts:
            if line is lines or not isinstance(line, str) or "\n" in line or "\r" in line:
                raise self._origin.broken(method, needed="a list of lines without line ends", found=repr(line))
        return "".join(f"{line}\n" for line in parts).encode("utf-8", "surrogateescape")

    def _write(self, text: bytes) -> None:
        with reporting(self._to.name):
            self._out.write(text)


class TableFile:
    """Let a table adapter write its file.

    Raises:
        SettingsError: stdout was asked for, or the adapter refused the run.
        OutputError: it cannot be opened.
        PluginError: the adapter failed.
    """

    def __init__(self, adapter: TableAdapter, origin: Origin, path: str, run: RunInfo) -> None:
        self._origin = origin
        self._to = destination(path)
        if self._to.temporary is None:
            raise SettingsError(
                f"{adapter.name} cannot be written to {'stdout' if self._to.path is None else 'a pipe or device'}.",
                needed="a file",
                found=path,
                remedy=f"--emit {adapter.name}=FILE",
            )
        try:
            with origin.guarding("open"), reporting(self._to.name):
                self._writer = adapter.open(str(self._to.temporary), run)
        except BaseException:
            self._to.discard()
            raise

    def write(self, reports: Sequence[RecordReport]) -> None:
        """Append the outcomes of a chunk."""
        with self._origin.guarding("write"), reporting(self._to.name):
            self._writer.write(reports)

    def finish(self) -> None:
        """Write the last bytes; the file is whole then, under its temporary name.

        Raises:
            PluginError: the adapter wrote no file.
        """
        with self._origin.guarding("close"), reporting(self._to.name):
            self._writer.close()
        temporary = self._to.temporary
        if temporary is None or not temporary.is_file():
            raise self._origin.broken("close", needed="a file at the path given to open", found="none")
        with reporting(self._to.name), temporary.open("rb+") as handle:
            os.fsync(handle.fileno())

    def publish(self) -> None:
        """Put the file under its final name."""
        self._to.publish()

    def abort(self) -> None:
        """Remove what is not published."""
        with contextlib.suppress(Exception):  # of a plugin; what failed first is on its way to the user
            self._writer.close()
        self._to.discard()
