"""Run the windows of targets through the model, and stitch what they say of each nucleotide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from splicebert_vep.contract import GuardedBackend
from splicebert_vep.errors import BackendError, SettingsError
from splicebert_vep.genome.reference import Reference
from splicebert_vep.sequence.stitching import Kept, stitch
from splicebert_vep.sequence.tokens import Tokens, encode, reverse_complement, with_special
from splicebert_vep.sequence.windows import Index
from splicebert_vep_spec import BackendInfo, N

from .targets import Target

Floats = NDArray[np.float32]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

_LETTERS = np.array(list("?????NACGT"))  # by token


@dataclass(frozen=True, slots=True)
class EmbedPlan:
    """What is computed.

    Args:
        layers: numbers of the layers; None for the last of a backend that shows no other.
        width: W.
        keep: longest part of a window that is kept.
        batch_tokens: upper bound of tokens in one forward call; one window is run whatever it takes.
    """

    layers: tuple[int, ...] | None
    width: int
    keep: int
    batch_tokens: int

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
    values: Floats  # (n, layers, H)


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """Hidden states of the n nucleotides of a target, 5' to 3'.

    Args:
        target: where.
        layers: names of the layers.
        sequence: n letters A, C, G, T or N of the strand, as the model read them.
        position: (n,) genomic position of each, 0-based.
        window_start: (n,) genomic start of the window that each was read from, 0-based on the forward strand.
        values: (n, layers, H) float32.
    """

    target: Target
    layers: tuple[str, ...]
    sequence: str
    position: Index
    window_start: Index
    values: Floats

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
        targets: what is embedded.
        plan: how.
        reference: where the bases are.
        backend: the model.
        lock: held while the model runs.
        provenance: returns what determines the numbers.
        warnings: sentences for the user.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        plan: EmbedPlan,
        *,
        reference: Reference,
        backend: GuardedBackend,
        lock: AbstractContextManager[object],
        provenance: Callable[[], Mapping[str, str]],
        warnings: Sequence[str] = (),
    ) -> None:
        self.targets = targets
        self.plan = plan
        self.warnings = warnings
        self.hidden_size = backend.info.hidden_size
        self._reference = reference
        self._backend = backend
        self._lock = lock
        self._provenance = provenance
        for target in targets:
            _check_length(target, reference.lengths[target.contig], plan, backend.info)

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
                position=positions(target, 0, len(target)),
                window_start=np.repeat([piece.window for piece in pieces], [len(piece.tokens) for piece in pieces]),
                values=np.concatenate([piece.values for piece in pieces]),
            )

    @property
    def provenance(self) -> dict[str, str]:
        """What determines the numbers, by name; reads the whole FASTA once for its digest."""
        return {
            **self._provenance(),
            "Layers": ",".join(self.plan.layer_names),
            "Window": str(self.plan.width),
            "Keep": str(self.plan.keep),
        }

    def save(self, *paths: str, progress: Progress | None = None) -> None:
        """Write files, whole or not at all, in one go: memory is bounded by a batch of windows.

        Args:
            paths: ``.h5`` or ``.hdf5`` for every nucleotide, ``.parquet`` for the mean of each target.
            progress: called after every window.

        Raises:
            SettingsError: another suffix, a path given twice, or h5py is not installed.
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

    def _batches(self) -> Iterator[list[_Window]]:
        """Yield windows of one length, as many as the batch holds."""
        batch: list[_Window] = []
        for window in self._windows():
            full = (len(batch) + 1) * (window.width + 2) > self.plan.batch_tokens
            if batch and (full or batch[0].width != window.width):
                yield batch
                batch = []
            batch.append(window)
        if batch:
            yield batch

    def _windows(self) -> Iterator[_Window]:
        for number, target in enumerate(self.targets):
            length = self._reference.lengths[target.contig]
            width = min(self.plan.width, length)
            start, end = _on_strand(target.start, target.end, length, target.strand)
            for kept in stitch(start, end, length, width=width, keep=self.plan.keep):
                yield _Window(number, kept, width, kept.start - start)

    def _run(self, batch: Sequence[_Window]) -> Iterator[Piece]:
        starts = [self._genomic_start(window) for window in batch]
        tokens = np.stack([self._tokens(window, start) for window, start in zip(batch, starts, strict=True)])
        values = self._hidden(tokens)  # (layers, B, W, H)
        if not np.isfinite(values).all():
            raise BackendError("The model answered with numbers that are not finite.", where=self._place(batch))
        for row, (window, start) in enumerate(zip(batch, starts, strict=True)):
            part = slice(window.kept.start - window.kept.window, window.kept.end - window.kept.window)
            yield Piece(window.target, window.first, start, tokens[row, part], values[:, row, part].swapaxes(0, 1))

    def _hidden(self, tokens: Tokens) -> Floats:
        """Return hidden states, (layers, B, W, H), of windows (B, W)."""
        count, width = tokens.shape
        every = np.tile(np.arange(1, width + 1), (count, 1))  # past [CLS]
        try:
            with self._lock:
                if self.plan.layers is None:
                    hidden = self._backend.forward(with_special(tokens), every).hidden[None]
                else:
                    hidden = self._backend.hidden_states(with_special(tokens), every, self.plan.layers)
        except RuntimeError as error:
            raise BackendError(
                "The model failed.",
                found=" ".join(str(error).split()),
                remedy="a smaller --batch-tokens needs less room",
            ) from error
        found: Floats = hidden.float().cpu().numpy()
        return found

    def _genomic_start(self, window: _Window) -> int:
        target, start = self.targets[window.target], window.kept.window
        length = self._reference.lengths[target.contig]
        return _on_strand(start, start + window.width, length, target.strand)[0]

    def _tokens(self, window: _Window, start: int) -> Tokens:
        target = self.targets[window.target]
        bases = self._reference.fetch(target.contig, start, start + window.width)
        if b"U" in bases:  # the model would read it as N, and its answer would look right
            raise SettingsError(
                "A sequence is written as RNA.", needed="T in place of U", found="U", where=target.contig,
                remedy="write U as T, e.g. seqkit seq --rna2dna in.fa",
            )  # fmt: skip
        tokens = encode(bases)
        return reverse_complement(tokens) if target.strand == "-" else tokens

    def _place(self, batch: Sequence[_Window]) -> str:
        return ", ".join(dict.fromkeys(self.targets[window.target].name for window in batch))


