"""What changed between two cohort runs: tables made by hand, a slow answer to compare with, and runs of the program."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factories import EXAMPLES
from splicebert_vep.cohort.diff import Change, compare
from splicebert_vep.cohort.diff_outputs import COLUMNS, rows, text_blocks, write_changes
from splicebert_vep.cohort.diff_summary import differences, summarise
from splicebert_vep.errors import CohortError, OutputError, SettingsError

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
    content = [{**BRCA1, **row} for row in changed]
    pq.write_table(pa.Table.from_pylist(content, schema=schema), folder / "cohort.parquet")
    return folder


def changes(old: Path, new: Path, threshold: float = 0.01) -> list[tuple]:
    found = compare(old, new, threshold)
    return list(rows(found, found.changes))


def short(found: list[tuple]) -> list[tuple]:
    """POS, GENE's symbol, CHANGE, FIELD, OLD and NEW."""
    return [(row[1], row[5], *row[6:10]) for row in found]


def test_nothing_changed(tmp_path):
    old, new = table(tmp_path / "old", {}), table(tmp_path / "new", {"FILES": 2, "CARRIERS": 7})
    assert changes(old, new) == []
    page = summarise(compare(old, new, 0.01))
    assert "**Nothing changed: both runs have the same alleles in the same genes, with the same statuses" in page
    assert "no score that both have moved by more than 0.01" in page
    assert "The score digest is the same in both runs" in page
    assert "## Provenance\n\nThe same in both runs.\n" in page
    assert "Largest" not in page


def test_alleles_come_and_go(tmp_path):
    old = table(tmp_path / "old", {}, {"POS": 50, "STATUS": "FAILED", "LLR": None, "KL_CTX": None})
    new = table(tmp_path / "new", {}, {"ALT": "G"}, {"ALT": "G", **NBR2})
    head = ("chr17", 50, "C", "A", "ENSG00000012048.26", "BRCA1")
    assert changes(old, new) == [
        (*head, "GONE_ALLELE", "STATUS", "FAILED", None, None),
        ("chr17", 100, "C", "G", *head[4:], "NEW_ALLELE", "STATUS", None, "OK", None),
        ("chr17", 100, "C", "G", NBR2["GENE"], "NBR2", "NEW_ALLELE", "STATUS", None, "OK", None),
    ]
    counts = compare(old, new, 0.01).counts()
    assert (counts.old, counts.new, counts.appeared, counts.gone) == (2, 2, 1, 1)
    assert (counts.status, counts.genes, counts.scores) == (0, 0, 0)


def test_genes_of_an_allele_come_and_go(tmp_path):
    one, two = table(tmp_path / "one", {}), table(tmp_path / "two", {}, NBR2)
    assert short(changes(one, two)) == [(100, "NBR2", "NEW_GENE", "STATUS", None, "OK")]
    assert short(changes(two, one)) == [(100, "NBR2", "GONE_GENE", "STATUS", "OK", None)]
    assert compare(one, two, 0.01).counts().genes == 1


def test_an_allele_that_gets_its_first_gene_changes_its_status_too(tmp_path):
    none, gene = table(tmp_path / "none", NO_GENE), table(tmp_path / "gene", {}, NBR2)
    assert short(changes(none, gene)) == [
        (100, "BRCA1", "NEW_GENE", "STATUS", None, "OK"),
        (100, "BRCA1", "STATUS", "STATUS", "NO_GENE", "OK"),
        (100, "NBR2", "NEW_GENE", "STATUS", None, "OK"),
    ]
    assert short(changes(gene, none)) == [
        (100, "BRCA1", "GONE_GENE", "STATUS", "OK", None),
        (100, "BRCA1", "STATUS", "STATUS", "OK", "NO_GENE"),
        (100, "NBR2", "GONE_GENE", "STATUS", "OK", None),
    ]


