"""Cohorts: each allele scored once, every file annotated, and the same bytes whatever happened on the way."""

import json
import os
import shutil

import pyarrow.parquet as pq
import pytest

from factories import EXAMPLES, FASTA, VCF, info, outputs, records, snvs, unpacked, write_cohort
from splicebert_vep.cohort import planning, schedulers
from splicebert_vep.cohort.inputs import read_manifest
from splicebert_vep.cohort.plan import Plan
from splicebert_vep.errors import CohortError
from splicebert_vep.store.store import ScoreStore

NULL = ["-R", FASTA, "--backend", "null"]


@pytest.fixture
def manifest(tmp_path):
    return write_cohort(tmp_path / "vcfs")


def test_every_file_is_annotated_as_annotate_does(run, tmp_path, manifest):
    out = tmp_path / "out"
    code, _, err = run("cohort", "run", manifest, *NULL, "-O", out)
    assert code == 0, err
    assert "3 files" in err and "450 distinct alleles, 450 of them new, in 2 units" in err
    for number in range(3):
        alone = tmp_path / "alone.vcf"
        assert run("annotate", tmp_path / "vcfs" / f"s{number}.vcf", *NULL, "-O", alone)[0] == 0
        text = unpacked(out / "annotated" / f"sample{number}.vcf.gz")
        assert records(text) == records(alone.read_text())
        assert (out / "annotated" / f"sample{number}.vcf.gz.tbi").exists()


def test_a_second_run_scores_nothing_and_the_store_serves_annotate(run, tmp_path, manifest, monkeypatch):
    store = tmp_path / "s.sqlite"
    assert run("cohort", "run", manifest, *NULL, "--store", store, "-O", tmp_path / "a")[0] == 0
    code, _, err = run("cohort", "run", manifest, *NULL, "--store", store, "-O", tmp_path / "b")
    assert code == 0 and "450 distinct alleles, 0 of them new, in 0 units" in err
    one, two = outputs(tmp_path / "a"), outputs(tmp_path / "b")
    assert {k: v for k, v in one.items() if k != "cohort.json"} == {k: v for k, v in two.items() if k != "cohort.json"}
    code, _, err = run("annotate", tmp_path / "vcfs" / "s0.vcf", *NULL, "--store", store, "-O", tmp_path / "x.vcf")
    assert code == 0 and ", 0 scored" in err
    assert records((tmp_path / "x.vcf").read_text()) == records(
        unpacked(tmp_path / "a" / "annotated" / "sample0.vcf.gz")
    )


def test_the_table_has_every_allele_with_its_files_and_carriers(run, tmp_path, manifest):
    out = tmp_path / "out"
    assert run("cohort", "run", manifest, *NULL, "-O", out)[0] == 0
    table = pq.read_table(out / "cohort.parquet").to_pylist()
    assert [(row["POS"], row["REF"], row["ALT"]) for row in table] == sorted(snvs())
    files, carriers = {}, {}
    for path in sorted((tmp_path / "vcfs").glob("*.vcf")):
        for row in records(path.read_text()):
            key = int(row[1]), row[3], row[4]
            files[key] = files.get(key, 0) + 1
            carriers[key] = carriers.get(key, 0) + ("1" in row[9])
    for row in table:
        key = row["POS"], row["REF"], row["ALT"]
        assert (row["FILES"], row["CARRIERS"]) == (files[key], carriers[key])
        assert row["STATUS"] == "OK" and row["SYMBOL"] == "BRCA1" and row["KL_CTX"] is not None


