"""Enumerate and rank what an allele does to a transcript, from p(acceptor) and p(donor) of REF and of ALT.

A site of the reported transcript is lost, and a new one gained, where p changes by ``THRESHOLD`` or more. Every outcome
stands on premises, each a number from 0 to 1, and the weakest is its support:

- a site that the outcome goes on using: the share that it keeps, p(ALT) / p(REF), at most 1; an alternative site of the
  same exon end counts where it is stronger;
- a site that it no longer uses: 1 minus that share;
- a new site of an exon: its p(ALT), and p(ALT) / (p(ALT) + p(ALT) of the exon's own site), its share beside that site.

Outcomes are ordered by support; of equal ones the smaller change comes first. Those below ``FAINT`` are left out. Where
none reaches ``THRESHOLD``, the first is ``site_loss`` or ``site_gain``: the change of the site is seen, its result is
not. A support is no share of transcripts, and the supports of an allele need not add up to 1.

Coordinates within this module: a *boundary* lies between two bases and is the number of the base that follows it. The
first base of an exon follows its acceptor, the last one precedes its donor. All numbers grow in the direction of the
transcript, so one code serves both strands: on the forward strand they are genomic, 0-based; on the reverse strand a
base has the number -1 - position. Boundaries of ALT equal those of REF before the allele, and are ``shift`` less behind
it. An insertion or deletion stands as far 3' in the transcript as it can, as HGVS has it, so a site has the same place
in ALT on both strands; an insertion exactly at a site counts as intronic.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from splicebert_vep_spec import Allele

from ..genome.gene_index import NEAR_SITE, Transcript
from ..sequence.alleles import Fetch, in_transcript
from ..sequence.tokens import other_strand
from .hgvs import coordinates, transcript_name

Probabilities = NDArray[np.float64]
Boundaries = list[int]

#: A site is lost or gained where p falls or rises by this much, and is seen where p(REF) is no smaller.
THRESHOLD = 0.2
#: Outcomes with a smaller support are left out; known sites of other transcripts, and the other end of a new exon, are
#: looked for down to this p(ALT).
FAINT = 0.05
#: nt: lengths of a new exon, and by how much an exon becomes longer at most.
SHORTEST_NEW, LONGEST_NEW = 20, 500
#: nt: a stop that lies further than this upstream of the last junction of exons leads to decay of the mRNA.
NMD_DISTANCE = 50

KINDS = ACCEPTOR, DONOR = "acceptor", "donor"  #: in the order of a model's columns
_FIRST = {ACCEPTOR: 1, DONOR: 0}  # index of the first exon that has such a site


class Effect(StrEnum):
    """Name what happens to the transcript; the last two stand where there is no outcome."""

    EXON_SKIPPING = "exon_skipping"
    EXON_EXTENSION = "exon_extension"
    EXON_TRUNCATION = "exon_truncation"
    PSEUDOEXON = "pseudoexon"
    INTRON_RETENTION = "intron_retention"
    SITE_LOSS = "site_loss"
    SITE_GAIN = "site_gain"
    NO_EFFECT = "NO_EFFECT"
    NOT_JUDGEABLE = "NOT_JUDGEABLE"


class Frame(StrEnum):
    """Name what an outcome does to the reading frame; ``non_coding``: nothing, it changes no coding base."""

    IN_FRAME = "in_frame"
    FRAMESHIFT = "frameshift"
    STOP_GAINED = "stop_gained"
    STOP_LOST = "stop_lost"
    START_LOST = "start_lost"
    NON_CODING = "non_coding"


class Answers(NamedTuple):
    """p(acceptor) and p(donor) of REF and ALT over one stretch of the forward strand, the allele's span within it.

    Args:
        start: 0-based position of the first base; the same one in both.
        ref: (n, 2) along REF.
        alt: (n - shift, 2) along ALT, inserted bases included; shift is len(REF) - len(ALT).
    """

    start: int
    ref: Probabilities
    alt: Probabilities


class Site(NamedTuple):
    """A splice site that an outcome rests on.

    Args:
        kind: ``acceptor`` or ``donor``.
        position: 0-based, on the forward strand, of the exon's base at the site; None within inserted bases.
        exon: number of the exon in the reported transcript that the site is, or would be, an end of; 0 for none.
        known: ``reported`` for a site of the reported transcript, ``other`` for one of another transcript of the gene,
            ``new`` for any else.
        before, after: p(REF) and p(ALT); p(REF) is 0 where REF has no such place, p(ALT) where ALT has none.
    """

    kind: str
    position: int | None
    exon: int
    known: str
    before: float
    after: float


class Protein(NamedTuple):
    """Product of an outcome's mRNA.

    Args:
        frame: of the outcome.
        name: HGVS name of the change, p.(...); empty where it is not known.
        length: amino acids of the whole product; None where it is not known.
        stop: number of the codon that is a premature stop, 1 is the start codon; None without one.
        new: codons from the first changed one to the one before the premature stop; None without one.
        decays: whether the premature stop leads to decay by the 50-nt rule; None where that is not known.
    """

    frame: Frame
    name: str = ""
    length: int | None = None
    stop: int | None = None
    new: int | None = None
    decays: bool | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One way in which the transcript can change.

    Args:
        kind: never one of the last two.
        support: the weakest premise, 0 to 1; of site_loss and site_gain the change of p.
        exons: first and last number of the exons that are skipped, or twice that of the exon that changes; of
            a pseudoexon or retained intron those of the exons on both sides.
        size: nt that splicing adds to the mRNA, negative where it leaves them out; 0 where that is not known.
        sites: that it rests on, those no longer used first.
        protein: None where it is not known: of site_loss and site_gain, and where the CDS is not a whole one and loses
            an end.
        hgvs: r. name without the transcript; empty where it is not known.
    """

    kind: Effect
    support: float
    exons: tuple[int, int]
    size: int
    sites: tuple[Site, ...]
    protein: Protein | None
    hgvs: str


@dataclass(frozen=True, slots=True)
class Consequence:
    """Consequence of an allele for the reported transcript of a gene.

    Args:
        effect: kind of the first outcome, NO_EFFECT or NOT_JUDGEABLE.
        outcomes: by support; empty for these two.
        changed: of NO_EFFECT, sites of other transcripts that are lost, by position in the transcript.
        unseen: of NOT_JUDGEABLE, sites near the allele whose p(REF) is too small to tell their loss.
    """

    effect: Effect
    outcomes: tuple[Outcome, ...] = ()
    changed: tuple[Site, ...] = ()
    unseen: tuple[Site, ...] = ()


