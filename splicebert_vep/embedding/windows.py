"""Windows to embed: what a source of them gives, and those that cover stretches of the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from splicebert_vep.errors import SettingsError
from splicebert_vep.genome.reference import Reference
from splicebert_vep.sequence.stitching import stitch
from splicebert_vep.sequence.tokens import Tokens, encode, reverse_complement
from splicebert_vep.sequence.windows import Index

from .targets import Target


class Window(NamedTuple):
    """A window to run, and what is kept of it."""

    target: int  # its number
    first: int  # nucleotides of the target before those kept
    start: int  # genomic start, 0-based on the forward strand
    tokens: Tokens  # (W,), 5' to 3'; none for a target without a window
    kept: slice  # n of the W
    position: Index  # (n,) genomic position, 0-based; -1 for a base that has none


class Named(Protocol):
    """What is embedded: a row of the outputs' table of targets."""

    COLUMNS: ClassVar[Mapping[str, type]]
    """Names of the attributes that are written, and whether each is ``int`` or ``str``; None is missing."""

    @property
    def name(self) -> str: ...
    def __len__(self) -> int:
        """Return the number of nucleotides; 0 for what has no window."""


class Source(Protocol):
    """Gives the windows of targets, along each target in turn."""

    @property
    def targets(self) -> Sequence[Named]: ...
    @property
    def statuses(self) -> Mapping[str, int]:
        """ALTs by status; empty where no ALTs are read."""

    def windows(self) -> Iterator[Window]: ...


class Stretches:
    """Stretches of the reference, cut into blocks that are each read from a window of their own.

    Args:
        targets: the stretches.
        reference: where the bases are.
        width: W; a shorter contig is one window.
        keep: longest part of a window that is kept.
        whole: whether each stretch has to lie in one window.
        fixed: name of a model that takes windows of W only; None where it takes shorter ones.

    Raises:
        SettingsError: a contig is shorter than such a model's window, or a stretch longer than what is kept of one.
    """

    statuses: Mapping[str, int] = {}

    def __init__(
        self, targets: Sequence[Target], reference: Reference, *, width: int, keep: int, whole: bool, fixed: str | None
    ) -> None:
        self.targets = targets
        self._reference = reference
        self._width = width
        self._keep = keep
        for target in targets:
            length = reference.lengths[target.contig]
            if fixed is not None and length < width:
                raise SettingsError(
                    f"Model {fixed} takes windows of one length only, and a sequence is shorter.",
                    needed=f"at least {width} nt",
                    found=f"{target.contig} of {length} nt",
                    where=target.name,
                    remedy="choose a model that takes shorter windows, or give the sequence with what surrounds it",
                )
            if whole and len({window for window, *_ in self._blocks(target)}) > 1:
                raise SettingsError(
                    "Attention is within one window, and a stretch is longer than what is kept of one.",
                    needed=f"at most {keep} nt, for windows of {width} nt of which {keep} are kept",
                    found=f"{len(target):,} nt",
                    where=target.name,
                    remedy="give shorter regions, e.g. one intron each, or a larger --window where the model has one",
                )

    def windows(self) -> Iterator[Window]:
        """Yield the windows of each stretch, from its 5' end."""
        for number, target in enumerate(self.targets):
            length = self._reference.lengths[target.contig]
            width = min(self._width, length)
            first, _ = on_strand(target.start, target.end, length, target.strand)
            for window, start, end in self._blocks(target):
                at, _ = on_strand(window, window + width, length, target.strand)
                kept = slice(start - window, end - window)
                position = _positions(target, start - first, end - first)
                yield Window(number, start - first, at, self._tokens(target, at, at + width), kept, position)

    def _blocks(self, target: Target) -> Iterator[tuple[int, int, int]]:
        """Yield where windows and their kept parts lie on the target's strand; see ``stitch``."""
        length = self._reference.lengths[target.contig]
        start, end = on_strand(target.start, target.end, length, target.strand)
        return stitch(start, end, length, width=min(self._width, length), keep=self._keep)

    def _tokens(self, target: Target, start: int, end: int) -> Tokens:
        bases = self._reference.fetch(target.contig, start, end)
        if b"U" in bases:  # the model would read it as N, and its answer would look right
            raise SettingsError(
                "A sequence is written as RNA.", needed="T in place of U", found="U", where=target.contig,
                remedy="write U as T, e.g. seqkit seq --rna2dna in.fa",
            )  # fmt: skip
        tokens = encode(bases)
        return reverse_complement(tokens) if target.strand == "-" else tokens


def _positions(target: Target, first: int, end: int) -> Index:
    """Return the genomic positions, 0-based, of a target's nucleotides [first, end), counted from its 5' end."""
    along = np.arange(first, end, dtype=np.int64)
    return target.start + along if target.strand == "+" else target.end - 1 - along


def on_strand(start: int, end: int, length: int, strand: str) -> tuple[int, int]:
    """Turn an interval of the forward strand to one of ``strand``, counted from its 5' end, or back."""
    return (start, end) if strand == "+" else (length - end, length - start)


def columns(targets: Sequence[Named]) -> dict[str, list[Any]]:
    """Return what files say of targets, by name; None is missing."""
    return {name: [getattr(target, name) for target in targets] for name in targets[0].COLUMNS}


def filled(kind: type, values: Sequence[Any]) -> list[Any]:
    """Return a column for a format that has no missing values: text of no letters, the coordinate -1."""
    return [(-1 if kind is int else "") if value is None else value for value in values]