def test_every_oddity_gets_a_row_and_a_status(run, tmp_path):
    names = ["statuses", "symbolic", "repeats", "multiallelic", "genotypes", "overlapping"]
    listed = tmp_path / "list.txt"
    listed.write_text("# the examples\n" + "".join(f"{EXAMPLES / name}.vcf\n" for name in names))
    code, _, err = run("cohort", "run", listed, *NULL, "-O", tmp_path / "out")
    assert code == 0, err
    for name in names:
        alone = tmp_path / "alone.vcf"
        assert run("annotate", EXAMPLES / f"{name}.vcf", *NULL, "-O", alone)[0] == 0
        assert records(unpacked(tmp_path / "out" / "annotated" / f"{name}.vcf.gz")) == records(alone.read_text())
    statuses = {row["STATUS"] for row in pq.read_table(tmp_path / "out" / "cohort.parquet").to_pylist()}
    assert {
        "SYMBOLIC",
        "SPANNING_DELETION",
        "NON_ACGT",
        "NO_CHANGE",
        "NO_CONTIG",
        "REF_MISMATCH",
        "TOO_LONG",
    } <= statuses
    counted = json.loads((tmp_path / "out" / "cohort.json").read_text())["status"]
    assert set(counted) - {"NO_ALT"} == statuses


def test_padded_writings_of_one_allele_are_one_allele(run, tmp_path):
    [(pos, ref, _), *_] = snvs()
    more = "".join(base for _, base, _ in snvs(length=3)[::3])
    head = "##fileformat=VCFv4.2\n##contig=<ID=17>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tA\tB\n"
    alt = "T" if ref != "T" else "G"
    plain = f"17\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\tGT\t0/1\t0/0\n"
    padded = f"17\t{pos}\t.\t{more}\t{alt}{more[1:]},*\t.\t.\t.\tGT:DP\t1|1:3\t0/1:.\n"
    (tmp_path / "one.vcf").write_text(head + plain + padded)
    (tmp_path / "two.vcf").write_text(head + padded)
    assert run("cohort", "run", tmp_path / "*.vcf", *NULL, "-O", tmp_path / "out")[0] == 0
    rows = pq.read_table(tmp_path / "out" / "cohort.parquet").to_pylist()
    assert [(r["CHROM"], r["POS"], r["REF"], r["ALT"], r["FILES"], r["CARRIERS"]) for r in rows] == [
        ("chr17", pos, ref, alt, 2, 4),  # in each file the larger count of its two records: A and B
        ("17", pos, more, "*", 2, 0),
    ]


def test_one_multi_sample_file_and_bcf(run, tmp_path):
    assert run("cohort", "run", EXAMPLES / "genotypes.vcf", *NULL, "-O", tmp_path / "a")[0] == 0
    assert run("cohort", "run", EXAMPLES / "snvs.bcf", *NULL, "-O", tmp_path / "b")[0] == 0
    assert (tmp_path / "b" / "annotated" / "snvs.bcf.csi").exists()


def test_steps_by_hand_give_the_same_and_a_missing_shard_is_named(run, tmp_path, manifest):
    store = ["--store", tmp_path / "s.sqlite"]
    assert run("cohort", "run", manifest, *NULL, *store, "-O", tmp_path / "whole")[0] == 0
    store = ["--store", tmp_path / "t" / "s.sqlite"]
    (tmp_path / "t").mkdir()
    code, out, _ = run("cohort", "plan", manifest, *NULL, *store, "-O", tmp_path / "steps")
    assert (code, out) == (0, "2\n")
    assert run("cohort", "work", tmp_path / "steps", "2")[0] == 0
    assert not (tmp_path / "t" / "s.sqlite-wal").exists()
    code, _, err = run("cohort", "merge", tmp_path / "steps")
    assert code == 3 and "1 of 2 shards are missing" in err and "unit 1" in err and "cohort work" in err
    assert not (tmp_path / "steps" / "annotated").exists()
    code, _, err = run("cohort", "work", tmp_path / "steps", "1-2")
    assert code == 0 and "1 units scored, 1 were there" in err
    assert run("cohort", "merge", tmp_path / "steps")[0] == 0
    assert run("cohort", "merge", tmp_path / "steps")[0] == 0
    assert outputs(tmp_path / "steps") == outputs(tmp_path / "whole")


def test_work_never_opens_the_store(run, tmp_path, manifest):
    store = tmp_path / "s.sqlite"
    assert run("cohort", "plan", manifest, *NULL, "--store", store, "-O", tmp_path / "out")[0] == 0
    store.write_text("somebody broke it")
    assert run("cohort", "work", tmp_path / "out", "missing")[0] == 0
    code, _, err = run("cohort", "merge", tmp_path / "out")
    assert code == 3 and "no score store" in err


