"""Pictures of single variants: as files, and what stands in them."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest

from factories import EXAMPLES
from splicebert_vep import Annotator
from splicebert_vep.tools import plot
from splicebert_vep.tools.drawing import svg
from splicebert_vep.tools.plot import draw

FASTA = EXAMPLES / "brca1.fa.gz"
NULL = ["-R", str(FASTA), "--backend", "null"]
DONOR = "chr17-43047641-A-C"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def annotator(session_cache):
    with Annotator(FASTA, backend="null") as opened:
        yield opened


def texts(drawing: str) -> list[str]:
    """Every text of an SVG, in the order in which it is drawn."""
    return ["".join(node.itertext()).strip() for node in ElementTree.fromstring(drawing).iter(f"{SVG}text")]


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_plot_writes_the_format_of_the_suffix(run, tmp_path, suffix, magic):
    code, out, err = run("plot", DONOR, *NULL, "-o", tmp_path / f"x.{suffix}")
    assert (code, out) == (0, "")
    assert f"wrote {tmp_path / f'x.{suffix}'}" in err
    assert (tmp_path / f"x.{suffix}").read_bytes().startswith(magic)


def test_another_suffix_and_a_variant_without_scores_end_the_command(run, tmp_path):
    code, _, err = run("plot", DONOR, *NULL, "-o", tmp_path / "x.gif")
    assert code == 3
    assert ".png, .svg, .pdf" in err
    code, _, err = run("plot", "chr17-43047641-G-C", *NULL, "-o", tmp_path / "x.png")
    assert code == 3
    assert "REF_MISMATCH" in err
    assert list(tmp_path.iterdir()) == []


def test_the_picture_says_what_the_scores_say(annotator):
    profile = plot.profile(annotator, DONOR)
    shown = texts(svg(draw(profile)))
    assert DONOR in shown
    [place] = [text for text in shown if text.startswith("BRCA1 (- strand)")]
    assert "intron +2" in place and "donor dinucleotide" in place
    assert f"KL_SS {profile.values['KL_SS']:.4f}" in " ".join(shown)
    assert {"acceptor", "donor", "exon", "-100", "+100"} <= set(shown)
    assert any("T>G" in text for text in shown)  # A>C on the forward strand
    assert any("43,047,896 to 43,047,387" in text for text in shown)  # 255 nt before, 254 nt after


def test_a_base_of_an_exon_does_not_read_as_the_number_of_an_exon(annotator):
    shown = " ".join(texts(svg(draw(plot.profile(annotator, "chr17-43047644-A-C")))))  # the donor is at 43047641 and 2
    assert "CDS, base 2 from the site" in shown


def test_a_missing_splice_site_is_said_to_be_missing(annotator):
    shown = " ".join(texts(svg(draw(plot.profile(annotator, "chr17-43047300-A-T")))))
    assert "no splice site of the nearest exon in the window" in shown
    assert "KL_SS" not in shown and "donor" not in shown


def test_the_letters_under_the_logos_are_the_sequences(annotator):
    profile = plot.profile(annotator, "chr17-43047640-TA-T")  # the donor's T goes; 5' to 3' AAG|GT|AAG reads on
    shown = "".join(text for text in texts(svg(draw(profile))) if re.fullmatch("[ACGT-]", text))
    low = int(np.flatnonzero(profile.donor)[0])
    around = slice(low - 10, low + 12)
    assert profile.ref[around] in shown
    assert profile.alt[around] in shown and "-" in profile.alt[around]


@pytest.mark.parametrize("largest", [0.0004, 0.0977, 0.1501, 14.9])
def test_the_label_of_an_axis_stays_inside_the_picture(annotator, largest):
    profile = plot.profile(annotator, DONOR)
    figure = draw(replace(profile, kl=profile.kl * largest / np.nanmax(profile.kl)))
    figure.draw_without_rendering()
    labels = [axes.yaxis.label for part in figure.subfigs for axes in part.axes]
    assert all(label.get_window_extent().x0 >= 0 for label in labels)


def test_the_same_picture_has_the_same_bytes(annotator):
    profile = plot.profile(annotator, DONOR)
    assert svg(draw(profile)) == svg(draw(profile))


def test_names_of_a_vcf_are_drawn_as_text_only(annotator):
    profile = plot.profile(annotator, DONOR)
    hostile = "$\\frac{1}{0}$<script>\x01--></svg>\u4e16"
    drawing = svg(draw(replace(profile, gene=replace(profile.gene, symbol=hostile))))
    assert "<script>" not in drawing
    assert "$\\frac{1}{0}$<script>?--></svg>?" in " ".join(texts(drawing))


def test_a_gene_is_chosen(run, tmp_path):
    assert run("plot", DONOR, *NULL, "--gene", "BRCA1", "-o", tmp_path / "x.svg")[0] == 0
    code, _, err = run("plot", DONOR, *NULL, "--gene", "TP53", "-o", tmp_path / "x.svg")
    assert code == 3
    assert "does not lie in that gene" in err
