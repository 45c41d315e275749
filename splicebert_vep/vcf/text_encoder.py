"""Records as lines of text, plain or bgzipped."""

from __future__ import annotations

from collections.abc import Collection

from .header import VcfHeader
from .htslib import Bgzf
from .info import foreign_keys, splice_info
from .records import BcfRecord, TextRecord
from .streams import Pump, Sink

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
