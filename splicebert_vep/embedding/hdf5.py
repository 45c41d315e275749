"""Every nucleotide of every target as HDF5, and attention weights between them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from splicebert_vep.sequence.tokens import letters

from .embed import Embeddings, Piece
from .windows import columns, filled

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
