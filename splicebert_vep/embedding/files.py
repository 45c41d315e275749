"""Write embeddings: HDF5 with every nucleotide, Parquet with the mean of each target."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from splicebert_vep.errors import SettingsError
from splicebert_vep.extras import require
from splicebert_vep.files import reporting, whole_or_not

from .embed import Embeddings, Piece, Pool, Progress, letters, nucleotides, positions
from .targets import Target

FORMAT = "splicebert-vep embeddings 1"

_HDF5 = (".h5", ".hdf5")
_PARQUET = (".parquet",)
_ROWS = 256  # of a row group of the Parquet
_OVERHEAD = 1 << 16  # bytes; headers of HDF5 take about 20,000
_INTEGERS = ("start", "end")


class _Writer(Protocol):
    def __init__(self, path: Path, embeddings: Embeddings, provenance: Mapping[str, str]) -> None: ...

    def __enter__(self) -> _Writer: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def write(self, piece: Piece) -> None: ...


def check_outputs(paths: Sequence[str]) -> None:
    """See that embeddings can be written to these paths, before anything is computed.

    Raises:
        SettingsError: none is given, one twice, a suffix says nothing, or h5py is not installed.
    """
    real = [os.path.realpath(path) for path in paths]
    known = all(path.lower().endswith((*_HDF5, *_PARQUET)) for path in paths)
    if not paths or not known or len(set(real)) < len(real):
        raise SettingsError(
            "The outputs of embeddings cannot be told.",
            needed="different names that end in .h5 or .hdf5 (every nucleotide) or .parquet (means)",
            found=", ".join(paths) or "none",
        )
    if any(path.lower().endswith(_HDF5) for path in paths):
        require("h5py", extra="embed")


def save(embeddings: Embeddings, paths: Sequence[str], progress: Progress | None) -> None:
    """Write every file in one run over the windows; see ``Embeddings.save``."""
    check_outputs(paths)
    provenance = embeddings.provenance
    done, total = 0, nucleotides(embeddings.targets)
    with ExitStack() as stack:
        writers: dict[str, _Writer] = {}
        for path in paths:
            temporary = stack.enter_context(whole_or_not(path))
            kind: type[_Writer] = _Hdf5Writer if path.lower().endswith(_HDF5) else _ParquetWriter
            writers[path] = stack.enter_context(kind(temporary, embeddings, provenance))
        for piece in embeddings.pieces():
            for path, writer in writers.items():
                with reporting(path):
                    writer.write(piece)
            done += len(piece.tokens)
            if progress:
                progress("nucleotides embedded", done, total)


class _Hdf5Writer:
    """Every nucleotide of every target in a row.

    How many there are is known at once: the HDF5 library lays out the whole file, and numbers are then written to the
    places of its contiguous arrays. The library itself cannot take a full disk: it fails to close the file and brings
    the process down at its end.
    """

    def __init__(self, path: Path, embeddings: Embeddings, provenance: Mapping[str, str]) -> None:
        self._targets = embeddings.targets
        self._first = np.concatenate([[0], np.cumsum([len(target) for target in embeddings.targets])]).tolist()
        self._arrays = _lay_out(path, embeddings, provenance, self._first)
        self._file = path.open("r+b")

    def __enter__(self) -> _Hdf5Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, piece: Piece) -> None:
        """Put a piece in its place."""
        target, end = self._targets[piece.target], piece.first + len(piece.tokens)
        values = {
            "embedding": piece.values,
            "sequence": np.array(list(letters(piece.tokens))),
            "position": positions(target, piece.first, end),
            "window_start": np.full(len(piece.tokens), piece.window),
        }
        for name, (kind, row, offset) in self._arrays.items():
            self._file.seek(offset + (self._first[piece.target] + piece.first) * row)
            self._file.write(values[name].astype(kind).tobytes())


class _Array(NamedTuple):
    """An array of the HDF5 file: its type, bytes of a nucleotide, and where in the file it begins."""

    kind: str
    row: int
    offset: int


def _lay_out(
    path: Path, embeddings: Embeddings, provenance: Mapping[str, str], first: Sequence[int]
) -> dict[str, _Array]:
    """Write a file that lacks nothing but the numbers; returns where they go.

    Args:
        first: (R + 1,) nucleotides before each target; the last is how many there are.
    """
    import h5py

    layers, total = embeddings.plan.layer_names, first[-1]
    kinds: dict[str, tuple[str, tuple[int, ...]]] = {
        "embedding": ("<f4", (total, len(layers), embeddings.hidden_size)),
        "sequence": ("S1", (total,)),
        "position": ("<i8", (total,)),
        "window_start": ("<i8", (total,)),
    }
    rows = {name: np.dtype(kind).itemsize * math.prod(shape[1:]) for name, (kind, shape) in kinds.items()}
    columns = _columns(embeddings.targets)
    with path.open("wb") as trial:  # whether there is room, asked of the system and not of the library
        trial.write(bytes(_OVERHEAD + 2 * len(repr(columns)) + len(repr(provenance))))
        trial.truncate(trial.tell() + total * sum(rows.values()))
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    text = h5py.string_dtype()
    with h5py.File(path, "w") as file:
        file.attrs["format"] = FORMAT
        for key, value in provenance.items():
            file.attrs[key] = value
        file.create_dataset("layer", data=list(layers), dtype=text)
        group = file.create_group("target")
        group.create_dataset("offset", data=np.array(first, dtype="<i8"))
        for name, values in columns.items():
            if name in _INTEGERS:
                group.create_dataset(name, data=np.array(values, dtype="<i8"))
            else:
                group.create_dataset(name, data=[value or "" for value in values], dtype=text)
        return {
            name: _Array(kind, rows[name], file.create_dataset(name, shape, kind, dcpl=layout).id.get_offset())
            for name, (kind, shape) in kinds.items()
        }


class _ParquetWriter:
    """One row per target: where it lies, how many of its nucleotides are known, and their mean of each layer."""

    def __init__(self, path: Path, embeddings: Embeddings, provenance: Mapping[str, str]) -> None:
        self._targets = embeddings.targets
        vector = pa.list_(pa.float32(), embeddings.hidden_size)
        integers = dict.fromkeys((*_INTEGERS, "length", "known"), pa.int64())
        names = (*_columns(()), "length", "known")
        self._schema = pa.schema(
            [(name, integers.get(name, pa.string())) for name in names]
            + [(f"layer_{layer}", vector) for layer in embeddings.plan.layer_names],
            metadata={"format": FORMAT, **provenance},
        )
        self._layers = len(embeddings.plan.layer_names)
        self._writer = pq.ParquetWriter(path, self._schema)
        self._rows: list[tuple[Any, ...]] = []
        self._pool = Pool()

    def __enter__(self) -> _ParquetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
            self._writer.close()
        finally:
            self._writer.is_open = False  # so that it does not try again when it is collected

    def write(self, piece: Piece) -> None:
        """Take a piece; the last of a target completes its row."""
        self._pool.add(piece.tokens, piece.values)
        target = self._targets[piece.target]
        if piece.first + len(piece.tokens) < len(target):
            return
        mean = self._pool.mean
        vectors = [None] * self._layers if mean is None else mean.tolist()
        where = (values[0] for values in _columns((target,)).values())
        self._rows.append((*where, len(target), self._pool.known, *vectors))
        self._pool = Pool()
        if len(self._rows) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        columns = zip(*self._rows, strict=True)
        arrays = [pa.array(values, type=kind.type) for values, kind in zip(columns, self._schema, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows.clear()


def _columns(targets: Sequence[Target]) -> dict[str, list[Any]]:
    """Return what files say of targets, by name."""
    names = ("name", "contig", "start", "end", "strand", "gene")
    return {name: [getattr(target, name) for target in targets] for name in names}
