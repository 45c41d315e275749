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
from collections.abc import Iterable
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


class GeneIndex:
    """Look up gene contexts by span; fast along a sorted file, bounded in memory. Not safe to share between threads.

    Args:
        table: the genes.
    """

    def __init__(self, table: GeneTable) -> None:
        self.table = table
        self._names = ContigNames(table.contigs)
        self._lengths = ContigNames(table.contig_lengths)
        bounds = np.searchsorted(table.gene_contig, np.arange(len(table.contigs) + 1)).tolist()
        self._contigs = {
            name: _Genes(first, table.gene_start[first:last].tolist(), table.gene_end[first:last].tolist())
            for name, first, last in zip(table.contigs, bounds, bounds[1:], strict=False)
        }
        self._gene = lru_cache(maxsize=_GENES_KEPT)(self._read_gene)
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

    def site_bases(self, gene_id: str, contig: str, start: int, end: int) -> dict[str, frozenset[int]]:
        """Return where the splice sites of a gene's transcripts are, as 0-based positions of exonic bases.

        ``acceptor`` holds the first base of every exon with an acceptor, ``donor`` the last of every one with a donor.
        Arguments as for ``contexts``.
        """
        sites = [
            site
            for gene in self._touched(contig, start, end)
            if gene.gene_id == gene_id
            for site in gene.splice_sites()
        ]
        return {
            kind: frozenset(
                # the exon lies on the left of a donor on +, and of an acceptor on -
                site.interval.start - 1 if (kind == "donor") == (site.strand == "+") else site.interval.end
                for site in sites
                if site.kind == kind
            )
            for kind in ("acceptor", "donor")
        }

    def _touched(self, contig: str, start: int, end: int) -> list[_Gene]:
        name = self._names.find(contig)
        return [self._gene(row) for row in self._contigs[name].rows(start, end)] if name is not None else []

    def _find_contexts(self, contig: str, start: int, end: int) -> tuple[GeneContext, ...]:
        genes = self._touched(contig, start, end)
        if len(genes) > 1:
            genes.sort(key=lambda gene: (gene.gene_id, gene.start))
        return tuple(gene.context(start, end) for gene in genes)

    def _read_gene(self, row: int) -> _Gene:
        return _Gene(self.table, row)


class _Genes:
    """Genes of one contig, sorted by start; ``first`` is the table row of the first."""

    def __init__(self, first: int, starts: list[int], ends: list[int]) -> None:
        self._first, self._starts, self._ends = first, starts, ends
        self._reach = list(accumulate(ends, max))  # largest end so far: where looking back may stop

    def rows(self, start: int, end: int) -> list[int]:
        low, high = bisect_right(self._reach, start), bisect_left(self._starts, end)
        return [self._first + row for row in range(low, high) if self._ends[row] > start]


class _Exon(NamedTuple):
    """One distinct exon; ``left`` and ``right`` say whether that genomic edge is a splice site."""

    start: int
    end: int
    reported: bool
    left: bool
    right: bool
    donor: Interval | None
    acceptor: Interval | None