def test_finished_files_are_touched_only_when_input_or_settings_change(run, tmp_path, manifest):
    out, store = tmp_path / "out", tmp_path / "s.sqlite"
    again = ["cohort", "run", manifest, *NULL, "--store", store, "-O", out]
    assert run(*again)[0] == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.name != "lock"}
    assert run(*again)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.name != "lock"} == before
    changed = tmp_path / "vcfs" / "s1.vcf"
    changed.write_text(changed.read_text() + "chr17\t43047641\t.\tA\tC\t.\tPASS\tX=1\tGT\t0/1\n")
    code, _, err = run(*again)
    assert code == 0 and "451 distinct alleles, 1 of them new" in err
    after = {path.name: path.stat().st_mtime_ns for path in (out / "annotated").iterdir()}
    same = {path.name for path, time in before.items() if path.parent.name == "annotated" and after[path.name] == time}
    assert same == {f"sample{n}.vcf.gz{end}" for n in (0, 2) for end in ("", ".tbi")}
    assert len(records(unpacked(out / "annotated" / "sample1.vcf.gz"))) == len(records(changed.read_text()))
    code, _, err = run(*again, "--emit", "flat,vep")
    assert code == 0 and "0 of them new" in err
    assert all("SpliceBERT=" in unpacked(path) for path in (out / "annotated").glob("*.gz"))


def test_an_input_that_changes_after_planning_stops_the_merge(run, tmp_path, manifest):
    assert run("cohort", "plan", manifest, *NULL, "-O", tmp_path / "out")[0] == 0
    assert run("cohort", "work", tmp_path / "out", "missing")[0] == 0
    os.utime(tmp_path / "vcfs" / "s1.vcf", ns=(1, 1))
    code, _, err = run("cohort", "merge", tmp_path / "out")
    assert code == 3 and "changed since it was planned" in err and "s1.vcf" in err


