"""Records as BCF: htslib reads our lines of text and writes them, so that text and BCF carry the same values."""

from __future__ import annotations

import contextlib
import os

from splicebert_vep.errors import OutputError

from .complete import TextForBcf
from .header import VcfHeader
from .htslib import TextToBcf
from .info import foreign_keys
from .records import BcfRecord, TextRecord
from .streams import Pump, Sink
from .text_encoder import annotated_line


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
