"""Write embeddings: HDF5 with every nucleotide, Parquet and AnnData with the mean of each target."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol

from splicebert_vep.errors import SettingsError
from splicebert_vep.extras import require
from splicebert_vep.files import reporting, whole_or_not

from .embed import Embeddings, Piece, Progress
from .hdf5 import Hdf5Writer
from .means import AnnDataWriter, ParquetWriter

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
