"""Answer which genes a span lies in, and where in each of them: region, nearest exon, splice sites.

A span is 0-based half-open on the forward strand. An insertion is the empty span ``start == end == p`` between the
bases p - 1 and p; it is inside an interval only when both of them are, so for every span alike
``a < end and b > start`` tells whether it touches [a, b).

The nearest exon, among the distinct exons of all transcripts of the gene; ties go to the smallest start and end:

1. an exon of the reported transcript that the span touches, or that has a splice site within 50 nt of it: the one with
   the fewest bases between;
2. else one whose donor or acceptor dinucleotide the span touches: the one with the fewest bases between;
3. else one that contains the span, the one with the nearest edge on either side; else one that it touches;
4. else the one with the fewest bases between span and edge: the reported transcript's first.

Rules 1 and 2 come first because retained introns and extended exons of other transcripts contain a quarter of the
positions next to the reported transcript's own exons: by containment alone a variant at +1 would be measured against a
splice site far away. Region and site offset speak of that same exon.

The site offset is counted from the base of the span that is closest to the edge; an insertion has two neighbours,
and the one closer to the edge counts. So an insertion right at an exon's 3' end is +1, as is a substitution of the
first intronic base; one between the intronic bases 4 and 5 is +4; one between the last two exonic bases is 1.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Set
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from splicebert_vep_spec import GeneContext, Interval

from .contigs import ContigNames
from .gene_table import CHOICES, HAS_ACCEPTOR, HAS_DONOR, REPORTED, GeneTable

NEAR_SITE = 50  # nt
_SITE = 2  # nt: the intronic dinucleotide beside an exon
_GENES_KEPT = 256
_SPANS_KEPT = 4096


class SpliceSite(NamedTuple):
    """A donor or acceptor dinucleotide, by ``kind`` and the gene's ``strand`` (+ or -)."""

    kind: str
    strand: str
    interval: Interval


class Exon(NamedTuple):
    """A distinct exon of a gene; ``reported`` says that it is one of the reported transcript."""

    interval: Interval
    reported: bool


SiteBases = Mapping[str, Set[int]]
"""0-based positions of the exonic bases beside splice sites, by ``acceptor`` (an exon's first) and ``donor`` (last)."""


class Transcript(NamedTuple):
    """A gene's reported transcript; coordinates are 0-based half-open on the forward strand.

    Args:
        contig: the annotation's name.
        strand: + or -.
        exons: in transcript order, so that the first has the transcript's 5' end.
        cds: from the first to the last coding base, stop codon included; None where it is not coding.
    """

    gene_id: str
    symbol: str | None
    transcript_id: str
    contig: str
    strand: str
    exons: tuple[Interval, ...]
    cds: Interval | None

    def site_bases(self) -> SiteBases:
        """Return where its splice sites are."""
        first, last = (lambda exon: exon.start), (lambda exon: exon.end - 1)
        if self.strand == "-":
            first, last = last, first
        return {
            "acceptor": frozenset(map(first, self.exons[1:])),
            "donor": frozenset(map(last, self.exons[:-1])),
        }  # fmt: skip


