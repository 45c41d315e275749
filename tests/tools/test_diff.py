"""The difference of two runs: tables made by hand, a slow answer to compare with, and runs of the program."""

import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factories import EXAMPLES
from splicebert_vep.errors import BuildError, CohortError, OutputError
from splicebert_vep.tools.diff import COLUMNS, compare, write_changes

TEXT = {
    "CHROM", "ID", "REF", "ALT", "SPAN_REF", "SPAN_ALT", "SYMBOL", "GENE", "TRANSCRIPT", "STRAND", "REGION",
    "SITE_OFFSET", "SITE_HIT", "TRANSCRIPT_CHOICE", "BIOTYPE", "STATUS", "REASON",
}  # fmt: skip
BRCA1 = {
    "CHROM": "chr17", "POS": 100, "ID": ".", "REF": "C", "ALT": "A", "START": 99, "SPAN_REF": "C", "SPAN_ALT": "A",
    "SYMBOL": "BRCA1", "GENE": "ENSG00000012048.26", "TRANSCRIPT": "ENST00000357654.9", "STRAND": "-", "REGION": "CDS",
    "SITE_OFFSET": "44", "SITE_HIT": None, "TRANSCRIPT_CHOICE": "MANE_Select", "BIOTYPE": "protein_coding",
    "LLR": -1.5, "KL_CTX": 2.0, "STATUS": "OK", "REASON": None, "FILES": 1, "CARRIERS": None,
}  # fmt: skip
NO_GENE = {
    **dict.fromkeys(("SYMBOL", "GENE", "TRANSCRIPT", "STRAND", "REGION", "SITE_OFFSET", "TRANSCRIPT_CHOICE")),
    "BIOTYPE": None, "LLR": None, "KL_CTX": None, "STATUS": "NO_GENE",
}  # fmt: skip
NBR2 = {"SYMBOL": "NBR2", "GENE": "ENSG00000198496.14", "TRANSCRIPT": "ENST00000657841.1", "STRAND": "+"}
PROVENANCE = {"ScoreDigest": "aa11", "Model": "mini", "WeightsSHA256": "57a5", "AnnotationDigest": "a4e5"}


def table(folder: Path, *changed: dict, provenance=PROVENANCE, drop=(), types=None, columns=BRCA1) -> Path:
    """Write a table whose rows are those of ``BRCA1`` but for what is given; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {name: pa.string() if name in TEXT else pa.int64() for name in columns}
    kinds |= {"LLR": pa.float64(), "KL_CTX": pa.float64(), **(types or {})}
    schema = pa.schema([(name, kind) for name, kind in kinds.items() if name not in drop], metadata=provenance)
    content = []
    for row in changed:
        one = {**BRCA1, **row}
        span = {"START": one["POS"] - 1, "SPAN_ALT": one["ALT"]} if isinstance(one["POS"], int) else {}
        content.append({**one, **span, **row})
    found = pa.Table.from_pylist(content, schema=schema)
    pq.write_table(found, folder / "cohort.parquet", compression="none", write_page_checksum=True)
    return folder


def changes(old: Path, new: Path, threshold: float = 0.01) -> list[tuple]:
    return [tuple(row.values()) for row in compare(old, new, threshold).changes.to_pylist()]


def short(found: list[tuple]) -> list[tuple]:
    """POS, GENE's symbol, CHANGE, FIELD, OLD and NEW."""
    return [(row[1], row[5], *row[6:10]) for row in found]


def counted(old: Path, new: Path, threshold: float = 0.01) -> dict[str, tuple]:
    return {one.field: one[1:] for one in compare(old, new, threshold).fields}


def test_nothing_changed(tmp_path):
    old, new = table(tmp_path / "old", {}), table(tmp_path / "new", {"FILES": 2, "CARRIERS": 7, "ID": "rs1"})
    found = compare(old, new, 0.01)
    assert (len(found.changes), found.only_old, found.only_new, found.provenance) == (0, 0, 0, [])
    assert {(one.changed, one.largest) for one in found.fields} == {(0, None), (0, 0.0)}
    assert counted(old, new)["LLR"] == (1, 0, 0.0) and counted(old, new)["SITE_HIT"] == (0, 0, None)
    assert not {"FILES", "CARRIERS", "ID", "REASON", "POS"} & set(counted(old, new))