def test_a_status_changes_without_and_with_its_scores(tmp_path):
    old = table(tmp_path / "old", {}, {"POS": 7, **NO_GENE, "STATUS": "REF_MISMATCH"})
    failed = {"STATUS": "FAILED", "LLR": None, "KL_CTX": None}
    new = table(tmp_path / "new", failed, {"POS": 7, **NO_GENE, "STATUS": "NO_CONTIG"})
    assert short(changes(old, new)) == [
        (7, None, "STATUS", "STATUS", "REF_MISMATCH", "NO_CONTIG"),
        (100, "BRCA1", "STATUS", "STATUS", "OK", "FAILED"),
        (100, "BRCA1", "SCORE", "LLR", -1.5, None),
        (100, "BRCA1", "SCORE", "KL_CTX", 2.0, None),
    ]
    page = summarise(compare(old, new, 0.01))
    assert (
        "| from | to | alleles |\n| --- | --- | --- |\n| OK | FAILED | 1 |\n| REF_MISMATCH | NO_CONTIG | 1 |\n" in page
    )
    assert "| in both, another status | 2 |" in page


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
    other = table(tmp_path / "other", {"GENE": "ENSG00000012048.26_PAR_Y"})
    assert [row[6] for row in changes(old, other)] == ["GONE_GENE", "NEW_GENE"]
    # a dot may be part of a name that no release numbers
    dotted = (table(tmp_path / name, {"GENE": gene}) for name, gene in (("1", "AC004.1"), ("2", "AC004.2")))
    assert [row[6] for row in changes(*dotted)] == ["GONE_GENE", "NEW_GENE"]


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
    assert [row[6:] for row in found] == ([("SCORE", "LLR", old, new, new - old)] if moved else [])


def test_a_score_comes_and_goes_and_nan_is_missing(tmp_path):
    old = table(tmp_path / "old", {"LLR": None, "KL_CTX": 2.0}, {"POS": 101, "LLR": float("nan")})
    new = table(tmp_path / "new", {"LLR": 0.25, "KL_CTX": None}, {"POS": 101, "LLR": None})
    found = compare(old, new, 5.0)  # whatever the threshold
    assert [row[6:] for row in rows(found, found.changes)] == [
        ("SCORE", "LLR", None, 0.25, None),
        ("SCORE", "KL_CTX", 2.0, None, None),
    ]
    page = summarise(found)
    assert "| LLR | 0 |  |  | 0 | 1 |\n| KL_CTX | 0 |  |  | 1 | 0 |" in page
    assert b"".join(text_blocks(found)).decode().splitlines()[1].split("\t")[6:] == ["SCORE", "LLR", "", "0.2500", ""]


def test_contigs_are_the_same_under_all_their_names_and_have_that_of_new(tmp_path):
    old = table(tmp_path / "old", {"CHROM": "17"}, {"CHROM": "17", "POS": 5}, {"CHROM": "chrM", "POS": 9})
    new = table(tmp_path / "new", {"LLR": 0.0}, {"CHROM": "NC_012920.1", "POS": 9, "LLR": 0.0})
    assert [(row[0], row[1], row[6]) for row in changes(old, new)] == [
        ("chr17", 5, "GONE_ALLELE"),
        ("chr17", 100, "SCORE"),
        ("NC_012920.1", 9, "SCORE"),
    ]
    gone = changes(old, table(tmp_path / "none"))
    assert [row[0] for row in gone] == ["17", "17", "chrM"]


def test_keys_that_are_there_several_times_are_paired_once(tmp_path):
    """An annotation may have a gene id twice, and files may write a contig in two ways."""
    twice = [{"TRANSCRIPT": "NM_1"}, {"TRANSCRIPT": "NM_2", "LLR": 3.0}]
    turned = [{**NO_GENE, "POS": 7, "STATUS": word} for word in ("NO_CONTIG", "REF_MISMATCH", "REF_MISMATCH")]
    turned[1]["CHROM"] = "17"
    old = table(tmp_path / "old", *twice, *turned)
    assert changes(old, table(tmp_path / "same", *reversed(turned), *reversed(twice))) == []
    assert short(changes(old, table(tmp_path / "fewer", twice[1], turned[1]))) == [
        (7, None, "STATUS", "STATUS", "NO_CONTIG", "REF_MISMATCH"),
        (100, "BRCA1", "GONE_GENE", "STATUS", "OK", None),
    ]
    many = table(tmp_path / "many", *[{"LLR": float(i)} for i in range(300)])
    found = changes(many, table(tmp_path / "other", *[{"LLR": float(i)} for i in range(200)]))
    assert [row[6] for row in found] == ["GONE_GENE"] * 100


