"""The bundled model on real sequence: the whole program against the independent implementation, both strands."""

import gzip

import pytest

from factories import EXAMPLES
from oracle import Oracle, load_transformers
from splicebert_vep.annotator import Annotator
from splicebert_vep.errors import SettingsError
from splicebert_vep.model.registry import resolve_model
from splicebert_vep.settings import Settings
from splicebert_vep.variants import MAX_POS, Region, Variant
from splicebert_vep_spec import Status

LOW = 43_044_000  # the example FASTA holds bases from here on, 0-based
FIELDS = ("LLR", "PLLR", "DELTA_P", "KL_CTX", "KL_DONOR", "KL_ACCEPTOR", "KL_SS", "N_SITES", "EMB_COS", "EMB_L2")


@pytest.fixture(scope="module")
def annotator(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPLICEBERT_VEP_CACHE", str(tmp_path_factory.mktemp("cache")))
        with Annotator(EXAMPLES / "brca1.fa.gz", device="cpu", settings=Settings(scores=FIELDS)) as opened:
            yield opened


@pytest.fixture(scope="module")
def bases():
    with gzip.open(EXAMPLES / "brca1.fa.gz", "rt") as fasta:
        lines = fasta.read().splitlines()
    return "".join(lines[1:])[LOW : LOW + 82_000]


@pytest.fixture(scope="module")
def network():
    return load_transformers(resolve_model("splicebert-mini"))


#: trimmed changes on GRCh38 chr17, 1-based first changed base; BRCA1 is on -, NBR2 on +
CASES = [
    ("BRCA1", 43047641, "A", "C"),  # ClinVar 125852, donor +2 of exon 22
    ("BRCA1", 43045803, "C", "A"),  # ClinVar 864908, acceptor -1
    ("BRCA1", 43045061, "CC", "TT"),  # ClinVar 1337265
    ("BRCA1", 43045692, "", "G"),  # ClinVar 37683, T>TG
    ("BRCA1", 43045676, "AGTCAGTAGTGGCTGT", ""),  # ClinVar 1748398
    ("NBR2", 43125700, None, None),  # an SNV in NBR2's first exon
    ("NBR2", 43125702, "", "ins"),
    ("NBR2", 43125706, "del", ""),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def test_the_program_says_what_the_independent_implementation_says(case, annotator, bases, network):
    symbol, pos, ref, alt = case
    start = pos - 1 - LOW
    if ref is None:
        ref = bases[start]
        alt = "ACGT"["ACGT".index(ref) - 1]
    if alt == "ins":
        alt = "".join("ACGT"["ACGT".index(base) - 1] for base in (bases[start], bases[start - 1]))
    if ref == "del":
        while bases[start - 1] == bases[start + 1]:  # keep it left-aligned
            start += 1
        ref = bases[start : start + 2]
    anchor = bases[start - 1]
    result = annotator.score(Variant("17", LOW + start, anchor + ref, anchor + alt))
    allele = result.allele
    assert (allele.start - LOW, allele.ref, allele.alt) == (start, ref, alt)
    outcome = next(c for c in result.contexts if c.context.symbol == symbol)
    assert outcome.status is Status.OK
    context = outcome.context
    sites = [
        None if site is None else range(site.start - LOW, site.end - LOW) for site in (context.donor, context.acceptor)
    ]
    expected = Oracle(network, bases, 510, 100).score(start, ref, alt, context.strand, *sites)
    found = {field: outcome.values[field] for field in FIELDS if outcome.values[field] is not None}
    assert set(found) == set(expected)
    for field, value in expected.items():
        assert found[field] == pytest.approx(value, abs=1e-4), field


def test_variants_are_read_in_several_forms():
    expected = Variant("chr17", 5, "A", "C")
    for text in ("chr17-5-A-C", "chr17:5:A:C", " chr17:5:A>C ", "chr17:5A>C", "chr17:g.5A>C", "chr17 5 A C"):
        assert Variant.parse(text) == expected
    assert Variant.parse("HLA-A*01:01-5-A-<DEL>") == Variant("HLA-A*01:01", 5, "A", "<DEL>")
    assert Variant.parse("NC_000017.11:g.43,047,641A>C") == Variant("NC_000017.11", 43047641, "A", "C")
    for text in ("chr17-A-C", "1-5-A-C,*", "17-5-A", "rs80358061", "NM_007294.4:c.5467+2T>G"):
        with pytest.raises(SettingsError, match=r"CHROM-POS-REF-ALT(.|\n)*" + text.split(",")[0][:4]):
            Variant.parse(text)


def test_regions_are_read():
    assert Region.parse("chr17") == Region("chr17", 1, MAX_POS)
    assert Region.parse("17:1,000-2,000") == Region("17", 1000, 2000)
    assert Region.parse("17:5") == Region("17", 5, 5)
    assert Region.parse("17:5-") == Region("17", 5, MAX_POS)
    assert str(Region.parse("17:5-9")) == "17:5-9"
