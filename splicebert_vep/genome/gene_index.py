"""Answer which genes a span lies in, and where in each of them: region, exon, distance to splice sites.

A span is 0-based half-open on the forward strand. An insertion is the empty span ``start == end == p`` between the
bases p - 1 and p; it is inside an interval only when both of them are, so for every span alike
``a < end and b > start`` tells whether it touches [a, b).

The place is that in the reported transcript. Its nearest exon is the one that the span touches, of several the first of
the transcript; else the one with the fewest bases between, of two the first: HGVS counts the middle base of an intron
from the exon before it. A place in another transcript has fields of its own, and only where it says more: the span
touches an exon of another transcript and none of the reported one, or a splice site of another is nearer and at most
100 nt away; outside of the reported transcript at any distance.

An insertion or deletion in a repeat can stand at several places. It is put as far 3' in the gene's transcript as it
goes, as HGVS does, so that the same change of an RNA has one place on either strand. A splice site counts as hit when
it is at any of them.

Counts begin with 1 at the base beside an exon's edge, on either side, and are those of the base that is closest. An
insertion has two neighbours, and the one closer to the edge counts: one between the intronic bases 4 and 5 is +4, one
between the last two exonic bases is 1. Right at the edge it belongs to the base before it in the transcript, as HGVS
names a duplication: after an exon's last base it is exonic, before an exon's first base it is -1.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from splicebert_vep_spec import GeneContext, Interval

from .contigs import ContigNames
from .gene_table import CHOICES, HAS_ACCEPTOR, HAS_DONOR, REPORTED, SHORTEST_INTRON, GeneTable

NEAR_SITE = 50  # nt
OTHER_SITE = 100  # nt: a nearer splice site of another transcript is told to this distance
#: Regions of a span in the gene, but 5' or 3' of the whole reported transcript.
UPSTREAM, DOWNSTREAM = "upstream", "downstream"
_SITE = 2  # nt: the intronic dinucleotide beside an exon
_GENES_KEPT = 64
_SPANS_KEPT = 4096
_STRETCHES_KEPT = 16  # of which the files of a cohort ask again


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
        """Return where its splice sites are; exons that fewer than ``SHORTEST_INTRON`` bases part have none there."""
        bases: dict[str, set[int]] = {"acceptor": set(), "donor": set()}
        for before, after in pairwise(self.exons):
            if max(after.start - before.end, before.start - after.end) >= SHORTEST_INTRON:
                bases["donor"].add(before.end - 1 if self.strand == "+" else before.start)
                bases["acceptor"].add(after.start if self.strand == "+" else after.end - 1)
        return {kind: frozenset(found) for kind, found in bases.items()}

    def __hash__(self) -> int:
        return hash((self.transcript_id, self.contig, self.exons[0].start))  # of all exons it takes .2 ms


class AnnotatedGene(NamedTuple):
    """A gene; coordinates are 0-based half-open on the forward strand.

    Args:
        start, end: of all its transcripts.
        sites: those of all its transcripts.
        transcript: the reported one.
    """

    start: int
    end: int
    sites: SiteBases
    transcript: Transcript


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
        self._bounds = dict(zip(table.contigs, pairwise(bounds), strict=True))
        self._contigs: dict[str, _ContigGenes] = {}  # those asked for
        self._gene = lru_cache(maxsize=_GENES_KEPT)(self._make_gene)
        self._remembered = lru_cache(maxsize=_SPANS_KEPT)(self._find_contexts)
        self._rows = lru_cache(maxsize=_SPANS_KEPT)(self._find_rows)
        self._sites_of = lru_cache(maxsize=_STRETCHES_KEPT)(self._find_sites)

    def has_contig(self, name: str) -> bool:
        """Tell whether there are genes on a contig, under any naming."""
        return self._names.find(name) is not None

    def contig_length(self, name: str) -> int | None:
        """Return the length of a contig in nt, where the annotation tells it; any naming."""
        found = self._lengths.find(name)
        return None if found is None else self.table.contig_lengths[found]

    def contexts(self, contig: str, start: int, end: int, shift: int = 0) -> list[GeneContext]:
        """Return the context of a span in each gene that it touches, ordered by gene id.

        Args:
            contig: under any naming.
            start, end: 0-based half-open; equal for an insertion, which is outside a gene at whose very boundary it
                lies.
            shift: how far to the right the same insertion or deletion can stand; see ``sequence.alleles.placements``.
        """
        return list(self._remembered(contig, start, end, shift))

    def touches(self, contig: str, start: int, end: int) -> bool:
        """Tell whether a span touches a gene; arguments as for ``contexts``."""
        name = self._names.find(contig)
        return name is not None and bool(self._on(name).rows(start, end))

    def site_intervals(self, contig: str, start: int, end: int) -> list[SpliceSite]:
        """Return every distinct annotated splice site of the genes that a span touches, ordered by position.

        All sites of these genes are returned, near the span or not. Arguments as for ``contexts``.
        """
        return list(self._sites_of(self._rows(contig, start, end)))

    def exons(self, gene_id: str, contig: str, start: int, end: int) -> list[Exon]:
        """Return the distinct exons of a gene that touch a stretch, by position; arguments as for ``contexts``."""
        return [
            Exon(Interval(exon.start, exon.end), exon.reported)
            for gene in self._touched(contig, start, end)
            if gene.gene_id == gene_id
            for exon in gene.exons
            if exon.touches(start, end)
        ]

    def transcripts(self, contig: str, start: int, end: int) -> list[Transcript]:
        """Return the reported transcript of each gene that a span touches, by gene id; see ``contexts``."""
        return [gene.transcript for gene in self._touched(contig, start, end)]

    def transcript(self, row: int) -> Transcript:
        """Return the reported transcript of the gene in a row of the table."""
        return self._gene(row).transcript

    def gene(self, context: GeneContext, contig: str, start: int, end: int) -> AnnotatedGene:
        """Return the gene that gave a context; a long span can touch two genes of one id.

        Args:
            context: one of ``contexts(contig, start, end)``, at any of the places where an allele can stand.
            contig, start, end: of the span; see ``contexts``.
        """
        same = self._genes_named(context.gene_id, contig, start, end)
        touched = [gene for gene in same if gene.start < end and gene.end > start]
        if len(touched) < 2:
            return same[0].annotated
        place = replace(context, hgvsc=None, hgvsg=None)  # a result's context has names that an index knows nothing of
        return next((gene for gene in touched[1:] if gene.context(start, end, 0) == place), same[0]).annotated

    def _on(self, contig: str) -> _ContigGenes:
        """Return the genes of a contig of the table."""
        if contig not in self._contigs:
            first, last = self._bounds[contig]
            self._contigs[contig] = _ContigGenes(self.table.part(first, last), first)
        return self._contigs[contig]

    def _make_gene(self, row: int) -> _Gene:
        here = self._on(self.table.contigs[self.table.gene_contig[row]])
        return _Gene(here.table, row - here.first)

    def _touched(self, contig: str, start: int, end: int) -> list[_Gene]:
        """Return the genes that a span touches, by gene id."""
        return [self._gene(row) for row in self._rows(contig, start, end)]

    def _find_rows(self, contig: str, start: int, end: int) -> tuple[int, ...]:
        name = self._names.find(contig)
        if name is None:
            return ()
        here = self._on(name)
        rows = here.rows(start, end)  # by start, which the sort keeps for genes of one id
        return tuple(sorted(rows, key=lambda row: here.table.gene_ids[row - here.first]) if len(rows) > 1 else rows)

    def _genes_named(self, gene_id: str, contig: str, start: int, end: int) -> list[_Gene]:
        """Return the genes of an id on a contig, of which there may be several, the nearest to a span first."""
        name = self._names.find(contig)
        rows = [] if name is None else self._on(name).rows_by_id.get(gene_id, [])
        genes = [self._gene(row) for row in rows]
        if len(genes) > 1:
            genes.sort(key=lambda gene: max(0, start - gene.end, gene.start - end))
        return genes

    def _find_sites(self, rows: Sequence[int]) -> list[SpliceSite]:
        sites = {site for row in rows for site in self._gene(row).splice_sites()}
        return sorted(sites, key=lambda site: (site.interval.start, site.kind, site.strand))

    def _find_contexts(self, contig: str, start: int, end: int, shift: int) -> tuple[GeneContext, ...]:
        genes = self._touched(contig, start, end + shift)
        return tuple(found for gene in genes if (found := gene.context(start, end, shift)))


class _ContigGenes:
    """Genes of one contig, sorted by start; ``first`` is the row of the first in the table of all contigs."""

    def __init__(self, table: GeneTable, first: int) -> None:
        self.table, self.first = table, first
        self._starts, self._ends = table.gene_start.tolist(), table.gene_end.tolist()
        self._reach = list(accumulate(self._ends, max))  # largest end so far: no gene before reaches further

    @cached_property
    def rows_by_id(self) -> Mapping[str, list[int]]:
        """Rows of the table of all contigs by gene id."""
        rows: dict[str, list[int]] = {}
        for row, gene_id in enumerate(self.table.gene_ids, self.first):
            rows.setdefault(gene_id, []).append(row)
        return rows

    def rows(self, start: int, end: int) -> list[int]:
        """Return the rows of the genes that a span touches, in the table of all contigs."""
        low, high = bisect_right(self._reach, start), bisect_left(self._starts, end)
        return [self.first + row for row in range(low, high) if self._ends[row] > start]


class _DistinctExon(NamedTuple):
    """One distinct exon; ``left`` and ``right`` say whether that genomic edge is a splice site."""

    start: int
    end: int
    reported: bool
    left: bool
    right: bool

    def touches(self, start: int, end: int) -> bool:
        return self.start < end and self.end > start

    def edges(self) -> Iterator[_Edge]:
        """Yield the edges that are splice sites."""
        if self.left:
            yield _Edge(self.start, self.end)
        if self.right:
            yield _Edge(self.end, self.start)


class _Edge(NamedTuple):
    """A splice site by the edge of its exon: between the bases ``at - 1`` and ``at``; ``far`` is the exon's other."""

    at: int
    far: int

    @property
    def site(self) -> Interval:
        """The intronic dinucleotide."""
        return Interval(self.at - _SITE, self.at) if self.far > self.at else Interval(self.at, self.at + _SITE)

    def is_donor(self, *, plus: bool) -> bool:
        return (self.far < self.at) == plus

    def distance(self, start: int, end: int) -> int:
        """Count from the edge to a span: 1 for the base beside it, 0 for a span with bases on both sides."""
        if start < self.at < end:
            return 0
        width = 1 if start < end else 0  # an insertion's closer neighbour is one base nearer than its farther one
        return max(1, (self.at - end if end <= self.at else start - self.at) + width)


