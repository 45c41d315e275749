"""Pictures on the page, drawn only where they belong to the file's scores; and MultiQC's files."""

import base64
import json
import re

import pytest

from factories import EXAMPLES, maker, scored, write_scored

FASTA = EXAMPLES / "brca1.fa.gz"
ANNOTATED = EXAMPLES / "brca1.expected.vcf"


@pytest.fixture
def page(run, tmp_path):
    return maker(run, tmp_path / "page.html")


def test_windows_that_the_file_does_not_name_are_asked_for(run, tmp_path):
    (tmp_path / "in.vcf").write_text(ANNOTATED.read_text().replace('Window="510",', ""))
    code, _, err = run("report", tmp_path / "in.vcf", "-R", FASTA, "-o", tmp_path / "page.html")
    assert code == 3
    assert "with which windows" in err and "Window" in err


def test_pictures_are_of_the_model_and_the_scores_of_the_file(run, page, tmp_path):
    made = page(ANNOTATED, "-R", FASTA, "--by", "KL_SS", "--pictures", "2")
    pictures = [a for a in made.tags("img") if "sequence logos" in a["alt"]]
    assert len(pictures) == len(made.tags("figure")) == 2
    top = made.table[0]
    assert top[0] in pictures[0]["alt"]
    drawing = base64.b64decode(pictures[0]["src"].partition("base64,")[2]).decode()
    assert f"KL_SS {top[4]}" in drawing  # the score in the picture is, to the last digit, that of the table
    assert [a["href"] for a in made.tags("a") if a["href"].startswith("#picture-")] == ["#picture-1", "#picture-2"]


def test_a_picture_has_the_file_s_own_number_where_another_processor_gives_another_last_digit(page, tmp_path):
    top = max(re.findall(r";SpliceBERT_KL_SS=([^;]+)", ANNOTATED.read_text()), key=float)
    near = f"{float(top) + 0.0002:.4f}"
    (tmp_path / "in.vcf").write_text(ANNOTATED.read_text().replace(f"KL_SS={top};", f"KL_SS={near};"))
    made = page(tmp_path / "in.vcf", "-R", FASTA, "--by", "KL_SS", "--pictures", "1")
    [picture] = [a["src"] for a in made.tags("img") if "sequence logos" in a["alt"]]
    drawing = base64.b64decode(picture.partition("base64,")[2]).decode()
    assert f"KL_SS {near}" in drawing and f"KL_SS {top}" not in drawing


def test_pictures_of_another_model_or_reference_are_refused(run, tmp_path):
    target = tmp_path / "page.html"
    code, _, err = run("report", ANNOTATED, "-R", FASTA, "-o", target, "--backend", "null")
    assert code == 3
    assert "not be of the model" in err and "--model" in err
    changed = ANNOTATED.read_text().replace("SpliceBERT_KL_CTX=-", "SpliceBERT_KL_CTX=-1")
    (tmp_path / "changed.vcf").write_text(changed)
    code, _, err = run("report", tmp_path / "changed.vcf", "-R", FASTA, "-o", target)
    assert code == 3
    assert "come out otherwise than in the file" in err
    assert not target.exists()


def test_a_file_without_a_score_that_a_picture_has_is_drawn_from_its_own_reference_only(run, page, tmp_path):
    kept = r"(?!EMB_COS|GENE|STATUS|provenance)\w+"
    text = re.sub(rf"##INFO=<ID=SpliceBERT_{kept},.*\n", "", ANNOTATED.read_text())
    (tmp_path / "in.vcf").write_text(re.sub(rf"SpliceBERT_{kept}=[^;\s]*;", "", text))
    arguments = ("-R", FASTA, "--by", "EMB_COS", "--pictures", "1")
    assert len(page(tmp_path / "in.vcf", *arguments).tags("figure")) == 1
    changed = (tmp_path / "in.vcf").read_text().replace('ReferenceSHA256="', 'ReferenceSHA256="0')
    (tmp_path / "other.vcf").write_text(changed)
    code, _, err = run("report", tmp_path / "other.vcf", "-o", tmp_path / "x.html", *arguments)
    assert code == 3
    assert "ReferenceSHA256 0" in err and "give -R as for the run" in err


def test_multiqc_gets_a_bar_of_statuses_and_a_table(run, tmp_path):
    """Keys as in docs.seqera.io/multiqc/custom_content: id, section_name, plot_type, pconfig, headers, data."""
    assert run("report", ANNOTATED, "--multiqc", tmp_path / "qc", "--sample", "S1")[0] == 0
    bar = json.loads((tmp_path / "qc" / "S1.splicebert_statuses_mqc.json").read_text())
    assert bar["plot_type"] == "bargraph"
    assert bar["data"] == {"S1": {"OK": 44, "NO_ALT": 1, "TOO_LONG": 1}}
    table = json.loads((tmp_path / "qc" / "S1.splicebert_summary_mqc.json").read_text())
    assert table["plot_type"] == "table"
    row = table["data"]["S1"]
    assert set(row) == set(table["headers"])
    assert (row["alleles"], row["genes"], row["model"]) == (45, 1, "splicebert-mini")
    assert row["scored_percent"] == round(100 * 44 / 45, 2)
    hits = sum("SpliceBERT_SITE_HIT=" in line for line in ANNOTATED.read_text().splitlines() if line[0] != "#")
    assert row["site_hits"] == hits
    values = [float(v) for v in re.findall(r";SpliceBERT_KL_CTX=([^;]+)", ANNOTATED.read_text())]
    assert row["median_kl_ctx"] == pytest.approx((sorted(values)[21] + sorted(values)[22]) / 2, abs=1e-4)
    assert {bar["parent_id"], table["parent_id"]} == {"splicebert_vep"}
    assert bar["id"] != table["id"]


def test_a_sample_is_called_as_its_file(run, tmp_path):
    source = write_scored(tmp_path / "S7.out.vcf", ["1 1 . A C " + scored(-3)])
    assert run("report", source, "--multiqc", tmp_path)[0] == 0
    assert (tmp_path / "S7.out.splicebert_summary_mqc.json").exists()
