"""Tracks hold the probabilities behind delta scores, and nothing where there are none."""

import base64
import gzip
import json
import re
import shutil
import subprocess
import sys

import pyBigWig
import pytest

from factories import FASTA, REACH, Point, StandIn, mixed, plugin, reverse_complement
from splicebert_vep import Annotator
from splicebert_vep.errors import SettingsError
from splicebert_vep.plugins import load_plugins
from splicebert_vep.tools import tracks as module
from splicebert_vep.tools.tracks import Tracks, save, track_names, ucsc_name

KINDS = ("acceptor", "donor")
# An SNV at a donor of BRCA1; an insertion and a deletion in repeats, as bcftools norm writes them and padded.
VARIANTS = [
    "chr17-43047641-A-C", "chr17-43045922-A-AT", "chr17-43045940-T-TT", "chr17-43067617-TAAC-T",
    "chr17-43067613-TTCATAACAA-TTCATAA", "chr17-43045061-CC-TT",
]  # fmt: skip


class GeneOnly(StandIn):
    """A stand-in that was made for N outside of the gene."""

    name, sees_gene_only = "gene-only", True


@pytest.fixture
def opened(install):
    """Open an annotator with a stand-in as its splice-site model; close all at the end."""
    install(Point("mine", plugin(register_splice_models=lambda: [StandIn, GeneOnly])))
    made = []

    def put(model="stand-in"):
        plugins = load_plugins()
        made.append(Annotator(FASTA, backend="null", scores="delta,POS_AG,POS_AL,POS_DG,POS_DL", splice_model=model,
                              plugins=plugins))  # fmt: skip
        return made[-1], Tracks(made[-1])

    yield put
    for annotator in made:
        annotator.close()


def read(path, contig="chr17"):
    """Values of a bigWig by 0-based position."""
    with pyBigWig.open(str(path)) as file:
        return {at + i: value for at, end, value in file.intervals(contig) for i in range(end - at)}


def written(tracks, asked, target, **options):
    """Write tracks; return the values of each bigWig by kind and side."""
    save(tracks, asked, str(target), **options)
    return {which: read(path) for which, path in track_names(str(target), asked.sides).items()}


