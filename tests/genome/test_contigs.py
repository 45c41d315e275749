"""Contig names: one canonical name for UCSC, Ensembl and RefSeq writings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splicebert_vep.genome.contigs import ContigNames, canonical_name, is_mitochondrial

NAMES = {
    "17": "17 chr17 Chr17 NC_000017.10 NC_000017.11",
    "1": "NC_000001.11 NC_000067.7",  # human, mouse
    "22": "NC_000022.11",
    "19": "NC_000085.7",
    "X": "chrX NC_000023.11 NC_000086.8",
    "Y": "NC_000024.10 NC_000087.8",
    "MT": "M MT chrM chrMT NC_012920.1 NC_005089.1",
    "KI270302.1": "chrUn_KI270302v1 KI270302.1",
    "KI270706.1": "chr1_KI270706v1_random",
    "GL000008.2": "chr4_GL000008v2_random",
    "KI270762.1": "chr1_KI270762v1_alt",
    "GL000191.1": "chr1_gl000191_random",  # hg19 writes no version
}


@pytest.mark.parametrize(("canonical", "name"), [(key, name) for key, names in NAMES.items() for name in names.split()])
def test_canonical_name(canonical: str, name: str) -> None:
    assert canonical_name(name) == canonical
    assert is_mitochondrial(name) is (canonical == "MT")


@pytest.mark.parametrize("name", ["NC_000025.1", "NW_009646194.1", "chromosome1", "chr", "scaffold_12", "MTHFR", ""])
def test_a_name_of_no_known_scheme_stays(name: str) -> None:
    assert canonical_name(name) == name


@given(st.text(alphabet="chrNMTXY_v.0123456789", max_size=20))
def test_every_name_finds_itself(name: str) -> None:
    assert ContigNames([name, "other"]).find(name) == name


def test_find_returns_the_files_own_name() -> None:
    names = ContigNames(["chr1", "chr17", "chrM", "chrUn_KI270302v1"])
    given = ("17", "NC_000017.11", "MT", "KI270302.1", "2", "2")
    assert [names.find(name) for name in given] == ["chr17", "chr17", "chrM", "chrUn_KI270302v1", None, None]


def test_find_prefers_the_exact_name_then_the_first() -> None:
    names = ContigNames(["chr1", "1"])
    assert [names.find(name) for name in ("1", "chr1", "NC_000001.11")] == ["1", "chr1", "chr1"]
