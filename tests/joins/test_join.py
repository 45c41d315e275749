"""Joins open their sources, check the answers and the build, close them, and serve the command line and Python."""

import gzip
import json
import os
import re
import shutil

import pysam
import pysam.bcftools
import pytest

from factories import (
    ROW,
    SPLICEAI,
    Point,
    annotated,
    gene,
    join_genome,
    open_annotator,
    plugin,
    tabixed,
    table,
    vcf,
    words,
)
from splicebert_vep import Annotator
from splicebert_vep.errors import BuildError, PluginError, SettingsError, VcfError
from splicebert_vep.joins.join import _with_values
from splicebert_vep.joins.spliceai import vcf_row
from splicebert_vep.model.registry import _BUNDLED
from splicebert_vep.plugins import load_plugins
from splicebert_vep.vcf.tabix import TabixTable
from splicebert_vep_spec import (
    Allele,
    AlleleReport,
    FieldSpec,
    JoinAdapter,
    OpenJoin,
    RecordReport,
    Refused,
    ScoredContext,
    Status,
)


class Mine(JoinAdapter, OpenJoin):
    """A join that answers with the position; what follows breaks one thing each."""

    name, version, label = "mine", "3", "Mine"
    about = "made up"

    def __init__(self, **changes):
        self.closed = 0
        self.fields = (FieldSpec("Mine_POS", "A", "Integer", "x"),)
        for name, value in changes.items():
            setattr(self, name, value)

    def join(self, request):
        self.request = request
        return self

    def look_up(self, queries):
        self.asked = [(query.pos, query.alt, query.context.symbol) for query in queries]
        return [{"Mine_POS": query.pos} for query in queries]

    def close(self):
        self.closed += 1


@pytest.fixture
def open_with(install, tmp_path):
    """An annotator that has this join, and a file of three ALTs in ALPHA and GAMMA."""
    source = vcf(tmp_path / "in.vcf", ["chr1 350 A C,<DEL>", "chr1 355 A .", "chr1 360 G T"], SPLICEAI)

    def go(join, *words, target=None):
        install(Point("mine", plugin(register_joins=lambda: [join])))
        open_annotator(tmp_path).close()
        with Annotator(tmp_path / "g.fa", tmp_path / "g.gtf", backend="null", plugins=load_plugins()) as annotator:
            annotator.annotate(source, target or tmp_path / "o.vcf", join=words or ["MINE=info:SpliceAI"])
        return (tmp_path / "o.vcf").read_text()

    return go


def test_a_plugins_join_is_asked_once_per_allele_and_gene(open_with):
    join = Mine()
    text = open_with(join)
    assert "SpliceBERT_Mine_POS=350,." in text and "SpliceBERT_Mine_POS=360" in text
    assert 'Joins="Mine: mine/3, made up"' in text
    assert sorted(join.asked) == [(350, "C", "ALPHA"), (350, "C", "GAMMA"), (360, "T", "ALPHA"), (360, "T", "GAMMA")]
    assert join.closed == 1
    assert (join.request.name, join.request.files, join.request.info_key) == ("Mine", (), "SpliceAI")
    assert join.request.normalise("1", 309, "ACA", "A") == join.request.normalise("chr1", 302, "TAC", "T")
    assert join.request.normalise("1", 350, "C", "A") is None and join.request.normalise("7", 350, "A", "C") is None


def raising(error):
    def fail(*_):
        raise error

    return fail


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"fields": ()}, "not none"),
        ({"fields": (FieldSpec("POS2", "A", "Integer", "x"),)}, "begins with Mine_"),
        ({"fields": (FieldSpec("Mine_POS", "1", "Integer", "x"),)}, "number A"),
        ({"fields": (FieldSpec("Mine_POS", "A", "Integer", "x"),) * 2}, "an id once"),
        ({"label": "mine"}, "a capital"),
        ({"about": "two\nlines"}, "one line"),
        ({"join": raising(ValueError("no"))}, "ValueError: no"),
        ({"look_up": raising(ValueError("no"))}, "ValueError: no"),
        ({"look_up": lambda queries: []}, "4 mappings"),
        ({"look_up": lambda queries: [{"Mine_POS": 0.5}] * 4}, "type Integer"),
        ({"look_up": lambda queries: [{"OTHER": 1}] * 4}, "some of Mine_POS"),
        ({"look_up": lambda queries: 7}, "TypeError"),
    ],
)
def test_a_join_that_breaks_the_contract_is_named_and_closed(changes, problem, open_with, tmp_path):
    join = Mine(**changes)
    with pytest.raises(PluginError, match=rf"(?i)join mine of plugin mine(.|\n)*{problem}(.|\n)*register_joins"):
        open_with(join)
    assert not (tmp_path / "o.vcf").exists()
    assert join.closed == ("join" not in changes and "label" not in changes)