def rule(text, at):
    """The stand-in's answers for BRCA1, which lies on the reverse strand, at an index of the forward text."""
    return mixed(reverse_complement(text[at - REACH : at + REACH + 1]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_tracks_of_a_variant_have_the_probabilities_of_its_delta_scores(opened, tmp_path, variant):
    annotator, tracks = opened()
    values = annotator.score(variant).contexts[0].values
    found = written(tracks, tracks.find(variant, values and "BRCA1"), tmp_path / "v.bw")
    for event, kind, sign in (("AG", 0, 1), ("AL", 0, -1), ("DG", 1, 1), ("DL", 1, -1)):
        change = found[KINDS[kind], "change"]
        at = max(change, key=lambda one: sign * change[one])
        assert sign * change[at] == pytest.approx(values[f"DS_{event}"], abs=1e-6)
        assert at + 1 == values[f"POS_{event}"]
    for name, events in (("LOSS", ("AL", "DL")), ("GAIN", ("AG", "DG"))):
        event = max(events, key=lambda one: values[f"DS_{one}"])
        if not values[f"DS_{event}"]:
            continue
        kind, at = KINDS[event.startswith("D")], values[f"POS_{event}"] - 1
        for side in ("ref", "alt"):
            assert found[kind, side][at] == pytest.approx(values[f"{name}_P_{side.upper()}"], abs=1e-6)


def test_tracks_of_a_region_are_the_models_answers_whatever_pieces_it_is_read_in(opened, tmp_path, monkeypatch):
    annotator, tracks = opened()
    start, end = 43_047_600, 43_047_900
    text = annotator.reference.fetch("chr17", start - REACH, end + REACH).decode()
    asked = tracks.find(f"chr17:{start + 1}-{end}")
    whole = written(tracks, asked, tmp_path / "whole.bw")
    monkeypatch.setattr(module, "PIECE", 77)
    pieces = written(tracks, asked, tmp_path / "pieces.bw")
    assert whole == pieces and set(whole) == {(kind, "ref") for kind in KINDS}
    for column, kind in enumerate(KINDS):
        expected = {start + i: rule(text, i + REACH)[column] for i in range(end - start)}
        assert whole[kind, "ref"] == pytest.approx(expected, abs=1e-6)
    save(tracks, asked, str(tmp_path / "text.bedGraph"))
    lines = [line.split("\t") for line in (tmp_path / "text.donor.ref.bedGraph").read_text().splitlines()[2:]]
    listed = {at: float(row[3]) for row in lines for at in range(int(row[1]), int(row[2]))}
    assert listed == pytest.approx(whole["donor", "ref"], abs=1e-6)


def test_nothing_is_written_where_the_model_sees_n(opened, tmp_path):
    annotator, tracks = opened("gene-only")
    table = annotator.genes.table
    start = int(table.gene_start[table.symbols.index("BRCA1")])
    found = written(tracks, tracks.find(f"chr17:{start - 29}-{start + 40}", "BRCA1"), tmp_path / "edge.bw")
    assert sorted(found["donor", "ref"]) == list(range(start, start + 40))
    inside = "N" * REACH + annotator.reference.fetch("chr17", start, start + REACH + 1).decode()
    assert "N" not in annotator.reference.fetch("chr17", start - 29, start).decode()
    assert found["donor", "ref"][start] == pytest.approx(rule(inside, REACH)[1], abs=1e-6)
    with pytest.raises(SettingsError, match="No nucleotide"):
        save(tracks, tracks.find("chr17:42500000-42500100", None), str(tmp_path / "n.bw"))
    assert not list(tmp_path.glob("n.*"))


def write_vcf(annotator, path, rows):
    lines = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    lines += [f"17\t{pos}\t.\t{ref}\t{alt}\t.\t.\t." for pos, ref, alt in rows]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.mark.parametrize("piece", [20_000, 60])
def test_records_of_a_vcf_change_one_sequence_together(opened, tmp_path, monkeypatch, piece):
    """Away from the alleles ALT is the model's answer for the changed text; within them as for a single variant."""
    monkeypatch.setattr(module, "PIECE", piece)
    annotator, tracks = opened()
    start, end = 43_047_640, 43_047_840
    base = lambda at, size=1: annotator.reference.fetch("chr17", at, at + size).decode()  # noqa: E731
    snv = "A" if base(start + 20) != "A" else "C"
    rows = [
        (start + 21, base(start + 20), snv),
        (start + 60, base(start + 59, 4), base(start + 59)),
        (start + 110, base(start + 109), base(start + 109) + "TTG"),
    ]
    asked = tracks.find(f"chr17:{start + 1}-{end}", None, write_vcf(annotator, tmp_path / "h.vcf", rows))
    found = written(tracks, asked, tmp_path / "h.bw")
    text = base(start - REACH, end - start + 2 * REACH)
    changed = text
    for pos, ref, alt in reversed(rows):
        i = pos - 1 - start + REACH
        assert changed[i : i + len(ref)] == ref
        changed = changed[:i] + alt + changed[i + len(ref) :]
    for at in range(start, end):
        moved = at - 3 * (at >= start + 64) + 3 * (at >= start + 112)
        if start + 56 <= at < start + 68 or start + 106 <= at < start + 116:
            continue  # within the places where an insertion or deletion may stand
        for column, kind in enumerate(KINDS):
            assert found[kind, "alt"][at] == pytest.approx(rule(changed, moved - start + REACH)[column], abs=1e-6), at
            change = found[kind, "alt"][at] - found[kind, "ref"][at]
            assert found[kind, "change"][at] == pytest.approx(change, abs=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_haplotype_of_one_record_is_the_variant(opened, tmp_path, variant):
    annotator, tracks = opened()
    _, pos, ref, alt = variant.split("-")
    alone = written(tracks, tracks.find(variant), tmp_path / "v.bw")
    region = f"chr17:{int(pos) - 150}-{int(pos) + 150}"
    vcf = write_vcf(annotator, tmp_path / "h.vcf", [(int(pos), ref, alt)])
    together = written(tracks, tracks.find(region, "BRCA1", vcf), tmp_path / "h.bw")
    for which, values in alone.items():
        assert {at: together[which][at] for at in values} == pytest.approx(values, abs=1e-6)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(43_047_700, 4, 1), (43_047_702, 1, "other")], "overlap"),
        ([(43_047_700, 1, "other,<DEL>")], "one ALT"),
        ([(43_047_700, 1, "<DEL>")], "cannot be put"),
        ([(43_047_641, 1, "other")], "edge"),
        ([(43_040_000, 1, "other")], "No record"),
    ],
)
def test_records_that_make_no_sequence_are_refused(opened, tmp_path, rows, message):
    annotator, tracks = opened()
    made = []
    for pos, size, alt in rows:
        ref = annotator.reference.fetch("chr17", pos - 1, pos - 1 + size).decode()
        other = "A" if ref[0] != "A" else "C"
        made.append((pos, ref, ref[:alt] if isinstance(alt, int) else alt.replace("other", other)))
    with pytest.raises(SettingsError, match=message):
        tracks.find("chr17:43047641-43047840", None, write_vcf(annotator, tmp_path / "h.vcf", made))