def test_alleles_come_and_go(tmp_path):
    old = table(tmp_path / "old", {}, {"POS": 50, "STATUS": "FAILED", "LLR": None, "KL_CTX": None})
    new = table(tmp_path / "new", {}, {"ALT": "G"}, {"ALT": "G", **NBR2})
    head = ("chr17", 50, "C", "A", "ENSG00000012048.26", "BRCA1")
    assert changes(old, new) == [
        (*head, "ONLY_OLD", "STATUS", "FAILED", None, None),
        ("chr17", 100, "C", "G", *head[4:], "ONLY_NEW", "STATUS", None, "OK", None),
        ("chr17", 100, "C", "G", NBR2["GENE"], "NBR2", "ONLY_NEW", "STATUS", None, "OK", None),
    ]
    assert compare(old, new, 0.01)[1:3] == (1, 1)


def test_genes_of_an_allele_come_and_go(tmp_path):
    one, two = table(tmp_path / "one", {}), table(tmp_path / "two", {}, NBR2)
    assert short(changes(one, two)) == [(100, "NBR2", "ONLY_NEW", "STATUS", None, "OK")]
    assert short(changes(two, one)) == [(100, "NBR2", "ONLY_OLD", "STATUS", "OK", None)]
    assert compare(one, two, 0.01)[1:3] == (0, 0)  # the allele is in both
    none = table(tmp_path / "none", NO_GENE)
    assert short(changes(none, one)) == [
        (100, "BRCA1", "ONLY_NEW", "STATUS", None, "OK"), (100, None, "ONLY_OLD", "STATUS", "NO_GENE", None),
    ]  # fmt: skip


def test_a_status_changes_without_and_with_its_scores(tmp_path):
    nowhere = {"POS": 7, "START": None, "SPAN_REF": None, "SPAN_ALT": None, **NO_GENE}
    old = table(tmp_path / "old", {}, {**nowhere, "STATUS": "REF_MISMATCH"})
    new = table(tmp_path / "new", {"STATUS": "FAILED", "LLR": None, "KL_CTX": None}, {**nowhere, "STATUS": "NO_CONTIG"})
    assert sorted(short(changes(old, new)), key=str) == [
        (100, "BRCA1", "SCORE", "KL_CTX", "2.0000", None),
        (100, "BRCA1", "SCORE", "LLR", "-1.5000", None),
        (100, "BRCA1", "STATUS", "STATUS", "OK", "FAILED"),
        (7, None, "STATUS", "STATUS", "REF_MISMATCH", "NO_CONTIG"),
    ]
    assert counted(old, new)["STATUS"] == (2, 2, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("SYMBOL", "RNF53"), ("TRANSCRIPT", "ENST00000471181.7"), ("STRAND", "+"), ("REGION", "intron"),
        ("SITE_OFFSET", "+5"), ("SITE_HIT", "donor"), ("TRANSCRIPT_CHOICE", "longest"), ("BIOTYPE", None),
    ],
)  # fmt: skip
def test_the_context_of_a_gene_changes(tmp_path, field, value):
    found = changes(table(tmp_path / "old", {}), table(tmp_path / "new", {field: value}))
    assert [row[6:] for row in found] == [("CONTEXT", field, BRCA1[field], value, None)]


def test_a_gene_keeps_its_identity_when_only_its_version_rises(tmp_path):
    old, new = table(tmp_path / "old", {}), table(tmp_path / "new", {"GENE": "ENSG00000012048.27"})
    assert short(changes(old, new)) == [
        (100, "BRCA1", "CONTEXT", "GENE", "ENSG00000012048.26", "ENSG00000012048.27"),
    ]
    # a dot may be part of a name that no release numbers
    dotted = (table(tmp_path / name, {"GENE": gene}) for name, gene in (("1", "AC004.1"), ("2", "AC004.2")))
    assert [row[6] for row in changes(*dotted)] == ["ONLY_OLD", "ONLY_NEW"]


