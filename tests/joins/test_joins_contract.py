"""Joins of plugins: what the program checks of their answers, and what of them it closes; joins on the command line."""

import json

import pytest

from factories import SPLICEAI, Point, open_annotator, plugin, tabixed, table, vcf
from splicebert_vep import Annotator
from splicebert_vep.errors import PluginError, SettingsError
from splicebert_vep.plugins import load_plugins
from splicebert_vep_spec import FieldSpec, JoinAdapter, OpenJoin, Refused


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
def open_with(install, tmp_path, monkeypatch):
    """An annotator that has this join, and a file of three ALTs in ALPHA and GAMMA."""
    monkeypatch.setenv("SPLICEBERT_VEP_CACHE", str(tmp_path / "cache"))
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


def test_a_field_from_two_places_is_told(open_with):
    twin = Mine(name="twin", fields=(FieldSpec("SpliceAI_STATUS", "A", "String", "x"),), label="SpliceAI")
    with pytest.raises(SettingsError, match="SpliceAI_STATUS would come from two places"):
        open_with(twin, "twin=info:X", "spliceai=info:SpliceAI")
    assert twin.closed == 1


def test_a_score_that_is_joined_too_is_told(open_with, tmp_path):
    join = Mine(label="KL", fields=(FieldSpec("KL_CTX", "A", "Float", "x"),))
    with pytest.raises(SettingsError, match=r"KL_CTX would come from two places(.|\n)*--scores"):
        open_with(join)
    assert join.closed == 1


ENTRY = "1 350 A C SpliceAI=C|ALPHA|0.9|0|0|0|1|2|3|4"


def test_the_command_line_joins(run, tmp_path, monkeypatch):
    monkeypatch.setenv("SPLICEBERT_VEP_CACHE", str(tmp_path / "cache"))
    open_annotator(tmp_path).close()
    source, file = vcf(tmp_path / "in.vcf", ["chr1 350 A C"]), tabixed(tmp_path / "s.vcf", [ENTRY])
    words = ["-R", tmp_path / "g.fa", "-A", tmp_path / "g.gtf", "--backend", "null", "--join", f"spliceai={file}"]
    code, out, err = run("annotate", source, *words, "--summary", tmp_path / "s.json")
    assert code == 0 and "SpliceBERT_SpliceAI_DS_MAX=0.9000" in out
    assert json.loads((tmp_path / "s.json").read_text())["provenance"]["Joins"].startswith("SpliceAI: spliceai/1")
    code, out, err = run("annotate", source, *words[:-1], f"spliceaii={file}")
    assert code == 3 and "did you mean spliceai" in err and out == ""


@pytest.mark.parametrize("command", ["annotate", "score"])
def test_evidence_was_removed_and_the_error_says_what_to_read(run, command):
    code, out, err = run(command, "x", "-R", "x.fa", "--evidence", "KL_CTX=1")
    assert code == 2 and out == "" and "SpliceAI_DS_MAX" in err
    assert "--evidence" not in run(command, "--help")[1]


def test_the_summary_replaces_no_file_that_is_joined(run, tmp_path, monkeypatch):
    monkeypatch.setenv("SPLICEBERT_VEP_CACHE", str(tmp_path / "cache"))
    open_annotator(tmp_path).close()
    source, file = vcf(tmp_path / "in.vcf", ["chr1 350 A C"]), tabixed(tmp_path / "s.vcf", [ENTRY])
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


def test_variants_given_by_hand_are_joined_too(run, tmp_path, monkeypatch):
    monkeypatch.setenv("SPLICEBERT_VEP_CACHE", str(tmp_path / "cache"))
    open_annotator(tmp_path).close()
    file = tabixed(tmp_path / "s.vcf", [ENTRY])
    words = ["score", "chr1-350-A-C", "-R", tmp_path / "g.fa", "-A", tmp_path / "g.gtf", "--backend", "null"]
    join = ["--join", f"spliceai={file}"]
    code, out, err = run(*words, *join, "--json")
    found = json.loads(out)
    assert code == 0
    assert "ScoreDigest" in found["provenance"] and found["provenance"]["Joins"].startswith("SpliceAI: spliceai/1")
    by_gene = {row["SYMBOL"]: row for row in found["rows"]}
    assert by_gene["ALPHA"]["SpliceAI_DS_MAX"] == 0.9
    assert by_gene["GAMMA"]["SpliceAI_STATUS"] == "OTHER_GENE"
    code, out, _ = run(*words, *join)
    assert code == 0 and "SpliceAI_DS_MAX" in out
    code, out, err = run(*words, "--join", "spliceai=info:SpliceAI")
    assert code == 3 and "declares no INFO key SpliceAI" in err
    with Annotator(tmp_path / "g.fa", tmp_path / "g.gtf", backend="null") as annotator:
        with annotator.open_joins([f"spliceai={file}"]) as joins:
            result = annotator.score("chr1-350-A-C", joins=joins)
        assert result["SpliceAI_DS_MAX"] == 0.9 and "SpliceAI_DS_MAX" in result
        assert "SpliceAI_DS_MAX" not in annotator.score("chr1-350-A-C")
