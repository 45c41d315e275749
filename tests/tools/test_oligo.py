"""Oligos: every number is that of a window read apart, on either strand, and nothing is ranked by mistake."""

import math
import random
import re
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from oracle import VOCAB, log_p, random_transformers, revcomp
from oracle import run as oracle_run
from splicebert_vep import Annotator, Settings, oligos_of
from splicebert_vep.errors import BackendError, BuildError, SettingsError
from splicebert_vep.model.bert import BertConfig
from splicebert_vep.model.classifier import Classifier, FineTuned, save_classifier
from splicebert_vep.model.tuned import SPLICE_LABELS as LABELS
from splicebert_vep.model.tuned import SPLICE_SITES as TASK
from splicebert_vep.model.tuned import WindowSpliceModel
from splicebert_vep.tools import oligo as tool
from splicebert_vep.tools.oligo import COLUMNS, count_occurrences, longest_stem, self_complementarity
from splicebert_vep.tools.oligo_picture import draw_oligos, mean_change
from splicebert_vep_spec import BackendOptions, SpliceModel, SpliceModelInfo

LENGTH, WIDTH = 1200, 120
#: Exons of the gene, 0-based half-open; the second has AG before it and GT behind it.
EXONS = ((200, 280), (500, 560), (900, 1000))
START, END = EXONS[1]
EXON, REGION = "c1:501-560", "c1:471-590"
HEAD = "##gff-version 3\n"
GENE = "c1\tx\tgene\t{first}\t{last}\t.\t{strand}\t.\tID=gene:{id};gene_id={id};Name={id}NAME;biotype=protein_coding\n"
MRNA = (
    "c1\tx\tmRNA\t{first}\t{last}\t.\t{strand}\t.\tID=transcript:{id}T;Parent=gene:{id};transcript_id={id}T;version=2\n"
)
PART = "c1\tx\texon\t{first}\t{last}\t.\t{strand}\t.\tParent=transcript:{id}T\n"
FEW = {"lengths": (15, 16), "step": 3, "off_targets": False}


def gff(strand="+", name="G", exons=EXONS, mirrored=False):
    if mirrored:
        exons = tuple((LENGTH - end, LENGTH - start) for start, end in exons)[::-1]
    first, last = exons[0][0] + 1, exons[-1][1]
    text = (GENE + MRNA).format(first=first, last=last, strand=strand, id=name)
    return text + "".join(PART.format(first=a + 1, last=b, strand=strand, id=name) for a, b in exons)


@pytest.fixture(scope="module")
def model():
    return random_transformers()


@pytest.fixture(scope="module")
def genome():
    random.seed(11)
    bases = "".join(random.choices("ACGT", k=LENGTH))
    return bases[: START - 2] + "AG" + bases[START:END] + "GT" + bases[END + 2 :]


@pytest.fixture(scope="module")
def work(tmp_path_factory, model, genome):
    """A folder with a checkpoint, a FASTA and its genes, and both for the other strand."""
    folder = tmp_path_factory.mktemp("oligo")
    model.save_pretrained(folder / "model")
    (folder / "c.fa").write_text(f">c1\n{genome}\n")
    (folder / "other.fa").write_text(f">c1\n{revcomp(genome)}\n")
    (folder / "genes.gff3").write_text(HEAD + gff())
    (folder / "other.gff3").write_text(HEAD + gff("-", mirrored=True))
    return folder


def opened(work, fasta="c.fa", genes="genes.gff3", width=WIDTH, batch_tokens=None, **options):
    settings = Settings(window=width, flank=10, batch_tokens=batch_tokens)
    options = {"model": work / "model", "device": "cpu"} | options
    return Annotator(work / fasta, work / genes, settings=settings, **options)


def edited(work, name, text):
    (work / name).write_text(f">c1\n{text}\n")
    return name


@pytest.fixture(scope="module")
def annotator(work):
    with opened(work) as annotator:
        yield annotator


@pytest.fixture(scope="module")
def found(annotator):
    return oligos_of(annotator, exon=EXON, region=REGION, **FEW)


def by_place(found):
    return {(oligo.start, oligo.end): oligo for oligo in found.oligos}


def expected_log_p(model, genome, site, window, tile=None):
    """Return the sum of ln p of the two bases from ``site``, both masked, with a tile of the window masked too."""
    low, high = window
    masked = {site - low, site + 1 - low}
    if tile:
        masked |= set(range(tile[0] - low, tile[1] - low))
    logp = log_p(oracle_run(model, genome[low:high], tuple(masked))[0])
    return sum(logp[at - low, "ACGT".index(genome[at])] for at in (site, site + 1))