class SplicedTranscript:
    """A transcript prepared for ``consequence``: turned, with its exons' bases and its protein.

    Args:
        transcript: of a gene.
        known: positions of the splice sites of all transcripts of the gene, as ``GeneIndex.site_bases`` returns them.
        fetch: of the transcript's contig, by the FASTA's names.
    """

    def __init__(self, transcript: Transcript, known: Mapping[str, Set[int]], fetch: Fetch) -> None:
        self.transcript, self.fetch = transcript, fetch
        self.plus = transcript.strand == "+"
        self.exons = [self.turned(exon.start, exon.end) for exon in transcript.exons]
        self.starts, self.ends = [start for start, _ in self.exons], [end for _, end in self.exons]
        self.pieces = [self.bases(*exon) for exon in self.exons]
        self.mrna = b"".join(self.pieces)
        self.offsets = [0, *accumulate(map(len, self.pieces))]  #: mRNA bases before each exon, and of all
        self.sites = {ACCEPTOR: self.starts[1:], DONOR: self.ends[:-1]}  #: boundaries by kind, in order
        self.others = {kind: self._others(kind, known[kind]) for kind in KINDS}  #: of other transcripts only
        self.coding: tuple[int, int] | None = None  #: start and end of the CDS in the mRNA, stop codon included
        self.codons: tuple[tuple[int, ...], ...] = ()  #: turned bases of the first and the last codon of the CDS
        self.protein = ""  #: empty where the CDS is not a whole one
        self.coordinates = coordinates(transcript)
        if transcript.cds:
            low, high = self.turned(transcript.cds.start, transcript.cds.end)
            start, end = self.coding = self._along(low), self._along(high - 1) + 1
            if end - start >= 3:
                self.codons = tuple(tuple(map(self._base, range(at, at + 3))) for at in (start, end - 3))
            self.protein = _whole_protein(self.mrna[start:end])

    def turned(self, start: int, end: int) -> tuple[int, int]:
        """Turn a stretch of the forward strand into the transcript's direction, or back."""
        return (start, end) if self.plus else (-end, -start)

    def bases(self, start: int, end: int) -> bytes:
        """Return REF's bases of a turned stretch."""
        found = self.fetch(*self.turned(start, end))
        return found if self.plus else other_strand(found)

    def position(self, boundary: int, kind: str) -> int:
        """Return the forward position of the exon's base at a site."""
        base = boundary if kind == ACCEPTOR else boundary - 1
        return base if self.plus else -1 - base

    def sites_near(self, start: int, end: int) -> list[tuple[str, int]]:
        """Return kind and exon of sites of a turned span's exon and of those within ``NEAR_SITE`` of it."""
        inner = self.touched(start, end)
        found = []
        for kind, edges in ((ACCEPTOR, self.starts), (DONOR, self.ends)):
            near = range(bisect_left(edges, start - NEAR_SITE), bisect_right(edges, end + NEAR_SITE))
            if near or inner:
                last = len(edges) - 1 - (kind == DONOR)
                found += [(kind, exon) for exon in sorted({*near, *inner}) if _FIRST[kind] <= exon <= last]
        return found

    def touched(self, start: int, end: int) -> range:
        """Return the indices of the exons that a turned span touches."""
        return range(bisect_right(self.ends, start), bisect_left(self.starts, end))

    def _along(self, base: int) -> int:
        exon = bisect_right(self.starts, base) - 1
        return self.offsets[exon] + base - self.starts[exon]

    def _base(self, along: int) -> int:
        exon = bisect_right(self.offsets, along) - 1
        return self.exons[exon][0] + along - self.offsets[exon]

    def _others(self, kind: str, known: Set[int]) -> Boundaries:
        bases = known if self.plus else (-1 - position for position in known)
        boundaries = {base + (kind == DONOR) for base in bases}
        return sorted(boundaries - set(self.sites[kind]))


class _Changed:
    """An allele in a transcript's direction, where REF's boundaries are in ALT; it stands as the transcript has it."""

    def __init__(self, spliced: SplicedTranscript, placed: Allele) -> None:
        self._spliced = spliced
        self.start, self.end = spliced.turned(placed.start, placed.end)
        alt = placed.alt.encode("ascii")
        self.alt = alt if spliced.plus else other_strand(alt)
        self.shift = placed.shift

    @property
    def alt_end(self) -> int:
        """End of the new bases in ALT."""
        return self.start + len(self.alt)

    def images(self, boundaries: Boundaries, kind: str) -> tuple[Boundaries, list[bool]]:
        """Return sites' boundaries in ALT, the allele's start where ALT has no such place, and whether it has none.

        Args:
            boundaries: of REF, in order.
        """
        count = len(boundaries)
        if not self.shift:
            return boundaries, [False] * count
        at_start = bisect_right if kind == DONOR or self.start < self.end else bisect_left
        before = at_start(boundaries, self.start)
        behind = max(before, bisect_left(boundaries, self.end))
        gone = behind - before
        moved = [boundary - self.shift for boundary in boundaries[behind:]]
        images = [*boundaries[:before], *[self.start] * gone, *moved]
        return images, [False] * before + [True] * gone + [False] * (count - behind)

    def origin(self, boundary: int) -> int:
        """Return the boundary in REF of one in ALT that is not within new bases."""
        return boundary if boundary <= self.start else boundary + self.shift

    def image_of_base(self, base: int) -> int | None:
        """Return where in ALT a base of REF is; None where the allele replaces it by more or fewer."""
        if base < self.start or not self.shift:
            return base
        return base - self.shift if base >= self.end else None

    def position(self, base: int) -> int | None:
        """Return the forward position of a base of ALT; None where REF has no such base."""
        if self.shift and base >= self.start:
            if base < self.alt_end:
                return None
            base += self.shift
        return self._spliced.turned(base, base + 1)[0]

    def before(self, values: Probabilities, first: int, kind: str) -> Probabilities:
        """Return REF's values by boundaries of ALT, 0 where REF has no such place.

        Args:
            values: by boundaries of REF, from ``first`` on.
        """
        if not self.shift:
            return values
        found = np.zeros(len(values) - self.shift)
        left, right = self.start - first, self.alt_end - first
        found[: left + 1] = values[: left + 1]
        found[right:] = values[right + self.shift :]
        if self.start == self.end:
            found[right if kind == DONOR else left] = 0
        elif not self.alt:
            found[left] = max(values[left], values[self.end - first])
        return found

    def bases(self, start: int, end: int) -> bytes:
        """Return ALT's bases between two of its boundaries."""
        parts = []
        if start < self.start:
            parts.append(self._spliced.bases(start, min(end, self.start)))
        parts.append(self.alt[max(0, start - self.start) : max(0, end - self.start)])
        if end > self.alt_end:
            parts.append(self._spliced.bases(max(start, self.alt_end) + self.shift, end + self.shift))
        return b"".join(parts)