def test_what_a_join_refuses_is_shown_as_it_is(open_with):
    with pytest.raises(SettingsError, match="not this one"):
        open_with(Mine(join=raising(Refused("not this one"))))


def test_a_field_from_two_places_is_an_error(open_with):
    twin = Mine(name="twin", fields=(FieldSpec("SpliceAI_STATUS", "A", "String", "x"),), label="SpliceAI")
    with pytest.raises(SettingsError, match="SpliceAI_STATUS would come from two places"):
        open_with(twin, "twin=info:X", "spliceai=info:SpliceAI")
    assert twin.closed == 1


def test_a_score_that_is_joined_too_is_an_error(open_with, tmp_path):
    join = Mine(label="KL", fields=(FieldSpec("KL_CTX", "A", "Float", "x"),))
    with pytest.raises(SettingsError, match=r"KL_CTX would come from two places(.|\n)*--scores"):
        open_with(join)
    assert join.closed == 1


def test_the_command_line_joins(run, tmp_path, source, file):
    open_annotator(tmp_path).close()
    words = ["-R", tmp_path / "g.fa", "-A", tmp_path / "g.gtf", "--backend", "null", "--join", f"spliceai={file}"]
    code, out, err = run("annotate", source, *words, "--emit", "vep", "--summary", tmp_path / "s.json")
    entries = [entry for entry in re.split("[=,;\t]", out) if "|ALPHA|" in entry]
    assert code == 0 and any("0.5000" in entry.split("|") for entry in entries)
    assert json.loads((tmp_path / "s.json").read_text())["provenance"]["Joins"].startswith("SpliceAI: spliceai/1")
    code, out, err = run("annotate", source, *words[:-1], f"spliceaii={file}")
    assert code == 3 and "did you mean spliceai" in err and out == ""


def test_the_summary_replaces_no_file_that_is_joined(run, tmp_path, source, file):
    open_annotator(tmp_path).close()
    table(tmp_path / "t.tsv", ["#chr pos ref alt s", "1 350 A C 5"])
    columns = 'chrom = "chr"\npos = "pos"\nref = "ref"\nalt = "alt"\n'
    field = '[fields.S]\ncolumn = "s"\ntype = "Float"\ndescription = "x"\n'
    (tmp_path / "t.toml").write_text(f'files = ["t.tsv.gz"]\n[columns]\n{columns}{field}')
    words = ["-R", tmp_path / "g.fa", "-A", tmp_path / "g.gtf", "--backend", "null", "-O", tmp_path / "out.vcf"]
    joins = ["--join", f"spliceai={file}", "--join", f"T={tmp_path / 't.toml'}"]
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for name in ("s.vcf.gz", "s.vcf.gz.tbi", "t.toml", "t.tsv.gz", "t.tsv.gz.tbi"):
        code, _, err = run("annotate", source, *words, *joins, "--summary", tmp_path / name)
        assert code == 3 and "would replace" in err, name
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    assert run("annotate", source, *words, *joins, "--summary", tmp_path / "run.json")[0] == 0


def test_variants_given_by_hand_are_joined_too(run, tmp_path, file):
    open_annotator(tmp_path).close()
    words = ["score", "chr1-350-A-C", "-R", tmp_path / "g.fa", "-A", tmp_path / "g.gtf", "--backend", "null"]
    join = ["--join", f"spliceai={file}"]
    code, out, err = run(*words, *join, "--json")
    found = json.loads(out)
    assert code == 0
    assert "ScoreDigest" in found["provenance"] and found["provenance"]["Joins"].startswith("SpliceAI: spliceai/1")
    by_gene = {row["SYMBOL"]: row for row in found["rows"]}
    assert by_gene["ALPHA"]["SpliceAI_DS_MAX"] == 0.5
    assert by_gene["GAMMA"]["SpliceAI_STATUS"] == "OTHER_GENE"
    code, out, _ = run(*words, *join)
    assert code == 0 and "SpliceAI_DS_MAX" in out
    code, out, err = run(*words, "--join", "spliceai=info:SpliceAI")
    assert code == 3 and "declares no INFO key SpliceAI" in err
    with Annotator(tmp_path / "g.fa", tmp_path / "g.gtf", backend="null") as annotator:
        with annotator.open_joins([f"spliceai={file}"]) as joins:
            result = annotator.score("chr1-350-A-C", joins=joins)
        values = {one.context.symbol: one.values for one in result.contexts}
        assert values["ALPHA"]["SpliceAI_DS_MAX"] == 0.5 and "SpliceAI_DS_MAX" in result
        assert result["SpliceAI_STATUS"] == result.contexts[0].values["SpliceAI_STATUS"]
        assert "SpliceAI_DS_MAX" not in annotator.score("chr1-350-A-C")