#: First intronic nt of each site and its window: (120 - 2) // 2 = 59 nt before it.
SITES = {"acceptor": (498, (439, 559)), "donor": (560, (501, 621))}


def test_every_change_is_that_of_a_window_read_apart(model, genome, found):
    seen = set()
    for kind, (site, window) in SITES.items():
        whole = expected_log_p(model, genome, site, window)
        [of_site] = [one for one in found.sites if one.site.kind == kind]
        assert of_site.log_p == pytest.approx(whole, abs=1e-4)
        assert of_site.window == window
        for oligo in found.oligos[::5]:
            inside = window[0] <= oligo.start and oligo.end <= window[1]
            assert (kind in oligo.changes) == inside
            if inside:
                hidden = expected_log_p(model, genome, site, window, (oligo.start, oligo.end))
                assert oligo.changes[kind].log_p == pytest.approx(hidden - whole, abs=1e-4)
                assert oligo.changes[kind].p == pytest.approx(math.exp(hidden) - math.exp(whole), abs=1e-5)
                seen.add((kind, oligo.own_site))
    assert {("acceptor", None), ("donor", None), ("acceptor", "acceptor"), ("donor", "donor")} <= seen


def test_every_kmer_of_the_region_is_there_once(genome, found):
    expected = [(at, at + k) for k in (15, 16) for at in range(470, 590 - k + 1, 3)]
    assert sorted(by_place(found)) == sorted(expected) and len(found) == len(expected)
    for (start, end), oligo in by_place(found).items():
        assert oligo.target == genome[start:end] and oligo.sequence == revcomp(genome[start:end])
        assert oligo.gc == sum(base in "GC" for base in oligo.target) / len(oligo)
        assert oligo.off_targets is None


def test_what_touches_the_two_intronic_bases_or_the_exons_edge_is_not_ranked(found):
    for oligo in found.oligos:
        touched = [
            kind
            for kind, bases in (("acceptor", {498, 499, 500}), ("donor", {559, 560, 561}))
            if bases & set(range(oligo.start, oligo.end))
        ]
        assert oligo.own_site == ("&".join(touched) or None)
        assert (oligo.status, oligo.rank is None) == (("OWN_SITE", True) if touched else ("OK", False))
        assert oligo.changes and oligo.effect is not None  # listed with its numbers all the same
    places = by_place(found)
    assert places[(482, 497)].rank and not places[(485, 500)].rank


def test_the_sums_are_over_the_sites_that_have_a_value_and_the_largest_fall_is_first(found):
    ranked = [oligo for oligo in found.oligos if oligo.rank]
    assert [oligo.rank for oligo in ranked] == list(range(1, len(ranked) + 1))
    assert list(found.oligos[: len(ranked)]) == ranked
    effects = [oligo.effect for oligo in ranked]
    assert effects == sorted(effects, reverse=True) and effects[0] > 0 > effects[-1]
    for oligo in found.oligos:
        assert oligo.log_p == pytest.approx(sum(one.log_p for one in oligo.changes.values()))
        assert oligo.effect == pytest.approx(-oligo.log_p)
    both = [oligo for oligo in found.oligos if len(oligo.changes) == 2]
    assert 0 < len(both) < len(found)


def test_to_include_an_exon_the_largest_rise_is_first(annotator, found):
    turned = oligos_of(annotator, exon=EXON, region=REGION, goal="include", **FEW)
    one, other = ([(o.start, o.end) for o in x.oligos if o.rank] for x in (found, turned))
    assert one == other[::-1]
    assert turned.oligos[0].effect == pytest.approx(turned.oligos[0].log_p)


def test_the_other_strand_gives_the_same(work, found, genome):
    with opened(work, "other.fa", "other.gff3") as annotator:
        turned = oligos_of(annotator, exon="c1:641-700", region="c1:611-730", **FEW)
    assert turned.aim.strand == "-"
    assert len(turned) == len(found)
    for one, other in zip(found.oligos, turned.oligos, strict=True):
        assert (other.start, other.end) == (LENGTH - one.end, LENGTH - one.start)
        for name in ("rank", "status", "target", "sequence", "region", "own_site", "offsets", "gc", "hairpin"):
            assert getattr(one, name) == getattr(other, name), name
        for kind, change in one.changes.items():
            assert change.log_p == pytest.approx(other.changes[kind].log_p, abs=1e-5)
    assert turned.position.tolist() == [LENGTH - 1 - at for at in found.position.tolist()]
    assert np.allclose(mean_change(found, "donor"), mean_change(turned, "donor"), atol=1e-5, equal_nan=True)
    shown = [
        [axes.images[0].get_array().filled(9) for axes in draw_oligos(x).axes if axes.images] for x in (found, turned)
    ]
    assert np.allclose(shown[0][0], shown[1][0], atol=1e-5)


