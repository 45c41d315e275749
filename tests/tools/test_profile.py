"""The numbers behind a picture give the scores by the published formulas, and lie where the genome says."""

import math

import numpy as np
import pytest

from factories import EXAMPLES
from splicebert_vep import Annotator
from splicebert_vep.errors import SettingsError
from splicebert_vep.sequence.windows import across
from splicebert_vep.tools import plot
from splicebert_vep_spec import Allele

FASTA = EXAMPLES / "brca1.fa.gz"
#: The donor of BRCA1's exon 22 lies at 43047641-43047642 (1-based), the exon to its right; the gene is on -.
SNV = "chr17-43047641-A-C"
VARIANTS = (
    SNV,
    "chr17-43047641-AC-CT",  # both bases of the donor
    "chr17-43045691-T-TG",
    "chr17-43047646-GGA-G",
    "chr17-43047640-TA-T",  # one base of the donor away
    "chr17-43047646-GGA-CTTTT",
)
PLUS = """\
##gff-version 3
17\tx\tgene\t43044295\t43125364\t.\t+\t.\tID=gene:P;gene_id=P;Name=PLUS;biotype=protein_coding
17\tx\tmRNA\t43044295\t43125364\t.\t+\t.\tID=transcript:PT;Parent=gene:P;transcript_id=PT
17\tx\texon\t43044295\t43047500\t.\t+\t.\tParent=transcript:PT
17\tx\texon\t43047643\t43047703\t.\t+\t.\tParent=transcript:PT
17\tx\texon\t43048000\t43125364\t.\t+\t.\tParent=transcript:PT
"""


@pytest.fixture(scope="module")
def minus(session_cache):
    with Annotator(FASTA, "grch38", device="cpu") as annotator:
        yield annotator


@pytest.fixture(scope="module")
def plus(session_cache, tmp_path_factory):
    path = tmp_path_factory.mktemp("genes") / "plus.gff3"
    path.write_text(PLUS)
    with Annotator(FASTA, path, device="cpu") as annotator:
        yield annotator


def context_score(profile, flank=100):
    """KL_CTX from the columns, in plain Python: (1/F) sum over d of ln max((KL(-d) + KL(+d)) / 2, 1e-6)."""
    by_offset = dict(zip(profile.offset.tolist(), profile.kl.tolist(), strict=True))
    means = [(by_offset[-d] + by_offset[d]) / 2 for d in range(1, flank + 1)]
    return sum(math.log(max(mean, 1e-6)) for mean in means) / flank


def site_score(profile, site):
    found = [kl for kl, there in zip(profile.kl.tolist(), site.tolist(), strict=True) if there and not math.isnan(kl)]
    return sum(found) / len(found) if found else None


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("strand", ["minus", "plus"])
def test_the_scores_come_out_of_the_columns(variant, strand, request):
    annotator = request.getfixturevalue(strand)
    result, profile = annotator.score(variant), plot.profile(annotator, variant)
    assert profile.gene.strand == {"minus": "-", "plus": "+"}[strand]
    assert context_score(profile) == pytest.approx(result["KL_CTX"], abs=1e-4)
    for name, site in (("KL_DONOR", profile.donor), ("KL_ACCEPTOR", profile.acceptor)):
        if result[name] is None:
            assert site_score(profile, site) is None
        else:
            assert site_score(profile, site) == pytest.approx(result[name], abs=1e-4)
    assert profile.values == dict(result.values)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("strand", ["minus", "plus"])
def test_every_column_shows_the_base_of_its_genomic_position(variant, strand, request):
    annotator = request.getfixturevalue(strand)
    profile = plot.profile(annotator, variant)
    complement = str.maketrans("ACGT", "TGCA") if strand == "minus" else {}
    for at, base, there in zip(profile.position.tolist(), profile.ref, profile.in_ref.tolist(), strict=True):
        genome = annotator.reference.fetch("chr17", at, at + 1).decode()
        assert base == (genome.translate(complement) if there else "-")
    turn = -1 if strand == "minus" else 1
    shown = "".join(base for base, o in zip(profile.alt, profile.offset, strict=True) if o == 0 and base != "-")
    assert shown == profile.allele.alt[::turn].translate(complement)
    steps = np.diff(profile.position[profile.in_ref])
    assert (steps == turn).all()  # no base left out or doubled
    assert (profile.in_ref.sum(), profile.in_alt.sum()) == (510 + profile.allele.shift, 510)
    assert np.allclose(profile.p_ref[profile.in_ref].sum(axis=1), 1, atol=1e-12)
    assert np.isnan(profile.kl).tolist() == (~profile.paired).tolist()
    assert (profile.kl[profile.paired] >= -1e-12).all()


def test_exons_and_sites_are_those_of_the_gene(minus, plus):
    profile = plot.profile(minus, SNV)
    # Ensembl: ENST00000357654.9, exon 22 of 23 is 17:43047643-43047703 (1-based)
    own = [exon.interval for exon in profile.exons if exon.reported]
    assert [(exon.start, exon.end) for exon in own] == [(43047642, 43047703)]
    assert sorted(profile.position[profile.donor].tolist()) == [43047640, 43047641]
    assert sorted(profile.position[profile.acceptor].tolist()) == [43047703, 43047704]
    assert "".join(np.array(list(profile.ref))[profile.donor]) == "GT"
    assert "".join(np.array(list(profile.ref))[profile.acceptor]) == "AG"
    assert sorted(plot.profile(plus, SNV).position[plot.profile(plus, SNV).acceptor].tolist()) == [43047640, 43047641]


def test_columns_of_a_small_deletion_and_insertion_by_hand():
    deletion = across(Allele("1", 4, "GT", ""), 2, 6, minus=False)  # window 2..8, ALT window reads on to 10
    assert deletion.position.tolist() == [2, 3, 4, 5, 6, 7, 8, 9]
    assert deletion.offset.tolist() == [-2, -1, 0, 0, 1, 2, 3, 4]
    assert deletion.index.tolist() == [0, 1, 2, 3, 2, 3, 4, 5]
    assert deletion.right.tolist() == [False] * 4 + [True] * 4
    assert deletion.in_alt.tolist() == deletion.paired.tolist() == [True, True, False, False, True, True, True, True]
    insertion = across(Allele("1", 4, "", "G"), 2, 6, minus=True)
    assert insertion.in_ref.tolist() == [True, True, True, False, True, True]
    assert insertion.position[insertion.in_ref].tolist() == [6, 5, 4, 3, 2]
    assert insertion.offset.tolist() == [-3, -2, -1, 0, 1, 2]
    assert insertion.index.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_gene_is_chosen_by_symbol_or_id(minus):
    for name in ("BRCA1", "ENSG00000012048", minus.score(SNV).gene.gene_id):
        assert plot.profile(minus, SNV, name).gene.symbol == "BRCA1"
    with pytest.raises(SettingsError, match=r"does not lie in that gene(.|\n)*BRCA1"):
        plot.profile(minus, SNV, "TP53")


def test_a_variant_without_scores_says_why(minus):
    with pytest.raises(SettingsError, match=r"without scores(.|\n)*REF_MISMATCH"):
        plot.profile(minus, "chr17-43047641-G-C")
