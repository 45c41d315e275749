"""Saturation: every allele of a place once, in order, with the values of annotate."""

import gzip
import hashlib
import re

import hypothesis
import pyarrow.parquet as pq
import pysam
import pytest
from hypothesis import strategies as st

from factories import FASTA, NULL, REGION, TWO_GENES, body, info, records, text_of, write_tiny
from splicebert_vep.errors import OutputError
from splicebert_vep.scoring.pipeline import Scoring
from splicebert_vep.sequence.alleles import anchored, classify, every_allele, normalise
from splicebert_vep.store.store import ScoreStore
from splicebert_vep_spec import Allele, ScoredContext, Status


@pytest.fixture
def tiny(tmp_path):
    return write_tiny(tmp_path)


def written_alleles(bases: str, start: int, end: int) -> set[Allele]:
    """Every SNV, 1-nt insertion and deletion of 1 to 4 nt that a VCF can say, normalised; by trying all."""

    def fetch(low, high):
        return bases[max(0, low) : high].encode()

    tried = [(at, bases[at : at + 1], alt) for at in range(len(bases)) for alt in "ACGT"]
    tried += [(at, "", alt) for at in range(len(bases)) for alt in "ACGT"]
    tried += [(at, bases[at : at + size], "") for at in range(len(bases)) for size in (1, 2, 3, 4)]
    found = set()
    for at, ref, alt in tried:
        pos, ref, alt = anchored(Allele("c", at, ref, alt), fetch)
        if not alt or classify(ref, alt) or ref != bases[pos - 1 : pos - 1 + len(ref)]:
            continue
        allele = normalise("c", pos, ref, alt, fetch)
        _, ref, _ = anchored(allele, fetch)
        if start <= allele.start < end and set(ref) <= set("ACGT"):
            found.add(allele)
    return found


@hypothesis.given(st.text("ACGTN", min_size=2, max_size=14) | st.text("AN", min_size=2, max_size=9), st.data())
def test_every_normalised_allele_comes_once(bases, data):
    start = data.draw(st.integers(0, len(bases) - 1))
    end = data.draw(st.integers(start + 1, len(bases)))
    found = list(every_allele("c", start, end, lambda low, high: bases[max(0, low) : high].encode(), indels=True))
    assert len(set(found)) == len(found)
    assert set(found) == written_alleles(bases, start, end)


def test_an_indel_of_a_repeat_comes_once_at_its_first_base(run, tmp_path, tiny):
    """By hand: G C AAAA T C N. Of the run only its first A is inserted before or deleted alone."""
    out = tmp_path / "out.vcf.gz"
    assert run("saturate", "--region", "c1:101-107", "--indels", *tiny[0], "-O", out)[0] == 0
    found = {tuple([row[1], row[3], row[4]]) for row in body(out)}
    deletions = {(int(pos), ref, alt) for pos, ref, alt in found if len(ref) > 1}
    assert deletions == {
        (100, "TG", "T"), (100, "TGC", "T"), (100, "TGCA", "T"), (100, "TGCAA", "T"),
        (101, "GC", "G"), (101, "GCA", "G"), (101, "GCAA", "G"), (101, "GCAAA", "G"),
        (102, "CA", "C"), (102, "CAA", "C"), (102, "CAAA", "C"), (102, "CAAAA", "C"),
        (103, "AAAAT", "A"),
        (104, "AAAT", "A"), (104, "AAATC", "A"),
        (105, "AAT", "A"), (105, "AATC", "A"),
        (106, "AT", "A"), (106, "ATC", "A"),
    }  # fmt: skip
    insertions = {(int(pos), ref, alt) for pos, ref, alt in found if len(alt) > 1}
    before = {100: "T", 101: "G", 102: "C", 103: "A", 104: "A", 105: "A", 106: "A"}
    assert insertions == {(pos, base, base + b) for pos, base in before.items() for b in "ACGT" if b != base}
    assert len(found) == len(deletions) + len(insertions) + 3 * 7


def test_bases_that_are_not_acgt_and_places_without_genes_are_counted(run, tmp_path, tiny):
    options, bases = tiny
    out = tmp_path / "out.vcf.gz"
    code, _, err = run("saturate", "--region", "c1", *options, "-O", out)
    assert code == 0
    assert (
        f"{len(bases)} positions, 1 of them not A, C, G or T and {40 + len(bases) - 210} in no gene; 507 alleles" in err
    )
    rows = body(out)
    assert len(rows) == 3 * 169  # 170 nt of two genes that share an N
    assert {int(row[1]) for row in rows} == set(range(41, 211)) - {109}
    assert all(row[3] == bases[int(row[1]) - 1] for row in rows)
    statuses = {int(row[1]): info(row[7])["SpliceBERT_STATUS"] for row in rows}
    assert {pos for pos, status in statuses.items() if status != "OK"} == set(range(104, 115)) - {109}
    assert "N_CONTEXT 30, OK 477" in err
    code, _, err = run("saturate", "--region", "c1:1-30", *options, "-O", tmp_path / "none.vcf.gz")
    assert code == 3 and "nothing to score in these places" in err and "30 in no gene" in err
    assert [path.name for path in tmp_path.glob("none*")] == []


