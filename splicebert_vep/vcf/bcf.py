"""BCF records and headers as text, without losing a byte or a digit.

htslib prints floats with 6 significant digits and pysam decodes text as UTF-8; both are mended here.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pysam

from splicebert_vep.errors import VcfError

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
