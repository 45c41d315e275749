"""Run the windows of targets through the model, and stitch what they say of each nucleotide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from splicebert_vep.contract import GuardedBackend
from splicebert_vep.errors import BackendError
from splicebert_vep.sequence.tokens import Tokens, encode, letters, with_special
from splicebert_vep.sequence.windows import Index
from splicebert_vep_spec import N

from .windows import Named, Source, Window

Floats = NDArray[np.float32]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True)
class EmbedPlan:
    """What is computed.

    Args:
        layers: numbers of the layers; None for the last of a backend that shows no other.
        width: W.
        keep: longest part of a window that is kept.
        batch_tokens: upper bound of tokens in one forward call; one window is run whatever it takes.
        attention: numbers of the layers whose attention weights are given, from 1.
    """

    layers: tuple[int, ...] | None
    width: int
    keep: int
    batch_tokens: int
    attention: tuple[int, ...] = ()

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layers as files name them."""
        return ("last",) if self.layers is None else tuple(map(str, self.layers))


class Piece(NamedTuple):
    """What one window says of the n nucleotides that are kept of it, 5' to 3'."""

    target: int  # its number
    first: int  # how many nucleotides of the target come before
    window: int  # genomic start of the window, 0-based on the forward strand
    tokens: Tokens  # (n,)
    position: Index  # (n,) genomic, 0-based
    values: Floats  # (n, layers, H)
    attention: Floats | None  # (layers, heads, n, n), from a nucleotide (third axis) to a nucleotide (last axis)


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """Hidden states of the n nucleotides of a target, 5' to 3'.

    Args:
        target: where.
        layers: names of the layers.
        sequence: n letters A, C, G, T or N of the strand, as the model read them.
        position: (n,) genomic position of each, 0-based; -1 for a base of ALT that has none.
        window_start: (n,) genomic start of the window that each was read from, 0-based on the forward strand.
        values: (n, layers, H) float32.
        attention: (attention layers, heads, n, n) float32, weights with which each nucleotide (third axis) attends to
            each (last axis); the rest to 1 goes to what else is in the window. None when it was not asked for.
    """

    target: Named
    layers: tuple[str, ...]
    sequence: str
    position: Index
    window_start: Index
    values: Floats
    attention: Floats | None

    @property
    def mean(self) -> Floats | None:
        """Mean over the nucleotides that are A, C, G or T, (layers, H) float32; None when there are none."""
        pool = Pool()
        pool.add(encode(self.sequence.encode("ascii")), self.values)
        return pool.mean


class Pool:
    """Mean of hidden states over the nucleotides that are known; summed in float64."""

    def __init__(self) -> None:
        self.known = 0
        self._sum: NDArray[np.float64] | None = None

    def add(self, tokens: Tokens, values: Floats) -> None:
        """Take n nucleotides: tokens (n,) and hidden states (n, layers, H)."""
        known = tokens != N
        total = values[known].sum(axis=0, dtype=np.float64)  # (layers, H)
        self._sum = total if self._sum is None else self._sum + total
        self.known += int(known.sum())

    @property
    def mean(self) -> Floats | None:
        """The mean, (layers, H); None when no nucleotide was known."""
        if self._sum is None or not self.known:
            return None
        return (self._sum / self.known).astype(np.float32)