class _Gene:
    """One gene, laid out for questions about spans that touch it."""

    def __init__(self, table: GeneTable, row: int) -> None:
        self.gene_id = table.gene_ids[row]
        self.start = int(table.gene_start[row])
        self._symbol, self._biotype = table.symbols[row], table.biotypes[row]
        self._transcript, self._choice = table.transcript_ids[row], CHOICES[int(table.choice[row])]
        self._plus = bool(table.gene_strand[row] > 0)
        self._cds_start, self._cds_end = int(table.cds_start[row]), int(table.cds_end[row])

        rows = slice(int(table.exon_offsets[row]), int(table.exon_offsets[row + 1]))
        columns = (table.exon_start[rows].tolist(), table.exon_end[rows].tolist(), table.exon_flags[rows].tolist())
        self.exons = [_exon(start, end, flags, self._plus) for start, end, flags in zip(*columns, strict=True)]
        self._by_end = sorted(self.exons, key=lambda exon: exon.end)
        self._starts, self._ends = columns[0], sorted(columns[1])
        self._reach = list(accumulate(columns[1], max))
        self._exonic = _Merged(self.exons)
        self._own = [exon for exon in self.exons if exon.reported]  # of one transcript: disjoint, sorted
        self._own_starts, self._own_ends = [exon.start for exon in self._own], [exon.end for exon in self._own]
        self._reported = _Merged(self._own)
        self._donors = sorted({exon.donor.start for exon in self.exons if exon.donor})
        self._acceptors = sorted({exon.acceptor.start for exon in self.exons if exon.acceptor})
        self._edges = sorted(
            {exon.start for exon in self.exons if exon.left} | {exon.end for exon in self.exons if exon.right}
        )

    def context(self, start: int, end: int) -> GeneContext:
        exonic = self._exonic.touches(start, end)
        exon = self._reported_exon(start, end) or self._exon_by_site(start, end)
        if exon is None:
            exon = self._exon_at(start, end) if exonic else self._exon_beside(start, end)
        return GeneContext(
            self.gene_id,
            self._symbol,
            self._transcript,
            self._choice,
            self._biotype,
            "+" if self._plus else "-",
            self._region(start, end) if exon.start < end and exon.end > start else "intron",
            self._site_offset(exon, start, end),
            self._site_hit(start, end),
            exon.donor,
            exon.acceptor,
            exonic or self._near_edge(start, end),
        )

    def splice_sites(self) -> Iterable[SpliceSite]:
        strand = "+" if self._plus else "-"
        for kind, starts in (("donor", self._donors), ("acceptor", self._acceptors)):
            for start in starts:
                yield SpliceSite(kind, strand, Interval(start, start + _SITE))

    def _reported_exon(self, start: int, end: int) -> _Exon | None:
        """Return the reported transcript's exon that the span is in or near: rule 1."""
        low = max(0, bisect_right(self._own_ends, start - NEAR_SITE))
        high = bisect_left(self._own_starts, end + NEAR_SITE)
        close = [
            exon
            for exon in self._own[low:high]
            if (exon.start < end and exon.end > start)
            or (exon.left and end <= exon.start)
            or (exon.right and start >= exon.end)
        ]
        return min(close, key=lambda exon: (_between(exon, start, end), exon.start), default=None)

    def _exon_by_site(self, start: int, end: int) -> _Exon | None:
        """Return the exon whose dinucleotide the span touches: rule 2."""
        if self._site_hit(start, end) is None:
            return None
        hit = [
            exon
            for exon in self.exons
            for site in (exon.donor, exon.acceptor)
            if site and site.start < end and site.end > start
        ]
        return min(hit, key=lambda exon: (_between(exon, start, end), exon.start, exon.end))

    def _exon_at(self, start: int, end: int) -> _Exon:
        """Return the nearest exon of a span that touches one, none of the reported transcript's: rule 3."""
        low, high = bisect_right(self._reach, start), bisect_left(self._starts, end)
        touched = [exon for exon in self.exons[low:high] if exon.end > start]
        around = [exon for exon in touched if exon.start <= start and end <= exon.end]
        if not around:
            return min(touched, key=lambda exon: (exon.start, exon.end))
        return min(around, key=lambda exon: (min(start - exon.start, exon.end - end), exon.start, exon.end))

    def _exon_beside(self, start: int, end: int) -> _Exon:
        """Return the nearest exon of a span that touches none: rule 4."""
        before, after = bisect_right(self._ends, start), bisect_left(self._starts, end)
        left = start - self._ends[before - 1] if before else None
        right = self._starts[after] - end if after < len(self._starts) else None
        nearest: list[_Exon] = []
        if left is not None and (right is None or left <= right):
            nearest += self._by_end[bisect_left(self._ends, self._ends[before - 1]) : before]
        if right is not None and (left is None or right <= left):
            nearest += self.exons[after : bisect_right(self._starts, self._starts[after])]
        if len(nearest) == 1:
            return nearest[0]
        return min(nearest, key=lambda exon: (not exon.reported, exon.start, exon.end))

    def _region(self, start: int, end: int) -> str:
        if self._cds_start < 0 or not self._reported.touches(start, end):
            return "exon"
        if self._cds_start < end and self._cds_end > start:
            return "CDS"
        return "5_prime_UTR" if (end <= self._cds_start) == self._plus else "3_prime_UTR"

    def _site_offset(self, exon: _Exon, start: int, end: int) -> str | None:
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

    def _site_hit(self, start: int, end: int) -> str | None:
        donor, acceptor = _touches_site(self._donors, start, end), _touches_site(self._acceptors, start, end)
        if donor:
            return "both" if acceptor else "donor"
        return "acceptor" if acceptor else None

    def _near_edge(self, start: int, end: int) -> bool:
        at = bisect_left(self._edges, end + NEAR_SITE)
        return at > 0 and self._edges[at - 1] + NEAR_SITE > start


class _Merged:
    """The union of exons (sorted by start) as disjoint intervals; exons that only abut stay apart, for insertions."""

    def __init__(self, exons: Iterable[_Exon]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for exon in exons:
            if self._ends and exon.start < self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], exon.end)
            else:
                self._starts.append(exon.start)
                self._ends.append(exon.end)

    def touches(self, start: int, end: int) -> bool:
        at = bisect_left(self._starts, end)
        return at > 0 and self._ends[at - 1] > start


def _exon(start: int, end: int, flags: int, plus: bool) -> _Exon:
    acceptor, donor = bool(flags & HAS_ACCEPTOR), bool(flags & HAS_DONOR)
    left, right = (acceptor, donor) if plus else (donor, acceptor)
    before = Interval(start - _SITE, start) if left else None
    after = Interval(end, end + _SITE) if right else None
    return _Exon(
        start=start,
        end=end,
        reported=bool(flags & REPORTED),
        left=left,
        right=right,
        donor=after if plus else before,
        acceptor=before if plus else after,
    )


def _between(exon: _Exon, start: int, end: int) -> int:
    """Count the bases between a span and an exon; 0 when they touch."""
    return max(0, start - exon.end, exon.start - end)


def _touches_site(starts: list[int], start: int, end: int) -> bool:
    at = bisect_left(starts, end)
    return at > 0 and starts[at - 1] + _SITE > start