@pytest.mark.parametrize(
    ("old", "new", "threshold", "moved"),
    [
        (0.50, 0.51, 0.01, False),  # 0.51 - 0.50 is 0.010000000000000009 in binary
        (0.51, 0.50, 0.01, False),
        (0.50, 0.5101, 0.01, True),
        (0.50, 0.4899, 0.01, True),
        (100.0, 100.01, 0.01, False),
        (0.50, 0.51, 0.0099, True),
        (0.50, 0.50, 0.0, False),
        (0.50, 0.50 + 1e-12, 0.0, True),
        (-3.0, 3.0, 6.0, False),
        (-3.0, 3.1, 6.0, True),
    ],
)
def test_a_score_has_to_move_by_more_than_the_threshold(tmp_path, old, new, threshold, moved):
    found = changes(table(tmp_path / "old", {"LLR": old}), table(tmp_path / "new", {"LLR": new}), threshold)
    assert [(*row[6:8], row[10]) for row in found] == ([("SCORE", "LLR", new - old)] if moved else [])


def test_a_score_comes_and_goes_and_nan_is_missing(tmp_path):
    late = {"POS": 101}
    old = table(tmp_path / "old", {"LLR": None, "KL_CTX": 2.0}, {**late, "LLR": float("nan")})
    new = table(tmp_path / "new", {"LLR": 0.25, "KL_CTX": None}, {**late, "LLR": None})
    assert [row[6:] for row in changes(old, new, 5.0)] == [  # whatever the threshold
        ("SCORE", "LLR", None, "0.2500", None),
        ("SCORE", "KL_CTX", "2.0000", None, None),
    ]
    assert counted(old, new)["LLR"] == (1, 1, 0.0)


def test_contigs_are_the_same_under_all_their_names_and_have_that_of_new(tmp_path):
    old = table(tmp_path / "old", {"CHROM": "17"}, {"CHROM": "chrM", "POS": 9})
    new = table(tmp_path / "new", {"LLR": 0.0}, {"CHROM": "NC_012920.1", "POS": 9, "LLR": 0.0})
    assert [(row[0], row[1], row[6]) for row in changes(old, new)] == [
        ("chr17", 100, "SCORE"), ("NC_012920.1", 9, "SCORE"),
    ]  # fmt: skip
    assert [row[0] for row in changes(old, table(tmp_path / "none"))] == ["17", "chrM"]


def test_padded_writings_are_one_allele_and_records_of_annotate_count_once(tmp_path):
    padded = {"POS": 99, "REF": "GC", "ALT": "GA", "START": 99, "SPAN_ALT": "A", "LLR": 7.0}
    old, new = table(tmp_path / "old", {}, {}), table(tmp_path / "new", padded)
    assert short(changes(old, new)) == [(99, "BRCA1", "SCORE", "LLR", "-1.5000", "7.0000")]


def test_a_gene_id_that_an_annotation_has_twice_is_paired_by_transcript(tmp_path):
    twice = [{"TRANSCRIPT": "NM_1"}, {"TRANSCRIPT": "NM_2", "LLR": 3.0}]
    old, new = table(tmp_path / "old", *twice), table(tmp_path / "new", *reversed(twice))
    assert changes(old, new) == []


def test_columns_of_one_run_alone_and_of_another_type_are_named_and_not_compared(tmp_path):
    wide = {**BRCA1, "PLLR": 1.0, "MODE": "a", "N_SITES": 3}
    old = table(tmp_path / "old", wide, types={"PLLR": pa.float64(), "MODE": pa.string()}, columns=wide)
    narrow = {**BRCA1, "MODE": 1, "KL_SS": 4.0, "N_SITES": 5}
    new = table(tmp_path / "new", narrow, types={"KL_SS": pa.float64()}, columns=narrow)
    found = compare(old, new, 0.01)
    assert found.not_compared == ["KL_SS", "MODE", "PLLR"]
    assert [tuple(row.values())[6:] for row in found.changes.to_pylist()] == [("SCORE", "N_SITES", "3", "5", 2.0)]


