"""The reference: random access to what users really have."""

import gzip
import hashlib
import os
import random

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
    return tmp_path / "cache"


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / "g.fa"
    path.write_text(fasta_text())
    return path


@pytest.fixture
def packed(tmp_path):
    source, path = tmp_path / "text", tmp_path / "g.fa.gz"
    source.write_text(fasta_text())
    pysam.tabix_compress(str(source), str(path))
    return path


@pytest.mark.parametrize("kind", ["plain", "packed"])
def test_bases_are_upper_case_wherever_they_are_read(kind, request):
    with Reference(request.getfixturevalue(kind)) as reference:
        assert reference.lengths == {"chr1": 700_000, "chrM": 80}
        wanted = CHR1.upper()
        for start, end in ((0, 10), (262_140, 262_150), (100, 600_000), (699_990, 700_000)):
            assert reference.fetch("chr1", start, end).decode() == wanted[start:end]
        for _ in range(50):
            start = RNG.randrange(699_000)
            assert reference.fetch("chr1", start, start + 510).decode() == wanted[start : start + 510]
        assert reference.fetch("chrM", 0, 80).decode() == MT


def test_ends_of_a_contig_cut_the_answer(plain):
    with Reference(plain) as reference:
        assert reference.fetch("chrM", -5, 3) == b"ACG"
        assert reference.fetch("chrM", 78, 90) == b"KM"
        assert reference.fetch("chrM", 90, 95) == b""


def test_contigs_are_found_under_any_name(plain):
    with Reference(plain) as reference:
        assert [reference.find(name) for name in ("chr1", "1", "NC_000001.11", "MT", "chrM", "2")] == [
            "chr1", "chr1", "chr1", "chrM", "chrM", None,
        ]  # fmt: skip


def test_no_index_is_written_beside_the_fasta(plain, packed, cache):
    for path in (plain, packed):
        before = sorted(os.listdir(path.parent))
        for _ in range(2):
            with Reference(path) as reference:
                reference.fetch("chr1", 0, 10)
        assert sorted(set(os.listdir(path.parent)) - {"cache"}) == sorted(set(before) - {"cache"})
    assert len(list((cache / "fasta").glob("*.fai"))) == 2
    assert len(list((cache / "fasta").glob("*.gzi"))) == 1
    assert not list((cache / "fasta").glob(".*"))


def test_a_changed_fasta_does_not_meet_its_old_index(plain):
    with Reference(plain) as reference:
        assert reference.fetch("chrM", 0, 4) == b"ACGT"
    plain.write_text(">x\nTTTT\n" + fasta_text())
    with Reference(plain) as reference:
        assert reference.fetch("chrM", 0, 4) == b"ACGT"
        assert reference.lengths["x"] == 4


def test_an_index_beside_the_fasta_is_used_when_it_is_not_older(plain, cache):
    (plain.parent / "g.fa.fai").write_text("only\t5\t18\t60\t61\n")
    with Reference(plain) as reference:
        assert list(reference.lengths) == ["only"]
    age = plain.stat().st_mtime_ns
    os.utime(plain.parent / "g.fa.fai", ns=(age - 10**9, age - 10**9))
    with Reference(plain) as reference:
        assert list(reference.lengths) == ["chr1", "chrM"]


def test_an_index_that_lies_is_told(plain):
    (plain.parent / "g.fa.fai").write_text("chrM\t5000000\t18\t60\t61\n")
    with Reference(plain) as reference, pytest.raises(FastaError, match="cannot be read"):
        reference.fetch("chrM", 4_000_000, 4_000_010)


def test_digest_is_that_of_the_file_and_is_remembered(plain, cache):
    expected = hashlib.sha256(plain.read_bytes()).hexdigest()
    with Reference(plain) as reference:
        assert reference.digest() == expected
    assert len(list((cache / "fasta").glob("*.sha256"))) == 1
    with Reference(plain) as reference:
        assert reference.digest() == expected


def test_plain_gzip_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "g.fa.gz"
    path.write_bytes(gzip.compress(fasta_text().encode()))
    with pytest.raises(FastaError, match=r"plain gzip(.|\n)*bgzip"):
        Reference(path)


def test_a_name_need_not_tell_of_the_compression(tmp_path, plain, packed):
    for path, name in ((packed, "packed.fa"), (plain, "plain.fa.gz")):
        path.rename(tmp_path / name)
        with Reference(tmp_path / name) as reference:
            assert reference.fetch("chrM", 0, 80).decode() == MT


@pytest.mark.parametrize(("content", "message"), [("", "an empty file"), ("ACGT\n", "begins with '>'")])
def test_what_is_no_fasta_is_told(tmp_path, content, message):
    path = tmp_path / "g.fa"
    path.write_text(content)
    with pytest.raises(FastaError, match=message):
        Reference(path)


def test_a_missing_fasta_is_told(tmp_path):
    with pytest.raises(FastaError, match="No such file"):
        Reference(tmp_path / "absent.fa")


def test_a_malformed_fasta_is_told(tmp_path):
    path = tmp_path / "g.fa"
    path.write_text(">a\nACGT\nAC\nACGT\n")
    with pytest.raises(FastaError, match="cannot be indexed"):
        Reference(path)