class _Sites:
    """Splice sites of a gene, for questions about spans; of exons that share an edge the longest one counts."""

    def __init__(self, edges: Iterable[_Edge], *, plus: bool) -> None:
        longest: dict[tuple[int, bool], _Edge] = {}
        for edge in edges:
            key = edge.at, edge.far > edge.at
            known = longest.get(key)
            if known is None or abs(edge.far - edge.at) > abs(known.far - known.at):
                longest[key] = edge
        self._plus, self._longest = plus, longest
        self.edges = sorted(longest.values())
        self.at = [edge.at for edge in self.edges]
        sites = sorted((at - _SITE if after else at, after != plus) for at, after in longest)  # and whether donors
        self._starts, self._donors = [start for start, _ in sites], [donor for _, donor in sites]

    def without(self, other: _Sites) -> _Sites:
        """Return the sites that another gene, or a transcript of this one, does not have."""
        return _Sites((edge for key, edge in self._longest.items() if key not in other._longest), plus=self._plus)

    def hit(self, start: int, end: int) -> str | None:
        """Return of which kind the dinucleotides are that a span touches: donor, acceptor, both or None."""
        touched = set(self._donors[bisect_right(self._starts, start - _SITE) : bisect_left(self._starts, end)])
        return None if not touched else "both" if len(touched) > 1 else "donor" if True in touched else "acceptor"

    def nearest(self, start: int, end: int) -> int | None:
        """Return the smallest count from an edge to a span, None where there are no sites."""
        first, last = bisect_right(self.at, start), bisect_left(self.at, end)
        if first < last:
            return 0
        width = 1 if start < end else 0  # as ``_Edge.distance`` counts
        left = max(1, start - self.at[first - 1] + width) if first else None
        right = max(1, self.at[last] - end + width) if last < len(self.at) else None
        return left if right is None else right if left is None else min(left, right)

    def nearer(self, start: int, end: int, than: int | None) -> _Edge | None:
        """Return the nearest edge with a smaller count that a span is beside: in its exon, or on its intron's side."""
        found: list[tuple[tuple[int, bool, int], _Edge]] = []
        nearest = self.nearest(start, end)
        if nearest is None or (than is not None and nearest >= than):
            return None
        first, last = bisect_right(self.at, start), bisect_left(self.at, end)
        for walk in (range(first - 1, -1, -1), range(first, last), range(max(first, last), len(self.edges))):
            for edge in map(self.edges.__getitem__, walk):
                count = edge.distance(start, end)
                if than is not None and count >= than:
                    break
                exonic = (edge.far > edge.at) == (end > edge.at)
                if not exonic or (min(edge) < end and max(edge) > start):
                    found.append(((count, not exonic, edge.at if self._plus else -edge.at), edge))
                    break
        return min(found)[1] if found else None