def test_the_batch_changes_nothing(work, found):
    with opened(work, batch_tokens=1) as annotator:
        alone = oligos_of(annotator, exon=EXON, region=REGION, **FEW)
    for place, oligo in by_place(alone).items():
        assert oligo.log_p == pytest.approx(by_place(found)[place].log_p, abs=1e-4)


def test_offsets_have_no_zero_and_region_words_run_with_the_transcript(annotator, work):
    for fasta, genes, exon, region in (
        ("c.fa", "genes.gff3", EXON, "c1:486-575"), ("other.fa", "other.gff3", "c1:641-700", "c1:626-715"),
    ):  # fmt: skip
        with opened(work, fasta, genes) as opened_one:
            found = oligos_of(opened_one, exon=exon, region=region, lengths=(15, 15), off_targets=False)
        of = {oligo.offsets["acceptor"]: (oligo.offsets["donor"], oligo.region) for oligo in found.oligos}
        assert of[(-15, -1)] == ((-75, -61), "upstream")
        assert of[(-14, 1)] == ((-74, -60), "upstream&exon")
        assert of[(1, 15)] == ((-60, -46), "exon")
        assert of[(46, 60)] == ((-15, -1), "exon")
        assert of[(47, 61)] == ((-14, 1), "exon&downstream")
        assert of[(61, 75)] == ((1, 15), "downstream")
        assert len(of) == 76


class Share(SpliceModel):
    """A splice-site model whose p(donor) is half the share of bases that are seen around a nucleotide.

    p(acceptor) is a quarter of it.

    Args:
        farthest: nt from a hidden stretch that answers can be asked for.
    """

    name, version, reach = "share", "1", 60
    info = SpliceModelInfo("share 1", "0" * 64, "none", "none", "Measured: a share.", "cpu")

    def __init__(self, farthest=5000):
        self.within = farthest

    def takes(self, edit):
        return max(edit.left, edit.right) <= self.within

    def along(self, tokens):
        seen = np.array([(tokens[at : at + 121] != 4).mean() for at in range(len(tokens) - 120)])
        return np.stack([seen / 4, seen / 2], axis=1)

    def alternatives(self, tokens, edits):
        found = []
        for edit in edits:
            hidden = tokens.copy()
            hidden[edit.start : edit.end] = edit.bases
            there = slice(edit.start - edit.left - 60, edit.end + edit.right + 60)
            found.append((self.along(tokens[there]), self.along(hidden[there])))
        return found


#: The exon's nucleotide beside each site, and the p of the kind where all bases are seen.
EDGES = {"acceptor": (START, 0.25), "donor": (END - 1, 0.5)}


def by_share(oligo, kind):
    """How much p changes when an oligo hides some of the 121 bases around the exon's nucleotide."""
    edge, p = EDGES[kind]
    return -p * max(0, min(oligo.end, edge + 61) - max(oligo.start, edge - 60)) / 121


def test_a_splice_model_is_asked_at_the_exons_edges_and_nothing_of_the_site_is_hidden_from_it(annotator, found):
    asked = oligos_of(annotator, exon=EXON, region=REGION, splice_model=Share(), **FEW)
    assert [one.head for one in asked.sites] == [0.25, 0.5]
    assert asked.measure == "head"
    for oligo in asked.oligos:
        expected = {kind: by_share(oligo, kind) for kind in oligo.changes}
        assert {kind: one.head for kind, one in oligo.changes.items()} == pytest.approx(expected)
        assert oligo.head == pytest.approx(sum(expected.values())) and oligo.effect == pytest.approx(-oligo.head)
        assert oligo.log_p == pytest.approx(by_place(found)[(oligo.start, oligo.end)].log_p, abs=1e-5)
    by_zero_shot = oligos_of(annotator, exon=EXON, region=REGION, splice_model=Share(), measure="zero-shot", **FEW)
    assert [o.start for o in by_zero_shot.oligos if o.rank] == [o.start for o in found.oligos if o.rank]


