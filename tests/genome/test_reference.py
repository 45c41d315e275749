"""The reference: random access to plain and bgzip FASTA, indexed wherever it lies."""

import gzip
import hashlib
import os
import random
from pathlib import Path

import pysam
import pytest

from splicebert_vep.errors import FastaError
from splicebert_vep.genome.reference import Reference

RNG = random.Random(1)
CHR1 = "".join(RNG.choice("ACGTacgtN") for _ in range(700_000))  # soft-masked, over two blocks of the cache
MT = "ACGTRYKM" * 10


def fasta_text() -> str:
    lines = [">chr1 some words"] + [CHR1[i : i + 60] for i in range(0, len(CHR1), 60)]
    return "\n".join([*lines, ">chrM", MT, ""])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPLICEBERT_VEP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fasta"


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / "g.fa"
    path.write_text(fasta_text())
    return path


@pytest.fixture
def packed(tmp_path, plain):
    pysam.tabix_compress(str(plain), str(tmp_path / "g.fa.gz"))
    return tmp_path / "g.fa.gz"


@pytest.mark.parametrize("kind", ["plain", "packed"])
@pytest.mark.parametrize("name", ["g.fa", "g.fa.gz", "other"])  # a name need not tell of the compression
def test_bases_are_upper_case_wherever_they_are_read(kind, name, request, tmp_path):
    path = request.getfixturevalue(kind).rename(tmp_path / name)
    with Reference(path) as reference:
        assert reference.lengths == {"chr1": 700_000, "chrM": 80}
        starts = [RNG.randrange(699_000) for _ in range(50)]
        edges = [(0, 10), (262_140, 262_150), (100, 600_000), (699_990, 700_000)]
        for start, end in [*edges, *((start, start + 510) for start in starts)]:
            assert reference.fetch("chr1", start, end).decode() == CHR1[start:end].upper()
        assert reference.fetch("chrM", 0, 80).decode() == MT
        assert reference.md5("chr1") == hashlib.md5(CHR1.upper().encode()).hexdigest()


def test_ends_of_a_contig_cut_the_answer(plain):
    with Reference(plain) as reference:
        found = [reference.fetch("chrM", *span) for span in ((-5, 3), (78, 90), (90, 95))]
    assert found == [b"ACG", b"KM", b""]


def test_contigs_are_found_under_any_name(plain):
    with Reference(plain) as reference:
        found = [reference.find(name) for name in ("chr1", "1", "NC_000001.11", "MT", "chrM", "2")]
    assert found == ["chr1", "chr1", "chr1", "chrM", "chrM", None]


def test_no_index_is_written_beside_the_fasta(plain, packed, cache):
    for path in (plain, packed):
        for _ in range(2):
            with Reference(path) as reference:
                reference.fetch("chr1", 0, 10)
                assert reference.index.parent == cache
    assert sorted(os.listdir(plain.parent)) == ["cache", "g.fa", "g.fa.gz"]
    assert sorted(path.suffix for path in cache.iterdir()) == [".fai", ".fai", ".gzi", ".names", ".names"]


def test_a_changed_fasta_does_not_meet_its_old_index(plain):
    with Reference(plain) as reference:
        assert reference.fetch("chrM", 0, 4) == b"ACGT"
    plain.write_text(">x\nTTTT\n" + fasta_text())
    with Reference(plain) as reference:
        assert (reference.fetch("chrM", 0, 4), reference.lengths["x"]) == (b"ACGT", 4)


def test_an_index_beside_the_fasta_is_used_when_it_is_not_older(plain):
    beside = plain.parent / "g.fa.fai"
    beside.write_text("only\t5\t18\t60\t61\n")
    with Reference(plain) as reference:
        assert list(reference.lengths) == ["only"]
    age = plain.stat().st_mtime_ns
    os.utime(beside, ns=(age - 10**9, age - 10**9))
    with Reference(plain) as reference:
        assert list(reference.lengths) == ["chr1", "chrM"]


def test_an_index_that_lies_is_refused(plain):
    (plain.parent / "g.fa.fai").write_text("chrM\t5000000\t18\t60\t61\n")
    with Reference(plain) as reference, pytest.raises(FastaError):
        reference.fetch("chrM", 4_000_000, 4_000_010)