class _End(NamedTuple):
    """One end of an exon that is a splice site.

    Args:
        site: of the reported transcript; None where it is not within the answers.
        at: its boundary in ALT; the allele's start where ``gone``.
        others: sites of ALT that can take its place, with their boundaries.
        kept: share of its use that is left to it or to one of these; None where p(REF) is too small to tell.
    """

    site: Site | None
    at: int
    gone: bool
    others: tuple[tuple[int, Site], ...]
    kept: float | None


class _Edit(NamedTuple):
    """Change of the exons by an outcome, for the mRNA and its name.

    Args:
        exons: of ALT, in order: boundaries, and the exon's index where it is REF's own.
        deleted: turned stretch of REF's exons that is missing.
        inserted: stretch of ALT that comes in, else empty.
        after: index of the exon that it comes in behind.
    """

    exons: list[tuple[int, int, int | None]]
    deleted: tuple[int, int] = (0, 0)
    inserted: tuple[int, int] = (0, 0)
    after: int = 0


Case = tuple[SplicedTranscript, Allele, Answers]
"""The arguments of ``consequence``."""


def consequences(cases: Sequence[Case]) -> list[Consequence]:
    """Return the consequence of each case; one in which no site is lost or gained takes little time.

    Raises:
        ValueError: as ``consequence`` does.
    """
    placed = [_placed(*case) for case in cases]
    gains, losses = _largest_changes(cases, placed) >= THRESHOLD
    return [
        consequence(*case) if gain or (loss and _loses_site(*case)) else _without_change(*case, at)
        for case, at, gain, loss in zip(cases, placed, gains.tolist(), losses.tolist(), strict=True)
    ]


def _placed(spliced: SplicedTranscript, allele: Allele, answers: Answers) -> Allele:
    """Return an allele as the transcript has it, once the answers are known to be around it."""
    size = len(answers.ref)
    if len(answers.alt) != size - allele.shift:
        raise ValueError(f"answers of {len(answers.alt)} positions of ALT: needed {size - allele.shift}")
    placed = in_transcript(allele, spliced.transcript.strand, spliced.fetch)
    if not (answers.start < placed.start and placed.end < answers.start + size):
        raise ValueError("the answers must hold the allele and a base on both sides of it")
    return placed


_ROWS = 1 << 13  # of answers that are compared at a time: they stay in a core's cache


def _largest_changes(cases: Sequence[Case], placed: Sequence[Allele]) -> NDArray[np.float64]:
    """Return the largest gain and the largest loss of p in each case, (2, N).

    Of an allele that changes length the bases that it takes out and puts in are compared with 0: no site that is lost
    or gained changes by more.
    """
    largest = [np.zeros((2, 0))]
    refs: list[Probabilities] = []
    alts: list[Probabilities] = []
    ends = [0]
    for number, ((spliced, _, answers), allele) in enumerate(zip(cases, placed, strict=True), start=1):
        ref, alt, new = answers.ref, answers.alt, 0
        if not spliced.plus:
            ref, alt = ref[::-1], alt[::-1]  # as the model answered: it reads memory forwards, which is quicker
        if not allele.shift:
            refs.append(ref)
            alts.append(alt)
        else:
            low, _ = spliced.turned(answers.start, answers.start + len(ref))
            start = spliced.turned(allele.start, allele.end)[0] - low
            gone, new = len(allele.ref), len(allele.alt)
            refs += [ref[:start], np.zeros((new, 2)), ref[start:]]
            alts += [alt[: start + new], np.zeros((gone, 2)), alt[start + new :]]
        ends.append(ends[-1] + len(ref) + new)
        if ends[-1] >= _ROWS or number == len(cases):
            change = (np.concatenate(alts) - np.concatenate(refs)).ravel()
            first = 2 * np.array(ends[:-1])
            largest.append(np.array([np.maximum.reduceat(change, first), -np.minimum.reduceat(change, first)]))
            refs, alts, ends = [], [], [0]
    return np.concatenate(largest, axis=1)


def _loses_site(spliced: SplicedTranscript, allele: Allele, answers: Answers) -> bool:
    """Tell whether an allele loses a site of any transcript; of one that changes length, whether it may."""
    if allele.shift:
        return True
    low, high = spliced.turned(answers.start, answers.start + len(answers.ref))
    for column, kind in enumerate(KINDS):
        for sites in (spliced.sites[kind], spliced.others[kind]):
            for boundary in sites[bisect_right(sites, low) : bisect_left(sites, high)]:
                row = spliced.position(boundary, kind) - answers.start
                if answers.ref.item(row, column) - answers.alt.item(row, column) >= THRESHOLD:
                    return True
    return False


def _without_change(spliced: SplicedTranscript, allele: Allele, answers: Answers, placed: Allele) -> Consequence:
    """Return the consequence of an allele that loses and gains no site."""
    start, end = spliced.turned(placed.start, placed.end)
    low, high = spliced.turned(answers.start, answers.start + len(answers.ref))
    unseen = []
    for kind, exon in spliced.sites_near(start, end):
        boundary, column = spliced.exons[exon][kind == DONOR], KINDS.index(kind)
        if not low < boundary < high:
            continue
        position = spliced.position(boundary, kind)
        before = answers.ref.item(position - answers.start, column)
        if before < THRESHOLD:
            after = 0.0
            if not allele.shift:
                after = answers.alt.item(position - answers.start, column)
            else:
                [at], [gone] = _Changed(spliced, placed).images([boundary], kind)
                if not gone:
                    row = at - low - (kind == DONOR)
                    after = answers.alt.item(row if spliced.plus else len(answers.alt) - 1 - row, column)
            unseen.append(Site(kind, position, exon + 1, "reported", before, after))
    return Consequence(Effect.NOT_JUDGEABLE, unseen=tuple(unseen)) if unseen else _NOTHING


_NOTHING = Consequence(Effect.NO_EFFECT)


def consequence(spliced: SplicedTranscript, allele: Allele, answers: Answers) -> Consequence:
    """Return what an allele does to a transcript.

    Only sites within the answers are judged: they should reach as far as an allele can change one.

    Args:
        allele: normalised.
        answers: of a splice-site model; see ``Answers``.

    Raises:
        ValueError: the answers do not hold the allele, or their lengths do not fit it.
    """
    return _Case(spliced, allele, answers).consequence()