def test_on_the_other_strand_a_splice_model_is_asked_at_the_same_nucleotides(work):
    with opened(work, "other.fa", "other.gff3") as annotator:
        place, region = (f"c1:{LENGTH - end + 1}-{LENGTH - start + 1}" for start, end in ((501, 560), (471, 590)))
        asked = oligos_of(annotator, exon=place, region=region, splice_model=Share(), **FEW)
    for oligo in asked.oligos:
        mirrored = SimpleNamespace(start=LENGTH - oligo.end, end=LENGTH - oligo.start)
        for kind, change in oligo.changes.items():
            assert change.head == pytest.approx(by_share(mirrored, kind)), (kind, oligo)


def test_what_a_splice_model_does_not_take_has_no_value(annotator):
    asked = oligos_of(annotator, exon=EXON, region=REGION, splice_model=Share(30), **FEW)
    for oligo in asked.oligos:
        inside = {
            kind
            for kind, (edge, _) in EDGES.items()
            if max(oligo.start - edge, edge - oligo.end + 1) <= 30
            and SITES[kind][1][0] <= oligo.start and oligo.end <= SITES[kind][1][1]
        }  # fmt: skip
        assert set(oligo.changes) == inside
        assert (oligo.status == "OUTSIDE_WINDOW") == (not inside)
        assert oligo.status != "OUTSIDE_WINDOW" or oligo.rank is oligo.effect is oligo.log_p is None


@pytest.fixture
def head(tmp_path):
    """A splice-site model of random weights, with a window of 310 nt, and its folder."""
    torch.manual_seed(2)
    network = Classifier(BertConfig(10, 16, 1, 2, 32, 312, 2, 1e-12, 310), 3)
    torch.nn.init.normal_(network.classifier.weight, std=2.0)
    folder = tmp_path / "head"
    save_classifier(network, FineTuned(TASK, LABELS, 310, False, "random", "none"), folder)
    return network.eval(), folder


def test_a_model_of_windows_is_read_as_it_answers_to_windows_around_the_stretch(annotator, genome, head):
    network, folder = head
    model = WindowSpliceModel.open(BackendOptions(str(folder), "cpu"))
    asked = oligos_of(annotator, exon=EXON, region=REGION, splice_model=model, **FEW)
    for kind, (edge, _) in EDGES.items():
        for oligo in [oligo for oligo in asked.oligos if kind in oligo.changes][::7]:
            low = oligo.start - (310 - len(oligo)) // 2
            ids = [2, *(5 + VOCAB.index(base) for base in genome[low : low + 310]), 3]
            hidden = ids.copy()
            hidden[oligo.start - low + 1 : oligo.end - low + 1] = [4] * len(oligo)
            with torch.no_grad():
                p = torch.softmax(network(torch.tensor([ids, hidden])), -1)[:, edge - low]
            change = p[1] - p[0]
            assert oligo.changes[kind].head == pytest.approx(float(change[1 if kind == "acceptor" else 2]), abs=1e-5)


@pytest.mark.parametrize(("number", "kind", "place"), [(1, "donor", "c1:201-280"), (3, "acceptor", "c1:901-1000")])
def test_a_terminal_exon_has_one_site(annotator, number, kind, place):
    numbered = oligos_of(annotator, exon=number, gene="GNAME", **FEW)
    placed = oligos_of(annotator, exon=place, **FEW)
    assert [one.site.kind for one in numbered.sites] == [kind]
    assert [o.log_p for o in numbered.oligos] == [o.log_p for o in placed.oligos]
    assert all(set(oligo.changes) <= {kind} for oligo in numbered.oligos)
    assert numbered.region.end - numbered.region.start == 300 + EXONS[number - 1][1] - EXONS[number - 1][0]


def test_exons_are_counted_along_the_transcript(work):
    with opened(work, "other.fa", "other.gff3") as annotator:
        for name in ("G", "GNAME", "GT.2"):
            first = oligos_of(annotator, exon="1", gene=name, **FEW)
            assert (first.aim.exon.start, first.aim.exon.end) == (LENGTH - 280, LENGTH - 200)
            assert [one.site.kind for one in first.sites] == ["donor"]


def test_a_tile_over_n_has_no_values_and_n_elsewhere_is_told(work, genome):
    fasta = edited(work, "n.fa", genome[:520] + "n" + genome[521:])
    with opened(work, fasta) as annotator:
        found = oligos_of(annotator, exon=EXON, region=REGION, lengths=(15, 16), step=3)
    for oligo in found.oligos:
        over = oligo.start <= 520 < oligo.end
        assert (oligo.status == "N_IN_TARGET") == over
        if over:
            assert (oligo.rank, oligo.sequence, oligo.effect, oligo.gc, oligo.hairpin, oligo.off_targets) == (None,) * 6
            assert oligo.changes == {} and "N" in oligo.target and oligo.outside == ()
        else:
            assert oligo.off_targets == 0
    assert [text for text in found.warnings if "1 nt of the window" in text]


