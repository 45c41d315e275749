"""Write embeddings: HDF5 with every nucleotide, Parquet and AnnData with the mean of each target."""

from __future__ import annotations

import io
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
from numpy.typing import NDArray

from ..errors import SettingsError, require
from ..files import reporting, whole_or_not
from ..sequence.tokens import letters
from .embed import Embeddings, Floats, Piece, Pool, Progress, columns, filled

FORMAT = "splicebert-vep embeddings 1"

_OVERHEAD = 1 << 16  # bytes; headers of HDF5 take about 20,000
_OF_ATTENTION = 1 << 10  # bytes; the header of one dataset


class Hdf5Writer:
    """Every nucleotide of every target in a row.

    How many there are is known at once: the HDF5 library lays out the whole file, and numbers are then written to the
    places of its contiguous arrays. The library itself cannot take a full disk: it fails to close the file and brings
    the process down at its end.
    """

    def __init__(self, path: Path, embeddings: Embeddings, provenance: Mapping[str, str]) -> None:
        self._first = np.concatenate([[0], np.cumsum([len(target) for target in embeddings.targets])]).tolist()
        self._layout = _lay_out(path, embeddings, provenance, self._first)
        self._file = path.open("r+b")

    def __enter__(self) -> Hdf5Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, piece: Piece) -> None:
        """Put a piece in its place."""
        if not len(piece.tokens):
            return
        values = {
            "embedding": piece.values,
            "sequence": np.array(list(letters(piece.tokens))),
            "position": piece.position,
            "window_start": np.full(len(piece.tokens), piece.window),
        }
        for name, (kind, row, offset) in self._layout.arrays.items():
            self._put(offset + (self._first[piece.target] + piece.first) * row, values[name].astype(kind))
        if piece.attention is not None:
            self._put(self._layout.attention[piece.target], piece.attention.astype("<f4"))

    def _put(self, offset: int, values: NDArray[np.generic]) -> None:
        self._file.seek(offset)
        self._file.write(values.tobytes())


class _Array(NamedTuple):
    """An array of the HDF5 file: its type, bytes of a nucleotide, and where in the file it begins."""

    kind: str
    row: int
    offset: int


class _Layout(NamedTuple):
    """Where numbers go: arrays of all nucleotides by name, and where each target's attention weights begin."""

    arrays: dict[str, _Array]
    attention: dict[int, int]


def _lay_out(path: Path, embeddings: Embeddings, provenance: Mapping[str, str], first: Sequence[int]) -> _Layout:
    """Write a file that lacks nothing but the numbers; returns where they go.

    Args:
        first: (R + 1,) nucleotides before each target; the last is how many there are.
    """
    import h5py

    plan, total, targets = embeddings.plan, first[-1], embeddings.targets
    kinds: dict[str, tuple[str, tuple[int, ...]]] = {
        "embedding": ("<f4", (total, len(plan.layer_names), embeddings.hidden_size)),
        "sequence": ("S1", (total,)),
        "position": ("<i8", (total,)),
        "window_start": ("<i8", (total,)),
    }
    rows = {name: np.dtype(kind).itemsize * math.prod(shape[1:]) for name, (kind, shape) in kinds.items()}
    attention = {
        number: (len(plan.attention), embeddings.heads, len(target), len(target))
        for number, target in enumerate(targets)
        if plan.attention and len(target)
    }
    of_targets = columns(targets)
    with path.open("wb") as trial:  # whether there is room, asked of the system and not of the library
        headers = _OVERHEAD + 2 * len(repr(of_targets)) + len(repr(provenance)) + _OF_ATTENTION * len(attention)
        trial.write(bytes(headers))
        trial.truncate(trial.tell() + total * sum(rows.values()) + 4 * sum(map(math.prod, attention.values())))
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    text = h5py.string_dtype()
    with h5py.File(path, "w") as file:
        file.attrs["format"] = FORMAT
        for key, value in provenance.items():
            file.attrs[key] = value
        file.create_dataset("layer", data=list(plan.layer_names), dtype=text)
        group = file.create_group("target")
        group.create_dataset("offset", data=np.array(first, dtype="<i8"))
        for name, values in of_targets.items():
            kind = targets[0].COLUMNS[name]
            data = filled(kind, values)
            group.create_dataset(name, data=data, dtype="<i8" if kind is int else text)
        if plan.attention:
            file.create_dataset("attention_layer", data=list(map(str, plan.attention)), dtype=text)
            file.create_group("attention")
        arrays = {
            name: _Array(kind, rows[name], file.create_dataset(name, shape, kind, dcpl=layout).id.get_offset())
            for name, (kind, shape) in kinds.items()
        }
        weights = {
            number: file.create_dataset(f"attention/{number}", shape, "<f4", dcpl=layout).id.get_offset()
            for number, shape in attention.items()
        }
        return _Layout(arrays, weights)


_ROWS = 256  # of a row group of the Parquet