class _Window(NamedTuple):
    """A window to run."""

    target: int
    kept: Kept  # on the target's strand
    width: int
    first: int  # nucleotides of the target before those kept


def letters(tokens: Tokens) -> str:
    """Return tokens of nucleotides as text."""
    return "".join(_LETTERS[tokens].tolist())


def positions(target: Target, first: int, end: int) -> Index:
    """Return the genomic positions, 0-based, of a target's nucleotides [first, end), counted from its 5' end."""
    along = np.arange(first, end, dtype=np.int64)
    return target.start + along if target.strand == "+" else target.end - 1 - along


def nucleotides(targets: Iterable[Target]) -> int:
    """Count the nucleotides of targets."""
    return sum(map(len, targets))


def _on_strand(start: int, end: int, length: int, strand: str) -> tuple[int, int]:
    """Turn an interval of the forward strand to one of the target's, counted from its 5' end, or back."""
    return (start, end) if strand == "+" else (length - end, length - start)


def _check_length(target: Target, length: int, plan: EmbedPlan, info: BackendInfo) -> None:
    if info.fixed_window is not None and length < plan.width:
        raise SettingsError(
            f"Model {info.model} takes windows of one length only, and a sequence is shorter.",
            needed=f"at least {plan.width} nt",
            found=f"{target.contig} of {length} nt",
            where=target.name,
            remedy="choose a model that takes shorter windows, or give the sequence with what surrounds it",
        )