@pytest.mark.parametrize("at", [498, 500, 561])
def test_n_in_a_site_is_refused(work, genome, at):
    with (
        opened(work, edited(work, f"n{at}.fa", genome[:at] + "N" + genome[at + 1 :])) as annotator,
        pytest.raises(SettingsError, match=r"of the splice site is not known"),
    ):
        oligos_of(annotator, exon=EXON, **FEW)


def test_an_exon_shorter_than_a_tile(annotator):
    found = oligos_of(annotator, exon="c1:531-540", strand="+", around=20, lengths=(15, 20), off_targets=False)
    words = {(o.own_site, o.region) for o in found.oligos}
    assert ("acceptor&donor", "upstream&exon&downstream") in words
    assert all(o.rank is None for o in found.oligos if o.own_site)
    assert {o.region for o in found.oligos if o.rank} == {"upstream", "downstream"}
    assert found.aim.gene is None and draw_oligos(found).axes
    assert [text for text in found.warnings if "not GT" in text or "not AG" in text]  # random bases


def test_a_region_wider_than_the_window(annotator):
    found = oligos_of(annotator, exon=EXON, region="c1:301-700", lengths=(20, 20), step=20, off_targets=False)
    for oligo in found.oligos:
        inside = [kind for kind, (_, (low, high)) in SITES.items() if low <= oligo.start and oligo.end <= high]
        assert list(oligo.changes) == inside
        assert list(oligo.outside) == [kind for kind in SITES if kind not in inside]
        assert (oligo.status == "OUTSIDE_WINDOW") == (not inside)
    assert {o.status for o in found.oligos} == {"OK", "OWN_SITE", "OUTSIDE_WINDOW"}
    assert found.oligos[-1].rank is None and draw_oligos(found).axes
    with pytest.raises(SettingsError, match=r"No oligo of the region lies in the window"):
        oligos_of(annotator, exon=EXON, region="c1:701-800", **FEW)


def test_at_a_contigs_end_window_and_region_are_moved_and_cut(annotator, model, genome):
    found = oligos_of(annotator, exon="c1:21-60", strand="+", lengths=(15, 15), step=30, off_targets=False)
    assert (found.region.start, found.region.end) == (0, 210)
    acceptor = found.sites[0]
    assert acceptor.window == (0, 120)
    assert acceptor.log_p == pytest.approx(expected_log_p(model, genome, 18, (0, 120)), abs=1e-4)
    with pytest.raises(SettingsError, match="reaches beyond its contig"):
        oligos_of(annotator, exon="c1:2-60", strand="+", **FEW)
    with pytest.raises(SettingsError, match="reaches beyond its contig"):
        oligos_of(annotator, site="c1:1199", kind="donor", strand="+", **FEW)


def test_a_contig_shorter_than_the_window_is_read_whole(work, genome, annotator):
    with opened(work, edited(work, "short.fa", genome[450:550]), width=200) as short:
        found = oligos_of(short, site="c1:51", kind="acceptor", strand="+", **FEW)
        assert found.sites[0].window == (0, 100)
        # p(acceptor) of the base at index 50 of 100: of the 60 before it and behind it some are N, which Share sees
        asked = oligos_of(short, site="c1:51", kind="acceptor", strand="+", splice_model=Share(), **FEW)
        assert asked.sites[0].head == 0.25


@pytest.mark.parametrize(("strand", "fasta", "position"), [("+", "c.fa", 560), ("-", "other.fa", LENGTH - 560 + 1)])
def test_a_single_site_is_told_by_the_exons_nucleotide_beside_the_intron(work, found, strand, fasta, position):
    with opened(work, fasta) as annotator:
        blocked = oligos_of(annotator, site=f"c1:{position}", kind="donor", strand=strand, around=60, **FEW)
    assert (blocked.goal, blocked.sites[0].bases, blocked.aim.exon) == ("block", "GT", None)
    [donor] = [one for one in found.sites if one.site.kind == "donor"]
    assert blocked.sites[0].log_p == pytest.approx(donor.log_p, abs=1e-5)
    assert {o.region for o in blocked.oligos if o.rank} == {"upstream", "downstream"}
    assert {o.region for o in blocked.oligos if o.own_site} <= {"upstream", "upstream&downstream", "downstream"}
    assert draw_oligos(blocked).axes