def test_a_deletion_that_leaves_no_room_for_flanks_is_left_out(run, tmp_path, tiny):
    out = tmp_path / "out.vcf.gz"
    narrow = [*tiny[0], "--window", "12"]  # the last one counts
    code, _, err = run("saturate", "--region", "c1:60-70", "--indels", *narrow, "-O", out)
    assert code == 0, err
    assert max(len(row[3]) for row in body(out)) == 3
    assert "FAILED" not in err


def test_a_record_for_every_allele_with_the_flat_gene_and_no_key_without_a_value(run, tmp_path):
    """Consumers that join by allele mixed the genes of several records; other layouts have each gene's own values."""
    out, table, again = tmp_path / "out.vcf.gz", tmp_path / "t.parquet", tmp_path / "again.vcf"
    scores = [*NULL, "--scores", "zero-shot"]
    words = ["--region", TWO_GENES, *scores, "--emit", f"flat,vep,parquet={table}", "-O", out]
    code, _, err = run("saturate", *words)
    assert code == 0, err
    assert "30 records" in err and "by status: OK 30" in err
    rows = body(out)
    order = [(int(row[1]), row[3], row[4]) for row in rows]
    assert order == sorted(order) and len(set(order)) == len(rows) == 3 * 10
    assert {info(row[7])["SpliceBERT_NGENES"] for row in rows} == {"2"}
    assert all("SpliceBERT_KL_CTX" in info(row[7]) for row in rows)
    assert not any("." in info(row[7]).values() for row in rows)  # vcfanno reads it as 0
    assert {entry.split("|")[4] for row in rows for entry in info(row[7])["SpliceBERT"].split(",")} == {"+", "-"}
    found = pq.read_table(table).to_pylist()
    assert len(found) == 60 and len({(row["POS"], row["ALT"], row["GENE"]) for row in found}) == 60
    assert run("annotate", out, *scores, "--emit", "flat", "-O", again)[0] == 0
    for own, row in zip(rows, records(again.read_text()), strict=True):
        assert info(own[7]).items() >= info(row[7]).items()
    table.unlink()
    sequence = "".join(gzip.decompress(FASTA.read_bytes()).decode().upper().splitlines()[1:])
    with pysam.TabixFile(str(out)) as indexed:
        bases = sequence[43125423:43125433]
        for i, base in enumerate(bases):
            found = [line.split("\t") for line in indexed.fetch("chr17", 43125423 + i, 43125424 + i)]
            assert [row[3] for row in found] == [base] * 3
            assert {row[4] for row in found} == set("ACGT") - {base}
    md5 = hashlib.md5(sequence.encode()).hexdigest()
    assert f"##contig=<ID=chr17,length={len(sequence)},md5={md5}>\n" in text_of(out)
    assert text_of(out).startswith("##fileformat=VCFv4.3\n")
    assert {path.name for path in tmp_path.iterdir()} == {"again.vcf", "out.vcf.gz", "out.vcf.gz.tbi"}


def test_it_says_what_annotate_says(run, tmp_path):
    """Where an allele has one gene, every value is printed as annotate prints it."""
    out, again = tmp_path / "out.vcf.gz", tmp_path / "again.vcf"
    ends = [
        run("saturate", "--region", "chr17:43047641-43047645", "--indels", *NULL, "-O", out),
        run("annotate", out, *NULL, "-O", again),
    ]
    assert [code for code, *_ in ends] == [0, 0]
    [told] = {re.search(r"sort by DS_MAX: .* ALTs at or above .*", err)[0] for *_, err in ends}
    assert f" of {len(body(out))} ALTs" in told
    own = {line.split(",")[0]: line for line in text_of(out).splitlines() if line.startswith("##INFO")}
    for line in again.read_text().splitlines():
        if line.startswith("##INFO"):
            assert own[line.split(",")[0]] == line
    assert body(out) == records(again.read_text())


def test_overlapping_places_give_every_allele_once(run, tmp_path):
    one, many, bed = tmp_path / "one.vcf.gz", tmp_path / "many.vcf.gz", tmp_path / "b.bed.gz"
    bed.write_bytes(
        gzip.compress(b'track name="x"\n# comment\n\n17\t43045610\t43045620\tname\nchr17 43045604 43045610\n')
    )
    assert run("saturate", "--region", "chr17:43045600-43045620", *NULL, "-O", one)[0] == 0
    regions = ["--region", "17:43,045,600-43,045,605", "--region", "chr17:43045603"]
    assert run("saturate", *regions, "--bed", bed, *NULL, "-O", many)[0] == 0
    assert one.read_bytes() == many.read_bytes()
    assert len(body(one)) == 63