class GeneIndex:
    """Look up gene contexts by span; fast along a sorted file, bounded in memory. Not safe to share between threads.

    Args:
        table: the genes.
    """

    def __init__(self, table: GeneTable) -> None:
        self.table = table
        self._lengths = ContigNames(table.contig_lengths, assembly=table.assembly, where=table.name)
        self._names = ContigNames(table.contigs, assembly=self._lengths.assembly, where=table.name)
        bounds = np.searchsorted(table.gene_contig, np.arange(len(table.contigs) + 1)).tolist()
        self._contigs = {
            name: _ContigGenes(first, table.gene_start[first:last].tolist(), table.gene_end[first:last].tolist())
            for name, first, last in zip(table.contigs, bounds, bounds[1:], strict=False)
        }
        self._gene = lru_cache(maxsize=_GENES_KEPT)(lambda row: _Gene(table, row))
        self._remembered = lru_cache(maxsize=_SPANS_KEPT)(self._find_contexts)

    def has_contig(self, name: str) -> bool:
        """Tell whether there are genes on a contig, under any naming."""
        return self._names.find(name) is not None

    def contig_length(self, name: str) -> int | None:
        """Return the length of a contig in nt, where the annotation tells it; any naming."""
        found = self._lengths.find(name)
        return None if found is None else self.table.contig_lengths[found]

    def contexts(self, contig: str, start: int, end: int) -> list[GeneContext]:
        """Return the context of a span in each gene that it touches, ordered by gene id.

        Args:
            contig: under any naming.
            start, end: 0-based half-open; equal for an insertion, which is outside a gene or exon at whose very
                boundary it lies.
        """
        return list(self._remembered(contig, start, end))

    def touches(self, contig: str, start: int, end: int) -> bool:
        """Tell whether a span touches a gene; arguments as for ``contexts``."""
        name = self._names.find(contig)
        return name is not None and bool(self._contigs[name].rows(start, end))

    def site_intervals(self, contig: str, start: int, end: int) -> list[SpliceSite]:
        """Return every distinct annotated splice site of the genes that a span touches, ordered by position.

        All sites of these genes are returned, near the span or not. Arguments as for ``contexts``.
        """
        sites = {site for gene in self._touched(contig, start, end) for site in gene.splice_sites()}
        return sorted(sites, key=lambda site: (site.interval.start, site.kind, site.strand))

    def exons(self, gene_id: str, contig: str, start: int, end: int) -> list[Exon]:
        """Return the distinct exons of a gene that touch a stretch, by position; arguments as for ``contexts``."""
        return [
            Exon(Interval(exon.start, exon.end), exon.reported)
            for gene in self._touched(contig, start, end)
            if gene.gene_id == gene_id
            for exon in gene.exons
            if exon.start < end and exon.end > start
        ]

    def transcripts(self, contig: str, start: int, end: int) -> list[Transcript]:
        """Return the reported transcript of each gene that a span touches, by gene id; see ``contexts``."""
        genes = sorted(self._touched(contig, start, end), key=lambda gene: (gene.gene_id, gene.start))
        return [gene.transcript() for gene in genes]

    def transcript(self, row: int) -> Transcript:
        """Return the reported transcript of the gene in a row of the table."""
        return self._gene(row).transcript()

    def extent(self, context: GeneContext, contig: str, start: int, end: int) -> tuple[int, int]:
        """Return start and end of a gene that a span touches, 0-based half-open.

        Args:
            context: one of ``contexts(contig, start, end)``.
            contig, start, end: of the span; see ``contexts``.
        """
        gene = self._gene_of(context, contig, start, end)
        return gene.start, gene.end

    def site_bases(self, context: GeneContext, contig: str, start: int, end: int) -> SiteBases:
        """Return where the splice sites of a gene's transcripts are, as 0-based positions of exonic bases.

        ``acceptor`` holds the first base of every exon with an acceptor, ``donor`` the last of every one with a donor.
        Arguments as for ``extent``.
        """
        bases: dict[str, set[int]] = {"acceptor": set(), "donor": set()}
        for kind, strand, site in self._gene_of(context, contig, start, end).splice_sites():
            # The exon lies on the left of a donor on +, and of an acceptor on -.
            bases[kind].add(site.start - 1 if (kind == "donor") == (strand == "+") else site.end)
        return {kind: frozenset(found) for kind, found in bases.items()}

    def reported_transcript(self, context: GeneContext, contig: str, start: int, end: int) -> Transcript:
        """Return a gene's reported transcript; arguments as for ``extent``."""
        return self._gene_of(context, contig, start, end).transcript()

    def _gene_of(self, context: GeneContext, contig: str, start: int, end: int) -> _Gene:
        """Return the gene that gave a context; a long span can touch two genes of one id."""
        same = [gene for gene in self._touched(contig, start, end) if gene.gene_id == context.gene_id]
        return same[0] if len(same) == 1 else next(gene for gene in same if gene.context(start, end) == context)

    def _touched(self, contig: str, start: int, end: int) -> list[_Gene]:
        name = self._names.find(contig)
        return [self._gene(row) for row in self._contigs[name].rows(start, end)] if name is not None else []

    def _find_contexts(self, contig: str, start: int, end: int) -> tuple[GeneContext, ...]:
        genes = sorted(self._touched(contig, start, end), key=lambda gene: (gene.gene_id, gene.start))
        return tuple(gene.context(start, end) for gene in genes)