def test_the_strand_of_a_site_is_the_annotations(annotator):
    assert oligos_of(annotator, site="c1:560", kind="donor", **FEW).aim.strand == "+"
    other = oligos_of(annotator, site="c1:560", kind="donor", strand="-", **FEW)
    assert "the annotation has genes on the other strand only at c1:560" in other.warnings
    assert [text for text in other.warnings if "see that position, kind and strand are right" in text]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "one exon or one splice site"),
        ({"exon": EXON, "site": "c1:560", "kind": "donor"}, "one exon or one splice site"),
        ({"site": "c1:560"}, "one exon or one splice site"),
        ({"site": "c1:550-560", "kind": "donor"}, "one position"),
        ({"site": "c1:560", "kind": "branchpoint"}, r"unknown word"),
        ({"site": "c1:100", "kind": "donor"}, r"no gene there"),
        ({"exon": EXON, "strand": "-"}, r"on the other strand"),
        ({"exon": "c1:501-559"}, r"no exon with these ends"),
        ({"exon": EXON, "gene": "TP53"}, r"No gene of that name lies there"),
        ({"exon": "c9:1-20"}, "no such contig"),
        ({"exon": EXON, "region": "c1:1100-1300"}, "beyond its contig"),
        ({"exon": EXON, "region": "c1:500-510"}, r"shorter than an oligo"),
        ({"exon": "2"}, "needs a gene"),
        ({"exon": "4", "gene": "G"}, r"no exon of that number"),
        ({"exon": "2", "gene": "TP53"}, "no such gene"),
        ({"exon": "2", "gene": "G", "strand": "-"}, "on the other strand"),
        ({"exon": EXON, "goal": "block"}, r"goal does not fit"),
        ({"exon": EXON, "measure": "head"}, r"ranked by that"),
        ({"exon": EXON, "lengths": (14, 20)}, "from 15 to 30"),
        ({"exon": EXON, "lengths": (20, 31)}, "from 15 to 30"),
        ({"exon": EXON, "step": 0}, "step of 1 nt or more"),
    ],
)  # fmt: skip
def test_what_cannot_be_met_says_why(annotator, asked, message):
    with pytest.raises(SettingsError, match=message):
        oligos_of(annotator, **{**FEW, **asked})


def test_too_long_a_region_and_another_contig_are_refused(work, genome):
    (work / "two.fa").write_text(f">c1\n{genome}\n>c2\n{'ACGT' * 1500}\n")
    with opened(work, "two.fa") as annotator:
        with pytest.raises(SettingsError, match=r"different contigs"):
            oligos_of(annotator, exon=EXON, region="c2:1-100", **FEW)
        with pytest.raises(SettingsError, match=r"region is too long"):
            oligos_of(annotator, exon="c2:3001-3004", strand="+", around=2999, **FEW)


@pytest.mark.parametrize(
    ("genes", "error", "word"),
    [
        (gff() + gff("-", name="M"), SettingsError, "both strands"),
        (gff(exons=((500, 560),)), SettingsError, "no splice site"),
        ("##sequence-region c1 1 1300\n" + gff(), BuildError, None),
    ],
)
def test_an_annotation_that_cannot_tell_the_exon(work, genes, error, word):
    (work / "mine.gff3").write_text(HEAD + genes)
    with opened(work, genes="mine.gff3") as annotator:
        with pytest.raises(error, match=word):
            oligos_of(annotator, exon=EXON, **FEW)
        if word == "both strands":
            assert oligos_of(annotator, exon=EXON, strand="-", **FEW).aim.gene.gene_id == "M"
            assert oligos_of(annotator, exon=EXON, gene="MNAME", **FEW).aim.strand == "-"
        if error is BuildError:  # nothing of the annotation is used
            assert oligos_of(annotator, exon="c1:601-640", strand="+", **FEW).aim.gene is None


def test_a_model_that_fails_or_answers_nonsense_ends_the_run(annotator, monkeypatch):
    class Broken(Share):
        def along(self, tokens):
            return super().along(tokens) * np.nan

    with pytest.raises(BackendError, match="not finite"):
        oligos_of(annotator, exon=EXON, splice_model=Broken(), **FEW)

    def fails(*_):
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(annotator.backend, "forward", fails)
    with pytest.raises(BackendError, match=r"The model failed"):
        oligos_of(annotator, exon=EXON, **FEW)