def test_scores_of_one_run_alone_and_of_another_type_are_named_and_not_compared(tmp_path):
    wide = {**BRCA1, "PLLR": 1.0, "MODE": "a", "N_SITES": 3, "WINDOW_MODE": "tiled"}
    kinds = {"PLLR": pa.float64(), "MODE": pa.string(), "N_SITES": pa.int64(), "WINDOW_MODE": pa.string()}
    old = table(tmp_path / "old", wide, types=kinds, columns=wide)
    narrow = {**wide, "MODE": 1, "KL_SS": 4.0, "N_SITES": 5, "WINDOW_MODE": "centred"}
    del narrow["PLLR"]
    kinds = {**kinds, "MODE": pa.int64(), "KL_SS": pa.float64()}
    del kinds["PLLR"]
    new = table(tmp_path / "new", narrow, types=kinds, columns=narrow)
    found = compare(old, new, 0.01)
    assert [row[6:] for row in rows(found, found.changes)] == [
        ("SCORE", "N_SITES", 3, 5, 2),
        ("SCORE", "WINDOW_MODE", "tiled", "centred", None),
    ]
    page = summarise(found)
    assert "- only OLD has: PLLR\n- only NEW has: KL_SS\n- numbers in one run and words in the other: MODE\n" in page
    assert "| N_SITES | 1 | 2.0000 | 2.0000 | 0 | 0 |\n| WINDOW_MODE | 1 |  |  |  |  |" in page
    assert "Largest changes" not in page  # numbers of sites are no measure


def test_changes_are_in_the_order_of_new_and_of_positions(tmp_path):
    old = table(tmp_path / "old", *({"CHROM": c, "POS": p} for c, p in (("chr2", 3), ("chr1", 9), ("chrX", 1))))
    new = table(tmp_path / "new", *({"CHROM": c, "POS": p} for c, p in (("chr1", 20), ("chr1", 8), ("chr2", 2))))
    found = [(row[0], row[1], row[6][:3]) for row in changes(old, new)]
    assert found == [
        ("chr1", 8, "NEW"), ("chr1", 9, "GON"), ("chr1", 20, "NEW"), ("chr2", 2, "NEW"), ("chr2", 3, "GON"),
        ("chrX", 1, "GON"),
    ]  # fmt: skip


def slowly(old: list[dict], new: list[dict], threshold: float) -> set[tuple]:
    """The changes of rows whose keys are distinct and that all have a gene, one row at a time."""
    before, after = ({(r["POS"], r["ALT"], r["GENE"]): r for r in side} for side in (old, new))
    alleles = [{key[:2] for key in side} for side in (before, after)]
    found = set()
    for key in {*before, *after}:
        a, b = before.get(key), after.get(key)
        if a is None or b is None:
            kind = "ALLELE" if key[:2] not in alleles[a is not None] else "GENE"
            found.add((*key, f"{'NEW' if a is None else 'GONE'}_{kind}", "STATUS"))
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
    assert {row[6] for row in found} == {kind.name for kind in Change}


def test_tables_without_rows(tmp_path):
    empty, one = table(tmp_path / "empty"), table(tmp_path / "one", {})
    assert changes(empty, empty) == []
    assert short(changes(empty, one)) == [(100, "BRCA1", "NEW_ALLELE", "STATUS", None, "OK")]
    assert short(changes(one, empty)) == [(100, "BRCA1", "GONE_ALLELE", "STATUS", "OK", None)]
    assert "| distinct alleles | 0 | 0 |" in summarise(compare(empty, empty, 0.01))


