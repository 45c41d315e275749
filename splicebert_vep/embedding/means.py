"""The mean of each target: Parquet, and AnnData."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .embed import Embeddings, Floats, Piece, Pool
from .hdf5 import FORMAT
from .windows import columns, filled

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