class _Case:
    """One allele of one transcript."""

    def __init__(self, spliced: SplicedTranscript, allele: Allele, answers: Answers) -> None:
        self._spliced, self._allele = spliced, allele
        self._change = change = _Changed(spliced, _placed(spliced, allele, answers))
        self._low, self._high = spliced.turned(answers.start, answers.start + len(answers.ref))
        self._ref: dict[str, Probabilities] = {}  # by boundary of REF, from self._low on
        self._alt: dict[str, Probabilities] = {}  # by boundary of ALT
        self._was: dict[str, Probabilities] = {}  # of REF, by boundary of ALT
        self._at: dict[str, Boundaries] = {}  # the reported transcript's sites in ALT
        self._gone: dict[str, list[bool]] = {}
        for kind in KINDS:
            self._ref[kind] = self._by_boundary(answers.ref, kind)
            self._alt[kind] = self._by_boundary(answers.alt, kind)
            self._was[kind] = change.before(self._ref[kind], self._low, kind)
            self._at[kind], self._gone[kind] = change.images(spliced.sites[kind], kind)
        [self._start], _ = change.images(spliced.starts[:1], DONOR)
        [self._end], _ = change.images(spliced.ends[-1:], DONOR)
        self._last = len(spliced.exons) - 1
        self._known_others: dict[str, Boundaries] = {}
        self._known_end: dict[tuple[str, int], _End | None] = {}
        self._lost = {kind: self._lost_sites(kind) for kind in KINDS}
        self._gained = {kind: self._gained_sites(kind) for kind in KINDS}

    def consequence(self) -> Consequence:
        """Return outcomes, or why there are none."""
        if not any(map(len, (*self._lost.values(), *self._gained.values()))):
            if unseen := self._unseen():
                return Consequence(Effect.NOT_JUDGEABLE, unseen=unseen)
            return Consequence(Effect.NO_EFFECT, changed=self._lost_elsewhere())
        found = [*self._alternative_sites(), *self._skips(), *self._retentions(), *self._pseudoexons()]
        found.sort(key=lambda one: (-one.support, abs(one.size), list(Effect).index(one.kind), one.exons))
        listed = [one for one in found if one.support >= FAINT]
        if not listed or listed[0].support < THRESHOLD:
            first = self._unexplained()
            exon = first.exons[0]  # what could become of it is listed however faint
            listed = [first, *(one for one in found if one.support >= FAINT or one.exons[0] <= exon <= one.exons[1])]
        found = listed
        return Consequence(found[0].kind, tuple(found))

    # ---- sites -----------------------------------------------------------------------------------------------------

    def _by_boundary(self, values: Probabilities, kind: str) -> Probabilities:
        """Return p of one kind by boundary; 0 at the far one, where the base is not within the answers."""
        column = np.asarray(values)[:: 1 if self._spliced.plus else -1, KINDS.index(kind)]
        return np.concatenate([column, [0.0]] if kind == ACCEPTOR else [[0.0], column])

    def _inside(self, boundaries: Boundaries) -> range:
        """Return the indices of boundaries, which are in order, within the answers."""
        return range(bisect_right(boundaries, self._low), bisect_left(boundaries, self._high))

    def _before_after(self, kind: str, boundary: int, at: int, *, gone: bool) -> tuple[float, float]:
        """Return p(REF) and p(ALT) of a site within the answers, at one boundary in REF and at another in ALT."""
        before = self._ref[kind].item(boundary - self._low)
        return before, 0.0 if gone else self._alt[kind].item(at - self._low)

    def _lost_sites(self, kind: str) -> list[int]:
        """Return the exons whose site of one kind is lost."""
        lost = []
        sites, at, gone = self._spliced.sites[kind], self._at[kind], self._gone[kind]
        for row in self._inside(sites):
            before, after = self._before_after(kind, sites[row], at[row], gone=gone[row])
            if before - after >= THRESHOLD:
                lost.append(row + _FIRST[kind])
        return lost

    def _gained_sites(self, kind: str) -> list[int]:
        """Return boundaries in ALT of the sites that are gained within the transcript."""
        found: list[int] = (np.flatnonzero(self._alt[kind] - self._was[kind] >= THRESHOLD) + self._low).tolist()
        if not found:
            return []
        own = {at for at, gone in zip(self._at[kind], self._gone[kind], strict=True) if not gone}
        return [x for x in found if self._start < x < self._end and x not in own]

    def _site(self, kind: str, boundary: int, exon: int, known: str | None = None) -> Site:
        """Return a site of ALT; ``exon`` is an index."""
        if known is None:
            known = "other" if boundary in self._others(kind) else "new"
        row = boundary - self._low
        base = boundary if kind == ACCEPTOR else boundary - 1
        before, after = self._was[kind].item(row), self._alt[kind].item(row)
        return Site(kind, self._change.position(base), exon + 1, known, before, after)

    def _others(self, kind: str) -> list[int]:
        """Return boundaries in ALT of the sites that only other transcripts have."""
        if kind not in self._known_others:
            others = self._spliced.others[kind]
            inside = self._inside(others)
            both = zip(*self._change.images(others[inside.start : inside.stop], kind), strict=True)
            self._known_others[kind] = [at for at, gone in both if not gone]
        return self._known_others[kind]

    def _end_of(self, kind: str, exon: int) -> _End | None:
        """Return one end of an exon; None where it is no splice site."""
        key = (kind, exon)
        if key not in self._known_end:
            self._known_end[key] = self._make_end(kind, exon)
        return self._known_end[key]

    def _make_end(self, kind: str, exon: int) -> _End | None:
        row = exon - _FIRST[kind]
        sites = self._spliced.sites[kind]
        if not 0 <= row < len(sites):
            return None
        boundary, at, gone = sites[row], self._at[kind][row], self._gone[kind][row]
        others = tuple((x, self._site(kind, x, exon)) for x in self._replacements(kind, exon, at, gone))
        if not self._low < boundary < self._high:
            return _End(None, at, gone, others, None)
        before, after = self._before_after(kind, boundary, at, gone=gone)
        site = Site(kind, self._spliced.position(boundary, kind), exon + 1, "reported", before, after)
        best = max([after, *(other.after for _, other in others)])
        return _End(site, at, gone, others, min(1.0, best / before) if before >= THRESHOLD else None)

    def _replacements(self, kind: str, exon: int, at: int, gone: bool) -> list[int]:
        """Return boundaries in ALT of sites that can take the place of an exon's own."""
        low, high = self._start, self._end
        if kind == ACCEPTOR:
            low = self._at[DONOR][exon - 1]
            high = self._at[DONOR][exon] if exon < self._last else high
        else:
            low = self._at[ACCEPTOR][exon - 1] if exon else low
            high = self._at[ACCEPTOR][exon]
        wanted = {x for x in self._gained[kind] if low < x < high}
        if exon in self._lost[kind]:
            first = max(low + 1, self._low + 1)
            stretch = slice(first - self._low, min(high, self._low + len(self._alt[kind]) - 1) - self._low)
            was, now = self._was[kind][stretch], self._alt[kind][stretch]
            wanted |= set((np.flatnonzero((now >= THRESHOLD) & (was - now < FAINT)) + first).tolist())
            for x in self._others(kind):
                row = x - self._low
                if low < x < high and self._alt[kind][row] >= FAINT > self._was[kind][row] - self._alt[kind][row]:
                    wanted.add(x)
        longer = 1 if kind == DONOR else -1
        wanted = {x for x in wanted if (x - at) * longer <= LONGEST_NEW}
        return sorted(wanted if gone else wanted - {at})

    def _unseen(self) -> tuple[Site, ...]:
        """Return sites of the allele's exon, or near it, whose p(REF) is too small to tell their loss."""
        near = self._spliced.sites_near(self._change.start, self._change.end)
        ends = [self._end_of(kind, exon) for kind, exon in near]
        return tuple(end.site for end in ends if end and end.site and end.kept is None)

    def _lost_elsewhere(self) -> tuple[Site, ...]:
        """Return the sites of other transcripts that are lost."""
        found = []
        for kind in KINDS:
            others = self._spliced.others[kind]
            images, gone = self._change.images(others, kind)
            for row in self._inside(others):
                before, after = self._before_after(kind, others[row], images[row], gone=gone[row])
                if before - after >= THRESHOLD:
                    position = self._spliced.position(others[row], kind)
                    found.append((images[row], Site(kind, position, 0, "other", before, after)))
        return tuple(site for _, site in sorted(found, key=lambda one: (one[0], one[1].kind)))

    def _exon_of(self, kind: str, boundary: int) -> int:
        """Return the index of the exon that a new site would be an end of; -1 for none."""
        if kind == ACCEPTOR:
            exon = bisect_right(self._at[DONOR], boundary)
            return exon if exon > 0 else -1
        exon = bisect_left(self._at[ACCEPTOR], boundary)
        return exon if exon < self._last else -1

    # ---- outcomes --------------------------------------------------------------------------------------------------

    def _alternative_sites(self) -> Iterator[Outcome]:
        """Yield an outcome for every site that can take the place of an exon's own."""
        for kind in KINDS:
            exons = {*self._lost[kind], *(self._exon_of(kind, x) for x in self._gained[kind])} - {-1}
            for exon in sorted(exons):
                end = self._end_of(kind, exon)
                if end is None or (end.gone and self._is_deleted(exon)):
                    continue
                far = self._end_of(DONOR if kind == ACCEPTOR else ACCEPTOR, exon)
                for x, site in end.others:
                    premises = [site.after]
                    if end.site:
                        premises.append(site.after / (site.after + end.site.after))
                    if far and far.kept is not None:
                        premises.append(far.kept)
                    yield self._with_site(exon, end, x, site, min(premises))

    def _with_site(self, exon: int, end: _End, x: int, site: Site, support: float) -> Outcome:
        change, spliced = self._change, self._spliced
        start, stop = spliced.exons[exon]
        exons = self._exons()
        low, high, _ = exons[exon]
        within = change.shift != 0 and change.start < x < change.alt_end  # new bases, that REF has no place for
        if site.kind == DONOR:
            exons[exon] = (low, x, None)
            size = x - end.at
            if x > change.start and (end.gone or (within and size < 0)):
                edit = _Edit(exons, (max(start, change.start), stop), (change.start, x), exon)
            elif size > 0:
                edit = _Edit(exons, inserted=(end.at, x), after=exon)
            else:
                edit = _Edit(exons, (change.origin(x), stop))
        else:
            exons[exon] = (x, high, None)
            size = end.at - x
            if x < change.alt_end and (end.gone or (within and size < 0)):
                edit = _Edit(exons, (start, min(change.end, stop)), (x, change.alt_end), exon - 1)
            elif size > 0:
                edit = _Edit(exons, inserted=(x, end.at), after=exon - 1)
            else:
                joint = x == change.start == change.alt_end  # bases are gone there, and the exon begins behind them
                edit = _Edit(exons, self._rolled(start, change.end if joint else change.origin(x), stop))
        if end.gone:  # the exon's own place is not there to count from
            low, high, _ = exons[exon]
            size = high - low - (stop - start)
        kind = Effect.EXON_EXTENSION if size > 0 else Effect.EXON_TRUNCATION
        sites = (end.site, site) if end.site else (site,)
        return self._outcome(kind, support, (exon, exon), size, sites, edit)

    def _is_deleted(self, exon: int) -> bool:
        """Tell whether the allele replaces all bases of an exon."""
        start, end = self._spliced.exons[exon]
        return self._change.start <= start and end <= self._change.end

    def _skips(self) -> Iterator[Outcome]:
        """Yield an outcome for every run of exons that are skipped together, an exon with a lost site among them."""
        lost = {exon for kind in KINDS for exon in self._lost[kind] if 0 < exon < self._last}
        done = set()
        for exon in sorted(lost):
            low = high = exon
            while low > 1 and self._skipped(low - 1) >= FAINT:
                low -= 1
            while high < self._last - 1 and self._skipped(high + 1) >= FAINT:
                high += 1
            for first in range(low, exon + 1):
                for last in range(exon, high + 1):
                    if (first, last) in done:
                        continue
                    done.add((first, last))
                    support = self._skip_support(first, last)
                    if support >= FAINT or first == last:  # runs of many exons are many, and few can be
                        yield self._skip(first, last, support)

    def _skipped(self, exon: int) -> float:
        """Return the weakest premise of an exon's being skipped, of those that can be told; 0 where none can."""
        ends = [self._end_of(kind, exon) for kind in KINDS]
        return min([1 - end.kept for end in ends if end and end.kept is not None], default=0.0)

    def _skip_support(self, first: int, last: int) -> float:
        premises = [self._skipped(exon) for exon in range(first, last + 1)]
        for kind, exon in ((DONOR, first - 1), (ACCEPTOR, last + 1)):
            end = self._end_of(kind, exon)
            if end and end.kept is not None:
                premises.append(end.kept)
        return min(premises)

    def _skip(self, first: int, last: int, support: float) -> Outcome:
        exons = self._exons()
        spliced = self._spliced
        size = spliced.offsets[first] - spliced.offsets[last + 1]
        edit = _Edit([*exons[:first], *exons[last + 1 :]], (spliced.exons[first][0], spliced.exons[last][1]))
        ends = [self._end_of(kind, exon) for exon in range(first, last + 1) for kind in KINDS]
        sites = tuple(end.site for end in ends if end and end.site)
        return self._outcome(Effect.EXON_SKIPPING, support, (first, last), size, sites, edit)

    def _retentions(self) -> Iterator[Outcome]:
        """Yield an outcome for every intron with a lost site."""
        introns = {*self._lost[DONOR], *(exon - 1 for exon in self._lost[ACCEPTOR])}
        for intron in sorted(introns):
            donor, acceptor = self._end_of(DONOR, intron), self._end_of(ACCEPTOR, intron + 1)
            if donor is None or acceptor is None or not donor.site or not acceptor.site:
                continue
            if donor.kept is None or acceptor.kept is None or (donor.gone and acceptor.gone):
                continue
            if (donor.gone and self._is_deleted(intron)) or (acceptor.gone and self._is_deleted(intron + 1)):
                continue
            exons = self._exons()
            low, high = donor.at, acceptor.at
            exons[intron : intron + 2] = [(exons[intron][0], exons[intron + 1][1], None)]
            change = self._change
            deleted = (0, 0)
            if donor.gone:
                deleted = (change.start, self._spliced.exons[intron][1])
            elif acceptor.gone:
                deleted, high = (self._spliced.exons[intron + 1][0], change.end), change.alt_end
            support = min(1 - donor.kept, 1 - acceptor.kept)
            size = high - low - (deleted[1] - deleted[0])
            yield self._outcome(
                Effect.INTRON_RETENTION, support, (intron, intron + 1), size, (donor.site, acceptor.site),
                _Edit(exons, deleted, (low, high), intron),
            )  # fmt: skip

    def _pseudoexons(self) -> Iterator[Outcome]:
        """Yield an outcome for every new exon within an intron that a gained site makes."""
        pairs = {}
        for kind, far in ((ACCEPTOR, DONOR), (DONOR, ACCEPTOR)):
            for x in self._gained[kind]:
                intron = bisect_left(self._at[DONOR], x) - 1
                if intron < 0 or x >= self._at[ACCEPTOR][intron]:
                    continue
                low, high = self._at[DONOR][intron] + 1, self._at[ACCEPTOR][intron] - 1
                near, most = x + SHORTEST_NEW, x + LONGEST_NEW
                if kind == DONOR:
                    near, most = x - LONGEST_NEW, x - SHORTEST_NEW
                near, most = max(near, low, self._low + 1), min(most, high, self._low + len(self._alt[far]) - 2)
                if most < near:
                    continue
                beside = self._alt[far][near - self._low : most + 1 - self._low]
                y = near + int(beside.argmax())
                if beside.max() >= FAINT:
                    pairs[(x, y) if kind == ACCEPTOR else (y, x)] = intron
        for (start, end), intron in sorted(pairs.items()):
            sites = (self._site(ACCEPTOR, start, -1), self._site(DONOR, end, -1))
            exons = self._exons()
            exons.insert(intron + 1, (start, end, None))
            edit = _Edit(exons, inserted=(start, end), after=intron)
            support = min(site.after for site in sites)
            yield self._outcome(Effect.PSEUDOEXON, support, (intron, intron + 1), end - start, sites, edit)

    def _unexplained(self) -> Outcome:
        """Return the largest change of a site, whose result is not seen."""
        ends = [self._end_of(kind, exon) for kind in KINDS for exon in self._lost[kind]]
        if lost := [end.site for end in ends if end and end.site]:
            site = max(lost, key=lambda site: site.before - site.after)
            return self._outcome(Effect.SITE_LOSS, site.before - site.after, (site.exon - 1,) * 2, 0, (site,), None)
        gained = [self._site(kind, x, self._exon_of(kind, x)) for kind in KINDS for x in self._gained[kind]]
        site = max(gained, key=lambda site: site.after - site.before)
        return self._outcome(Effect.SITE_GAIN, site.after - site.before, (site.exon - 1,) * 2, 0, (site,), None)

    # ---- the mRNA --------------------------------------------------------------------------------------------------

    def _exons(self) -> list[tuple[int, int, int | None]]:
        """Return the transcript's exons in ALT."""
        starts = [self._start, *self._at[ACCEPTOR]]
        ends = [*self._at[DONOR], self._end]
        return list(zip(starts, ends, range(self._last + 1), strict=True))

    def _outcome(
        self, kind: Effect, support: float, exons: tuple[int, ...], size: int, sites: tuple[Site, ...],
        edit: _Edit | None,
    ) -> Outcome:  # fmt: skip
        first, last = exons
        protein = self._protein(edit) if edit else None
        return Outcome(kind, support, (first + 1, last + 1), size, sites, protein, self._rna(edit) if edit else "")

    def _protein(self, edit: _Edit) -> Protein | None:
        """Return what ALT's mRNA codes for."""
        change, spliced = self._change, self._spliced
        touched = spliced.touched(change.start, change.end)
        parts = [
            change.bases(start, end) if exon is None or exon in touched else spliced.pieces[exon]
            for start, end, exon in edit.exons
        ]
        begins = list(accumulate(map(len, parts), initial=0))
        starts = [start for start, _, _ in edit.exons]
        mrna = b"".join(parts)

        def codon(bases: tuple[int, ...]) -> int | None:
            """Return where in the mRNA three bases of REF stand side by side."""
            found = []
            for base in bases:
                at = change.image_of_base(base)
                if at is None:
                    return None
                exon = bisect_right(starts, at) - 1
                if exon < 0 or at >= edit.exons[exon][1]:
                    return None
                found.append(begins[exon] + at - starts[exon])
            return found[0] if found == list(range(found[0], found[0] + 3)) else None

        if spliced.coding is None:
            return Protein(Frame.NON_CODING)
        if not spliced.codons:
            return None
        first, last = spliced.codons
        return _product(spliced, mrna, codon(first), codon(last), begins[-2])

    # ---- the name --------------------------------------------------------------------------------------------------

    def _rolled(self, start: int, stop: int, end: int) -> tuple[int, int]:
        """Return a deletion from an exon as far 3' as it can stand within the exon, that ends at ``end``."""
        bases = self._spliced.bases(start, end)
        shift, size = 0, stop - start
        while size + shift < len(bases) and bases[shift] == bases[size + shift]:
            shift += 1
        return start + shift, stop + shift

    def _rna(self, edit: _Edit) -> str:
        """Return the r. name of an outcome, the allele's own change of the mRNA with it; empty where they overlap."""
        spliced, change = self._spliced, self._change
        (low, high), (first, last) = edit.deleted, edit.inserted
        if low < high:
            name = f"{self._range(low, high)}del"
        else:
            before, after = spliced.exons[edit.after][1], spliced.exons[edit.after + 1][0]
            name = f"{self._label(before - 1)}_{self._label(after)}"
        if first < last:
            name += f"ins[{';'.join(self._bases_of(first, last))}]"
        own = self._own_change(edit)
        if own is None:
            return ""
        if not own:
            return f"r.{name}"
        parts = [own, name] if change.start < (low if low < high else spliced.exons[edit.after][1]) else [name, own]
        return f"r.[{';'.join(parts)}]"

    def _own_change(self, edit: _Edit) -> str | None:
        """Return the r. name of the allele where the mRNA has it and ``edit`` does not; None where they overlap."""
        change, spliced = self._change, self._spliced
        (low, high), (first, last) = edit.deleted, edit.inserted
        if first < last and first <= change.start and change.alt_end <= last:
            return ""
        touched = [spliced.exons[exon] for exon in spliced.touched(change.start, change.end)]
        if all(max(start, change.start) >= low and min(end, change.end) <= high for start, end in touched):
            return ""  # of its bases, exons had none but those that are missing
        (start, end), *more = touched
        if more or change.start < start or change.end > end or (change.start < high and change.end > low):
            return None
        name = transcript_name(self._allele, spliced.transcript, spliced.fetch)
        return None if name is None else name.partition(":")[2][2:].translate(_RNA)

    def _bases_of(self, start: int, end: int) -> Iterator[str]:
        """Yield the parts of a stretch of ALT: positions of REF's bases, and new bases."""
        change = self._change
        if start < change.start:
            yield self._range(start, min(end, change.start))
        if new := change.alt[max(0, start - change.start) : max(0, end - change.start)]:
            yield new.decode("ascii").translate(_RNA)
        if end > change.alt_end:
            yield self._range(max(start, change.alt_end) + change.shift, end + change.shift)

    def _range(self, start: int, end: int) -> str:
        """Return the positions of a turned stretch of REF as a name has them."""
        first = self._label(start)
        return first if end - start == 1 else f"{first}_{self._label(end - 1)}"

    def _label(self, base: int) -> str:
        found = self._spliced.coordinates.label(self._spliced.turned(base, base + 1)[0])
        assert found is not None  # every outcome lies within the transcript
        return found