def test_changes_are_in_the_order_of_new_and_of_positions(tmp_path):
    places = {"old": (("chr2", 3), ("chr1", 9), ("chrX", 1)), "new": (("chr1", 20), ("chr1", 8), ("chr2", 2))}
    old, new = (table(tmp_path / name, *({"CHROM": c, "POS": p} for c, p in where)) for name, where in places.items())
    assert [(row[0], row[1], row[6][5:]) for row in changes(old, new)] == [
        ("chr1", 8, "NEW"), ("chr1", 9, "OLD"), ("chr1", 20, "NEW"), ("chr2", 2, "NEW"), ("chr2", 3, "OLD"),
        ("chrX", 1, "OLD"),
    ]  # fmt: skip


def slowly(old: list[dict], new: list[dict], threshold: float) -> set[tuple]:
    """The changes of rows whose keys are distinct and that all have a gene, one row at a time."""
    before, after = ({(r["POS"], r["ALT"], r["GENE"]): r for r in side} for side in (old, new))
    found = set()
    for key in {*before, *after}:
        a, b = before.get(key), after.get(key)
        if a is None or b is None:
            found.add((*key, "ONLY_NEW" if a is None else "ONLY_OLD", "STATUS"))
            continue
        found |= {(*key, "STATUS", "STATUS") for _ in [0] if a["STATUS"] != b["STATUS"]}
        found |= {(*key, "CONTEXT", name) for name in ("REGION", "SITE_HIT") if a[name] != b[name]}
        for name in ("LLR", "KL_CTX"):
            one, other = a[name], b[name]
            if (one is None) != (other is None) or (one is not None and abs(other - one) > threshold):
                found.add((*key, "SCORE", name))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_many_rows_give_what_a_slow_comparison_finds(tmp_path, seed):
    chance = random.Random(seed)

    def side() -> list[dict]:
        keys = {(chance.randrange(60), chance.choice("AGT"), chance.choice("xyz")) for _ in range(250)}
        return [
            {
                "POS": pos, "ALT": alt, "GENE": gene, "STATUS": chance.choice(["OK", "OK", "FAILED"]),
                "REGION": chance.choice(["CDS", "intron"]), "SITE_HIT": chance.choice([None, "donor"]),
                "LLR": chance.choice([None, 0.0, 0.005, 0.3]), "KL_CTX": chance.choice([1.0, 1.004, 2.0]),
            }
            for pos, alt, gene in keys
        ]  # fmt: skip

    old, new = side(), side()
    found = changes(table(tmp_path / "old", *old), table(tmp_path / "new", *new))
    got = [(row[1], row[3], row[4], row[6], row[7]) for row in found]
    assert len(got) == len(set(got))
    assert set(got) == slowly(old, new, 0.01)
    assert {row[6] for row in found} == {"ONLY_OLD", "ONLY_NEW", "STATUS", "CONTEXT", "SCORE"}


def test_tables_without_rows(tmp_path):
    empty = table(tmp_path / "empty")
    assert changes(empty, empty) == []
    assert counted(empty, empty)["LLR"] == (0, 0, 0.0)


def test_provenance_that_differs_is_told(tmp_path):
    old = table(tmp_path / "old", {}, provenance={**PROVENANCE, "Model": "other", "Old": "1"})
    assert compare(old, table(tmp_path / "new", {}), 0.01).provenance == [("Model", "other", "mini"), ("Old", "1", "")]