def test_the_page_says_what_differs_and_names_other_models_first(tmp_path):
    old = table(tmp_path / "old", {}, {"POS": 200, "ALT": "<DEL|X>"}, {"POS": 300})
    other = {**PROVENANCE, "ScoreDigest": "bb22", "Model": "large", "AnnotationDigest": "ffff", "Device": "cuda"}
    moved = ({"LLR": -1.0, "KL_CTX": 2.25}, {"POS": 200, "ALT": "<DEL|X>", "LLR": 1.5}, {"POS": 300, "LLR": -1.7})
    new = table(tmp_path / "new", *moved, provenance=other)
    found = compare(old, new, 0.01)
    page = summarise(found)
    assert page.startswith("# What changed between two cohort runs\n\n**The score digests differ: ")
    assert "their scores are not comparable.**" in page.splitlines()[2]
    assert "**The gene annotations differ:**" in page
    assert "The references differ" not in page
    assert "Nothing changed" not in page
    assert differences(found) == [
        ("ScoreDigest", "aa11", "bb22"), ("Model", "mini", "large"), ("AnnotationDigest", "a4e5", "ffff"),
        ("Device", "", "cuda"),
    ]  # fmt: skip
    assert "| ScoreDigest | `aa11` | `bb22` | scores |" in page
    assert "| Device |  | `cuda` |  |" in page
    assert "| LLR | 3 | 3.0000 | 0.5000 | 0 | 0 |\n| KL_CTX | 1 | 0.2500 | 0.2500 | 0 | 0 |" in page
    _, _, largest = page.partition("## Largest changes of a score\n")
    assert largest.splitlines()[5:] == [
        "| `chr17:200 C><DEL\\|X>` | `BRCA1` | LLR | -1.5000 | 1.5000 | 3.0000 |",
        "| `chr17:100 C>A` | `BRCA1` | LLR | -1.5000 | -1.0000 | 0.5000 |",
        "| `chr17:300 C>A` | `BRCA1` | LLR | -1.5000 | -1.7000 | -0.2000 |",
    ]


def test_the_page_stays_one_page(tmp_path):
    long = {"REF": "C" * 500}
    old = table(tmp_path / "old", *({**long, "POS": 9 + i, "LLR": 0.0} for i in range(100)))
    new = table(tmp_path / "new", *({**long, "POS": 9 + i, "LLR": 1.0 + i} for i in range(100)))
    page = summarise(compare(old, new, 0.01))
    largest = page.partition("## Largest")[2].splitlines()[6:]
    assert len(largest) == 20
    assert largest[0].startswith(f"| `chr17:108 {'C' * 24}...(500)>A` |")
    assert len(page.splitlines()) < 70


def test_the_same_transition_in_several_genes_of_an_allele_counts_once(tmp_path):
    old, new = (
        table(tmp_path / "old", {}, NBR2),
        table(tmp_path / "new", *({"STATUS": "N_CONTEXT", **g} for g in ({}, NBR2))),
    )
    assert "| OK | N_CONTEXT | 1 |" in summarise(compare(old, new, 0.01))
    assert compare(old, new, 0.01).counts().status == 1