_RNA = str.maketrans("ACGT", "acgu")


# ---- the protein -----------------------------------------------------------------------------------------------------

_BASES = "TCAG"
_AMINO_ACIDS = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"  # NCBI's genetic code 1
_CODONS = {
    (a + b + c).encode(): _AMINO_ACIDS[16 * i + 4 * j + k]
    for i, a in enumerate(_BASES)
    for j, b in enumerate(_BASES)
    for k, c in enumerate(_BASES)
}
_THREE = {
    "A": "Ala", "C": "Cys", "D": "Asp", "E": "Glu", "F": "Phe", "G": "Gly", "H": "His", "I": "Ile", "K": "Lys",
    "L": "Leu", "M": "Met", "N": "Asn", "P": "Pro", "Q": "Gln", "R": "Arg", "S": "Ser", "T": "Thr", "V": "Val",
    "W": "Trp", "X": "Xaa", "Y": "Tyr", "*": "*",
}  # fmt: skip
#: Inserted amino acids are counted in a name where there are more.
_SPELLED = 20


def translate(bases: bytes) -> str:
    """Return amino acids up to the first stop, that one as ``*``; X is a codon with an unknown base."""
    found = []
    for at in range(0, len(bases) - 2, 3):
        found.append(_CODONS.get(bases[at : at + 3], "X"))
        if found[-1] == "*":
            break
    return "".join(found)