def test_a_gene_is_all_of_its_span_with_all_genes_there(run, tmp_path, tiny):
    by_gene, by_region = tmp_path / "gene.vcf.gz", tmp_path / "region.vcf.gz"
    assert run("saturate", "--gene", "ALPHA", *tiny[0], "-O", by_gene)[0] == 0
    assert run("saturate", "--region", "c1:41-190", *tiny[0], "-O", by_region)[0] == 0
    assert by_gene.read_bytes() == by_region.read_bytes()
    assert {info(row[7])["SpliceBERT_SYMBOL"] for row in body(by_gene)} == {"ALPHA", "BETA"}


def test_a_dry_run_counts_and_leaves_nothing(run, tmp_path):
    code, _, err = run("saturate", "--region", REGION, *NULL, "-O", tmp_path / "out.vcf.gz", "--dry-run")
    assert code == 0
    assert "150 positions" in err and "450 alleles" in err and "measured on 64" in err
    assert list(tmp_path.iterdir()) == []


def test_dask_workers_fill_the_store_and_give_the_same(run, tmp_path):
    pytest.importorskip("distributed")
    one, two, store = tmp_path / "one.vcf.gz", tmp_path / "two.vcf.gz", tmp_path / "s.sqlite"
    command = ["saturate", "--region", REGION, *NULL, "--threads", "1", "-O"]
    assert run(*command, one)[0] == 0
    code, _, err = run(*command, two, "--dask", "local:1")
    assert code == 3 and "--store" in err
    code, _, err = run(*command, two, "--dask", "local:1", "--store", store)
    assert code == 0, err
    assert body(one) == body(two)
    with ScoreStore(store) as opened:
        assert opened.count(opened.spaces()[0]) == 450


def test_a_run_that_was_stopped_goes_on_from_the_store(run, tmp_path, monkeypatch):
    whole, out, store = tmp_path / "whole.vcf.gz", tmp_path / "out.vcf.gz", tmp_path / "s.sqlite"
    command = ["saturate", "--region", REGION, *NULL, "--store", store, "-O", out]
    assert run("saturate", "--region", REGION, *NULL, "-O", whole)[0] == 0
    out.write_text("of an earlier run")
    outcomes, asked = Scoring.outcomes, []

    def stops(self, alleles):
        if len(asked) > 100:
            raise OutputError("The disk is full.")
        asked.extend(alleles)
        return outcomes(self, alleles)

    monkeypatch.setattr(Scoring, "outcomes", stops)
    assert run(*command)[0] == 5 and out.read_text() == "of an earlier run"
    monkeypatch.setattr(Scoring, "outcomes", lambda self, alleles: asked.extend(alleles) or outcomes(self, alleles))
    assert run(*command)[0] == 0
    assert len(asked) == len(set(asked)) == 450 and body(out) == body(whole)
    assert not [path for path in tmp_path.iterdir() if ".tmp" in path.name]
    code, _, err = run("annotate", whole, *NULL, "--store", store, "-O", tmp_path / "x.vcf")
    assert code == 0 and ", 0 scored" in err


def test_what_failed_is_told_and_not_stored(run, tmp_path, monkeypatch):
    out, store = tmp_path / "out.vcf.gz", tmp_path / "s.sqlite"
    outcomes = Scoring.outcomes

    def fails(self, alleles):
        return [
            tuple(ScoredContext(one.context, Status.FAILED, "no luck, 50%; sorry", {}) for one in found)
            if allele.start < 43045650
            else found
            for allele, found in zip(alleles, outcomes(self, alleles), strict=True)
        ]

    monkeypatch.setattr(Scoring, "outcomes", fails)
    code, _, err = run("saturate", "--region", REGION, *NULL, "--store", store, "-O", out)
    assert code == 0 and "by status: FAILED 153, OK 297" in err
    failed = [info(row[7]) for row in body(out)][:153]
    assert {one["SpliceBERT_REASON"] for one in failed} == {"no_luck&_50%%3B_sorry"}
    assert all(one["SpliceBERT_SYMBOL"] == "BRCA1" and "SpliceBERT_KL_CTX" not in one for one in failed)
    with ScoreStore(store) as opened:
        assert opened.count(opened.spaces()[0]) == 297


def test_nothing_asked_for_and_a_wrong_output_are_told(run, tmp_path):
    code, _, err = run("saturate", *NULL, "-O", tmp_path / "out.vcf.gz")
    assert code == 3 and "There is nothing to score" in err
    code, _, err = run("saturate", "--gene", "BRCA1", *NULL, "-O", tmp_path / "out.vcf")
    assert code == 3 and "a name that ends in .vcf.gz" in err
    code, _, err = run("saturate", "--gene", "BRCA1", *NULL, "-O", tmp_path / "no" / "out.vcf.gz")
    assert code == 5
    assert list(tmp_path.iterdir()) == []


def test_an_annotation_of_another_build_is_refused(run, tmp_path):
    out = tmp_path / "out.vcf.gz"
    code, _, err = run("saturate", "--region", REGION, *NULL, "-A", "grch37", "-O", out)
    assert code == 4 and "different genome builds" in err
    assert list(tmp_path.iterdir()) == []
