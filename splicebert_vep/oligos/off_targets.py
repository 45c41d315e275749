"""Count where short sequences occur in a FASTA: every contig, both strands, exact matches, in one pass.

A table of all 12-mers tells at which positions one of the sequences may begin; only there it is compared whole, as a
number of two bits per nucleotide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from splicebert_vep.sequence.tokens import encode
from splicebert_vep_spec import N

from .tiles import complement

if TYPE_CHECKING:
    from splicebert_vep.genome.reference import Reference

    from .hiding import Progress

_SEED = 12  # nt; 4^12 flags take 16 MiB
_CHUNK = 1 << 20  # nt
_MEGABASE = 10**6
Codes = NDArray[np.uint64]


def count_occurrences(sequences: Sequence[str], reference: Reference, progress: Progress | None = None) -> list[int]:
    """Return in how many places of the FASTA each sequence stands, on either strand.

    A place where a sequence that is its own reverse complement stands counts once. Whatever is not A, C, G or T in the
    FASTA matches nothing.

    Args:
        sequences: of A, C, G and T, 12 to 32 nt.
        progress: called with what is done of all megabases.

    Raises:
        FastaError: the FASTA cannot be read.
    """
    found = _Counts(sequences)
    total, done = sum(reference.lengths.values()), 0
    for contig, length in reference.lengths.items():
        for start in range(0, length, _CHUNK):
            end = min(start + _CHUNK, length)
            found.read(reference.fetch(contig, start, end + found.longest - 1), end - start)
            done += end - start
            if progress:
                progress("megabases of the FASTA searched", done // _MEGABASE, -(-total // _MEGABASE))
    return [found.of(sequence) for sequence in sequences]


class _Counts:
    """How often each of some sequences, and its reverse complement, was met on the forward strand."""

    def __init__(self, sequences: Sequence[str]) -> None:
        wanted: dict[int, set[int]] = {}
        self._seeds = np.zeros(1 << 2 * _SEED, dtype=np.bool_)
        for sequence in {*sequences, *map(complement, sequences)}:
            wanted.setdefault(len(sequence), set()).add(_code(sequence))
            self._seeds[_code(sequence[:_SEED])] = True
        self.longest = max(wanted, default=_SEED)
        self._codes = {length: np.array(sorted(codes), dtype=np.uint64) for length, codes in wanted.items()}
        self._met = {length: np.zeros(len(codes), dtype=np.int64) for length, codes in self._codes.items()}

    def of(self, sequence: str) -> int:
        """Return the number of places that were met, on both strands."""
        return sum(self._forward(one) for one in {sequence, complement(sequence)})

    def _forward(self, sequence: str) -> int:
        row = np.searchsorted(self._codes[len(sequence)], np.uint64(_code(sequence)))
        return int(self._met[len(sequence)][row])

    def read(self, bases: bytes, starts: int) -> None:
        """Count the sequences that begin at the first ``starts`` of these bases; the rest are their ends."""
        tokens = encode(bases)
        if len(tokens) < _SEED:
            return
        unknown = np.concatenate([[0], np.cumsum(tokens == N, dtype=np.int64)])  # N before each base
        digit = (tokens - np.uint8(N + 1)) & np.uint8(3)  # A, C, G, T are 0 to 3; N is whatever, and looked at below
        seeds = _seed_codes(digit)[:starts]
        at = np.flatnonzero(self._seeds[seeds])
        at = at[unknown[at + _SEED] == unknown[at]]
        code = np.zeros(len(at), dtype=np.uint64)
        for length in range(1, self.longest + 1):
            within = at + length <= len(tokens)
            at, code = at[within], code[within]
            code = code << np.uint64(2) | digit[at + length - 1]
            if length in self._codes:
                self._count(length, code[unknown[at + length] == unknown[at]])

    def _count(self, length: int, code: Codes) -> None:
        known = self._codes[length]
        row = np.minimum(np.searchsorted(known, code), len(known) - 1)
        self._met[length] += np.bincount(row[known[row] == code], minlength=len(known))


def _seed_codes(digit: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return the number of every 12-mer, two bits per nucleotide, the first highest; (L - 11,)."""
    code = digit.astype(np.uint32)
    width = 1
    while width < 8:
        code = code[:-width] << np.uint32(2 * width) | code[width:]
        width *= 2
    four = digit.astype(np.uint32)
    four = four[:-1] << np.uint32(2) | four[1:]
    four = four[:-2] << np.uint32(4) | four[2:]
    return code[: len(digit) - _SEED + 1] << np.uint32(8) | four[8:]


def _code(bases: str) -> int:
    """Return a sequence as a number, two bits per nucleotide, the first highest."""
    number = 0
    for base in bases:
        number = number << 2 | "ACGT".index(base)
    return number
