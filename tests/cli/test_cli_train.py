"""The commands that train and measure: printed figures, files, and messages for bad options."""

import csv
import json
import random
import sys
from collections import Counter

import numpy as np
import pytest

from factories import Point, StandIn, plugin, source, tiny_model, write_genome
from splicebert_vep.model.classifier import load_classifier
from splicebert_vep.train.regions import REGIONS

# From corpus to table.


def test_the_commands_from_corpus_to_table(run, tmp_path):
    fasta, gtf = write_genome(tmp_path, "+-" * 20)
    corpus = tmp_path / "c"
    code, out, err = run("corpus", "--genome", "test", fasta, gtf, "-O", corpus, "--held-out", "0.4")
    assert (code, out) == (0, "")
    assert "40 genes, 120,000 nt" in err
    code, out, err = run("validate", corpus, "--nucleotides", 10, "--window", 200)
    assert code == 0
    rows = {line.split("  ")[0]: line for line in out.splitlines()}
    assert set(REGIONS) <= set(rows)
    assert "anywhere_loss" in rows and "splicebert-mini" in rows["region"]
    for words, said in ((["none"], "cannot be read"), (["c", "--window", 1025], "wider than model splicebert-mini")):
        code, _, err = run("validate", tmp_path / words[0], *words[1:])
        assert code == 3 and said in err
    assert run("corpus", "--genome", "test", fasta, gtf, "-O", "-")[0] == 5


def test_pretrain_prints_its_recipe_and_asks_for_what_it_needs(run):
    code, out, _ = run("pretrain", "--preset", "base", "--print-recipe", "--tokens", 1_000_000, "--seed", 7)
    assert code == 0
    assert '"seed": 7' in out and '"hidden_size": 512' in out
    code, _, err = run("pretrain")
    assert code == 2
    assert "CORPUS and -O/--output are needed" in err


# finetune.


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    one = source(folder, {"chr1": "+-+-+-+-+-", "chr2": "+-"})
    base = tiny_model(folder / "base", longest=510, trained=510)  # windows of the command have 62 to 510 nt
    return ["finetune", "splice-sites", "--genome", "test", one.reference, one.annotation, "--model", base,
            "--validation", "0.3", "--tokens", "100", "--device", "cpu"]  # fmt: skip


def test_figures_are_a_table_on_stdout_and_the_rest_on_stderr(words, run, tmp_path):
    hold_out = ["--hold-out", "test:2", "--precision", "bf16", "--threads", "1"]
    code, out, err = run(*words, *hold_out, "-O", tmp_path / "run")
    assert code == 0, err
    head, *rows = [line.split() for line in out.strip().splitlines()]
    assert head == ["held", "out", "label", "nucleotides", "sites", "AUPRC", "top-k", "MCC", "expected"]
    assert [row[:5] for row in rows] == [
        ["test", "chr2", "acceptor", "6,000", "8"], ["test", "chr2", "donor", "6,000", "8"],
    ]  # fmt: skip
    assert (
        "training: " in err and "test test chr2: 6,000 nt" in err and f"the model is in {tmp_path / 'run/model'}" in err
    )
    assert load_classifier(tmp_path / "run/model").about.window == 510
    code, out, err = run(*words, *hold_out, "-O", tmp_path / "run", "--json")
    assert code == 0 and json.loads(out) == json.loads((tmp_path / "run/figures.json").read_text())
    code, out, err = run(*words, *hold_out, "-O", tmp_path / "run", "--seed", "2")
    assert code == 3 and not out and "another recipe" in err


def test_with_nothing_held_out_nothing_is_on_stdout_and_that_is_said(words, run, tmp_path):
    code, out, err = run(*words, "-O", tmp_path / "run")
    assert code == 0 and out == "" and "nothing is held out that can be tested" in err
    code, out, err = run(*words, "-O", tmp_path / "run", "--json")
    assert code == 0 and json.loads(out) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--hold-out", "test:chr9"], "hold out"),
        (["--hold-out", "test"], "There is no gene to train on"),
        (["--model", "no-such-model"], "No model is called"),
        (["--genome", "x", "no.fa", "grch38"], "cannot be opened"),
    ],
)
def test_bad_options_end_in_a_message(words, run, tmp_path, options, said):
    code, out, err = run(*words, *options, "-O", tmp_path / "run")
    assert code == 3 and not out and said in err and "Traceback" not in err


def test_sequences_are_learned_and_bad_input_ends_in_a_message(run, tmp_path):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGT"), size=20)) for _ in range(120)]
    lines = [f"{text}\t{'many' if text.count('G') > 5 else 'few'}" for text in texts]
    (tmp_path / "s.tsv").write_text("sequence\tlabel\n" + "\n".join(lines) + "\n")
    base = tiny_model(tmp_path / "base")
    words = ["finetune", "sequence", tmp_path / "s.tsv", "--model", base, "-O", tmp_path / "run", "--epochs", "2"]
    code, out, err = run(*words)
    assert code == 0, err
    assert out.split("\n")[0].split() == ["label", "sequences", "members", "AUPRC", "MCC"]
    assert [line.split()[0] for line in out.strip().split("\n")[1:]] == ["few", "many"]
    code, out, err = run(*words, "--json")
    assert code == 0 and json.loads(out) == json.loads((tmp_path / "run/figures.json").read_text())
    (tmp_path / "bad.tsv").write_text("sequence\tlabel\nACGX\ta\nACGT\tb\n")
    code, out, err = run("finetune", "sequence", tmp_path / "bad.tsv", "--model", base, "-O", tmp_path / "other")
    assert code == 3 and not out and f"{tmp_path / 'bad.tsv'}:2" in err and "Traceback" not in err
    assert not (tmp_path / "other").exists()


