"""Variants given by hand, as a table and as JSON."""

import json
import re

import pyarrow.parquet as pq
import pytest

from factories import FASTA, NULL


def test_score_prints_a_readable_table(run):
    code, out, err = run("score", "chr17-43047641-A-C", "17:43045803:C:T", "17-43047641-G-C", "-R", FASTA)
    assert code == 0
    assert "splicebert-mini" in err
    blocks = out.split("\n\n")
    assert "BRCA1 (-)" in blocks[0]
    assert "hits the donor dinucleotide" in blocks[0]
    assert "KL_SS" in blocks[0]
    assert "17-43045803-C-T" in blocks[1]
    assert "REF_MISMATCH" in blocks[2]
    assert "FASTA A" in blocks[2]


def test_score_prints_json_with_the_columns_and_values_of_the_table(run, tmp_path):
    variants = ["17-43047641-A-C", "17-43047641-G-C"]
    code, out, err = run("score", *variants, *NULL, "--json")
    assert code == 0
    answer = json.loads(out)
    assert list(answer) == ["provenance", "rows"]
    assert answer["provenance"]["Model"] == "null"
    assert [row["STATUS"] for row in answer["rows"]] == ["OK", "REF_MISMATCH"]
    assert answer["rows"][1]["KL_SS"] is None
    source = tmp_path / "in.vcf"
    body = "".join(f"17\t43047641\t.\t{ref}\tC\t.\t.\t.\n" for ref in "AG")
    source.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + body)
    assert run("annotate", source, *NULL, "--emit", f"parquet={tmp_path / 't.parquet'}")[0] == 0
    assert pq.read_table(tmp_path / "t.parquet").to_pylist() == answer["rows"]  # to the last digit


@pytest.mark.parametrize("given", [["17-43047641-A-C,17:43,045,803:C:T"], ["17-43047641-A-C, 17:43,045,803:C:T,"],
                                   ["17-43047641-A-C,", "17:43045803:C:T"]])  # fmt: skip
def test_a_list_pasted_with_commas_is_a_list(run, given):
    code, out, _ = run("score", *given, *NULL, "--json")
    assert code == 0
    assert [(row["POS"], row["STATUS"]) for row in json.loads(out)["rows"]] == [(43047641, "OK"), (43045803, "OK")]


def test_a_list_pasted_with_spaces_is_not_read_as_a_contig(run):
    code, _, err = run("score", "17-43047641-A-C 17:43045803:C:T", *NULL)
    assert (code, "A variant could not be read" in err) == (3, True)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("NM_007294.4:c.5467+1T>G", "FASTA has G"), ("rs80358061", "dbSNP"), ("BRCA1:p.Arg71Gly", "protein"),
        ("NM_007294.3:c.9999A>G", "c.1 to c.5592"), ("NM_000059.4:c.68A>G", "does not lie on|no contig"),
    ],
)  # fmt: skip
def test_a_name_that_cannot_be_scored_is_told_why(run, name, told):
    code, _, err = run("score", name, *NULL)
    assert (code, bool(re.search(told, err))) == (3, True), err


def test_hgvs_names_are_the_variants_that_they_mean(run):
    # BRCA1 lies on -: c.5467+2 is 17:43047641, T>G there is A>C here.
    names = ["NM_007294.4:c.5467+2T>G", "NM_007294.4(BRCA1):c.5467+2T>G (p.?)", "ENST00000357654.9:c.5467+2T>G"]
    names += ["BRCA1:c.5467+2T>G", "NM_007294.3:c.5467+2T>G", "NC_000017.11:g.43047641A>C", "17-43047641-A-C"]
    code, out, err = run("score", *names, *NULL, "--json")
    assert code == 0
    rows = json.loads(out)["rows"]
    assert [(row["POS"], row["REF"], row["ALT"], row["STATUS"]) for row in rows] == [(43047641, "A", "C", "OK")] * 7
    assert "BRCA1 is read on ENST00000357654.9 (NM_007294.4)" in err
    assert "NM_007294.3 is read as NM_007294.4, another version" in err
    assert run("score", "NC_000017.10:g.41199658A>C", *NULL)[0] == 4  # GRCh37
    code, out, _ = run("score", "BRCA1:c.5467=", *NULL, "--json")
    assert (code, json.loads(out)["rows"][0]["STATUS"]) == (0, "NO_CHANGE")