@pytest.mark.parametrize(
    "line", ["chrM\t500", "chrM\t500\t18\t60", "chrM\t500\t99999999999999999999999\t60\t61", "\n\n"]
)
def test_an_index_whose_lines_are_damaged_is_refused(plain, line):
    (plain.parent / "g.fa.fai").write_text(f"{line}\n")
    with pytest.raises(FastaError), Reference(plain) as reference:
        reference.fetch("chrM", 0, 10)


def test_digest_is_that_of_the_file_and_is_remembered(plain, cache):
    expected = hashlib.sha256(plain.read_bytes()).hexdigest()
    for _ in range(2):
        with Reference(plain) as reference:
            assert reference.digest() == expected
    assert len(list(cache.glob("*.sha256"))) == 1


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(
    ("text", "name"),
    [
        (">a x\nACGT\n>b\nAC\n>a\nTTTT\n", "a"),
        (">a x\nACGT\nA\n>a\ty\nTTTT\n>b\nAC\n", "a"),
        (">a\nACGT\n>c\n>a\nTTTT\n>b\nAC\n", "a"),  # c has no bases
        (">a\n" + "ACGT\n" * 20000 + ">a\n" + "TTTT\n" * 40000 + ">b\nAC\n>b\nAC\n", "a"),
        (">a x\nACGT\nA\n\n>b > a\nAC\nA\n\n\n", None),  # empty lines between and at the end do no harm
    ],
)
def test_two_sequences_of_one_name_are_an_error(tmp_path, text, name, packed, beside):
    path = tmp_path / "g.fa"
    path.write_text(text)
    if packed:
        pysam.tabix_compress(str(path), str(path := tmp_path / "g.fa.gz"))
    if beside:
        pysam.faidx(str(path))
    if name is None:
        with Reference(path) as reference:
            assert [reference.fetch(contig, 0, 9) for contig in "ab"] == [b"ACGTA", b"ACA"]
    else:
        with pytest.raises(FastaError, match=f"two sequences called {name}"):
            Reference(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"", "empty"),
        (b"ACGT\n", ">"),
        (b">a\nACGT\nAC\nACGT\n", "indexed(.|\n)*line 4 of 4 bases after one of 2"),  # lines of two lengths
        (b">a\nACGT\n\nACGT\n", "line 4 of 4 bases after one of 0"),
        (b">a\nACGT\n>b\n\n\n", "without bases"),
        (gzip.compress(b">a\nACGT\n", mtime=0), "bgzip"),
    ],
)
def test_a_file_that_is_no_fasta_is_refused(tmp_path, content, message):
    path = tmp_path / "g.fa"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FastaError, match=message):
        Reference(path)


@pytest.mark.parametrize("kind", ["plain", "packed"])
@pytest.mark.parametrize("why", ["no home", "below a file"])
def test_where_no_cache_can_be_written_the_index_is_in_memory(kind, why, request, tmp_path, monkeypatch, caplog):
    path = request.getfixturevalue(kind)
    before = set(tmp_path.iterdir())
    if why == "no home":
        monkeypatch.delenv("SPLICEBERT_VEP_CACHE")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(Path, "home", no_home)
    else:
        monkeypatch.setenv("SPLICEBERT_VEP_CACHE", str(path / "cache"))
    open_files = len(os.listdir("/proc/self/fd"))
    with Reference(path) as reference:
        assert reference.index is None
        assert reference.fetch("chr1", 262_140, 262_150).decode() == CHR1[262_140:262_150].upper()
        assert reference.md5("chr1") == hashlib.md5(CHR1.upper().encode()).hexdigest()
        assert reference.digest() == hashlib.sha256(path.read_bytes()).hexdigest()
    assert set(tmp_path.iterdir()) == before and len(os.listdir("/proc/self/fd")) == open_files
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_what_a_killed_run_left_of_an_index_goes(plain, cache):
    with Reference(plain) as reference:
        index = reference.index
    left = cache / f".{index.name}.1-00000000.tmp"
    index.rename(left)
    with Reference(plain) as reference:
        assert reference.index == index
    assert not left.exists()
