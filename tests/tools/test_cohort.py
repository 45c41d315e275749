"""Cohorts: each allele scored once, every file annotated, and the same bytes whatever happened on the way."""

import json
import os

import pyarrow.parquet as pq
import pytest

from factories import EXAMPLES, FASTA, VCF, outputs, records, snvs, unpacked, write_cohort
from splicebert_vep.errors import OutputError
from splicebert_vep.files import locked
from splicebert_vep.scoring.cache import BATCH
from splicebert_vep.scoring.pipeline import Scoring
from splicebert_vep.store.store import ScoreStore
from splicebert_vep.tools.processes import FileWorker
from splicebert_vep_spec import ScoredContext, Status

NULL = ["-R", FASTA, "--backend", "null"]


@pytest.fixture
def manifest(tmp_path):
    return write_cohort(tmp_path / "vcfs")


def test_every_file_is_annotated_as_annotate_does(run, tmp_path, manifest):
    out = tmp_path / "out"
    code, _, err = run("cohort", "run", manifest, *NULL, "-O", out)
    assert code == 0, err
    assert "3 files" in err and "450 distinct alleles" in err and "450 scored" in err
    for number in range(3):
        alone = tmp_path / "alone.vcf"
        assert run("annotate", tmp_path / "vcfs" / f"s{number}.vcf", *NULL, "-O", alone)[0] == 0
        text = unpacked(out / "annotated" / f"sample{number}.vcf.gz")
        assert records(text) == records(alone.read_text())
        assert (out / "annotated" / f"sample{number}.vcf.gz.tbi").exists()


def test_a_second_run_scores_nothing_and_the_store_serves_annotate(run, tmp_path, manifest):
    store = tmp_path / "s.sqlite"
    assert run("cohort", "run", manifest, *NULL, "--store", store, "-O", tmp_path / "a")[0] == 0
    code, _, err = run("cohort", "run", manifest, *NULL, "--store", store, "-O", tmp_path / "b")
    assert code == 0 and "450 distinct alleles" in err and " 0 scored" in err
    assert outputs(tmp_path / "a") == outputs(tmp_path / "b")
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
    rows = pq.read_table(tmp_path / "out" / "cohort.parquet").to_pylist()
    statuses = {row["STATUS"] for row in rows}
    assert all(row["HGVSG"] for row in rows if row["STATUS"] in ("OK", "TOO_LONG"))  # names, as annotate writes them
    assert {
        "SYMBOLIC",
        "SPANNING_DELETION",
        "NON_ACGT",
        "NO_CHANGE",
        "NO_CONTIG",
        "REF_MISMATCH",
        "TOO_LONG",
    } <= statuses
    summary = json.loads((tmp_path / "out" / "cohort.json").read_text())
    assert set(summary["status"]) - {"NO_ALT"} == statuses
    largest = {}  # an allele in two genes counts once, by its larger DS_MAX
    for row in rows:
        if row["DS_MAX"] is not None:
            key = row["CHROM"], row["POS"], row["REF"], row["ALT"]
            largest[key] = max(row["DS_MAX"], largest.get(key, 0.0))
    counted = {"at_or_above": sum(value >= 0.2 for value in largest.values()), "alleles": len(largest)}
    assert summary["ds_max"] == {"threshold": 0.2, **counted}
    assert f"sort by DS_MAX: {counted['at_or_above']} of {counted['alleles']} ALTs at or above 0.2" in err


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


def test_finished_files_are_touched_only_when_input_or_settings_change(run, tmp_path, manifest):
    out, store = tmp_path / "out", tmp_path / "s.sqlite"
    again = ["cohort", "run", manifest, *NULL, "--store", store, "-O", out]
    assert run(*again)[0] == 0
    before = {path: path.stat().st_mtime_ns for path in (out / "annotated").iterdir()}
    assert run(*again)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "annotated").iterdir()} == before
    changed = tmp_path / "vcfs" / "s1.vcf"
    changed.write_text(changed.read_text() + "chr17\t43047641\t.\tA\tC\t.\tPASS\tX=1\tGT\t0/1\n")
    code, _, err = run(*again)
    assert code == 0 and "451 distinct alleles" in err and " 1 scored" in err
    after = {path.name: path.stat().st_mtime_ns for path in (out / "annotated").iterdir()}
    same = {path.name for path, time in before.items() if after[path.name] == time}
    assert same == {f"sample{n}.vcf.gz{end}" for n in (0, 2) for end in ("", ".tbi")}
    assert len(records(unpacked(out / "annotated" / "sample1.vcf.gz"))) == len(records(changed.read_text()))
    code, _, err = run(*again, "--emit", "flat,vep")
    assert code == 0 and " 0 scored" in err
    assert all("SpliceBERT=" in unpacked(path) for path in (out / "annotated").glob("*.gz"))


