"""Gene contexts: worked cases on both strands, and a scan over single bases for everything else."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories import ENSEMBL_GFF3, write_text
from splicebert_vep.genome.gene_build import compile_genes, load_table
from splicebert_vep.genome.gene_index import NEAR_SITE, OTHER_SITE, GeneIndex, Transcript
from splicebert_vep.genome.gene_table import SHORTEST_INTRON
from splicebert_vep.sequence.alleles import trim
from splicebert_vep_spec import GeneContext, Interval

# The snippet's genes, 0-based half-open:
#   ALPHA +  reported [100,200) [300,400) [500,600), coding [150,550); another transcript ends in [300,450)
#            donors 200-202, 400-402; acceptors 298-300, 498-500
#   BETA  -  reported [2000,2100) [2200,2300), coding [2050,2250); donor 2198-2200, acceptor 2100-2102


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> GeneIndex:
    return GeneIndex(compile_genes(write_text(tmp_path_factory.mktemp("genes"), ENSEMBL_GFF3)))


WORKED = """
100 101 5_prime_UTR 100 -    the first exon has no acceptor: 100 bases to the donor's edge
149 150 5_prime_UTR 51 -
150 151 CDS 50 -
199 200 CDS 1 -
200 201 intron +1 donor
201 202 intron +2 donor
202 203 intron +3 -
249 250 intron +50 -         49 bases to the left edge, 50 to the right one
500 500 intron -1 -          between dinucleotide and exon
250 251 intron -50 -
298 299 intron -2 acceptor
300 301 CDS 1 -
400 401 intron +1 donor      in [300,450) of another transcript, but at the reported donor
449 450 intron +50 -
450 451 intron -50 -         beside [300,450)
550 551 3_prime_UTR 51 -
498 500 intron -1 acceptor   deletions
203 206 intron +4 -
498 503 CDS 1 acceptor
140 160 CDS 41 -             the deleted base nearest to the donor's edge is 159
195 305 CDS 1 both
90 610 CDS 1 both
101 101 5_prime_UTR 99 -     insertions
150 150 5_prime_UTR 50 -
151 151 CDS 49 -
550 550 3_prime_UTR 50 -
199 199 CDS 1 -
200 200 CDS 1 -              between exon and dinucleotide: belongs to the base before it
201 201 intron +1 donor      splits it
202 202 intron +2 -
299 299 intron -1 acceptor
300 300 intron -1 -
2000 2001 3_prime_UTR 100 -  minus: 3' is to the left
2050 2051 CDS 50 -
2100 2101 intron -1 acceptor
2149 2150 intron -50 -
2150 2151 intron +50 -
2198 2199 intron +2 donor
2200 2201 CDS 1 -
2250 2251 5_prime_UTR 51 -
2100 2100 intron -1 -
2199 2199 intron +1 donor
2099 2201 CDS 1 both
"""


@pytest.mark.parametrize("case", WORKED.strip().splitlines())
def test_worked_cases(index: GeneIndex, case: str) -> None:
    start, end, region, offset, hit = case.split()[:5]
    (context,) = index.contexts("1", int(start), int(end))
    assert (context.region, context.site_offset, context.site_hit or "-") == (region, offset, hit)
    assert context.near_site


def test_a_context_carries_gene_transcript_and_sites(index: GeneIndex) -> None:
    (alpha,) = index.contexts("chr1", 304, 305)
    assert alpha == GeneContext(
        gene_id="ENSG01.3",
        symbol="ALPHA",
        transcript_id="ENST01.7",
        transcript_choice="MANE_Select",
        biotype="protein_coding",
        strand="+",
        region="CDS",
        site_offset="5",
        site_hit=None,
        donor=Interval(400, 402),
        acceptor=Interval(298, 300),
        near_site=True,
        distance=5,
        exon="2/3",
    )
    (beta,) = index.contexts("NC_000001.11", 2199, 2200)
    assert (beta.strand, beta.donor, beta.acceptor) == ("-", Interval(2198, 2200), None)
    (beta,) = index.contexts("1", 2100, 2101)
    assert (beta.donor, beta.acceptor) == (None, Interval(2100, 2102))


@pytest.mark.parametrize(
    ("start", "end", "shift", "found"),
    # distance, exon, intron, hit, offset; a span of ALPHA moves right, one of BETA stays
    [
        (150, 151, 0, (50, "1/3", None, None, "50")),
        (250, 251, 0, (50, None, "1/2", None, "-50")),
        (198, 202, 0, (0, "1/3", "1/2", "donor", "1")),
        (195, 305, 0, (0, "1-2/3", "1/2", "both", "1")),
        (90, 610, 0, (0, "1-3/3", "1-2/2", "both", "1")),
        (197, 198, 2, (1, "1/3", None, None, "1")),  # a base of a run of three, the last of the exon
        (197, 198, 3, (1, None, "1/2", "donor", "+1")),
        (203, 204, 3, (7, None, "1/2", None, "+7")),
        (198, 198, 3, (1, None, "1/2", "donor", "+1")),
        (2197, 2198, 3, (3, None, "1/1", "donor", "+3")),
        (2200, 2200, 1, (1, "1/2", None, None, "1")),
        (2199, 2199, 1, (1, None, "1/1", "donor", "+1")),
        (2095, 2103, 0, (0, "2/2", "1/1", "acceptor", "1")),
    ],
)
def test_distance_numbers_and_the_three_prime_rule(index: GeneIndex, start, end, shift, found) -> None:
    (context,) = index.contexts("1", start, end, shift)
    assert (context.distance, context.exon, context.intron, context.site_hit, context.site_offset) == found


def test_another_transcript_has_fields_of_its_own(tmp_path: Path) -> None:
    # Reported: [100,200) [400,500) [900,1000). Another: [40,60) [400,520) [700,760) [900,1000).
    text = """
    1 x gene 41 1000 . + . ID=g;gene_id=G;biotype=lncRNA
    1 x lnc_RNA 101 1000 . + . ID=t1;Parent=g;transcript_id=T1;tag=MANE_Select
    1 x exon 101 200 . + . Parent=t1
    1 x exon 401 500 . + . Parent=t1
    1 x exon 901 1000 . + . Parent=t1
    1 x lnc_RNA 41 1000 . + . ID=t2;Parent=g;transcript_id=T2
    1 x exon 41 60 . + . Parent=t2
    1 x exon 401 520 . + . Parent=t2
    1 x exon 701 760 . + . Parent=t2
    1 x exon 901 1000 . + . Parent=t2
    """
    index = GeneIndex(compile_genes(write_text(tmp_path, text)))

    def place(start: int, end: int) -> tuple[object, ...]:
        (one,) = index.contexts("1", start, end)
        return one.region, one.site_offset, one.distance, one.other_region, one.other_offset, one.other_site_hit

    assert place(730, 731) == ("intron", "-170", 170, "exon", "30", None)
    assert place(690, 691) == ("intron", "+191", 191, "intron", "-10", None)
    assert place(699, 700) == ("intron", "+200", 200, "intron", "-1", "acceptor")
    assert place(510, 511) == ("intron", "+11", 11, "exon", "10", None)
    assert place(500, 501) == ("intron", "+1", 1, "exon", "20", None)
    assert place(520, 521) == ("intron", "+21", 21, "intron", "+1", "donor")
    assert place(450, 451) == ("exon", "50", 50, None, None, None)
    assert place(50, 51) == ("upstream", None, 150, "exon", "10", None)
    assert place(80, 81) == ("upstream", None, 120, "intron", "+21", None)
    assert place(650, 800) == ("intron", "-101", 101, "exon", "1", "both")


def test_the_middle_base_of_an_intron_counts_from_the_exon_before_it_on_either_strand(tmp_path: Path) -> None:
    text = "".join(
        f"{contig} x gene 101 311 . {strand} . ID=g{contig};gene_id=G{contig};biotype=lncRNA\n"
        f"{contig} x exon 101 200 . {strand} . Parent=g{contig}\n"
        f"{contig} x exon 212 311 . {strand} . Parent=g{contig}\n"
        for contig, strand in ((1, "+"), (2, "-"))
    )
    index = GeneIndex(compile_genes(write_text(tmp_path, text)))
    (plus,), (minus,) = index.contexts("1", 205, 206), index.contexts("2", 205, 206)
    assert plus.site_offset == minus.site_offset == "+6"
    assert (plus.donor, minus.donor) == (Interval(200, 202), Interval(209, 211))


def test_the_reported_transcript_comes_in_its_own_order(index: GeneIndex) -> None:
    [alpha], [beta] = index.transcripts("1", 320, 330), index.transcripts("1", 2000, 2001)
    assert (alpha.symbol, alpha.strand, alpha.cds) == ("ALPHA", "+", Interval(150, 550))
    assert alpha.exons == (Interval(100, 200), Interval(300, 400), Interval(500, 600))
    assert (beta.strand, beta.exons) == ("-", (Interval(2200, 2300), Interval(2000, 2100)))
    assert index.transcripts("1", 5000, 5001) == []


def test_outside_of_every_gene(index: GeneIndex) -> None:
    for start, end in [(99, 100), (600, 601), (100, 100), (600, 600), (2000, 2000), (2300, 2300), (3050, 3051), (0, 0)]:
        assert index.contexts("1", start, end) == []
    assert index.contexts("2", 150, 151) == []
    assert index.contexts("chrM", 150, 151) == []  # mitochondrial contigs have no genes


def test_the_list_is_the_callers(index: GeneIndex) -> None:
    index.contexts("1", 150, 151).clear()
    assert len(index.contexts("1", 150, 151)) == 1


def test_sites_are_those_of_the_touched_genes(index: GeneIndex) -> None:
    assert index.site_intervals("chr1", 2150, 2151) == [
        ("acceptor", "-", Interval(2100, 2102)),
        ("donor", "-", Interval(2198, 2200)),
    ]
    found = [(kind, at.start) for kind, _, at in index.site_intervals("1", 599, 2001)]
    alpha = [("donor", 200), ("acceptor", 298), ("donor", 400), ("acceptor", 498)]
    assert found == [*alpha, ("acceptor", 2100), ("donor", 2198)]
    assert index.site_intervals("1", 700, 701) == []
    # exonic bases beside the sites, on either strand
    for span, sites in [
        (("1", 150, 151), {"acceptor": {300, 500}, "donor": {199, 399}}),
        (("1", 2150, 2151), {"acceptor": {2099}, "donor": {2200}}),
    ]:
        assert index.gene(*index.contexts(*span), *span).sites == sites
    assert index.exons("ENSG01.3", "1", 310, 500) == [(Interval(300, 400), True), (Interval(300, 450), False)]


def test_each_of_two_genes_of_one_id_that_a_deletion_reaches_has_its_own_extent_and_sites(tmp_path: Path) -> None:
    text = """
    1 x exon 101 200 . + . gene_id "G"; transcript_id "T1";
    1 x exon 301 400 . + . gene_id "G"; transcript_id "T1";
    1 x exon 451 500 . - . gene_id "G"; transcript_id "T2";
    1 x exon 601 700 . - . gene_id "G"; transcript_id "T2";
    """
    index = GeneIndex(compile_genes(write_text(tmp_path, text, "two.gtf")))
    span = ("1", 390, 460)
    plus, minus = sorted(index.contexts(*span), key=lambda context: context.strand)
    assert (plus.gene_id, plus.strand, minus.gene_id, minus.strand) == ("G", "+", "G", "-")
    first, second = index.gene(plus, *span), index.gene(minus, *span)
    assert (first.start, first.end, second.start, second.end) == (100, 400, 450, 700)
    assert first.sites == {"donor": {199}, "acceptor": {300}}
    assert second.sites == {"donor": {600}, "acceptor": {499}}
    assert (first.transcript.transcript_id, second.transcript.transcript_id) == ("T1", "T2")


def test_single_exon_genes_have_no_sites_and_overlapping_genes_come_by_id(tmp_path: Path) -> None:
    text = """
    1 x gene 101 900 . + . ID=g2;gene_id=G2;biotype=protein_coding
    1 x exon 101 900 . + . Parent=g2
    1 x gene 201 500 . - . ID=g1;gene_id=G1;biotype=lncRNA
    1 x exon 201 220 . - . Parent=g1
    1 x exon 481 500 . - . Parent=g1
    """
    index = GeneIndex(compile_genes(write_text(tmp_path, text)))
    first, second = index.contexts("1", 349, 350)
    assert (first.gene_id, first.region, first.site_offset, first.near_site) == ("G1", "intron", "-130", False)
    assert first.biotype == "lncRNA"
    assert (second.gene_id, second.region, second.symbol) == ("G2", "exon", None)
    assert (second.site_offset, second.site_hit, second.donor, second.acceptor) == (None, None, None, None)
    assert second.near_site


@pytest.mark.parametrize(
    ("pos", "offset", "hit", "region"),
    # 1-based; BRCA1 is on minus: c.5406+1 and c.5406 of NM_007294.4, c.5468-1 and c.5468.
    [
        (43049120, "+1", "donor", "intron"),
        (43049121, "1", None, "CDS"),
        (43045803, "-1", "acceptor", "intron"),
        (43045802, "1", None, "CDS"),
    ],
)
def test_brca1_on_grch38(pos: int, offset: str, hit: str | None, region: str) -> None:
    contexts = GeneIndex(load_table("grch38")).contexts("chr17", pos - 1, pos)
    brca1 = next(context for context in contexts if context.symbol == "BRCA1")
    assert brca1.transcript_id == "ENST00000357654.9"
    assert (brca1.transcript_choice, brca1.strand, brca1.biotype) == ("MANE_Select", "-", "protein_coding")
    assert (brca1.site_offset, brca1.site_hit, brca1.region) == (offset, hit, region)


# POS, REF and ALT of ClinVar records on GRCh38 chr17, left-aligned; EXON, INTRON and HGVSc's offset of Ensembl VEP 115
# for ENST00000357654.9. Of an insertion it is the closer of the two bases that HGVS names; a duplication lies behind.
VEP = [
    (43049264, "ACT", "A", None, "20/22", "-71"),  # c.5333-72_5333-71del
    (43049478, "ATCTAATTTCCATT", "A", None, "20/22", "-285"),
    (43076643, "CT", "C", None, "12/22", "-30"),
    (43077335, "C", "CT", None, "12/22", "-721"),  # c.4358-722dup
    (43049210, "A", "ACT", None, "20/22", "-16"),  # c.5333-17_5333-16insAG
    (43048519, "T", "TC", None, "21/22", "+601"),
    (43104859, "A", "G", None, "5/22", "+9"),
    (43115789, "T", "A", None, "2/22", "-10"),
    (43051129, "G", "T", None, "19/22", "-12"),
    (43074086, "C", "T", None, "14/22", "+245"),
    (43102113, "C", "T", None, "6/22", "+2009"),
    (43115723, "TACTTGCAA", "T", "3/23", "3/22", "1"),  # c.129_134+2del
    (43051057, "TCTTACCT", "ATGTTG", "20/23", "20/22", "1"),
    (43099813, "CGCT", "C", "7/23", None, "40"),  # c.506_508del; exon 7 is c.442 to c.547
    (43049138, "A", "C", "21/23", None, "18"),  # c.5389; exon 21 is c.5333 to c.5406
    (43045698, "TCTGGGGTA", "ACTGGGTT", "23/23", None, "97"),  # c.5564; exon 23 begins at c.5468
]


@pytest.mark.parametrize(("pos", "ref", "alt", "exon", "intron", "offset"), VEP, ids=lambda value: str(value)[:12])
def test_the_place_is_that_of_vep(pos, ref, alt, exon, intron, offset) -> None:
    start, ref, _ = trim(pos, ref, alt)
    found = GeneIndex(load_table("grch38")).contexts("17", start, start + len(ref))
    brca1 = next(one for one in found if one.symbol == "BRCA1")
    assert (brca1.exon, brca1.intron, brca1.site_offset) == (exon, intron, offset)
    assert brca1.distance == (0 if exon and intron else abs(int(offset)))


# ---- everything else: a scan over single bases -------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """A gene as generated: transcripts are lists of exons; the first is the reported one, coding over ``cds``."""

    name: str
    strand: str
    transcripts: list[list[tuple[int, int]]]
    cds: tuple[int, int] | None

    def gtf(self) -> str:
        first, last = min(min(exons)[0] for exons in self.transcripts), max(max(exons)[1] for exons in self.transcripts)
        lines = [f'1\tx\tgene\t{first + 1}\t{last}\t.\t{self.strand}\t.\tgene_id "{self.name}"; gene_biotype "lncRNA";']
        for number, exons in enumerate(self.transcripts):
            tag = ' tag "MANE_Select";' if number == 0 else ""
            rest = f'gene_id "{self.name}"; transcript_id "{self.name}T{number}"; gene_biotype "lncRNA";{tag}'
            lines += [f"1\tx\texon\t{a + 1}\t{b}\t.\t{self.strand}\t.\t{rest}" for a, b in exons]
            if number == 0 and self.cds is not None:
                pieces = [(max(a, self.cds[0]), min(b, self.cds[1])) for a, b in exons]
                lines += [f"1\tx\tCDS\t{a + 1}\t{b}\t.\t{self.strand}\t0\t{rest}" for a, b in pieces if a < b]
        return "".join(f"{line}\n" for line in lines)


@st.composite
def models(draw: st.DrawFn) -> list[Model]:
    drawn = []
    for number in range(draw(st.integers(1, 4))):
        transcripts = []
        for _ in range(draw(st.integers(1, 4))):
            edges = draw(st.sets(st.integers(1, 240), min_size=2, max_size=8).filter(lambda found: len(found) % 2 == 0))
            ordered = sorted(edges)
            transcripts.append(list(zip(ordered[::2], ordered[1::2], strict=True)))
        bases = [base for a, b in transcripts[0] for base in range(a, b)]
        ends = draw(st.none() | st.tuples(st.sampled_from(bases), st.sampled_from(bases)))
        cds = (min(ends), max(ends) + 1) if ends else None
        drawn.append(Model(f"G{number}", draw(st.sampled_from("+-")), transcripts, cds))
    return drawn


def scan(model: Model, start: int, end: int, shift: int) -> dict[str, object] | None:
    """Return a context's fields by looking at single bases; None outside the gene."""
    plus, insertion = model.strand == "+", start == end
    placed = start + shift if plus else start

    def bases_at(first: int) -> set[int]:
        return {first - 1, first} if insertion else set(range(first, first + end - start))

    def touches(bases: set[int], a: int, b: int, whole: bool = insertion) -> bool:
        return bases <= set(range(a, b)) if whole else bool(bases & set(range(a, b)))

    bases, exons = bases_at(placed), sorted({exon for transcript in model.transcripts for exon in transcript})
    if not touches(bases, min(a for a, _ in exons), max(b for _, b in exons)):
        return None
    own = model.transcripts[0]

    def sites_of(transcript: list[tuple[int, int]]) -> set[tuple[str, int, tuple[int, int]]]:
        """Side of the exon, edge and exon."""
        found = set()
        for before, after in zip(transcript, transcript[1:], strict=False):
            if after[0] - before[1] >= SHORTEST_INTRON:
                found |= {("right", before[1], before), ("left", after[0], after)}
        return found

    own_sites = sites_of(own)
    every = set().union(*map(sites_of, model.transcripts))
    other_sites = {one for one in every if one[:2] not in {site[:2] for site in own_sites}}

    def settled(edges: set[int]) -> tuple[set[int], bool]:
        if insertion and placed in edges:
            return {placed - 1 if plus else placed}, False
        return bases, insertion

    here, whole = settled({edge for before, after in zip(own, own[1:], strict=False) for edge in (before[1], after[0])})

    def count(edge: int, bases: set[int], between: bool) -> int:
        if not between and {edge - 1, edge} <= bases:
            return 0
        return min(base - edge + 1 if base >= edge else edge - base for base in bases)

    def offset(exon: tuple[int, int], sides: set[str], bases: set[int], between: bool) -> str | None:
        a, b = exon
        if touches(bases, a, b, between):
            counts = [count(a, bases, between)] * ("left" in sides) + [count(b, bases, between)] * ("right" in sides)
            return str(max(1, min(counts))) if counts else None
        side, edge = ("right", b) if min(bases) >= b or (between and max(bases) >= b) else ("left", a)
        sign = "+" if (side == "right") == plus else "-"
        return f"{sign}{count(edge, bases, between)}" if side in sides else None

    touched = [exon for exon in own if touches(here, *exon, whole)]
    in_order = own if plus else own[::-1]

    # the first base after an insertion, and the last one before it; else the first and last changed base
    low, high = (max(here), min(here)) if whole else (min(here), max(here))

    def between(exon: tuple[int, int]) -> int:
        return max(0, low - exon[1], exon[0] - high - 1)

    nearest = min(in_order, key=lambda exon: (not touches(here, *exon, whole), between(exon)))
    sides = {side for side, _, exon in own_sites if exon == nearest}
    first, last = own[0][0], own[-1][1]
    inside = touches(here, first, last, whole)
    region = "intron" if inside else "upstream" if (min(here) < first) == plus else "downstream"
    if touched:
        region = "exon"
        if model.cds:
            region = "CDS" if touches(here, *model.cds, whole) else "5_prime_UTR"
            if region != "CDS" and (high < model.cds[0]) != plus:
                region = "3_prime_UTR"
    gaps = [(a[1], b[0]) for a, b in zip(own, own[1:], strict=False)]

    def numbers(among: list[tuple[int, int]]) -> str | None:
        found = [i for i, one in enumerate(among if plus else among[::-1], 1) if touches(here, *one, whole)]
        if not found:
            return None
        return f"{'-'.join(map(str, dict.fromkeys((found[0], found[-1]))))}/{len(among)}"

    def hit(sites: set[tuple[str, int, tuple[int, int]]]) -> str | None:
        kinds = {
            "donor" if (side == "right") == plus else "acceptor"
            for side, edge, _ in sites
            for at in range(start, start + shift + 1)
            if touches(bases_at(at), *((edge, edge + 2) if side == "right" else (edge - 2, edge)))
        }
        return "both" if len(kinds) == 2 else kinds.pop() if kinds else None

    distance = min((count(edge, here, whole) for _, edge, _ in own_sites), default=None)
    there, apart = settled({edge for _, edge, _ in other_sites})
    other: tuple[str | None, str | None] = (None, None)
    all_sides = {exon: {side for side, _, one in every if one == exon} for exon in exons}
    foreign = [exon for exon in exons if exon not in own and touches(bases, *exon)]
    if not touched and foreign:
        offsets = [offset(exon, all_sides[exon], there, apart) for exon in foreign]
        other = "exon", min(offsets, key=lambda one: 10**9 if one is None else int(one))
    else:
        found = []
        for side, edge, exon in other_sites:
            exonic = touches(there, *exon, apart)
            beyond = min(there) >= edge if side == "right" else max(there) < edge
            near = count(edge, there, apart)
            told = region in ("upstream", "downstream") or near <= OTHER_SITE
            if told and (exonic or beyond) and (distance is None or near < distance):
                found.append(((near, not exonic, edge if plus else -edge), exonic, exon, side))
        if found:
            _, exonic, exon, side = min(found)
            other = "exon" if exonic else "intron", offset(exon, {side}, there, apart)
    left = next((Interval(x - 2, x) for side, x, exon in own_sites if (side, exon) == ("left", nearest)), None)
    right = next((Interval(x, x + 2) for side, x, exon in own_sites if (side, exon) == ("right", nearest)), None)
    near_any = min((count(edge, bases, insertion) for _, edge, _ in every), default=10**9)
    return {
        "region": region,
        "site_offset": offset(nearest, sides, here, whole) if inside or touched else None,
        "site_hit": hit(own_sites),
        "donor": right if plus else left,
        "acceptor": left if plus else right,
        "near_site": any(touches(bases, *exon) for exon in exons) or near_any <= NEAR_SITE,
        "distance": distance,
        "exon": numbers(own),
        "intron": numbers(gaps),
        "other_region": other[0],
        "other_offset": other[1],
        "other_site_hit": hit(other_sites),
    }


