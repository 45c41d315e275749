"""Contig names: one canonical name for UCSC, Ensembl and RefSeq writings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splicebert_vep.genome.contigs import ContigNames, canonical_name, is_mitochondrial


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("17", "17"),
        ("chr17", "17"),
        ("Chr17", "17"),
        ("chrX", "X"),
        ("NC_000001.11", "1"),
        ("NC_000017.10", "17"),
        ("NC_000022.11", "22"),
        ("NC_000023.11", "X"),
        ("NC_000024.10", "Y"),
        ("NC_000067.7", "1"),
        ("NC_000085.7", "19"),
        ("NC_000086.8", "X"),
        ("NC_000087.8", "Y"),
        ("M", "MT"),
        ("MT", "MT"),
        ("chrM", "MT"),
        ("chrMT", "MT"),
        ("NC_012920.1", "MT"),
        ("NC_005089.1", "MT"),
        ("chrUn_KI270302v1", "KI270302.1"),
        ("chr1_KI270706v1_random", "KI270706.1"),
        ("chr4_GL000008v2_random", "GL000008.2"),
        ("chr1_KI270762v1_alt", "KI270762.1"),
        ("chr1_gl000191_random", "GL000191.1"),
        ("KI270302.1", "KI270302.1"),
        ("NC_000025.1", "NC_000025.1"),
        ("NW_009646194.1", "NW_009646194.1"),
        ("chromosome1", "chromosome1"),
        ("chr", "chr"),
        ("scaffold_12", "scaffold_12"),
        ("", ""),
    ],
)
def test_canonical_name(name: str, canonical: str) -> None:
    assert canonical_name(name) == canonical


@given(st.integers(1, 22))
def test_every_human_autosome_has_three_names(number: int) -> None:
    assert canonical_name(f"chr{number}") == canonical_name(f"NC_{number:06d}.11") == str(number)


@given(st.text(alphabet="chrNMTXY_v.0123456789", max_size=20))
def test_every_name_finds_itself(name: str) -> None:
    assert ContigNames([name, "other"]).find(name) == name


def test_mitochondrial_under_every_name() -> None:
    assert all(is_mitochondrial(name) for name in ("MT", "M", "chrM", "chrMT", "NC_012920.1", "NC_005089.1"))
    assert not any(is_mitochondrial(name) for name in ("1", "chrX", "NC_000001.11", "MTHFR"))


def test_find_returns_the_files_own_name() -> None:
    names = ContigNames(["chr1", "chr17", "chrM", "chrUn_KI270302v1"])
    assert names.find("17") == "chr17"
    assert names.find("NC_000017.11") == "chr17"
    assert names.find("MT") == "chrM"
    assert names.find("KI270302.1") == "chrUn_KI270302v1"
    assert names.find("2") is None
    assert names.find("2") is None  # the remembered answer is the same


def test_find_prefers_the_exact_name_then_the_first() -> None:
    names = ContigNames(["chr1", "1"])
    assert names.find("1") == "1"
    assert names.find("chr1") == "chr1"
    assert names.find("NC_000001.11") == "chr1"
