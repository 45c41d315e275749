"""Write embeddings: HDF5 with every nucleotide, Parquet with the mean of each target."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from splicebert_vep.errors import SettingsError
from splicebert_vep.extras import require
from splicebert_vep.files import whole_or_not

from .embed import Embeddings, Piece, Pool, Progress, letters, nucleotides, positions
from .targets import Target

if TYPE_CHECKING:
    import h5py

FORMAT = "splicebert-vep embeddings 1"

_HDF5 = (".h5", ".hdf5")
_PARQUET = (".parquet",)
_ROWS = 256  # of a row group of the Parquet


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
        writers: list[_Writer] = []
        for path in paths:
            temporary = stack.enter_context(whole_or_not(path))
            kind: type[_Writer] = _Hdf5Writer if path.lower().endswith(_HDF5) else _ParquetWriter
            writers.append(stack.enter_context(kind(temporary, embeddings, provenance)))
        for piece in embeddings.pieces():
            for writer in writers:
                writer.write(piece)
            done += len(piece.tokens)
            if progress:
                progress("nucleotides embedded", done, total)


class _Hdf5Writer:
    """Every nucleotide of every target in a row, in arrays of their final size.

    The arrays are contiguous, so that a target is one read, and their size is known before the first window runs.
    """

    def __init__(self, path: Path, embeddings: Embeddings, provenance: Mapping[str, str]) -> None:
        import h5py

        targets, layers = embeddings.targets, embeddings.plan.layer_names
        self._targets = targets
        self._offsets = np.concatenate([[0], np.cumsum([len(target) for target in targets])]).astype(np.int64)
        total = int(self._offsets[-1])
        self._file: h5py.File = h5py.File(path, "w")
        text = h5py.string_dtype()
        self._file.attrs["format"] = FORMAT
        for key, value in provenance.items():
            self._file.attrs[key] = value
        self._embedding = self._file.create_dataset("embedding", (total, len(layers), embeddings.hidden_size), "<f4")
        self._sequence = self._file.create_dataset("sequence", (total,), "S1")
        self._position = self._file.create_dataset("position", (total,), "<i8")
        self._window_start = self._file.create_dataset("window_start", (total,), "<i8")
        self._file.create_dataset("layer", data=list(layers), dtype=text)
        group = self._file.create_group("target")
        group.create_dataset("offset", data=self._offsets)
        for name, values in _columns(targets).items():
            if name in ("start", "end"):
                group.create_dataset(name, data=np.array(values, dtype="<i8"))
            else:
                group.create_dataset(name, data=[value or "" for value in values], dtype=text)

    def __enter__(self) -> _Hdf5Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, piece: Piece) -> None:
        """Put a piece in its place."""
        target, end = self._targets[piece.target], piece.first + len(piece.tokens)
        at = slice(*(int(self._offsets[piece.target]) + place for place in (piece.first, end)))
        self._embedding[at] = piece.values
        self._sequence[at] = np.array(list(letters(piece.tokens)), dtype="S1")
        self._position[at] = positions(target, piece.first, end)
        self._window_start[at] = piece.window


class _ParquetWriter:
    """One row per target: where it lies, how many of its nucleotides are known, and their mean of each layer."""

    def __init__(self, path: Path, embeddings: Embeddings, provenance: Mapping[str, str]) -> None:
        self._targets = embeddings.targets
        vector = pa.list_(pa.float32(), embeddings.hidden_size)
        integers = dict.fromkeys(("start", "end", "length", "known"), pa.int64())
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