@pytest.mark.parametrize(
    ("words_", "problem"),
    [
        (["splceai=x.vcf.gz"], "did you mean spliceai"),
        (["spliceai"], "NAME=FILE"),
        (["spliceai=info:"], "NAME=FILE"),
        (["spliceai=info:SpliceAI", "SpliceAI=x.vcf.gz"], "one INFO key"),
        (["spliceai=x.vcf.gz", "SpliceAI=x.vcf.gz"], "one INFO key"),
        (["spliceai=x.toml"], "another NAME"),
        (["cadd=x.toml"], "a capital"),
        (["table=x.vcf.gz"], "no such join"),
    ],
)
def test_words_that_mean_no_join_are_errors(words_, problem, annotator, tmp_path):
    source = vcf(tmp_path / "in.vcf", ["chr1 350 A C"], SPLICEAI)
    with pytest.raises(SettingsError, match=problem):
        annotated(annotator, source, *words_)
    assert [file.name for file in tmp_path.iterdir()] == ["in.vcf"]


def spoil(kind, file):
    """Make a file unfit in one way; return its path."""
    index = file.with_name(file.name + ".tbi")
    if kind == "missing":
        file.unlink()
    elif kind == "no index":
        index.unlink()
    elif kind == "plain":
        return vcf(file.with_name("plain.vcf"), [])
    elif kind == "gzip":
        file.write_bytes(gzip.compress(b"##fileformat=VCFv4.2\n"))
    elif kind == "cut off":
        file.write_bytes(file.read_bytes()[:-30])
    elif kind == "index cut off":
        index.write_bytes(index.read_bytes()[:10])
    elif kind in ("damaged", "index damaged"):  # an unknown type of block, in the byte after the head
        target = file if kind == "damaged" else index
        data = target.read_bytes()
        target.write_bytes(data[:18] + b"\x07" + data[19:])
    elif kind == "index of nothing":
        index.write_bytes(b"TBI")
    elif kind in ("pipe", "pipe as index"):  # opened as a file, it waits for a writer for ever
        target = file if kind == "pipe" else index
        target.unlink()
        os.mkfifo(target)
    elif kind == "device":
        file.unlink()
        file.symlink_to("/dev/zero")
    return file


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("missing", "No such file"),
        ("no index", "tabix -p vcf"),
        ("plain", "bgzip"),
        ("gzip", "gunzip"),
        ("cut off", "cut off"),
        ("index cut off", "damaged"),
        ("damaged", "damaged"),
        ("index damaged", "damaged"),
        ("index of nothing", "damaged"),
        ("pipe", "no regular file"),
        ("pipe as index", "no regular file"),
        ("device", "no regular file"),
    ],
)
def test_a_file_that_cannot_be_read_by_place_is_an_error(kind, problem, annotator, tmp_path, source):
    file = spoil(kind, tabixed(tmp_path / "s.vcf", [ROW]))
    with pytest.raises(VcfError, match=problem):
        annotated(annotator, source, f"spliceai={file}")
    assert not (tmp_path / "in.jsonl").exists()


@pytest.mark.parametrize("pos", ["\N{SUPERSCRIPT TWO}", "9" * 5000])
def test_a_row_whose_pos_is_no_number_of_a_vcf_is_an_error(pos):
    with pytest.raises(Refused):
        vcf_row(f"1\t{pos}\t.\tA\tC\t.\t.\tX")