def test_bad_files_are_all_named_before_anything_is_scored(run, tmp_path, manifest):
    (tmp_path / "vcfs" / "s0.vcf").write_text("nothing of the kind\n")
    packed = (tmp_path / "vcfs" / "s2.vcf").read_bytes()
    (tmp_path / "vcfs" / "s2.vcf").write_bytes(packed[: len(packed) // 2])
    code, _, err = run("cohort", "run", manifest, *NULL, "-O", tmp_path / "out")
    assert code == 3 and "2 of 3 files cannot be used" in err and "s0.vcf" in err and "s2.vcf" in err
    assert not (tmp_path / "out" / "shards").exists()
    wrong = tmp_path / "wrong.txt"
    wrong.write_text(f"{EXAMPLES / 'wrong_build.vcf'}\n")
    assert run("cohort", "run", wrong, *NULL, "-O", tmp_path / "out2")[0] == 4


def test_a_dry_run_says_what_is_new_and_leaves_nothing(run, tmp_path, manifest):
    code, out, err = run("cohort", "run", manifest, *NULL, "-O", tmp_path / "out", "--dry-run")
    assert code == 0 and out == ""
    assert "450 distinct alleles, 450 of them new" in err and "to score them on this machine" in err
    assert not (tmp_path / "out").exists()


def test_a_damaged_shard_is_named(run, tmp_path, manifest):
    assert run("cohort", "plan", manifest, *NULL, "-O", tmp_path / "out")[0] == 0
    assert run("cohort", "work", tmp_path / "out", "missing")[0] == 0
    shard = tmp_path / "out" / "shards" / "unit-000002.parquet"
    shard.write_bytes(shard.read_bytes()[:-10])
    code, _, err = run("cohort", "merge", tmp_path / "out")
    assert code == 3 and "unit-000002.parquet" in err and "remove it" in err
    shard.unlink()
    assert run("cohort", "work", tmp_path / "out", "missing")[0] == 0
    assert run("cohort", "merge", tmp_path / "out")[0] == 0


def test_another_machine_that_would_score_otherwise_is_refused(run, tmp_path, manifest, monkeypatch):
    assert run("cohort", "plan", manifest, *NULL, "-O", tmp_path / "out")[0] == 0
    monkeypatch.setattr("splicebert_vep.provenance.SCORE_VERSION", 99)
    code, _, err = run("cohort", "work", tmp_path / "out", "1")
    assert code == 3 and "would not compute the scores of the plan" in err and "ScoreVersion 99" in err


def test_a_changed_reference_is_refused(run, tmp_path, manifest):
    fasta = tmp_path / "ref.fa.gz"
    shutil.copy(FASTA, fasta)
    base = ["-R", fasta, "--backend", "null"]
    assert run("cohort", "plan", manifest, *base, "-O", tmp_path / "out")[0] == 0
    import gzip

    plain = tmp_path / "ref.fa"
    text = gzip.decompress(FASTA.read_bytes())
    plain.write_bytes(text.replace(b"ACGT", b"ACGA", 1))
    import pysam

    fasta.unlink()
    pysam.tabix_compress(str(plain), str(fasta))
    code, _, err = run("cohort", "work", tmp_path / "out", "1")
    assert code == 3 and "reference has changed" in err


def test_a_unit_that_fails_twice_costs_only_itself(run, tmp_path, manifest, monkeypatch):
    """Its alleles are FAILED with the reason, are not stored, and the next plan tries them again."""
    out, store = tmp_path / "out", tmp_path / "s.sqlite"
    attempts = []
    work = schedulers.Worker.work

    def fails(self, unit):
        attempts.append(unit)
        if unit == 2:
            raise ArithmeticError("no luck\nwith this one")
        return work(self, unit)

    monkeypatch.setattr(schedulers.Worker, "work", fails)
    code, _, err = run("cohort", "run", manifest, *NULL, "--store", store, "-O", out)
    assert code == 0 and attempts == [1, 2, 2]
    assert "FAILED" in err and "not in the store" in err
    rows = pq.read_table(out / "cohort.parquet").to_pylist()
    failed = [row for row in rows if row["STATUS"] == "FAILED"]
    assert len(failed) == 450 - 256 and {row["REASON"] for row in failed} == {"ArithmeticError: no luck"}
    assert all(row["SYMBOL"] == "BRCA1" and row["KL_CTX"] is None for row in failed)
    with ScoreStore(store) as opened:
        assert opened.count(opened.spaces()[0]) == 256
    monkeypatch.undo()
    for where in (tmp_path / "again", out):
        shutil.copy(store, tmp_path / "copy.sqlite")
        code, _, err = run("cohort", "run", manifest, *NULL, "--store", tmp_path / "copy.sqlite", "-O", where)
        assert code == 0 and "194 of them new" in err
        assert {row["STATUS"] for row in pq.read_table(where / "cohort.parquet").to_pylist()} == {"OK"}
        assert "FAILED" not in unpacked(where / "annotated" / "sample0.vcf.gz")


def test_the_same_command_tries_again_what_failed(run, tmp_path, manifest, monkeypatch):
    again = ["cohort", "run", manifest, *NULL, "-O", tmp_path / "out"]

    def fails(self, unit):
        raise ArithmeticError("no luck")

    monkeypatch.setattr(schedulers.Worker, "work", fails)
    assert run(*again)[0] == 0
    monkeypatch.undo()
    code, _, err = run(*again)
    assert code == 0 and "450 of them new" in err and "FAILED" not in err
    assert run("cohort", "run", manifest, *NULL, "-O", tmp_path / "whole")[0] == 0
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")


def test_another_version_does_not_go_on_with_a_plan(run, tmp_path, manifest, monkeypatch):
    assert run("cohort", "plan", manifest, *NULL, "-O", tmp_path / "out")[0] == 0
    assert run("cohort", "work", tmp_path / "out", "missing")[0] == 0
    monkeypatch.setattr("splicebert_vep.cohort.work.__version__", "9.9")
    code, _, err = run("cohort", "merge", tmp_path / "out")
    assert code == 3 and "Another version" in err


def test_what_is_wrong_with_the_machine_ends_the_run(run, tmp_path, manifest, monkeypatch):
    from splicebert_vep.errors import OutputError

    def full(self, unit):
        raise OutputError("The output could not be written.", found="No space left on device")

    monkeypatch.setattr(schedulers.Worker, "work", full)
    assert run("cohort", "run", manifest, *NULL, "-O", tmp_path / "out")[0] == 5
    monkeypatch.undo()
    assert run("cohort", "run", manifest, *NULL, "-O", tmp_path / "out")[0] == 0


def test_a_changed_plan_keeps_what_was_scored(run, tmp_path, manifest):
    """Shards of a plan that was given up go into the store before the new plan is made."""
    out = tmp_path / "out"
    again = ["cohort", "run", manifest, *NULL, "-O", out]
    assert run("cohort", "plan", *again[2:])[0] == 0
    assert run("cohort", "work", out, "1")[0] == 0
    with (tmp_path / "vcfs" / "s0.vcf").open("a") as file:
        file.write("chr17\t43047641\t.\tA\tC\t.\tPASS\tX=1\tGT\t0/1\n")
    code, _, err = run(*again)
    assert code == 0 and f"{451 - 256} of them new" in err


def test_one_process_for_a_folder(run, tmp_path, manifest):
    from splicebert_vep.files import locked

    with locked(tmp_path / "out", "running a cohort"):
        code, _, err = run("cohort", "run", manifest, *NULL, "-O", tmp_path / "out")
    assert code == 3 and "Another process" in err


def test_units_are_position_sorted_and_small(run, tmp_path, manifest, monkeypatch):
    monkeypatch.setattr(planning, "UNIT", 100)
    assert run("cohort", "plan", manifest, *NULL, "-O", tmp_path / "out")[0] == 0
    with Plan(tmp_path / "out") as plan:
        units = [plan.unit(number) for number in range(1, plan.units + 1)]
        with pytest.raises(CohortError, match="no such unit"):
            plan.unit(plan.units + 1)
    assert [len(unit) for unit in units] == [100, 100, 100, 100, 50]
    flat = [(allele.start, allele.ref, allele.alt) for unit in units for allele in unit]
    assert flat == sorted(flat)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no files"),
        ("# nothing\n", "no files"),
        ("missing.vcf\n", "not there"),
        ("a.vcf\tone\tmore\n", "too many columns"),
        ("a.vcf\nsub/a.vcf\n", "one name"),
        ("a.vcf\t../up\n", "cannot be a file's name"),
    ],
)
def test_a_bad_manifest_is_told(tmp_path, text, message):
    (tmp_path / "sub").mkdir()
    for path in ("a.vcf", "sub/a.vcf"):
        (tmp_path / path).write_text("x")
    manifest = tmp_path / "m.tsv"
    manifest.write_text(text)
    with pytest.raises(CohortError, match=message):
        read_manifest(str(manifest))