def _whole_protein(coding: bytes) -> str:
    """Return the amino acids of a CDS from ATG to its only stop; empty for any other."""
    found = translate(coding)
    whole = coding[:3] == b"ATG" and found[-1:] == "*" and 3 * len(found) == len(coding)
    return found[:-1] if whole else ""


def _product(
    spliced: SplicedTranscript, mrna: bytes, start: int | None, stop: int | None, junction: int
) -> Protein | None:
    """Return what an mRNA codes for; None where that is not known, because the annotated CDS is no whole one.

    Args:
        start: where in the mRNA the start codon is; None where it is not there whole.
        stop: where the stop codon of the CDS is; None likewise.
        junction: where the last junction of two exons is.
    """
    assert spliced.coding is not None
    whole = spliced.mrna[slice(*spliced.coding)]
    ref = spliced.protein
    if start is not None and stop is not None and mrna[start : stop + 3] == whole:
        return Protein(Frame.NON_CODING, "p.(=)", len(ref)) if ref else Protein(Frame.NON_CODING)
    if not ref:
        if start is None or stop is None:
            return None
        return Protein(Frame.FRAMESHIFT if (stop - start - len(whole)) % 3 else Frame.IN_FRAME)
    if start is None or mrna[start : start + 3] != b"ATG":
        return Protein(Frame.START_LOST, "p.(Met1?)")
    if stop is None or _CODONS.get(mrna[stop : stop + 3]) != "*":
        stop = None
    alt = _translated(mrna, start, stop, whole, ref)
    ended = alt[-1:] == "*"
    if stop is None:
        frame = Frame.STOP_LOST
    elif (stop - start) % 3:
        frame = Frame.FRAMESHIFT
    else:
        frame = Frame.IN_FRAME if start + 3 * (len(alt) - 1) == stop else Frame.STOP_GAINED
    name, first = _protein_name(ref + "*", alt, frame)
    length = len(alt) - ended
    if frame not in (Frame.FRAMESHIFT, Frame.STOP_GAINED):
        return Protein(frame, name, length if ended else None, decays=False if frame is Frame.IN_FRAME else None)
    if not ended:
        return Protein(frame, name)
    decays = junction - (start + 3 * len(alt)) > NMD_DISTANCE
    return Protein(frame, name, length, len(alt), length - first, decays)