class ParquetWriter:
    """One row per target: where it lies, how many of its nucleotides are known, and their mean of each layer."""

    def __init__(self, path: Path, embeddings: Embeddings, provenance: Mapping[str, str]) -> None:
        self._targets = embeddings.targets
        vector = pa.list_(pa.float32(), embeddings.hidden_size)
        kinds = {**self._targets[0].COLUMNS, "length": int, "known": int}
        self._schema = pa.schema(
            [(name, pa.int64() if kind is int else pa.string()) for name, kind in kinds.items()]
            + [(f"layer_{layer}", vector) for layer in embeddings.plan.layer_names],
            metadata={"format": FORMAT, **provenance},
        )
        self._layers = len(embeddings.plan.layer_names)
        self._writer = pq.ParquetWriter(path, self._schema)
        self._rows: list[tuple[Any, ...]] = []
        self._pool = Pool()

    def __enter__(self) -> ParquetWriter:
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
        where = (values[0] for values in columns((target,)).values())
        self._rows.append((*where, len(target), self._pool.known, *vectors))
        self._pool = Pool()
        if len(self._rows) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        values = zip(*self._rows, strict=True)
        arrays = [pa.array(column, type=kind.type) for column, kind in zip(values, self._schema, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows.clear()


class AnnDataWriter:
    """One observation per target; the means are in memory until the end.

    The file is made in memory too, because the HDF5 library cannot take a full disk.
    """

    def __init__(self, path: Path, embeddings: Embeddings, provenance: Mapping[str, str]) -> None:
        self._path = path
        self._targets = embeddings.targets
        self._layers = embeddings.plan.layer_names
        self._provenance = {"format": FORMAT, **provenance}
        shape = (len(self._layers), len(self._targets), embeddings.hidden_size)
        self._means: Floats = np.full(shape, np.nan, dtype=np.float32)
        self._known = [0] * len(self._targets)
        self._pool = Pool()

    def __enter__(self) -> AnnDataWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._path.write_bytes(self._whole())

    def write(self, piece: Piece) -> None:
        """Take a piece; the last of a target completes its observation."""
        self._pool.add(piece.tokens, piece.values)
        if piece.first + len(piece.tokens) < len(self._targets[piece.target]):
            return
        mean = self._pool.mean
        if mean is not None:
            self._means[:, piece.target] = mean
        self._known[piece.target] = self._pool.known
        self._pool = Pool()

    def _whole(self) -> bytes:
        """Return the bytes of the file."""
        import anndata
        import h5py
        import pandas

        kinds = self._targets[0].COLUMNS
        told = {name: filled(kinds[name], values) for name, values in columns(self._targets).items()}
        obs = pandas.DataFrame(
            {**told, "length": list(map(len, self._targets)), "known": self._known},
            index=list(map(str, range(len(self._targets)))),
        )
        var = pandas.DataFrame(index=list(map(str, range(self._means.shape[2]))))
        several = {f"layer_{name}": mean for name, mean in zip(self._layers, self._means, strict=True)}
        data = anndata.AnnData(
            X=self._means[-1], obs=obs, var=var, uns={"splicebert_vep": self._provenance},
            layers=several if len(self._layers) > 1 else None,
        )  # fmt: skip
        memory = io.BytesIO()
        with h5py.File(memory, "w") as file:
            anndata.io.write_elem(file, "/", data)
        return memory.getvalue()


_HDF5 = (".h5", ".hdf5")
_PARQUET = (".parquet",)
_ANNDATA = (".h5ad",)


class _Writer(Protocol):
    def __init__(self, path: Path, embeddings: Embeddings, provenance: Mapping[str, str]) -> None: ...

    def __enter__(self) -> _Writer: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def write(self, piece: Piece) -> None: ...


def check_outputs(paths: Sequence[str], *, attention: bool = False) -> None:
    """See that embeddings can be written to these paths, before anything is computed.

    Args:
        attention: whether there are attention weights to write.

    Raises:
        SettingsError: none is given, one twice, a suffix says nothing, none takes the attention weights, or h5py or
            anndata is not installed.
    """
    real = [os.path.realpath(path) for path in paths]
    known = all(path.lower().endswith((*_HDF5, *_PARQUET, *_ANNDATA)) for path in paths)
    if not paths or not known or len(set(real)) < len(real):
        raise SettingsError(
            "The outputs of embeddings cannot be told.",
            needed="different names that end in .h5 or .hdf5 (every nucleotide), .parquet or .h5ad (means)",
            found=", ".join(paths) or "none",
        )
    hdf5 = any(path.lower().endswith(_HDF5) for path in paths)
    if attention and not hdf5:
        raise SettingsError(
            "Attention weights are written to HDF5 only.",
            needed="an output that ends in .h5 or .hdf5",
            found=", ".join(paths),
            remedy="add -o FILE.h5",
        )
    if hdf5:
        require("h5py", extra="embed")
    if any(path.lower().endswith(_ANNDATA) for path in paths):
        require("anndata", extra="anndata")


def save(embeddings: Embeddings, paths: Sequence[str], progress: Progress | None) -> None:
    """Write every file in one run over the windows; see ``Embeddings.save``."""
    check_outputs(paths, attention=bool(embeddings.plan.attention))
    provenance = embeddings.provenance
    done, total = 0, sum(map(len, embeddings.targets))
    with ExitStack() as stack:
        writers: dict[str, _Writer] = {}
        for path in paths:
            temporary = stack.enter_context(whole_or_not(path))
            writers[path] = stack.enter_context(_kind(path)(temporary, embeddings, provenance))
        for piece in embeddings.pieces():
            for path, writer in writers.items():
                with reporting(path):
                    writer.write(piece)
            done += len(piece.tokens)
            if progress:
                progress("nucleotides embedded", done, total)


def _kind(path: str) -> type[_Writer]:
    if path.lower().endswith(_HDF5):
        return Hdf5Writer
    return ParquetWriter if path.lower().endswith(_PARQUET) else AnnDataWriter