@settings(max_examples=100, deadline=None)
@given(
    models(),
    st.lists(
        st.tuples(st.integers(1, 245), st.integers(0, 40), st.just(0) | st.integers(0, 9)), min_size=1, max_size=30
    ),
)
def test_index_equals_a_scan(genes: list[Model], spans: list[tuple[int, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "drawn.gtf"
        path.write_text("".join(model.gtf() for model in genes), encoding="utf-8")
        index = GeneIndex(compile_genes(path))
    for start, length, shift in spans:
        want = {one.name: found for one in genes if (found := scan(one, start, start + length, shift)) is not None}
        have = index.contexts("1", start, start + length, shift)
        assert [context.gene_id for context in have] == sorted(want)
        for context in have:
            seen = {name: getattr(context, name) for name in want[context.gene_id]}
            assert seen == want[context.gene_id], (start, length, shift, context.gene_id)


@pytest.mark.parametrize(
    ("strand", "donors", "acceptors"), [("+", {199, 504}, {300, 600}), ("-", {300, 600}, {199, 504})]
)
def test_exons_that_few_bases_part_have_no_sites_between_them(strand, donors, acceptors):
    exons = [Interval(100, 200), Interval(300, 400), Interval(405, 505), Interval(600, 700)]  # 5 nt from 400 to 405
    found = Transcript("G", None, "T", "1", strand, tuple(exons if strand == "+" else exons[::-1]), None).site_bases()
    assert found == {"donor": donors, "acceptor": acceptors}
