"""The most disturbing alleles of an annotated file, in order, each with a reason that says which site."""

import json

import pytest

from factories import PROVENANCE, write_scored
from splicebert_vep_spec import escape_info

FLOATS = ("DS_MAX", "DS_AG", "DS_AL", "DS_DG", "DS_DL", "LOSS_P_REF", "LOSS_P_ALT", "GAIN_P_REF", "GAIN_P_ALT")
FIELDS = {
    **dict.fromkeys(FLOATS, "Float"),
    **{f"DP_{event}": "Integer" for event in ("AG", "AL", "DG", "DL")},
    **dict.fromkeys(("LOSS_ANNOTATED", "GAIN_ANNOTATED", "LOSS_JUDGED"), "String"),
}


def info(**values):
    given = {"STATUS": "OK"} | values
    return ";".join(f"SpliceBERT_{name}={value}" for name, value in given.items())


def deltas(ag=0.0, al=0.0, dg=0.0, dl=0.0, **more):
    return {"DS_AG": ag, "DS_AL": al, "DS_DG": dg, "DS_DL": dl, "DS_MAX": max(ag, al, dg, dl), **more}


LOST = deltas(
    al=0.6, dl=0.9, dg=0.3, DP_DL=2, DP_AL=50, DP_DG=-4, LOSS_P_REF=0.95, LOSS_P_ALT=0.05, LOSS_ANNOTATED="reported",
    GAIN_P_REF=0.1, GAIN_P_ALT=0.4, GAIN_ANNOTATED="novel",
)  # fmt: skip


@pytest.fixture
def file(tmp_path):
    two = {name: f"{value},0.5" for name, value in deltas(ag=0.4, DP_AG=7).items()}
    records = [
        "1 1000 quiet A C " + info(**deltas(ag=0.01, SYMBOL="ONE", REGION="intron", SITE_OFFSET="-99")),
        "1 2000 lost G A " + info(**LOST, SYMBOL="TWO", REGION="intron", SITE_OFFSET="+2"),
        "1 3000 long G C " + "SpliceBERT_STATUS=TOO_LONG",
        "1 4000 zero G C " + info(**deltas(LOSS_JUDGED="NOT_JUDGEABLE")),
        "1 5000 two G C,T " + info(STATUS="OK,OK", **two),
        "1 6000 again G A " + info(**LOST, SYMBOL="TWO"),
    ]  # fmt: skip
    return write_scored(tmp_path / "in.vcf", records, fields=FIELDS)


def test_alleles_come_by_ds_max_and_those_without_are_counted_apart_from_zero(run, file):
    code, out, err = run("top", file, "--json")
    assert code == 0
    rows = json.loads(out)
    found = [(row["ID"], row["ALT"], row["DS_MAX"]) for row in rows]
    assert found == [
        ("lost", "A", 0.9), ("again", "A", 0.9), ("two", "T", 0.5), ("two", "C", 0.4), ("quiet", "C", 0.01),
        ("zero", "C", 0.0),
    ]  # fmt: skip
    assert "1 of 7 ALTs have no DS_MAX: TOO_LONG 1" in err
    assert [row["ID"] for row in json.loads(run("top", file, "--json", "-n", "2")[1])] == ["lost", "again"]


def test_the_reason_names_the_site_its_p_and_its_position(run, file):
    _, out, _ = run("top", file, "--json")
    reasons = {(row["ID"], row["ALT"]): row["REASON"] for row in json.loads(out)}
    lost, gained = reasons["lost", "A"].split("; ")
    assert lost == "donor lost (0.95 to 0.05) at 2,002, annotated, acceptor too, by 0.60"  # POS 2000 + DP 2
    assert gained == "donor gained (0.10 to 0.40) at 1,996, not annotated"
    assert reasons["two", "C"].startswith("acceptor gained 0.40 at 5,007")  # no p in the file
    assert reasons["quiet", "C"] == "no site changes by 0.05 or more"
    assert "cannot be judged" in reasons["zero", "C"]


def test_a_consequence_is_told_as_the_run_told_it(run, tmp_path):
    text = escape_info("Donor of exon 2 lost (.98 to .01); exon 2 skipped (41 nt), frameshift")
    file = write_scored(tmp_path / "in.vcf", ["1 1 . A C " + info(**LOST, EFFECT_TEXT=text)],
                        fields={**FIELDS, "EFFECT_TEXT": "String"})  # fmt: skip
    [row] = json.loads(run("top", file, "--json")[1])
    assert row["REASON"] == "Donor of exon 2 lost (.98 to .01); exon 2 skipped (41 nt), frameshift"


def test_the_table_is_readable_text(run, file):
    code, out, _ = run("top", file)
    lines = out.splitlines()
    assert code == 0 and lines[0].split() == ["variant", "gene", "place", "DS_MAX", "reason"]
    assert lines[1].split()[:5] == ["1-2000-G-A", "TWO", "intron", "+2", "0.90"]


def test_a_file_without_delta_scores_says_what_to_do(run, tmp_path):
    code, out, err = run("top", write_scored(tmp_path / "in.vcf", ["1 1 . A C SpliceBERT_STATUS=OK"]))
    assert (code, out) == (3, "") and "--scores delta" in err


def test_delta_scores_of_two_models_in_one_file_are_not_ranked_together(run, tmp_path):
    file = write_scored(tmp_path / "in.vcf", ["1 1 . A C " + info(**deltas(dl=0.5))], fields=FIELDS)
    both = [PROVENANCE.replace('Window="510"', f'Window="510",SpliceModelSHA256="{one}"') for one in ("m1", "m2")]
    file.write_text(file.read_text().replace(PROVENANCE, "\n".join(both)))
    code, _, err = run("top", file)
    assert code == 3 and "one splice-site model" in err