# evaluate.


GENOME = "".join(random.Random(4).choice("ACGT") for _ in range(1200))
EXON = (560, 640)
WIDTH, FLANK = 200, 20
GENOME_HEAD = "chrom\tpos\tref\talt\tdelta_psi\tassembly\texon_start\texon_end\tstrand\n"


def test_the_command_prints_figures_and_writes_rows_and_picture(run, tmp_path):
    fasta, table = tmp_path / "g.fa", tmp_path / "t.tsv"
    fasta.write_text(f">chr1\n{GENOME}\n")
    rng = random.Random(0)
    lines = [GENOME_HEAD]
    for at in range(561, 651, 3):
        ref = GENOME[at]
        alt = rng.choice([base for base in "ACGT" if base != ref])
        lines.append(f"1\t{at + 1}\t{ref}\t{alt}\t{-0.8 if at % 4 == 0 else 0.1}\tX\t{EXON[0]}\t{EXON[1]}\t-\n")
    lines.append(f"1\t601\t{'A' if GENOME[600] != 'A' else 'C'}\tG\t0\tX\t{EXON[0]}\t{EXON[1]}\t-\n")
    table.write_text("".join(lines))
    command = ["evaluate", table, "-R", f"X={fasta}", "--window", WIDTH, "--flank", FLANK, "--resamples", 20]
    code, out, err = run(*command, "--rows", tmp_path / "r.tsv", "--picture", tmp_path / "p.png")
    assert code == 0
    assert "published: 30 of 31 rows count; not: REF_MISMATCH 1" in err
    words = [line.split() for line in out.splitlines()]
    assert words[0][:3] == ["protocol", "rows", "score"]
    assert Counter(line[0] for line in words[1:]) == {"published": 22, "own": 22}
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "r.tsv").open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert [row["status"] for row in rows] == (["OK"] * 30 + ["REF_MISMATCH"]) * 2
    assert float(rows[0]["KL_SS"]) > 0 and rows[-1]["KL_SS"] == ""
    code, out, _ = run(*command, "--json", "--protocol", "own")
    answer = json.loads(out)
    assert answer["model"]["model"] == "splicebert-mini"
    assert {figure["protocol"] for figure in answer["figures"]} == {"own"}
    assert answer["figures"][0]["score"] == "distance"


def test_an_assay_is_judged_on_the_genomes_own_bases_since_its_rows_name_no_gene(run, tmp_path, install):
    """Provenance said N outside of the gene for a model made for it, and the bases were the genome's."""

    class OfGenes(StandIn):
        name, sees_gene_only = "of-genes", True

        @classmethod
        def open(cls, _):
            opened.append(cls())
            return opened[-1]

    opened = []
    install(Point("mine", plugin(register_splice_models=lambda: [OfGenes])))
    (tmp_path / "g.fa").write_text(f">1\n{GENOME}\n")
    rows = [f"1\t{at + 1}\t{GENOME[at]}\t{'A' if GENOME[at] != 'A' else 'C'}\t{psi}\tX\t{EXON[0]}\t{EXON[1]}\t+\n"
            for at, psi in ((565, 0), (570, -0.8))]  # fmt: skip
    (tmp_path / "t.tsv").write_text(GENOME_HEAD + "".join(rows))
    command = ["evaluate", tmp_path / "t.tsv", "-R", f"X={tmp_path / 'g.fa'}", "--window", WIDTH, "--flank", FLANK]
    options = ["--scores", "DS_MAX", "--splice-model", "of-genes", "--protocol", "own", "--resamples", 10, "--json"]
    code, out, _ = run(*command, *options)
    assert code == 0 and json.loads(out)["DeltaOutside"] == "genome"
    assert all("N" not in shown for model in opened for shown in model.shown)


def test_rows_of_another_assembly_than_the_reference_end_with_a_message(run, tmp_path):
    (tmp_path / "g.fa").write_text(f">1\n{GENOME}\n")
    (tmp_path / "t.tsv").write_text(GENOME_HEAD + f"1\t601\t{GENOME[600]}\tN\t0\tX\t{EXON[0]}\t{EXON[1]}\t+\n")
    command = ["evaluate", tmp_path / "t.tsv", "-R", tmp_path / "g.fa", "--window", WIDTH, "--flank", FLANK]
    code, out, err = run(*command, "--picture", tmp_path / "p.png")
    assert (code, out) == (3, "")
    assert "nothing to judge" in err and "assemblies named by the rows: X" in err
    assert not (tmp_path / "p.png").exists()


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("sklearn", ["evaluate", "none.tsv"]),
        ("sklearn", ["finetune", "sequence", "none.tsv", "-O", "run"]),
        ("sklearn", ["finetune", "splice-sites", "--genome", "test", "none.fa", "grch38", "-O", "run"]),
        ("matplotlib", ["pretrain", "none", "-O", "run"]),
    ],
)
def test_a_library_that_is_not_installed_is_named_before_any_work(run, monkeypatch, tmp_path, module, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    code, _, err = run(*words)
    assert code == 3
    assert f"needs {module}" in err and "splicebert-vep[training]" in err
    assert not (tmp_path / "run").exists()