def occurrences(contigs, sequence):
    """Count by regular expression, overlaps too: places of the sequence and of its other strand."""
    return sum(len(re.findall(f"(?={one})", text.upper())) for one in {sequence, revcomp(sequence)} for text in contigs)


@pytest.mark.parametrize("chunk", [17, 64, 1 << 20])
def test_other_places_are_those_of_a_regular_expression(work, chunk, monkeypatch):
    random.seed(4)
    palindrome = "ACGGATCCGTAATTACGGATCCGT"
    assert palindrome == revcomp(palindrome)
    bases = "".join(random.choices("ACGT", k=300))
    repeat = bases[100:130]
    contigs = [
        bases + repeat.lower() + "N" + revcomp(repeat) + "A" * 60 + palindrome,
        repeat[:20] + "N" + repeat[20:] + palindrome + "ACACACACACACACACACACACACACAC" + bases[:11],
        bases[:5],
        "N" * 50,
    ]
    (work / "many.fa").write_text("".join(f">c{i}\n{text}\n" for i, text in enumerate(contigs)))
    monkeypatch.setattr(tool, "_CHUNK", chunk)
    wanted = [text[at : at + k] for text in contigs for k in (15, 16, 23, 24, 30) for at in range(len(text) - k + 1)]
    wanted = sorted({one.upper() for one in wanted if "N" not in one})
    seen = []
    with opened(work, "many.fa") as annotator:
        counts = count_occurrences(wanted, annotator.reference, lambda *told: seen.append(told))
    assert counts == [occurrences(contigs, one) for one in wanted]
    # the palindrome begins with an A
    assert (counts[wanted.index(palindrome)], counts[wanted.index("A" * 30)]) == (2, 32)
    assert seen[-1] == ("megabases of the FASTA searched", 0, 1)


def test_its_own_place_is_not_counted(work, genome):
    copy = genome[505:535]
    (work / "copies.fa").write_text(f">c1\n{genome}\n>c2\nTT{copy}TT{revcomp(copy)}\n")
    with opened(work, "copies.fa") as annotator:
        found = oligos_of(annotator, exon=EXON, region=REGION, lengths=(15, 30), step=5)
    contigs = [genome, f"TT{copy}TT{revcomp(copy)}"]
    assert {oligo.off_targets for oligo in found.oligos} >= {0, 2}
    for oligo in found.oligos:
        assert oligo.off_targets == occurrences(contigs, oligo.target) - 1


def test_self_complementarity_and_stems_are_those_of_every_pair_of_stretches():
    random.seed(9)
    for _ in range(150):
        text = "".join(random.choices("ACGT", k=random.randint(15, 30)))
        any_two, stems = 0, 0
        for k in range(1, len(text) + 1):
            for i in range(len(text) - k + 1):
                for j in range(len(text) - k + 1):
                    if text[j : j + k] == revcomp(text[i : i + k]):
                        any_two = max(any_two, k)
                        stems = max(stems, k if j - (i + k) >= 3 else 0)
        assert (self_complementarity(text), longest_stem(text)) == (any_two, stems), text
    assert (self_complementarity("GGGGAAAACCCC"), longest_stem("GGGGAAAACCCC")) == (4, 4)
    assert longest_stem("GGGGAACCCC") == 3  # two bases between: the fourth pair would make the loop too small
    assert (self_complementarity("GAATTC"), longest_stem("GAATTC")) == (6, 1)  # a palindrome pairs with its copy
    assert self_complementarity("AAAAAAAAAAAAAAA") == longest_stem("AAAAAAAAAAAAAAA") == 0


def words(work, *more):
    return ("oligo", "-R", work / "c.fa", "-A", work / "genes.gff3", "--model", work / "model", "--device", "cpu",
            "--window", WIDTH, "--length", "15-16", "--step", 3, "--splice-model", "none", *more)  # fmt: skip