def test_no_output_replaces_a_file_of_the_model(run, tmp_path):
    """The model's folder holds more than what this run opens, and a folder of another model counts as little."""
    work = tmp_path / "work"
    work.mkdir()
    open_annotator(work).close()
    shutil.copytree(_BUNDLED / "splicebert-mini", tmp_path / "m")
    shutil.copytree(_BUNDLED / "splicebert-mini-splice-sites", tmp_path / "s")
    source = vcf(tmp_path / "in.vcf", ["chr1 350 A C"])
    words = ["-R", work / "g.fa", "-A", work / "g.gtf", "--model", tmp_path / "m", "--splice-model", tmp_path / "s"]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for path in (tmp_path / "m" / "config.json", tmp_path / "s" / "model.safetensors", work / "g.gtf"):
        for command in (
            ["annotate", source, "-O", path, "--output-type", "v"],
            ["annotate", source, "-O", tmp_path / "o.vcf", "--summary", path],
            ["map", "chr1:340-350", "-o", path],
        ):
            code, _, err = run(*command, *words)
            assert code == 3 and "would replace" in err, (command, err)
        with (
            Annotator(
                work / "g.fa", work / "g.gtf", model=str(tmp_path / "m"), splice_model=str(tmp_path / "s")
            ) as one,
            pytest.raises(SettingsError, match="would replace"),
        ):
            one.annotate(source, path, kind="vcf")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_files_are_closed_after_a_run_and_after_an_error(annotator, monkeypatch, source, file):
    closed = []
    monkeypatch.setattr(TabixTable, "close", lambda table: closed.append(table.path))
    annotated(annotator, source, f"spliceai={file}")
    assert closed == [str(file)]
    with pytest.raises(SettingsError):
        annotated(annotator, source, f"spliceai={file}", f"pangolin={file}")
    assert closed == [str(file)] * 3  # the file of the first join, and of the second, which refused it


def test_an_index_of_the_other_kind_does(annotator, source, file):
    file.with_name("s.vcf.gz.tbi").unlink()
    pysam.tabix_index(str(file), preset="vcf", csi=True, force=True)
    rows = annotated(annotator, source, f"spliceai={file}")
    assert ("FOUND", 0.5) in words(rows, "SpliceAI_STATUS", "SpliceAI_DS_MAX")


def test_a_bcf_to_join_is_an_error(annotator, tmp_path):
    source = vcf(tmp_path / "in.vcf", ["chr1 350 A C"], "##contig=<ID=chr1>\n")
    pysam.bcftools.view("-Ob", "-o", str(tmp_path / "s.bcf"), str(source), catch_stdout=False)
    pysam.tabix_index(str(tmp_path / "s.bcf"), preset="bcf", force=True)
    with pytest.raises(VcfError, match="bcftools view -Oz"):
        annotated(annotator, source, f"spliceai={tmp_path / 's.bcf'}")


def of_every_base(bases, places):
    rows = []
    for place in places:
        ref = bases[place - 1]
        rows += [f"1 {place} {ref} {alt} SpliceAI={alt}|ALPHA|0|0|0|0|1|2|3|4" for alt in "ACGT" if alt != ref]
    return rows


def test_a_file_of_another_build_never_joins(annotator, tmp_path, source):
    """Its row at the record's place has the right REF by chance; the rows around it have not."""
    file = tabixed(tmp_path / "s.vcf", of_every_base(join_genome(3), range(320, 380)))
    with pytest.raises(BuildError, match=r"builds: \d+ of \d+ rows compared, first chr1:"):
        annotated(annotator, source, f"spliceai={file}")
    assert not (tmp_path / "in.jsonl").exists()


def test_one_file_of_another_build_among_right_ones_never_joins(annotator, tmp_path):
    source = vcf(tmp_path / "in.vcf", ["chr1 302 TAC T", "chr1 350 A C"])
    right = tabixed(tmp_path / "s.vcf", of_every_base(join_genome(), range(200, 380)))
    wrong = tabixed(tmp_path / "i.vcf", of_every_base(join_genome(3), range(320, 380)))
    with pytest.raises(BuildError):
        annotated(annotator, source, f"spliceai={right}", f"spliceai={wrong}")


def test_a_few_rows_with_another_ref_are_left_out_and_counted(annotator, tmp_path):
    source = vcf(tmp_path / "in.vcf", ["chr1 350 A C", "chr1 351 {} {}".format(*flipped(351))])
    rows = of_every_base(join_genome(), range(330, 351))
    wrong = flipped(351)[1]
    rows.append(f"1 351 {wrong} {flipped(351)[0]} SpliceAI=.")
    file = tabixed(tmp_path / "s.vcf", rows)
    out = tmp_path / "o.jsonl"
    summary = annotator.annotate(source, "-", emit=[f"jsonl={out}"], join=[f"spliceai={file}"])
    [warning] = [text for text in summary.warnings if "--join" in text]
    assert (
        f"1 of 22 rows compared have another REF than the FASTA and were not joined, first chr1:351 REF {wrong}"
        in warning
    )