def test_bad_files_are_all_named_before_anything_is_scored(run, tmp_path, manifest):
    (tmp_path / "vcfs" / "s0.vcf").write_text("nothing of the kind\n")
    packed = (tmp_path / "vcfs" / "s2.vcf").read_bytes()
    (tmp_path / "vcfs" / "s2.vcf").write_bytes(packed[: len(packed) // 2])
    code, _, err = run("cohort", "run", manifest, *NULL, "-O", tmp_path / "out")
    assert code == 3 and "2 of 3 files cannot be used" in err and "s0.vcf" in err and "s2.vcf" in err
    assert not (tmp_path / "out" / "cohort.json").exists()
    wrong = tmp_path / "wrong.txt"
    wrong.write_text(f"{EXAMPLES / 'wrong_build.vcf'}\n")
    assert run("cohort", "run", wrong, *NULL, "-O", tmp_path / "out2")[0] == 4


def test_a_dry_run_says_what_is_new_and_leaves_nothing(run, tmp_path, manifest):
    code, out, err = run("cohort", "run", manifest, *NULL, "-O", tmp_path / "out", "--dry-run")
    assert code == 0 and out == ""
    assert "450 distinct alleles, 450 of them new" in err and "to score them here" in err
    assert not (tmp_path / "out").exists()


def test_one_process_for_a_folder(run, tmp_path, manifest):
    with locked(tmp_path / "out", "running a cohort"):
        code, _, err = run("cohort", "run", manifest, *NULL, "-O", tmp_path / "out")
    assert code == 3 and "Another process" in err


def test_a_gene_that_failed_is_counted_and_tried_again(run, tmp_path, monkeypatch):
    """Also where another gene of the allele is the one that flat output shows."""
    listed = tmp_path / "m.txt"
    listed.write_text(f"{EXAMPLES / 'overlapping.vcf'}\n")
    again = ["cohort", "run", listed, *NULL, "-O", tmp_path / "out"]
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


def test_a_damaged_table_and_a_lost_index_are_made_again(run, tmp_path, manifest):
    again = ["cohort", "run", manifest, *NULL, "-O", tmp_path / "out"]
    assert run(*again)[0] == 0
    before = outputs(tmp_path / "out")
    (tmp_path / "out" / "cohort.parquet").write_bytes(b"")
    (tmp_path / "out" / "annotated" / "sample1.vcf.gz.tbi").unlink()
    assert run(*again)[0] == 0
    assert outputs(tmp_path / "out") == before


def test_files_of_an_earlier_cohort_are_named(run, tmp_path, manifest):
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


def test_an_allele_that_fails_is_scored_once_a_run_and_again_by_the_next(run, tmp_path, manifest, monkeypatch):
    out, store = tmp_path / "out", tmp_path / "s.sqlite"
    again = ["cohort", "run", manifest, *NULL, "--store", store, "-O", out]
    asked = []
    outcomes = Scoring.outcomes

    def fails(self, alleles):
        asked.extend(alleles)
        return [
            tuple(ScoredContext(one.context, Status.FAILED, "no luck", {}) for one in found)
            if allele.start % 2
            else found
            for allele, found in zip(alleles, outcomes(self, alleles), strict=True)
        ]

    monkeypatch.setattr(Scoring, "outcomes", fails)
    code, _, err = run(*again)
    assert code == 1 and "ALTs FAILED" in err and len(asked) == len(set(asked)) == 450
    table = pq.read_table(out / "cohort.parquet").to_pylist()
    failed = [row for row in table if row["STATUS"] == "FAILED"]
    assert len(failed) == 225 and {row["REASON"] for row in failed} == {"no luck"}
    assert all(row["SYMBOL"] == "BRCA1" and row["KL_CTX"] is None for row in failed)
    with ScoreStore(store) as opened:
        assert opened.count(opened.spaces()[0]) == 225
    monkeypatch.undo()
    code, _, err = run(*again)
    assert code == 0 and " 225 scored" in err and "FAILED" not in err
    assert "FAILED" not in unpacked(out / "annotated" / "sample0.vcf.gz")


def test_a_run_that_stops_half_way_keeps_the_scores_of_its_batches(run, tmp_path, manifest, monkeypatch):
    again = ["cohort", "run", manifest, *NULL, "-O", tmp_path / "out"]
    outcomes, batches = Scoring.outcomes, []

    def full(self, alleles):
        if len(batches) == 2:
            raise OutputError("The output could not be written.", found="No space left on device")
        batches.append(len(alleles))
        return outcomes(self, alleles)

    monkeypatch.setattr(Scoring, "outcomes", full)
    assert run(*again)[0] == 5
    assert not (tmp_path / "out" / "cohort.json").exists()
    monkeypatch.undo()
    code, _, err = run(*again)
    assert code == 0 and f" {450 - sum(batches)} scored" in err and max(batches) <= BATCH


def test_a_line_that_a_kill_cut_off_costs_one_file(run, tmp_path, manifest):
    out = tmp_path / "out"
    again = ["cohort", "run", manifest, *NULL, "-O", out]
    assert run(*again)[0] == 0
    before = outputs(out)
    log = out / "finished.txt"
    log.write_text(log.read_text()[:-20])
    assert "0 records" not in run(*again)[2]
    assert outputs(out) == before


def test_an_input_that_changes_meanwhile_stops_the_run(run, tmp_path, manifest, monkeypatch):
    work = FileWorker.run

    def late(self, task, ask):
        done = work(self, task, ask)
        if task.target:
            os.utime(task.source, ns=(1, 1))
        return done

    monkeypatch.setattr(FileWorker, "run", late)
    code, _, err = run("cohort", "run", manifest, *NULL, "-O", tmp_path / "out")
    assert code == 3 and "changed while" in err and "s0.vcf" in err


def test_a_command_of_the_old_engine_says_what_replaces_it(run):
    code, _, err = run("cohort", "plan", "out")
    assert code == 2 and "cohort run" in err