def test_changes_are_written_as_text_or_parquet_and_whole_or_not(tmp_path):
    old = table(tmp_path / "old", {}, {"POS": 5})
    found = compare(old, table(tmp_path / "new", {"LLR": -1.25}), 0.01)
    write_changes(found, str(tmp_path / "changes.parquet"))
    assert pq.read_table(tmp_path / "changes.parquet").equals(found.changes)
    write_changes(found, str(tmp_path / "changes.tsv"))
    assert (tmp_path / "changes.tsv").read_text().splitlines() == [
        "\t".join(COLUMNS),
        "chr17\t5\tC\tA\tENSG00000012048.26\tBRCA1\tONLY_OLD\tSTATUS\tOK\t\t",
        "chr17\t100\tC\tA\tENSG00000012048.26\tBRCA1\tSCORE\tLLR\t-1.5000\t-1.2500\t0.2500",
    ]
    with pytest.raises(OutputError):
        write_changes(found, str(tmp_path / "no such folder" / "changes.parquet"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["changes.parquet", "changes.tsv", "new", "old"]


@pytest.mark.parametrize("what", ["absent", "bare", "text", "foreign", "typed", "damaged"])
def test_what_is_no_table_of_a_run_is_refused(tmp_path, what):
    good, bad = table(tmp_path / "good", {}), tmp_path / what
    if what == "bare":
        bad.mkdir()
    elif what == "text":
        bad.write_text("CHROM\tPOS\n")
    elif what == "foreign":
        pq.write_table(pa.table({"a": [1]}), bad)
    elif what == "typed":
        table(bad, {"POS": "9"}, types={"POS": pa.string()})
    elif what == "damaged":
        whole = (good / "cohort.parquet").read_bytes()
        at = whole.index(b"BRCA1")  # a value, in a page that has a check sum
        bad.write_bytes(whole[:at] + b"BRCA2" + whole[at + 5 :])
    for pair in ((good, bad), (bad, good)):
        with pytest.raises(CohortError):
            compare(*pair, 0.01)


def test_two_runs_of_the_program(run, tmp_path):
    common = ["-R", EXAMPLES / "brca1.fa.gz", "--backend", "null"]
    for name, words in (("old", []), ("other", ["--window", "400", "--flank", "50", "--scores", "LLR,KL_CTX"])):
        assert run("cohort", "run", EXAMPLES / "multiallelic.vcf", *common, *words, "-O", tmp_path / name)[0] == 0
    words = ["annotate", EXAMPLES / "multiallelic.vcf", *common, "--emit", f"parquet={tmp_path / 'x.parquet'}"]
    assert run(*words)[0] == 0
    code, out, err = run("cohort", "diff", tmp_path / "old", tmp_path / "x.parquet", "-O", tmp_path / "same.tsv")
    assert code == 0 and "0 changes" in err and "only in OLD: 0; only in NEW: 0" in out
    code, out, err = run("cohort", "diff", tmp_path / "old", tmp_path / "other", "-O", tmp_path / "c.tsv")
    assert code == 0 and "score digests differ" in err and "Window: 510 -> 400" in out
    [llr] = [line.split() for line in out.splitlines() if line.startswith("LLR ")]
    rows = [pq.read_table(tmp_path / name / "cohort.parquet").to_pylist() for name in ("old", "other")]
    moves = [abs(b["LLR"] - a["LLR"]) for a, b in zip(*rows, strict=True) if a["LLR"] is not None]
    assert llr == ["LLR", str(len(moves)), str(sum(move > 1e-4 for move in moves)), f"{max(moves):.6g}"]
    table_of_run = tmp_path / "old" / "cohort.parquet"
    before = table_of_run.read_bytes()
    assert run("cohort", "diff", tmp_path / "old", tmp_path / "other", "-O", table_of_run)[0] == 3
    assert table_of_run.read_bytes() == before
    code, _, err = run("cohort", "diff", tmp_path / "old", tmp_path / "other", "--summary", "x.md")
    assert code == 2 and "--summary is gone" in err


def test_it_does_not_wait_for_torch(tmp_path):
    one = table(tmp_path / "one", {})
    code = (
        "import sys\nfrom splicebert_vep.cli.main import main\n"
        "try:\n    main()\nfinally:\n    assert 'torch' not in sys.modules"
    )
    words = [sys.executable, "-P", "-c", code, "cohort", "diff", one, one]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_accessions_of_two_assemblies_are_not_compared(tmp_path):
    old, new = table(tmp_path / "old", {"CHROM": "NC_000017.10"}), table(tmp_path / "new", {"CHROM": "NC_000017.11"})
    with pytest.raises(BuildError):
        compare(old, new, 0.01)
    assert changes(old, table(tmp_path / "plain", {})) == []