def flipped(place):
    ref = join_genome()[place - 1]
    return ref, "A" if ref != "A" else "C"


def test_an_old_index_is_an_error(annotator, tmp_path, source, file):
    os.utime(f"{file}.tbi", (1, 1))
    summary = annotator.annotate(source, tmp_path / "o.vcf", join=[f"spliceai={file}"])
    assert [text for text in summary.warnings if "is older than" in text and "tabix -f" in text]


def test_the_provenance_says_what_was_joined(annotator, tmp_path, source, file):
    summary = annotator.annotate(source, tmp_path / "o.vcf", join=[f"spliceai={file}"])
    about = summary.provenance["Joins"]
    assert about.startswith(f"SpliceAI: spliceai/1, s.vcf.gz ({file.stat().st_size} bytes, index SHA-256 ")
    assert "SpliceAIv1.3.1" in about
    text = (tmp_path / "o.vcf").read_text()
    assert 'Joins="SpliceAI: spliceai/1, s.vcf.gz' in text
    assert "SpliceBERT_SpliceAI_DS_MAX=0.5000" in text and "SpliceBERT_SpliceAI_DP_AG=1" in text
    assert "Joins" not in annotator.annotate(source, tmp_path / "p.vcf").provenance


def test_an_output_never_replaces_a_joined_file(annotator, source, file):
    for target in (file, f"{file}.tbi"):
        with pytest.raises(SettingsError):
            annotator.annotate(source, target, kind="vcf.gz", join=[f"spliceai={file}"])


def test_scores_from_a_store_get_what_is_joined_and_the_store_does_not(tmp_path, source):
    open_annotator(tmp_path).close()
    found = []
    for number in (50, 60):
        file = tabixed(tmp_path / f"s{number}.vcf", [ROW.replace("0.50", f"0.{number}")])
        with Annotator(tmp_path / "g.fa", tmp_path / "g.gtf", backend="null", store=tmp_path / "s.sqlite") as opened:
            rows = annotated(opened, source, f"spliceai={file}")
            found.append((opened.stored_scoring.known, rows[0]["SpliceAI_DS_MAX"] or rows[1]["SpliceAI_DS_MAX"]))
    assert found == [(0, 0.5), (1, 0.6)]


def test_joined_scores_go_into_vep_entries_of_their_gene_too(annotator, tmp_path, file):
    csq = '##INFO=<ID=CSQ,Number=.,Type=String,Description="VEP. Format: Allele|Consequence|Gene|Feature|SYMBOL">\n'
    entries = "CSQ=C|x|ENSG01|ENST01|ALPHA,C|x|ENSG09|ENST09|GAMMA"
    source = vcf(tmp_path / "in.vcf", [f"chr1 350 A C {entries}"], csq)
    annotator.annotate(source, tmp_path / "o.vcf", emit=["csq"], join=[f"spliceai={file}"])
    text = (tmp_path / "o.vcf").read_text()
    names = re.search(r'ID=CSQ.*Format: ([^"]+)"', text)[1].split("|")
    [found] = [line.split("\t")[7].split("CSQ=")[1] for line in text.splitlines() if line[0] != "#"]
    rows = [dict(zip(names, one.split("|"), strict=True)) for one in found.split(";")[0].split(",")]
    fields = ("SYMBOL", "SpliceBERT_pred_SpliceAI_DS_MAX", "SpliceBERT_pred_SpliceAI_STATUS")
    assert words(rows, *fields) == [("ALPHA", "0.5000", "FOUND"), ("GAMMA", "", "OTHER_GENE")]


def test_a_symbolic_alt_in_a_gene_takes_no_value_of_the_alt_behind_it():
    """It has a place and no bases to join by; the values of the next ALT went to it."""
    there = AlleleReport("C", Allele("1", 9, "A", "C"), (ScoredContext(gene(), Status.OK, "", {}),))
    symbolic = AlleleReport("<DEL>", None, (ScoredContext(gene(), Status.SYMBOLIC, "symbolic", {}),))
    [joined] = _with_values([RecordReport("1", 10, ".", "A", (symbolic, there))], iter([{"X": 0.5}]))
    assert [one.contexts[0].values for one in joined.alleles] == [{}, {"X": 0.5}]