def test_a_manifest_may_have_names_comments_and_a_header(tmp_path):
    for name in ("a.vcf.gz", "b.bcf"):
        (tmp_path / name).write_text("x")
    manifest = tmp_path / "m.tsv"
    manifest.write_text("path\tname\n# comment\n\na.vcf.gz\tfirst\r\nb.bcf\n")
    assert [one.name for one in read_manifest(str(manifest))] == ["first", "b"]
    assert [one.name for one in read_manifest(str(tmp_path / "*.bcf"))] == ["b"]
    with pytest.raises(CohortError, match="no files"):
        read_manifest(str(tmp_path / "*.none"))
    with pytest.raises(CohortError, match="cannot be opened"):
        read_manifest(str(tmp_path / "none.tsv"))


def test_the_example_is_the_same_through_a_store(run, tmp_path):
    """With the bundled model: values of the store are those of the model, to the last printed digit."""
    store = tmp_path / "s.sqlite"
    for name in ("a", "b"):
        assert (
            run("annotate", VCF, "-R", FASTA, "--store", store, "--device", "cpu", "-O", tmp_path / f"{name}.vcf")[0]
            == 0
        )
    assert (tmp_path / "a.vcf").read_bytes() == (tmp_path / "b.vcf").read_bytes()
    assert run("annotate", VCF, "-R", FASTA, "--device", "cpu", "-O", tmp_path / "c.vcf")[0] == 0
    assert records((tmp_path / "a.vcf").read_text()) == records((tmp_path / "c.vcf").read_text())
    code, _, err = run("store", "verify", store, "-R", FASTA, "--device", "cpu", "--sample", "20")
    assert code == 0 and ", 0 beyond 0.0001" in err
    assert info(records((tmp_path / "a.vcf").read_text())[0][7])["SpliceBERT_STATUS"]