@pytest.mark.parametrize(
    ("contig", "name"), [("17", "chr17"), ("NC_000017.11", "chr17"), ("MT", "chrM"), ("chr1", "chr1")]
)
def test_names_of_ucsc(contig, name):
    assert ucsc_name(contig) == name


def test_ucscs_name_of_a_scaffold_is_not_made_up():
    with pytest.raises(SettingsError, match="not known"):
        ucsc_name("KI270728.1")


def test_the_command_writes_sites_and_what_igv_reports_takes(run, tmp_path):
    words = ["tracks", "BRCA1:c.5467+2T>G", "-R", FASTA, "--splice-model", "null", "--ucsc"]
    code, _, err = run(*words, "-o", tmp_path / "sites.bed", "--igv", tmp_path / "igv", "--least", "0.4")
    assert code == 0, err
    rows = [line.split("\t") for line in (tmp_path / "sites.bed").read_text().splitlines()[2:]]
    assert rows and all(len(row) == 9 and int(row[2]) == int(row[1]) + 1 and row[5] == "-" for row in rows)
    assert all(max(map(float, row[3].split(":")[1].split(">"))) >= 0.3995 for row in rows)
    assert (tmp_path / "igv" / "sites.bed").read_text() == "chr17\t43047640\t43047641\tA>C\n"
    config = json.loads((tmp_path / "igv" / "tracks.json").read_text())
    assert len(config) == 6 and all((tmp_path / "igv" / track["url"]).exists() for track in config)
    pytest.importorskip("igv_reports")
    page = tmp_path / "page.html"
    fasta = shutil.copy(FASTA, tmp_path)  # igv-reports writes an index beside it
    words = [tmp_path / "igv" / "sites.bed", "--fasta", fasta, "--track-config", tmp_path / "igv" / "tracks.json"]
    report = [sys.executable, "-m", "igv_reports.report", *map(str, words), "--flanking", "40", "--output", str(page)]
    subprocess.run(report, check=True, capture_output=True)
    uri = re.compile(rb"data:application/gzip;base64,([\w+/=]+)")
    [session] = [gzip.decompress(base64.b64decode(packed)) for packed in uri.findall(page.read_bytes())]
    tracks = [gzip.decompress(base64.b64decode(packed)).decode() for packed in uri.findall(session)]
    [change] = [text for text in tracks if 'name="BRCA1 donor change"' in text]
    shown = [line.split("\t") for line in change.splitlines()[1:]]
    own = (tmp_path / "igv" / "tracks.donor.change.bedGraph").read_text().splitlines()[2:]
    assert shown and all("\t".join(row) in own for row in shown)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["BRCA11", "-o", "x.bw"], 3, "did you mean BRCA1"),
        (["BRCA1", "-o", "x.wig"], 3, "suffix"),
        (["BRCA1"], 2, "nothing to write"),
        (["chr17-43047641-A-C", "--gene", "TP53", "-o", "x.bw"], 3, "does not lie in that gene"),
        (["chr17-43047641-A-<DEL>", "-o", "x.bw"], 3, "SYMBOLIC"),
    ],
)
def test_what_cannot_be_drawn_is_told(run, tmp_path, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    got, _, err = run("tracks", *words, "-R", FASTA, "--splice-model", "null")
    assert (got, message in err) == (code, True), err
    assert not list(tmp_path.iterdir())
