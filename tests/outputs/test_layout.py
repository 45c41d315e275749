"""Delta scores in SpliceAI's subfields: read back by the reader of SpliceAI's files, never called SpliceAI's."""

import pytest

from factories import FASTA, NULL, VCF, info, records, unpacked
from splicebert_vep import Annotator
from splicebert_vep.joins.spliceai import SpliceAiJoin
from splicebert_vep.outputs.layout import SpliceAiLayoutAdapter
from splicebert_vep_spec import InfoField, Status

DS = ("DS_AG", "DS_AL", "DS_DG", "DS_DL")
DP = ("DP_AG", "DP_AL", "DP_DG", "DP_DL")
BOTH = slice(43_125_420, 43_125_430)  # 0-based; in BRCA1 and in NBR2


@pytest.fixture(scope="module")
def annotator():
    with Annotator(FASTA, backend="null", scores="delta") as opened:
        yield opened


def test_every_alt_of_bases_and_gene_has_an_entry_that_a_reader_of_spliceai_takes(annotator):
    """Padding moves POS, and DP with it; the numbers are those of the result, gene by gene."""
    adapter = SpliceAiLayoutAdapter()
    [line] = adapter.header(annotator.run)
    assert line.key == "SpliceBERT_DELTA" and "not by SpliceAI" in line.description
    read = SpliceAiJoin().reader(InfoField("X", ".", "String", line.description))
    ref = annotator.reference.fetch("chr17", BOTH.start, BOTH.stop).decode()
    for alt in (ref[:4] + "GG" + ref[4:], ref[:2] + ref[5:], ref[:-1] + ("A" if ref[-1] != "A" else "C")):
        result = annotator.score(f"chr17-{BOTH.start + 1}-{ref}-{alt}")
        entries = adapter.render(result.report, annotator.run)["SpliceBERT_DELTA"]
        found = read(",".join(map(str, entries)), ref, alt, [alt])
        assert [entry.gene for entry in found] == [outcome.context.symbol for outcome in result.contexts]
        assert {entry.gene for entry in found} == {"BRCA1", "NBR2"}
        for entry, outcome in zip(found, result.contexts, strict=True):
            assert list(entry.values[4:8]) == [outcome.values[name] for name in DP]
            assert list(entry.values[:4]) == pytest.approx([outcome.values[name] for name in DS], abs=5e-5)


@pytest.mark.parametrize(
    ("alt", "expected"), [("G", ["G|.|.|.|.|.|.|.|.|."]), ("<DEL>", []), ("*", [])], ids=["no gene", "symbolic", "star"]
)
def test_an_alt_without_scores_has_no_made_up_number(annotator, alt, expected):
    start = next(at for at in range(0, 83_000_000, 1000) if not annotator.genes.touches("chr17", at, at + 1))
    result = annotator.score(f"chr17-{start + 1}-N-{alt}")
    assert result.status != Status.OK
    assert list(SpliceAiLayoutAdapter().render(result.report, annotator.run)["SpliceBERT_DELTA"]) == expected


def test_annotate_and_saturate_write_it_report_and_top_pass_it_by(run, tmp_path):
    out = tmp_path / "out.vcf"
    assert run("annotate", VCF, *NULL, "--emit", "flat,spliceai-layout", "-O", out)[0] == 0
    rows = [info(row[7]) for row in records(out.read_text())]
    same = [row for row in rows if row.get("SpliceBERT_STATUS") == "OK"]
    first = [row["SpliceBERT_DELTA"].split(",")[0].split("|") for row in same]
    assert len(first) > 40
    for cells, row in zip(first, same, strict=True):
        assert cells[1:] == [row["SpliceBERT_SYMBOL"], *(row[f"SpliceBERT_{name}"] for name in (*DS, *DP))]
    code, text, _ = run("top", out, "-n", "3")
    assert code == 0 and text
    assert run("report", out, "-o", tmp_path / "page.html")[0] == 0
    saturated = tmp_path / "all.vcf.gz"
    words = ["saturate", "--region", "chr17:43125421-43125423", *NULL, "--emit", "spliceai-layout", "-O", saturated]
    assert run(*words)[0] == 0
    assert {row[7].count("|") for row in records(unpacked(saturated))} == {18}  # BRCA1 and NBR2


def test_a_run_without_delta_scores_is_told_what_to_add(run, tmp_path):
    code, _, err = run("annotate", VCF, *NULL, "--scores", "LLR", "--emit", "spliceai-layout", "-O", tmp_path / "o.vcf")
    assert code == 3 and "--scores delta" in err
