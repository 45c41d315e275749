"""What hiding stretches of a region found, and the oligos that would cover them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from splicebert_vep.cohort.places import Stretch
from splicebert_vep.genome.gene_index import Exon
from splicebert_vep.sequence.windows import Index

from .aim import Aim
from .hiding import Hidden

Goal = Literal["skip", "include", "block"]
Measure = Literal["zero-shot", "head"]


@dataclass(frozen=True, slots=True)
class Change:
    """How the expectation of one site changes when a stretch is hidden: hidden minus not hidden.

    Args:
        log_p: of the sum of ln p over the two intronic nucleotides, nats; negative = less expected.
        p: of the product of the two p.
        head: of the splice-site model's p of the site; None without such a model.
    """

    log_p: float
    p: float
    head: float | None


@dataclass(frozen=True, slots=True)
class Oligo:
    """One stretch and the oligo that would cover it.

    Args:
        rank: 1 is the best; None for what is not ranked, see ``status``.
        status: ``OK``; ``OWN_SITE`` touches a site of the target; ``OUTSIDE_WINDOW`` lies in no site's window;
            ``N_IN_TARGET`` holds a base that is not A, C, G or T.
        start, end: of the stretch, 0-based half-open.
        target: the stretch, 5' to 3' of the transcript.
        sequence: the oligo, its reverse complement; None with N.
        region: ``upstream``, ``exon`` and ``downstream`` of the target, joined by ``&``.
        offsets: by kind of site, where the first and the last nucleotide lie from the edge between exon and intron.
        own_site: ``acceptor``, ``donor``, both joined by ``&``, or None.
        changes: by kind of site; a site whose window does not hold the stretch whole is not in it.
        effect: what is ranked, higher is better; None without a value.
        gc: share of G and C; None with N, as the next two.
        self_complementarity: nt of the longest stretch whose reverse complement is also in the oligo.
        hairpin: nt of the longest stem with a loop of at least 3 nt.
        off_targets: other places of the FASTA, on both strands, that hold the target exactly; None when they were
            not looked for.
    """

    rank: int | None
    status: str
    start: int
    end: int
    target: str
    sequence: str | None
    region: str
    offsets: Mapping[str, tuple[int, int]]
    own_site: str | None
    changes: Mapping[str, Change]
    effect: float | None
    gc: float | None
    self_complementarity: int | None
    hairpin: int | None
    off_targets: int | None

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def outside(self) -> tuple[str, ...]:
        """Kinds of the sites whose window does not hold the stretch whole."""
        return () if self.sequence is None else tuple(kind for kind in self.offsets if kind not in self.changes)

    @property
    def log_p(self) -> float | None:
        """Sum of the changes of ln p over the sites that have one."""
        return sum(one.log_p for one in self.changes.values()) if self.changes else None

    @property
    def head(self) -> float | None:
        """Sum of the changes of the splice-site model's p over the sites that have one."""
        there = [one.head for one in self.changes.values() if one.head is not None]
        return sum(there) if there else None


@dataclass(frozen=True, slots=True, eq=False)
class Oligos:
    """Oligos against the sites of one target.

    Args:
        aim: the target and its sites.
        region: what is tiled.
        goal: ``skip``, ``include`` or ``block``.
        measure: what is ranked by, ``zero-shot`` or ``head``.
        lengths: the shortest and the longest, nt.
        step: nt between neighbours of one length.
        oligos: those with a rank by rank, then the others 5' to 3'.
        sites: what the model expects of each site, hidden and not.
        exons: of the target's gene in the region.
        provenance: what determines the numbers.
        warnings: sentences for the user.
    """

    aim: Aim
    region: Stretch
    goal: Goal
    measure: Measure
    lengths: tuple[int, int]
    step: int
    oligos: tuple[Oligo, ...]
    sites: tuple[Hidden, ...]
    exons: tuple[Exon, ...]
    provenance: Mapping[str, str]
    warnings: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.oligos)

    def statuses(self) -> dict[str, int]:
        """Return how many stretches have each status."""
        return dict(Counter(oligo.status for oligo in self.oligos))

    @property
    def position(self) -> Index:
        """Genomic position, 0-based, of every nucleotide of the region, 5' to 3' of the transcript."""
        along = np.arange(self.region.start, self.region.end, dtype=np.int64)
        return along[::-1] if self.aim.strand == "-" else along