def test_parquet_has_types_full_precision_and_what_was_compared(tmp_path):
    old, new = table(tmp_path / "old", {}), table(tmp_path / "new", {"LLR": -1.2345678901})
    path = tmp_path / "changes.parquet"
    write_changes(compare(old, new, 0.01), str(path))
    found = pq.read_table(path)
    assert tuple(found.schema.names) == COLUMNS
    [row] = found.to_pylist()
    assert (row["POS"], row["OLD"], row["NEW"], row["DELTA"]) == (100, "-1.5000", "-1.2346", -1.2345678901 + 1.5)
    metadata = {key.decode(): value.decode() for key, value in found.schema.metadata.items()}
    assert (metadata["Threshold"], metadata["Old.ScoreDigest"], metadata["New.Model"]) == ("0.01", "aa11", "mini")
    with pytest.raises(OutputError):
        write_changes(compare(old, new, 0.01), str(tmp_path / "no such folder" / "changes.parquet"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["changes.parquet", "new", "old"]


def test_what_is_no_table_of_a_cohort_is_refused(tmp_path, run):
    good = table(tmp_path / "good", {})
    with pytest.raises(CohortError, match=r"(?s)There is no such run.*needed.*absent"):
        compare(tmp_path / "absent", good, 0.01)
    (tmp_path / "bare").mkdir()
    with pytest.raises(CohortError, match=r"(?s)no table of a cohort.*remedy: +splicebert-vep cohort merge .*bare"):
        compare(good, tmp_path / "bare", 0.01)
    (tmp_path / "text").write_text("CHROM\tPOS\n")
    with pytest.raises(CohortError, match="(?s)could not be read.*where: .*text"):
        compare(good, tmp_path / "text", 0.01)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "foreign.parquet")
    with pytest.raises(CohortError, match="(?s)not the table of a cohort.*CHROM, POS.*found: +columns a\n"):
        compare(tmp_path / "foreign.parquet", good, 0.01)
    with pytest.raises(CohortError, match="(?s)FILES, CARRIERS.*'annotate' have alleles as their file wrote them"):
        compare(good, table(tmp_path / "annotated", {}, drop=("FILES", "CARRIERS")), 0.01)
    with pytest.raises(CohortError, match="needed: +a table that has ScoreDigest in the metadata"):
        compare(good, table(tmp_path / "nameless", {}, provenance={}), 0.01)
    with pytest.raises(CohortError, match="POS as whole numbers"):
        compare(good, table(tmp_path / "typed", {"POS": "9"}, types={"POS": pa.string()}), 0.01)
    whole = (good / "cohort.parquet").read_bytes()
    damaged = table(tmp_path / "damaged", {}) / "cohort.parquet"
    damaged.write_bytes(whole[:4] + b"\xff" * 400 + whole[404:])
    with pytest.raises(CohortError, match="(?s)could not be read.*damaged"):
        compare(good, damaged, 0.01)
    code, out, err = run("cohort", "diff", good, tmp_path / "absent")
    assert (code, out) == (3, "")
    assert "error: There is no such run." in err


def test_counts_of_a_run_are_read_where_they_are_of_its_table(tmp_path):
    one, other = table(tmp_path / "one", {}), table(tmp_path / "other", {"LLR": 0.0})
    for folder, provenance in ((one, PROVENANCE), (other, {})):
        content = {"provenance": provenance, "counts": {"files": 1234, "records": 5}}
        (folder / "cohort.json").write_text(json.dumps(content))
    assert "| files | 1,234 | not known |\n| records | 5 | not known |" in summarise(compare(one, other, 0.01))
    (other / "cohort.json").write_text("[]")
    with pytest.raises(CohortError, match=r"(?s)summary of the run is damaged.*where: .*cohort\.json"):
        compare(one, other, 0.01)


@pytest.mark.parametrize("threshold", [-0.1, float("nan"), float("inf")])
def test_the_threshold_is_a_number(tmp_path, threshold):
    one = table(tmp_path / "one", {})
    with pytest.raises(SettingsError, match="threshold"):
        compare(one, one, threshold)


def test_no_file_of_a_run_is_replaced(tmp_path, run):
    old, new = table(tmp_path / "old", {}), table(tmp_path / "new", {"LLR": 0.0})
    (tmp_path / "link.tsv").symlink_to(old / "cohort.parquet")
    before = (old / "cohort.parquet").read_bytes()
    out = tmp_path / "out"
    for words, said in (
        (("-O", old / "cohort.parquet"), "would replace a file of a run"),
        (("-O", tmp_path / "link.tsv"), "would replace a file of a run"),
        (("--summary", new / "cohort.json"), "would replace a file of a run"),
        (("-O", out, "--summary", out), "to the same place"),
        (("-O", tmp_path / "changes.tsv.gz"), "plain text or as Parquet"),
        (("--summary", "-"), "summary cannot go to stdout"),
    ):
        code, stdout, err = run("cohort", "diff", old, new, *words)
        assert (code, stdout) == (3, ""), words
        assert said in err
    assert (old / "cohort.parquet").read_bytes() == before
    assert not out.exists()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of the program on examples with the null backend: another window, other scores and more files."""
    from splicebert_vep.cli import main as program

    folder = tmp_path_factory.mktemp("runs")
    common = ["-R", str(EXAMPLES / "brca1.fa.gz"), "--backend", "null"]
    for name, inputs, words in (
        ("old", "multiallelic.vcf", []),
        ("more", "[bm][ru][cl]*.vcf", []),
        ("other", "multiallelic.vcf", ["--window", "400", "--flank", "50", "--scores", "LLR,KL_CTX,KL_MAX_POS"]),
    ):
        arguments = ["cohort", "run", str(EXAMPLES / inputs), *common, *words, "-O", str(folder / name)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SPLICEBERT_VEP_CACHE", str(folder / "cache"))
            assert program._run(arguments) == 0
    return folder


def test_a_run_does_not_differ_from_itself(run, runs, tmp_path):
    code, out, err = run("cohort", "diff", runs / "old", runs / "old", "--summary", tmp_path / "page.md")
    assert (code, out) == (0, "\t".join(COLUMNS) + "\n")
    assert err.startswith("splicebert-vep: 18 alleles in OLD, 18 in NEW: 0 new, 0 gone, ")
    assert err.endswith("; 0 changes\n")
    page = (tmp_path / "page.md").read_text()
    assert "**Nothing changed: " in page
    assert "| files | 1 | 1 |\n| records | 6 | 6 |\n| rows (allele x gene) | 18 | 18 |" in page


def test_a_run_of_more_files_has_new_alleles_and_nothing_else(run, runs, tmp_path):
    out = tmp_path / "changes.tsv"
    code, stdout, err = run("cohort", "diff", runs / "old", runs / "more" / "cohort.parquet", "-O", out)
    assert (code, stdout) == (0, "")
    lines = [line.split("\t") for line in out.read_text().splitlines()]
    assert tuple(lines[0]) == COLUMNS
    assert {tuple(line[6:8]) for line in lines[1:]} == {("NEW_ALLELE", "STATUS")}
    keys = []
    for name in ("old", "more"):
        content = pq.read_table(runs / name / "cohort.parquet").to_pylist()
        keys.append({tuple(str(row[key]) for key in ("CHROM", "POS", "REF", "ALT")) for row in content})
    assert {tuple(line[:4]) for line in lines[1:]} == keys[1] - keys[0]
    assert keys[0] < keys[1]
    assert f"{len(keys[1] - keys[0])} new, 0 gone" in err


def test_a_run_with_another_window_is_told_not_to_be_comparable(run, runs, tmp_path):
    words = ("--summary", tmp_path / "page.md", "--threshold", "0.13")
    code, out, err = run("cohort", "diff", runs / "old", runs / "other", *words)
    assert code == 0
    assert "warning: the score digests differ" in err
    lines = [line.split("\t") for line in out.splitlines()[1:]]
    by_name = [pq.read_table(runs / name / "cohort.parquet")["KL_CTX"].to_pylist() for name in ("old", "other")]
    moved = [(a, b) for a, b in zip(*by_name, strict=True) if a is not None and abs(b - a) > 0.13]
    assert moved
    assert [line[6:11] for line in lines] == [
        ["SCORE", "KL_CTX", f"{a:.4f}", f"{b:.4f}", f"{b - a:.4f}"] for a, b in moved
    ]
    page = (tmp_path / "page.md").read_text()
    assert page.splitlines()[2].startswith("**The score digests differ")
    assert "| Window | `510` | `400` | scores |\n| Flank | `100` | `50` | scores |" in page
    assert "- only OLD has: PLLR, KL_DONOR, KL_ACCEPTOR, KL_SS, N_SITES, EMB_COS, EMB_L2\n" in page
    assert "- only NEW has: KL_MAX_POS\n" in page


def test_it_does_not_wait_for_torch(tmp_path):
    one = table(tmp_path / "one", {})
    code = (
        "import sys\nfrom splicebert_vep.cli.main import main\n"
        "try:\n    main()\nfinally:\n    assert 'torch' not in sys.modules"
    )
    words = [sys.executable, "-P", "-c", code, "cohort", "diff", one, one]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "\t".join(COLUMNS) + "\n"