class _Gene:
    """One gene, laid out for questions about spans that touch it."""

    def __init__(self, table: GeneTable, row: int) -> None:
        self.gene_id = table.gene_ids[row]
        self._contig = table.contigs[table.gene_contig[row]]
        self.start, self.end = int(table.gene_start[row]), int(table.gene_end[row])
        self._symbol, self._biotype = table.symbols[row], table.biotypes[row]
        self._transcript, self._choice = table.transcript_ids[row], CHOICES[int(table.choice[row])]
        self._plus = plus = bool(table.gene_strand[row] > 0)
        self._cds_start, self._cds_end = int(table.cds_start[row]), int(table.cds_end[row])

        rows = slice(int(table.exon_offsets[row]), int(table.exon_offsets[row + 1]))
        starts, ends = table.exon_start[rows].tolist(), table.exon_end[rows].tolist()
        flags = table.exon_flags[rows].tolist()
        self.exons = [_exon(*columns, plus=plus) for columns in zip(starts, ends, flags, strict=True)]
        self._starts, self._reach = starts, list(accumulate(ends, max))

        self._own = _of_transcript([exon for exon in self.exons if exon.reported])
        self._own_starts = [exon.start for exon in self._own]
        self._own_reach = list(accumulate((exon.end for exon in self._own), max))
        self._own_sites = _Sites((edge for exon in self._own for edge in exon.edges()), plus=plus)
        self._sites = _Sites((edge for exon in self.exons for edge in exon.edges()), plus=plus)
        self._other_sites = self._sites.without(self._own_sites)
        #: Where an exon of the reported transcript meets an intron.
        self._inner = {edge for pair in pairwise(self._own) for edge in (pair[0].end, pair[1].start)}

    def context(self, start: int, end: int, shift: int) -> GeneContext | None:
        """Return the context of a span that can stand up to ``shift`` further right; None where it lies outside."""
        anywhere = start, end + shift  # of a span of some length all places together, of an insertion all gaps
        if self._plus:
            start, end = start + shift, end + shift
        if not (self.start < end and self.end > start):
            return None
        low, high = bisect_right(self._reach, start), bisect_left(self._starts, end)
        touched = [exon for exon in self.exons[low:high] if exon.touches(start, end)]
        here = self._settled(start, end, self._inner)
        nearest, region, exons, introns = self._in_transcript(*here)
        distance = self._own_sites.nearest(*here)
        left, right = (edge.site if edge else None for edge in _edges_of(nearest))
        if region in (UPSTREAM, DOWNSTREAM):
            limit = distance
        else:
            limit = OTHER_SITE + 1 if distance is None else min(distance, OTHER_SITE + 1)
        other_region, other_offset = self._elsewhere(start, end, touched, limit, exonic=bool(exons))
        near = self._sites.nearest(start, end)
        return GeneContext(
            self.gene_id,
            self._symbol,
            self._transcript,
            self._choice,
            self._biotype,
            "+" if self._plus else "-",
            region,
            None if region in (UPSTREAM, DOWNSTREAM) else self._site_offset(nearest, *here),
            self._own_sites.hit(*anywhere),
            right if self._plus else left,
            left if self._plus else right,
            bool(touched) or (near is not None and near <= NEAR_SITE),
            distance,
            exons,
            introns,
            other_region,
            other_offset,
            self._other_sites.hit(*anywhere),
        )

    @cached_property
    def transcript(self) -> Transcript:
        exons = [Interval(exon.start, exon.end) for exon in self._own]
        return Transcript(
            self.gene_id,
            self._symbol,
            self._transcript,
            self._contig,
            "+" if self._plus else "-",
            tuple(exons if self._plus else exons[::-1]),
            Interval(self._cds_start, self._cds_end) if self._cds_start >= 0 else None,
        )

    @cached_property
    def annotated(self) -> AnnotatedGene:
        bases: dict[str, set[int]] = {"acceptor": set(), "donor": set()}
        for edge in self._sites.edges:
            kind = "donor" if edge.is_donor(plus=self._plus) else "acceptor"
            bases[kind].add(edge.at if edge.far > edge.at else edge.at - 1)
        sites = {kind: frozenset(found) for kind, found in bases.items()}
        return AnnotatedGene(self.start, self.end, sites, self.transcript)

    def splice_sites(self) -> Iterable[SpliceSite]:
        strand = "+" if self._plus else "-"
        for edge in self._sites.edges:
            yield SpliceSite("donor" if edge.is_donor(plus=self._plus) else "acceptor", strand, edge.site)

    def _settled(self, start: int, end: int, edges: Container[int]) -> tuple[int, int]:
        """Return a span; of an insertion right at one of these edges the base before it in the transcript."""
        if start < end or start not in edges:
            return start, end
        return (start - 1, start) if self._plus else (start, start + 1)

    def _in_transcript(self, start: int, end: int) -> tuple[_DistinctExon, str, str | None, str | None]:
        """Return the nearest exon of the reported transcript, the region, and numbers of touched exons and introns."""
        own, starts = self._own, self._own_starts
        behind = bisect_left(starts, end)  # the first exon after the span
        touched = [i for i in range(bisect_right(self._own_reach, start), behind) if own[i].touches(start, end)]
        first = max(0, bisect_right(starts, start) - 1)
        introns = [i for i in range(first, min(behind, len(own) - 1)) if own[i].end < end and starts[i + 1] > start]
        numbers = self._numbers(touched, len(own)), self._numbers(introns, len(own) - 1)
        if touched:
            return own[touched[0 if self._plus else -1]], self._exonic_region(start, end), *numbers
        before = next((own[i] for i in range(min(behind, len(own)) - 1, -1, -1) if own[i].end <= start), None)
        after = own[behind] if behind < len(own) else None
        if before is None or after is None:
            exon = before or after
            assert exon is not None
            return exon, UPSTREAM if (after is not None) == self._plus else DOWNSTREAM, *numbers
        left, right = start - before.end, after.start - end
        nearer_left = left < right or (left == right and self._plus)
        return (before if nearer_left else after), "intron", *numbers

    def _numbers(self, found: Sequence[int], count: int) -> str | None:
        """Return numbers along the transcript, as VEP writes them: 2/5, 2-3/5."""
        if not found:
            return None
        first, last = (found[0] + 1, found[-1] + 1) if self._plus else (count - found[-1], count - found[0])
        return f"{first}/{count}" if first == last else f"{first}-{last}/{count}"

    def _elsewhere(
        self, start: int, end: int, touched: Sequence[_DistinctExon], limit: int | None, *, exonic: bool
    ) -> tuple[str | None, str | None]:
        """Return region and offset in another transcript where they say more than those in the reported one.

        Args:
            touched: exons of any transcript that the span touches.
            limit: a splice site says more when it is nearer than this.
            exonic: whether the span touches an exon of it.
        """
        here = self._settled(start, end, self._other_sites.at)
        others = [] if exonic else [exon for exon in touched if not exon.reported]
        if others:
            offsets = [(self._site_offset(exon, *here), exon) for exon in others]
            return "exon", min(
                (offset for offset, _ in offsets), key=lambda offset: int(offset) if offset else self.end - self.start
            )
        edge = self._other_sites.nearer(*here, limit)
        if edge is None:
            return None, None
        exon_after = edge.far > edge.at
        exon = _DistinctExon(min(edge), max(edge), reported=False, left=exon_after, right=not exon_after)
        return "exon" if exon.touches(*here) else "intron", self._site_offset(exon, *here)

    def _exonic_region(self, start: int, end: int) -> str:
        if self._cds_start < 0:
            return "exon"
        if self._cds_start < end and self._cds_end > start:
            return "CDS"
        return "5_prime_UTR" if (end <= self._cds_start) == self._plus else "3_prime_UTR"

    def _site_offset(self, exon: _DistinctExon, start: int, end: int) -> str | None:
        """Return the count from an exon's edge, signed in an intron; None where the nearest edge is no splice site."""
        left, right = _edges_of(exon)
        if start >= exon.end:
            return f"{'+' if self._plus else '-'}{right.distance(start, end)}" if right else None
        if end <= exon.start:
            return f"{'-' if self._plus else '+'}{left.distance(start, end)}" if left else None
        counts = [edge.distance(start, end) for edge in (left, right) if edge]
        return str(max(1, min(counts))) if counts else None


def _exon(start: int, end: int, flags: int, *, plus: bool) -> _DistinctExon:
    acceptor, donor = bool(flags & HAS_ACCEPTOR), bool(flags & HAS_DONOR)
    left, right = (acceptor, donor) if plus else (donor, acceptor)
    return _DistinctExon(start, end, bool(flags & REPORTED), left, right)


def _of_transcript(exons: Sequence[_DistinctExon]) -> list[_DistinctExon]:
    """Return the exons of one transcript, by position, with its own splice sites: those of others may share an exon."""
    joined = [False, *(after.start - before.end >= SHORTEST_INTRON for before, after in pairwise(exons)), False]
    return [exon._replace(left=joined[i], right=joined[i + 1]) for i, exon in enumerate(exons)]


def _edges_of(exon: _DistinctExon) -> tuple[_Edge | None, _Edge | None]:
    """Return the left and the right edge, None where it is no splice site."""
    left, right = _Edge(exon.start, exon.end), _Edge(exon.end, exon.start)
    return left if exon.left else None, right if exon.right else None