class _ContigGenes:
    """Genes of one contig, sorted by start; ``first`` is the table row of the first."""

    def __init__(self, first: int, starts: list[int], ends: list[int]) -> None:
        self._first, self._starts, self._ends = first, starts, ends
        self._reach = list(accumulate(ends, max))  # largest end so far: no gene before reaches further

    def rows(self, start: int, end: int) -> list[int]:
        low, high = bisect_right(self._reach, start), bisect_left(self._starts, end)
        return [self._first + row for row in range(low, high) if self._ends[row] > start]


class _DistinctExon(NamedTuple):
    """One distinct exon; ``left`` and ``right`` say whether that genomic edge is a splice site."""

    start: int
    end: int
    reported: bool
    left: bool
    right: bool
    donor: Interval | None
    acceptor: Interval | None

    def touches(self, start: int, end: int) -> bool:
        return self.start < end and self.end > start

    def between(self, start: int, end: int) -> int:
        """Count the bases between a span and the exon; 0 when they touch."""
        return max(0, start - self.end, self.start - end)


class _Gene:
    """One gene, laid out for questions about spans that touch it."""

    def __init__(self, table: GeneTable, row: int) -> None:
        self.gene_id = table.gene_ids[row]
        self._contig = table.contigs[table.gene_contig[row]]
        self.start, self.end = int(table.gene_start[row]), int(table.gene_end[row])
        self._symbol, self._biotype = table.symbols[row], table.biotypes[row]
        self._transcript, self._choice = table.transcript_ids[row], CHOICES[int(table.choice[row])]
        self._plus = bool(table.gene_strand[row] > 0)
        self._cds_start, self._cds_end = int(table.cds_start[row]), int(table.cds_end[row])

        rows = slice(int(table.exon_offsets[row]), int(table.exon_offsets[row + 1]))
        starts, ends = table.exon_start[rows].tolist(), table.exon_end[rows].tolist()
        flags = table.exon_flags[rows].tolist()
        self.exons = [_exon(*columns, plus=self._plus) for columns in zip(starts, ends, flags, strict=True)]
        self._by_end = sorted(self.exons, key=lambda exon: exon.end)
        self._starts, self._ends = starts, sorted(ends)
        self._reach = list(accumulate(ends, max))

    def context(self, start: int, end: int) -> GeneContext:
        low, high = bisect_right(self._reach, start - NEAR_SITE), bisect_left(self._starts, end + NEAR_SITE)
        near = [exon for exon in self.exons[low:high] if exon.end > start - NEAR_SITE]
        touched = [exon for exon in near if exon.touches(start, end)]
        at_donor = [exon for exon in near if _touches(exon.donor, start, end)]
        at_acceptor = [exon for exon in near if _touches(exon.acceptor, start, end)]
        exon = self._nearest(near, [*at_donor, *at_acceptor], touched, start, end)
        return GeneContext(
            self.gene_id,
            self._symbol,
            self._transcript,
            self._choice,
            self._biotype,
            "+" if self._plus else "-",
            self._region(any(one.reported for one in touched), start, end) if exon.touches(start, end) else "intron",
            self._site_offset(exon, start, end),
            ("both" if at_acceptor else "donor") if at_donor else "acceptor" if at_acceptor else None,
            exon.donor,
            exon.acceptor,
            bool(touched) or any(_has_edge_near(one, start, end) for one in near),
        )

    def transcript(self) -> Transcript:
        exons = [Interval(exon.start, exon.end) for exon in self.exons if exon.reported]
        return Transcript(
            self.gene_id,
            self._symbol,
            self._transcript,
            self._contig,
            "+" if self._plus else "-",
            tuple(exons if self._plus else exons[::-1]),
            Interval(self._cds_start, self._cds_end) if self._cds_start >= 0 else None,
        )

    def splice_sites(self) -> Iterable[SpliceSite]:
        strand = "+" if self._plus else "-"
        for exon in self.exons:
            for kind, site in (("donor", exon.donor), ("acceptor", exon.acceptor)):
                if site:
                    yield SpliceSite(kind, strand, site)

    def _nearest(
        self,
        near: list[_DistinctExon],
        by_site: list[_DistinctExon],
        touched: list[_DistinctExon],
        start: int,
        end: int,
    ) -> _DistinctExon:
        """Return the nearest exon by the rules of the module.

        Args:
            near: exons within 50 nt of the span.
            by_site: those of them whose dinucleotide it touches.
            touched: those of them that it touches itself.
        """
        own = [
            exon
            for exon in near
            if exon.reported
            and (exon.touches(start, end) or (exon.left and end <= exon.start) or (exon.right and start >= exon.end))
        ]
        if found := own or by_site:  # rules 1 and 2
            return min(found, key=lambda exon: (exon.between(start, end), exon.start, exon.end))
        around = [exon for exon in touched if exon.start <= start and end <= exon.end]
        if around:
            return min(around, key=lambda exon: (min(start - exon.start, exon.end - end), exon.start, exon.end))
        return touched[0] if touched else self._exon_beside(start, end)  # they are sorted by start and end

    def _exon_beside(self, start: int, end: int) -> _DistinctExon:
        """Return the nearest exon of a span that touches none: rule 4."""
        before, after = bisect_right(self._ends, start), bisect_left(self._starts, end)
        left = start - self._ends[before - 1] if before else None
        right = self._starts[after] - end if after < len(self._starts) else None
        nearest: list[_DistinctExon] = []
        if left is not None and (right is None or left <= right):
            nearest += self._by_end[bisect_left(self._ends, self._ends[before - 1]) : before]
        if right is not None and (left is None or right <= left):
            nearest += self.exons[after : bisect_right(self._starts, self._starts[after])]
        return min(nearest, key=lambda exon: (not exon.reported, exon.start, exon.end))

    def _region(self, in_reported: bool, start: int, end: int) -> str:
        if self._cds_start < 0 or not in_reported:
            return "exon"
        if self._cds_start < end and self._cds_end > start:
            return "CDS"
        return "5_prime_UTR" if (end <= self._cds_start) == self._plus else "3_prime_UTR"

    def _site_offset(self, exon: _DistinctExon, start: int, end: int) -> str | None:
        width = 1 if start < end else 0  # an insertion's closer neighbour is one base nearer than its farther one
        if start >= exon.end:
            return f"{'+' if self._plus else '-'}{max(1, start - exon.end + width)}" if exon.right else None
        if end <= exon.start:
            return f"{'-' if self._plus else '+'}{max(1, exon.start - end + width)}" if exon.left else None
        if exon.left and exon.right:
            return str(max(1, min(start - exon.start, exon.end - end) + width))
        if exon.left:
            return str(max(1, start - exon.start + width))
        return str(max(1, exon.end - end + width)) if exon.right else None


def _exon(start: int, end: int, flags: int, *, plus: bool) -> _DistinctExon:
    acceptor, donor = bool(flags & HAS_ACCEPTOR), bool(flags & HAS_DONOR)
    left, right = (acceptor, donor) if plus else (donor, acceptor)
    before = Interval(start - _SITE, start) if left else None
    after = Interval(end, end + _SITE) if right else None
    return _DistinctExon(
        start=start,
        end=end,
        reported=bool(flags & REPORTED),
        left=left,
        right=right,
        donor=after if plus else before,
        acceptor=before if plus else after,
    )


def _touches(site: Interval | None, start: int, end: int) -> bool:
    return site is not None and site.start < end and site.end > start


def _has_edge_near(exon: _DistinctExon, start: int, end: int) -> bool:
    """Tell whether a splice site of the exon lies within 50 nt of a span; an exon within 50 nt may have a far edge."""
    edges = ([exon.start] if exon.left else []) + ([exon.end] if exon.right else [])
    return any(edge < end + NEAR_SITE and edge > start - NEAR_SITE for edge in edges)