class Embeddings:
    """Embeddings of targets, computed while they are read; read again, they are computed again.

    Args:
        source: gives the windows of what is embedded.
        plan: what is computed.
        backend: the model.
        lock: held while the model runs.
        provenance: returns what determines the numbers.
        warnings: sentences for the user.
    """

    def __init__(
        self,
        source: Source,
        plan: EmbedPlan,
        *,
        backend: GuardedBackend,
        lock: AbstractContextManager[object],
        provenance: Callable[[], Mapping[str, str]],
        warnings: Sequence[str] = (),
    ) -> None:
        self.targets = source.targets
        self.statuses = source.statuses
        self.plan = plan
        self.warnings = warnings
        self.hidden_size = backend.info.hidden_size
        self.heads = backend.heads or 0
        self._source = source
        self._backend = backend
        self._lock = lock
        self._provenance = provenance

    def __len__(self) -> int:
        return len(self.targets)

    def __iter__(self) -> Iterator[Embedding]:
        """Yield one embedding per target, each whole in memory.

        Raises:
            BackendError: the model failed.
        """
        for number, of_target in groupby(self.pieces(), key=lambda piece: piece.target):
            target, pieces = self.targets[number], list(of_target)
            yield Embedding(
                target=target,
                layers=self.plan.layer_names,
                sequence="".join(letters(piece.tokens) for piece in pieces),
                position=np.concatenate([piece.position for piece in pieces]),
                window_start=np.repeat([piece.window for piece in pieces], [len(piece.tokens) for piece in pieces]),
                values=np.concatenate([piece.values for piece in pieces]),
                attention=pieces[0].attention,  # with which a target is one window
            )

    @property
    def provenance(self) -> dict[str, str]:
        """What determines the numbers, by name; reads the whole FASTA once for its digest."""
        return {
            **self._provenance(),
            "Layers": ",".join(self.plan.layer_names),
            "Window": str(self.plan.width),
            "Keep": str(self.plan.keep),
            **({"Attention": ",".join(map(str, self.plan.attention))} if self.plan.attention else {}),
        }

    def save(self, *paths: str, progress: Progress | None = None) -> None:
        """Write files, whole or not at all, in one go: memory is bounded by a batch of windows.

        Args:
            paths: ``.h5`` or ``.hdf5`` for every nucleotide and attention weights, ``.parquet`` or ``.h5ad`` (AnnData)
                for the mean of each target.
            progress: called after every window.

        Raises:
            SettingsError: another suffix, a path given twice, no HDF5 for attention weights, or a library is missing.
            BackendError: the model failed.
            OutputError: a file cannot be written.
        """
        from .files import save  # which knows this class

        save(self, paths, progress)

    def pieces(self) -> Iterator[Piece]:
        """Yield what the windows say, along each target in turn.

        Raises:
            BackendError: the model failed.
        """
        for batch in self._batches():
            yield from self._run(batch)

    def _batches(self) -> Iterator[list[Window]]:
        """Yield windows of one length, as many as the batch holds, and with them targets that have none."""
        batch: list[Window] = []
        count = width = 0
        for window in self._source.windows():
            length = len(window.tokens)
            full = (count + 1) * (length + 2) > self.plan.batch_tokens
            if length and count and (full or width != length):
                yield batch
                batch, count = [], 0
            batch.append(window)
            if length:
                count, width = count + 1, length
        if batch:
            yield batch

    def _run(self, batch: Sequence[Window]) -> Iterator[Piece]:
        there = [window for window in batch if len(window.tokens)]
        values = iter(self._hidden(np.stack([window.tokens for window in there])) if there else ())  # (W, layers, H)
        nothing = np.empty((0, len(self.plan.layer_names), self.hidden_size), dtype=np.float32)
        for window in batch:
            found = next(values)[window.kept] if len(window.tokens) else nothing
            attention = self._attention(window) if self.plan.attention else None
            if not np.isfinite(found).all() or (attention is not None and not np.isfinite(attention).all()):
                name = self.targets[window.target].name
                raise BackendError("The model answered with numbers that are not finite.", where=name)
            yield Piece(
                window.target, window.first, window.start, window.tokens[window.kept], window.position, found, attention
            )

    def _hidden(self, tokens: Tokens) -> Floats:
        """Return hidden states, (B, W, layers, H), of windows (B, W)."""
        count, width = tokens.shape
        every = np.tile(np.arange(1, width + 1), (count, 1))  # past [CLS]
        framed, layers = with_special(tokens), self.plan.layers
        if layers is None:
            return np.moveaxis(self._told(lambda: self._backend.forward(framed, every).hidden[None]), 0, 2)
        return np.moveaxis(self._told(lambda: self._backend.hidden_states(framed, every, layers)), 0, 2)

    def _attention(self, window: Window) -> Floats:
        """Return the weights, (layers, heads, n, n), between nucleotides that are kept; one window at a time."""
        n, layers = len(window.position), self.plan.attention
        if not n:
            return np.empty((len(layers), self.heads, 0, 0), dtype=np.float32)
        at = np.arange(1, len(window.tokens) + 1)[None, window.kept]  # past [CLS]
        framed = with_special(window.tokens[None])
        found = self._told(lambda: self._backend.attention(framed, at, layers)[:, 0, :, :, 1:-1])
        return found[..., window.kept]

    def _told(self, answer: Callable[[], Any]) -> Floats:
        """Return what the backend answers, float32.

        Raises:
            BackendError: it failed.
        """
        try:
            with self._lock:
                tensor = answer()
        except RuntimeError as error:
            raise BackendError(
                "The model failed.",
                found=" ".join(str(error).split()),
                remedy="a smaller --batch-tokens needs less room",
            ) from error
        found: Floats = tensor.float().cpu().numpy()
        return found