def test_the_command_writes_what_the_function_returns(run, work, tmp_path, found):
    code, out, err = run(*words(work, "--exon", EXON, "--region", REGION))
    assert code == 0, err
    assert "exon c1:501-560, to skip: 71 oligos" in err and "splicebert-vep:" not in out
    told = dict(line[3:].split("=", 1) for line in out.splitlines() if line.startswith("## "))
    assert (told["Goal"], told["RankedBy"], told["Lengths"], told["Region"]) == ("skip", "zero-shot", "15-16", REGION)
    assert told["Acceptor"].startswith("c1:499-500, AG, ln p ") and told["SpliceModel"] == "none"
    head, *lines = (line.split("\t") for line in out.splitlines() if not line.startswith("##"))
    assert head == [name for name, _ in COLUMNS]
    assert {len(line) for line in lines} == {len(head)} and len(lines) == len(found)
    table = tmp_path / "oligos.parquet"
    code, out, err = run(*words(work, "--exon", EXON, "--region", REGION, "-o", table, "--picture", tmp_path / "o.svg"))
    assert (code, out) == (0, ""), err
    read = pq.read_table(table)
    assert b"WeightsSHA256" in read.schema.metadata
    for line, row, oligo in zip(lines, read.to_pylist(), found.oligos, strict=True):
        assert [row[name] for name in ("RANK", "STATUS", "START", "END", "OLIGO", "GC", "OFF_TARGETS", "DHEAD")] == [
            oligo.rank, oligo.status, oligo.start + 1, oligo.end, oligo.sequence, oligo.gc, 0, None,
        ]  # fmt: skip
        assert row["DLNP"] == pytest.approx(oligo.log_p, abs=1e-5) and row["N_SITES"] == len(oligo.changes)
        assert row["OUTSIDE"] == (None if len(oligo.changes) == 2 else "donor" if oligo.start < 501 else "acceptor")
        first, last = oligo.offsets["donor"]
        assert row["DONOR_OFFSET"] == f"{first:+}..{last:+}"
        for value, cell in zip(row.values(), line, strict=True):  # the TSV shows the same
            if isinstance(value, float):
                assert float(cell) == pytest.approx(value, abs=6e-5)
            else:
                assert cell.removeprefix("'") == ("" if value is None else str(value))  # +76..+90 is no formula
    assert "middle of the oligo" in (tmp_path / "o.svg").read_text()


def test_the_command_takes_a_splice_site_model_and_ranks_by_it(run, work, annotator, head):
    _, folder = head
    code, out, err = run(*words(work, "--exon", EXON, "--region", REGION, "--no-off-target", "--splice-model", folder))
    assert code == 0, err
    told = dict(line[3:].split("=", 1) for line in out.splitlines() if line.startswith("## "))
    assert (told["RankedBy"], told["SpliceModel"]) == ("head", "head")
    assert f"splice-site model head, {told['SpliceModelSHA256'][:12]}; quality not measured" in err, err
    model = WindowSpliceModel.open(BackendOptions(str(folder), "cpu"))
    asked = oligos_of(annotator, exon=EXON, region=REGION, splice_model=model, **FEW)
    names, *lines = (line.split("\t") for line in out.splitlines() if not line.startswith("##"))
    rank, head_change = names.index("RANK"), names.index("DHEAD")
    assert [line[rank] for line in lines] == [str(oligo.rank or "") for oligo in asked.oligos]
    for line, oligo in zip(lines, asked.oligos, strict=True):
        assert float(line[head_change] or "nan") == pytest.approx(oligo.head or math.nan, abs=6e-5, nan_ok=True)


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--exon", EXON, "-o", "x.csv"], 3, ".tsv, .parquet"),
        (["--exon", EXON, "-o", "x.tsv", "--picture", "./x.tsv"], 3, "same place"),
        (["--exon", EXON, "-o", "nowhere/x.tsv"], 5, "could not be written"),
        (["--exon", EXON, "--length", "20-"], 2, "--length takes"),
        (["--exon", EXON, "--splice-model", "nowhere"], 3, "nowhere"),
    ],
)  # fmt: skip
def test_what_cannot_be_met_ends_the_command_and_leaves_nothing(run, work, tmp_path, monkeypatch, more, code, message):
    monkeypatch.chdir(tmp_path)
    ended, out, err = run(*words(work, *more))
    assert (ended, out) == (code, ""), err
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_the_picture_shows_the_ranked_changes_in_their_cells(found):
    heat = next(axes for axes in draw_oligos(found).axes if axes.get_ylabel() == "length, nt")
    shown = heat.images[0].get_array().filled(np.nan)
    for oligo in found.oligos:
        middle = (oligo.start + oligo.end - 1) // 2 - 470
        cell = shown[len(oligo) - 15, middle]
        assert math.isnan(cell) if oligo.rank is None else cell == pytest.approx(oligo.log_p)
    covering = [
        o.changes["donor"].log_p for o in found.oligos if o.rank and o.start <= 530 < o.end and "donor" in o.changes
    ]
    assert mean_change(found, "donor")[60] == pytest.approx(sum(covering) / len(covering))