def test_no_output_replaces_the_store(run, tmp_path):
    store = tmp_path / "s.sqlite"
    assert run("annotate", VCF, *NULL, "--store", store, "-O", tmp_path / "a.vcf")[0] == 0
    before = store.read_bytes()
    for words in (["-O", store], ["--emit", f"tsv={store}"]):
        code, _, err = run("annotate", VCF, *NULL, "--store", store, *words)
        assert code == 2 and "replace the score store" in err
    assert store.read_bytes() == before


def test_a_gene_that_failed_is_counted_and_tried_again(run, tmp_path, monkeypatch):
    """Also where another gene of the allele is the one that flat output shows."""
    listed = tmp_path / "m.txt"
    listed.write_text(f"{EXAMPLES / 'overlapping.vcf'}\n")
    again = ["cohort", "run", listed, *NULL, "-O", tmp_path / "out"]
    from splicebert_vep.scoring.pipeline import Scoring
    from splicebert_vep_spec import ScoredContext, Status

    outcomes = Scoring.outcomes

    def fails(self, alleles):
        return [
            (*found[:1], *(ScoredContext(one.context, Status.FAILED, "no luck", {}) for one in found[1:]))
            for found in outcomes(self, alleles)
        ]

    monkeypatch.setattr(Scoring, "outcomes", fails)
    code, _, err = run(*again)
    assert code == 0 and "FAILED in a gene" in err
    monkeypatch.undo()
    code, _, err = run(*again)
    assert code == 0 and "FAILED" not in err
    assert {row["STATUS"] for row in pq.read_table(tmp_path / "out" / "cohort.parquet").to_pylist()} == {"OK"}


def test_a_retry_that_is_killed_between_plan_and_shards_goes_on(run, tmp_path, manifest, monkeypatch):
    out = tmp_path / "out"
    assert run("cohort", "plan", manifest, *NULL, "-O", out)[0] == 0
    assert run("cohort", "work", out, "1")[0] == 0

    def killed(*_, **__):
        raise KeyboardInterrupt

    for name in ("plan_cohort", "shutil.rmtree"):
        monkeypatch.setattr(f"splicebert_vep.cohort.run.{name}", killed)
        assert run("cohort", "run", manifest, *NULL, "-O", out, "--emit", "vep")[0] == 130
        monkeypatch.undo()
    code, _, err = run("cohort", "run", manifest, *NULL, "-O", out, "--emit", "vep")
    assert code == 0 and "194 of them new" in err


def test_shards_know_what_is_in_their_unit(run, tmp_path, manifest):
    out, store = tmp_path / "out", tmp_path / "s.sqlite"
    words = [manifest, *NULL, "--store", store, "-O", out]
    assert run("cohort", "plan", *words)[0] == 0
    with Plan(out) as plan:
        before = plan.identity, plan.about.identity
    assert run("cohort", "work", out, "1")[0] == 0
    shard = out / "shards" / "unit-000001.parquet"
    kept = shard.read_bytes()
    assert run("annotate", tmp_path / "vcfs" / "s1.vcf", *NULL, "--store", store, "-O", tmp_path / "x.vcf")[0] == 0
    (out / "plan.sqlite").unlink()  # the same command now finds other alleles new
    assert run("cohort", "plan", *words)[0] == 0
    with Plan(out) as plan:
        assert plan.about.identity == before[1] and plan.identity != before[0]
    shard.parent.mkdir()
    shard.write_bytes(kept)
    code, _, err = run("cohort", "run", *words)
    assert code == 3 and "shard of another plan" in err