def _translated(mrna: bytes, start: int, stop: int | None, whole: bytes, ref: str) -> str:
    """Return ``translate(mrna[start:])``; what equals REF's CDS at its ends is not translated again."""
    same = _shared(mrna[start : start + len(whole)], whole) // 3
    begin = start + 3 * same
    if stop is None or (stop - start) % 3:
        return ref[:same] + translate(mrna[begin:])
    tail = min(_shared(mrna[begin : stop + 3][::-1], whole[::-1]) // 3, len(ref) + 1)
    middle = translate(mrna[begin : stop + 3 - 3 * tail])
    return ref[:same] + (middle if middle[-1:] == "*" else middle + (ref + "*")[len(ref) + 1 - tail :])


def _shared(one: bytes, other: bytes) -> int:
    """Return how many of their first bases two sequences share."""
    size = min(len(one), len(other))
    differ = np.frombuffer(one, np.uint8, size) != np.frombuffer(other, np.uint8, size)
    first = int(differ.argmax()) if size else 0
    return first if size and differ[first] else size


def _protein_name(ref: str, alt: str, frame: Frame) -> tuple[str, int]:
    """Return the p. name of a change, and the index of the first amino acid that differs; both end with ``*``."""
    first = _shared(ref.encode("ascii"), alt.encode("ascii"))
    if first == len(alt):
        return "p.(=)" if len(alt) == len(ref) else "p.?", first

    def at(index: int) -> str:
        return f"{_THREE[ref[index]]}{index + 1}"

    def spelled(added: str) -> str:
        return "".join(map(_THREE.__getitem__, added)) if len(added) <= _SPELLED else f"({len(added)})"

    if frame is Frame.STOP_LOST:
        if first < len(ref) - 1:
            return "p.?", first
        extended = str(len(alt) - len(ref)) if alt[-1:] == "*" else "?"
        return f"p.(*{len(ref)}{_THREE[alt[first]]}ext*{extended})", first
    if first < len(alt) and alt[first] == "*":
        return f"p.({at(first)}*)", first
    if frame is Frame.FRAMESHIFT:
        new = str(len(alt) - first) if alt[-1:] == "*" else "?"
        return f"p.({at(first)}{_THREE[alt[first]]}fs*{new})", first
    if frame is Frame.STOP_GAINED:
        return f"p.({at(first)}delins{spelled(alt[first:])})", first
    same = _shared(ref[first:][::-1].encode("ascii"), alt[first:][::-1].encode("ascii"))
    old, new = ref[first : len(ref) - same], alt[first : len(alt) - same]
    span = at(first) if len(old) == 1 else f"{at(first)}_{at(first + len(old) - 1)}"
    if not old:
        if alt[first - len(new) : first] == new:
            copied = at(first - 1) if len(new) == 1 else f"{at(first - len(new))}_{at(first - 1)}"
            return f"p.({copied}dup)", first
        return f"p.({at(first - 1)}_{at(first)}ins{spelled(new)})", first
    if not new:
        return f"p.({span}del)", first
    if len(old) == len(new) == 1:
        return f"p.({at(first)}{_THREE[new]})", first
    return f"p.({span}delins{spelled(new)})", first


# ---- the sentence ----------------------------------------------------------------------------------------------------


_SAID = 3  # outcomes beside the first


def sentence(found: Consequence) -> str:
    """Return a consequence in words: the sites that change, what comes of it, and other well supported outcomes."""
    if found.effect is Effect.NOT_JUDGEABLE:
        seen = ", ".join(f"{site.kind} of exon {site.exon} (p {_number(site.before)})" for site in found.unseen)
        return f"Not judgeable: the model hardly sees the {seen}, so that its loss cannot be told"
    if found.effect is Effect.NO_EFFECT:
        elsewhere = "; ".join(f"{site.kind} of another transcript {_changes(site)}" for site in found.changed)
        return f"No splice site of the transcript is lost or gained{elsewhere and '; ' + elsewhere}"
    first, *more = found.outcomes
    sites = "; ".join(_site_in_words(site, first) for site in first.sites)
    likely = [one for one in more if one.support >= THRESHOLD]
    others = "".join(f"; or {_in_words(one)}" for one in likely[:_SAID])
    others += f"; or {len(likely) - _SAID} more outcomes" if len(likely) > _SAID else ""
    text = f"{sites}: {_in_words(first)}{others}"
    return text[0].upper() + text[1:]


def _number(p: float) -> str:
    return f"{p:.2f}".removeprefix("0")


def _changes(site: Site) -> str:
    """Return ``lost (.98 to .01)``."""
    change = site.after - site.before
    word = "gained " if change >= THRESHOLD else "lost " if change <= -THRESHOLD else ""
    return f"{word}({_number(site.before)} to {_number(site.after)})"


def _site_in_words(site: Site, outcome: Outcome) -> str:
    if site.known == "reported":
        return f"{site.kind} of exon {site.exon} {_changes(site)}"
    word = "known alternative" if site.known == "other" else "cryptic"
    if outcome.kind not in (Effect.EXON_EXTENSION, Effect.EXON_TRUNCATION):
        return f"{word} {site.kind} {_changes(site)}"
    downstream = (outcome.size > 0) == (site.kind == DONOR)
    where = f"{abs(outcome.size)} nt {'downstream' if downstream else 'upstream'}"
    return f"{word} {site.kind} {where} {_changes(site)}"


def _in_words(outcome: Outcome) -> str:
    first, last = outcome.exons
    size = abs(outcome.size)
    exons = f"exon {first}" if first == last else f"exons {first} to {last}"
    what = {
        Effect.EXON_SKIPPING: f"{exons} skipped ({size} nt)",
        Effect.EXON_EXTENSION: f"exon {first} longer by {size} nt",
        Effect.EXON_TRUNCATION: f"exon {first} shorter by {size} nt",
        Effect.PSEUDOEXON: f"new exon of {size} nt in intron {first}",
        Effect.INTRON_RETENTION: f"intron {first} retained ({size} nt)",
        Effect.SITE_LOSS: "the model shows nothing in its place",
        Effect.SITE_GAIN: "the model shows no exon that uses it",
    }[outcome.kind]
    return ", ".join([what, *_frame_in_words(outcome.protein)])


def _frame_in_words(protein: Protein | None) -> Iterator[str]:
    if protein is None:
        return
    yield {
        Frame.IN_FRAME: "in frame",
        Frame.FRAMESHIFT: "frameshift",
        Frame.STOP_GAINED: "in frame",
        Frame.STOP_LOST: "stop codon lost",
        Frame.START_LOST: "start codon lost",
        Frame.NON_CODING: "no coding base changes",
    }[protein.frame]
    if protein.new is not None:
        codons = "1 codon" if protein.new == 1 else f"{protein.new} codons"
        yield f"stop after {codons}" if protein.new else "stop at once"
    if protein.decays:
        yield "decay of the mRNA is expected"
