"""Gene contexts: worked cases on both strands, and a scan over single bases for everything else."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories import ENSEMBL_GFF3, write_text
from splicebert_vep.genome.gene_build import SHORTEST_INTRON, compile_genes, load_table
from splicebert_vep.genome.gene_index import NEAR_SITE, GeneIndex
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
250 251 intron -50 -
298 299 intron -2 acceptor
300 301 CDS 1 -
400 401 intron +1 donor      in [300,450) of another transcript, but at the reported donor
449 450 intron +50 -         the last base that the reported donor claims
450 451 intron -50 -         beside [300,450), but within 50 nt of the reported acceptor
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
200 200 intron +1 -          between exon and dinucleotide: inside neither
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
    )
    (beta,) = index.contexts("NC_000001.11", 2199, 2200)
    assert (beta.strand, beta.donor, beta.acceptor) == ("-", Interval(2198, 2200), None)
    (beta,) = index.contexts("1", 2100, 2101)
    assert (beta.donor, beta.acceptor) == (None, Interval(2100, 2102))


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
        assert index.site_bases(*index.contexts(*span), *span) == sites
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
    assert (index.extent(plus, *span), index.extent(minus, *span)) == ((100, 400), (450, 700))
    assert index.site_bases(plus, *span) == {"donor": {199}, "acceptor": {300}}
    assert index.site_bases(minus, *span) == {"donor": {600}, "acceptor": {499}}


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


def scan(model: Model, start: int, end: int) -> tuple[object, ...] | None:
    """Return region, offset, hit, donor, acceptor, near_site by looking at single bases; None outside the gene."""
    insertion = start == end
    bases = {start - 1, start} if insertion else set(range(start, end))

    def inside(a: int, b: int) -> bool:
        return bases <= set(range(a, b))

    def touches(a: int, b: int) -> bool:
        return inside(a, b) if insertion else bool(bases & set(range(a, b)))

    exons = {exon for transcript in model.transcripts for exon in transcript}
    if not touches(min(a for a, _ in exons), max(b for _, b in exons)):
        return None
    left_sites, right_sites = set(), set()  # exons with an intron on that side in some transcript
    for transcript in model.transcripts:
        for before, after in zip(transcript, transcript[1:], strict=False):
            if after[0] - before[1] >= SHORTEST_INTRON:
                right_sites.add(before)
                left_sites.add(after)
    reported = set(model.transcripts[0])
    plus = model.strand == "+"

    def by_rules(exon: tuple[int, int]) -> tuple[object, ...]:
        a, b = exon
        between = max(0, start - b, a - end)
        near_left = exon in left_sites and end <= a < end + NEAR_SITE
        near_right = exon in right_sites and start - NEAR_SITE < b <= start
        if exon in reported and (touches(a, b) or near_left or near_right):
            return (1, between, a, b)
        if (exon in left_sites and touches(a - 2, a)) or (exon in right_sites and touches(b, b + 2)):
            return (2, between, a, b)
        if inside(a, b):
            return (3, 0, min(start - a, b - end), a, b)
        if touches(a, b):
            return (3, 1, a, b)
        return (4, between, exon not in reported, a, b)

    exon = min(exons, key=by_rules)
    a, b = exon
    offset = None
    if touches(a, b):
        distances = [base - a + 1 for base in bases if a <= base < b and exon in left_sites]
        distances += [b - base for base in bases if a <= base < b and exon in right_sites]
        offset = str(min(distances)) if distances else None
    elif start >= b and exon in right_sites:
        offset = ("+" if plus else "-") + str(min(base - b + 1 for base in bases if base >= b))
    elif end <= a and exon in left_sites:
        offset = ("-" if plus else "+") + str(min(a - base for base in bases if base < a))
    left_hit = any(touches(x - 2, x) for x, _ in left_sites)
    right_hit = any(touches(y, y + 2) for _, y in right_sites)
    donor_hit, acceptor_hit = (right_hit, left_hit) if plus else (left_hit, right_hit)
    hit = {(1, 1): "both", (1, 0): "donor", (0, 1): "acceptor"}.get((int(donor_hit), int(acceptor_hit)))
    left = Interval(a - 2, a) if exon in left_sites else None
    right = Interval(b, b + 2) if exon in right_sites else None
    exonic = any(touches(x, y) for x, y in exons)
    region = "intron"
    if touches(a, b):
        region = "exon"
        if model.cds and any(touches(x, y) for x, y in reported):
            region = "CDS" if touches(*model.cds) else "5_prime_UTR"
            if region != "CDS" and (end <= model.cds[0]) != plus:
                region = "3_prime_UTR"
    edges = [x for x, _ in left_sites] + [y for _, y in right_sites]
    near = exonic or any(touches(x - NEAR_SITE, x + NEAR_SITE) for x in edges)
    return (region, offset, hit, right if plus else left, left if plus else right, near)


@settings(max_examples=150, deadline=None)
@given(models(), st.lists(st.tuples(st.integers(1, 245), st.integers(0, 40)), min_size=1, max_size=30))
def test_index_equals_a_scan(genes: list[Model], spans: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "drawn.gtf"
        path.write_text("".join(model.gtf() for model in genes), encoding="utf-8")
        index = GeneIndex(compile_genes(path))
    for start, length in spans:
        want = {model.name: found for model in genes if (found := scan(model, start, start + length)) is not None}
        have = index.contexts("1", start, start + length)
        assert [context.gene_id for context in have] == sorted(want)
        for c in have:
            seen = (c.region, c.site_offset, c.site_hit, c.donor, c.acceptor, c.near_site)
            assert seen == want[c.gene_id], (start, length, c.gene_id)