def test_a_store_that_is_lost_after_planning_is_planned_for_again(run, tmp_path, manifest):
    store = tmp_path / "s.sqlite"
    assert run("cohort", "run", manifest, *NULL, "--store", store, "-O", tmp_path / "a")[0] == 0
    words = [manifest, *NULL, "--store", store, "-O", tmp_path / "b"]
    assert run("cohort", "plan", *words)[0] == 0
    store.unlink()
    code, _, err = run("cohort", "merge", tmp_path / "b")
    assert code == 3 and "not there" in err and not store.exists()
    code, _, err = run("cohort", "run", *words)
    assert code == 0 and "450 of them new" in err


def test_a_finished_run_needs_its_store_no_more(run, tmp_path, manifest):
    store, out = tmp_path / "s.sqlite", tmp_path / "out"
    again = ["cohort", "run", manifest, *NULL, "--store", store, "-O", out]
    assert run(*again)[0] == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.name != "lock"}
    store.unlink()
    assert run(*again)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.name != "lock"} == before


def test_bytes_that_are_no_utf8_are_kept(run, tmp_path):
    odd = tmp_path / "odd.vcf"
    head = b"##fileformat=VCFv4.2\n##contig=<ID=17>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    [(pos, ref, alt), *_] = snvs()
    odd.write_bytes(
        head + f"17\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n".encode() + b"17\t43045800\t.\tA\t<D\xff>\t.\t.\t.\n"
    )
    code, _, err = run("cohort", "run", odd, *NULL, "-O", tmp_path / "out")
    assert code == 0, err
    assert pq.read_table(tmp_path / "out" / "cohort.parquet").to_pylist()[1]["ALT"] == "<D\ufffd>"


def test_an_input_that_goes_away_is_told(run, tmp_path, manifest):
    assert run("cohort", "plan", manifest, *NULL, "-O", tmp_path / "out")[0] == 0
    assert run("cohort", "work", tmp_path / "out", "missing")[0] == 0
    (tmp_path / "vcfs" / "s1.vcf").unlink()
    code, _, err = run("cohort", "merge", tmp_path / "out")
    assert code == 3 and "not there any more" in err and "s1.vcf" in err


def test_a_damaged_table_and_a_lost_index_are_made_again(run, tmp_path, manifest):
    again = ["cohort", "run", manifest, *NULL, "-O", tmp_path / "out"]
    assert run(*again)[0] == 0
    before = outputs(tmp_path / "out")
    (tmp_path / "out" / "cohort.parquet").write_bytes(b"")
    (tmp_path / "out" / "annotated" / "sample1.vcf.gz.tbi").unlink()
    assert run(*again)[0] == 0
    assert outputs(tmp_path / "out") == before


def test_files_of_an_earlier_plan_are_named(run, tmp_path, manifest):
    out = tmp_path / "out"
    assert run("cohort", "run", manifest, *NULL, "-O", out)[0] == 0
    manifest.write_text("s0.vcf\tother\ns1.vcf\tsample1\n")
    code, _, err = run("cohort", "run", manifest, *NULL, "-O", out)
    assert code == 0 and "sample0.vcf.gz, sample2.vcf.gz" in err
    manifest.write_text(f"{out}/annotated/other.vcf.gz\n")
    code, _, err = run("cohort", "run", manifest, *NULL, "-O", out)
    assert code == 3 and "replace an input" in err


def test_warnings_of_single_files_are_kept(run, tmp_path):
    text = VCF.read_text()
    (tmp_path / "in.vcf").write_text(text + "".join(f"chrZ\t{n}\t.\tA\tC\t.\t.\t.\n" for n in range(1, 30)))
    code, _, err = run("cohort", "run", tmp_path / "in.vcf", *NULL, "-O", tmp_path / "out")
    assert code == 0 and "NO_CONTIG: does the FASTA lack contigs" in err


def test_units_out_of_range_and_folders_without_a_plan_are_told(run, tmp_path, manifest):
    assert run("cohort", "plan", manifest, *NULL, "-O", tmp_path / "out")[0] == 0
    for unit in ("0", "3", "1-99999"):
        code, _, err = run("cohort", "work", tmp_path / "out", unit)
        assert code == 3 and "1 to 2" in err
    code, _, err = run("cohort", "merge", tmp_path / "typo")
    assert code == 3 and "no plan" in err and not (tmp_path / "typo").exists()
