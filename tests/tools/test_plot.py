"""Profiles give the scores by the published formulas, and lie where the genome says; pictures show them."""

import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from factories import FASTA, NULL, exon22_genes
from splicebert_vep import Annotator
from splicebert_vep.errors import SettingsError
from splicebert_vep.sequence.windows import across
from splicebert_vep.tools import plot
from splicebert_vep.tools.drawing import OF_SITE, svg
from splicebert_vep.tools.plot import draw
from splicebert_vep_spec import Allele

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
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def minus():
    with Annotator(FASTA, "grch38", device="cpu") as annotator:
        yield annotator


@pytest.fixture(scope="module")
def plus(tmp_path_factory):
    with Annotator(FASTA, exon22_genes(tmp_path_factory.mktemp("genes") / "plus.gff3"), device="cpu") as annotator:
        yield annotator


@pytest.fixture(scope="module")
def null():
    with Annotator(FASTA, backend="null") as annotator:
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
    with pytest.raises(SettingsError, match=r"does not lie in that gene"):
        plot.profile(minus, SNV, "TP53")


def texts(drawing: str) -> list[str]:
    """Every text of an SVG, in the order in which it is drawn."""
    return ["".join(node.itertext()).strip() for node in ElementTree.fromstring(drawing).iter(f"{SVG}text")]


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_plot_writes_the_format_of_the_suffix(run, tmp_path, suffix, magic):
    path = tmp_path / f"x.{suffix}"
    code, out, err = run("plot", SNV, *NULL, "-o", path)
    assert (code, out, f"wrote {path}" in err) == (0, "", True)
    assert path.read_bytes().startswith(magic)


@pytest.mark.parametrize(
    ("variant", "more", "word"),
    [
        (SNV, ["-o", "x.gif"], ".png, .svg, .pdf"),
        (SNV, ["-o", "x.svg", "--gene", "TP53"], "that gene"),
        ("chr17-43047641-G-C", ["-o", "x.png"], "REF_MISMATCH"),
    ],
)
def test_what_cannot_be_drawn_ends_the_command(run, tmp_path, monkeypatch, variant, more, word):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("plot", variant, *NULL, *more)
    assert (code, word in err) == (3, True), err
    assert list(tmp_path.iterdir()) == []


def test_the_picture_says_what_the_scores_say(null):
    profile = plot.profile(null, SNV)
    shown = texts(svg(draw(profile)))
    assert SNV in shown
    [place] = [text for text in shown if text.startswith("BRCA1 (- strand)")]
    assert "intron +2" in place and "donor dinucleotide" in place
    assert f"KL_SS {profile.values['KL_SS']:.4f}" in " ".join(shown)
    assert {"acceptor", "donor", "exon 22", "-100", "+100"} <= set(shown)
    assert any("T>G" in text for text in shown)  # A>C on the forward strand
    assert any("43,047,896 to 43,047,387" in text for text in shown)  # 255 nt before, 254 nt after


def test_words_above_the_picture(null):
    shown = " ".join(texts(svg(draw(plot.profile(null, "chr17-43047644-A-C")))))  # the donor is at 43047641 and 2
    assert "CDS, base 2 from the site" in shown  # not "CDS 2", which reads as the number of an exon
    far = plot.profile(null, "chr17-43047300-A-T")
    shown = " ".join(texts(svg(draw(replace(far, sites=None)))))
    assert "no splice site of the nearest exon in the window" in shown
    assert "KL_SS" not in shown and "donor" not in shown


def test_a_picture_follows_the_scores_and_shows_p_of_both_alleles_at_their_positions(session_cache):
    drawn = {}
    for scores in ("delta", "zero-shot"):
        with Annotator(FASTA, "grch38", device="cpu", scores=(scores,)) as annotator:
            profile = plot.profile(annotator, SNV)
            drawn[scores] = texts(svg(draw(profile)))
            assert (profile.sites is not None) == (scores == "delta")
            if profile.sites is None:
                continue
            result = annotator.score(SNV)
            at = 43047642 - profile.sites.start  # 0-based, the last base of exon 22, whose donor the SNV takes
            before, after = profile.sites.ref[at, 1], profile.sites.aligned()[at, 1]
            assert before - after == pytest.approx(result["DS_DL"], abs=1e-4)
            axes = next(
                axes for part in draw(profile).subfigs for axes in part.axes if "p of a site" in axes.get_ylabel()
            )
            bars = {(round(bar.get_x() + bar.get_width() / 2), bar.get_height() > 0): bar for bar in axes.patches
                    if bar.get_facecolor()[:3] == to_rgb(OF_SITE["donor"])}  # fmt: skip
            assert bars[43047642, True].get_height() == pytest.approx(before)
            assert axes.xaxis_inverted()  # the gene is on -
    assert {"normal", "21", "22", "23"} <= set(drawn["delta"]) and not any("KL" in text for text in drawn["delta"])
    assert "normal" not in drawn["zero-shot"] and any("KL_SS" in text for text in drawn["zero-shot"])


def test_the_letters_under_the_logos_are_the_sequences(null):
    profile = plot.profile(null, "chr17-43047640-TA-T")  # the donor's T goes; 5' to 3' AAG|GT|AAG reads on
    shown = "".join(text for text in texts(svg(draw(profile))) if re.fullmatch("[ACGT-]", text))
    low = int(np.flatnonzero(profile.donor)[0])
    around = slice(low - 10, low + 12)
    assert profile.ref[around] in shown
    assert profile.alt[around] in shown and "-" in profile.alt[around]


@pytest.mark.parametrize("largest", [0.0004, 0.0977, 0.1501, 14.9])
def test_the_label_of_an_axis_stays_inside_the_picture(null, largest):
    profile = plot.profile(null, SNV)
    figure = draw(replace(profile, kl=profile.kl * largest / np.nanmax(profile.kl)))
    figure.draw_without_rendering()
    labels = [axes.yaxis.label for part in figure.subfigs for axes in part.axes]
    assert all(label.get_window_extent().x0 >= 0 for label in labels)


def test_the_same_picture_has_the_same_bytes(null):
    profile = plot.profile(null, SNV)
    assert svg(draw(profile)) == svg(draw(profile))


def test_names_of_a_vcf_are_drawn_as_text_only(null):
    profile = plot.profile(null, SNV)
    hostile = "$\\frac{1}{0}$<script>\x01--></svg>\u4e16"
    drawing = svg(draw(replace(profile, gene=replace(profile.gene, symbol=hostile))))
    assert "<script>" not in drawing
    assert "$\\frac{1}{0}$<script>?--></svg>?" in " ".join(texts(drawing))
