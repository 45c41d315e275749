"""Contig names: one canonical name for UCSC, Ensembl and RefSeq writings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splicebert_vep.errors import BuildError
from splicebert_vep.genome.contigs import (
    ContigNames,
    accession_assembly,
    canonical_name,
    is_mitochondrial,
    known_assembly,
)

NAMES = {
    "17": "17 chr17 Chr17 NC_000017.9 NC_000017.10 NC_000017.11 CM000679.1 CM000679.2 NC_060941.1 CP068261.2",
    "1": "NC_000001.11 NC_000067.7",  # human, mouse
    "22": "NC_000022.11",
    "19": "NC_000085.7",
    "X": "chrX NC_000023.11 NC_000086.8",
    "Y": "NC_000024.10 NC_000087.8 CP086569.2 CM000686.2 CM001014.3",
    "MT": "M MT chrM chrMT NC_012920.1 NC_005089.1 J01415.2",
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


@pytest.mark.parametrize(
    "name",
    ["NC_000025.1", "NC_000017.8", "NC_000017", "NW_009646194.1", "chromosome1", "chr", "scaffold_12", "MTHFR", ""],
)
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


@pytest.mark.parametrize(
    ("assembly", "names"),
    [
        ("GRCh38", "NC_000017.11 CM000679.2 NC_000014.9 NC_000024.10"),
        ("GRCh37", "NC_000017.10 CM000679.1 NC_000014.8 NC_000024.9"),
        ("NCBI36", "NC_000017.9"),
        ("T2T-CHM13v2.0", "NC_060941.1 CP068261.2 CP086569.2"),
        ("GRCm39", "NC_000067.7 NC_000068.8 CM000994.3"),
        ("GRCm38", "NC_000067.6 NC_000087.7 CM000994.2"),
        ("the assembly of NC_000017.8", "NC_000017.8"),
        (None, "17 chr17 NC_012920.1 NC_000017 NC_000025.1 KI270302.1"),
    ],
)
def test_an_accession_names_its_assembly(assembly: str | None, names: str) -> None:
    assert {accession_assembly(name) for name in names.split()} == {assembly}


@pytest.mark.parametrize(
    ("contigs", "told"),
    [
        (["NC_000017.11"], None),  # by its own names
        ({"chr17": 83257441}, None),  # by a length
        (["chr17"], "GRCh38.p14"),  # by a person or the annotation
        (["chr17"], "hg38"),
        ({"NC_000017.11": 1000}, "GRCh37"),  # names are stronger
    ],
)
@pytest.mark.parametrize(
    "asked", ["NC_000017.10", "NC_000017.9", "NC_000083.7", "NC_060941.1", "CM000679.1", "NC_000001.10"]
)
def test_an_accession_of_another_assembly_is_an_error(contigs: list[str], told: str | None, asked: str) -> None:
    names = ContigNames(contigs, assembly=told)
    assert names.find("CM000679.2") == names.find("17") == next(iter(contigs))
    assert names.find("NC_000018.10") is None
    with pytest.raises(BuildError):
        names.find(asked)


def test_files_of_unknown_or_several_assemblies_decide_by_name_alone() -> None:
    assert ContigNames(["17"]).find("NC_000017.10") == "17"
    assert ContigNames({"17": 5000}, assembly="GRCz11").find("NC_000017.11") == "17"
    both = ContigNames(["NC_000001.11", "NC_000067.7"])  # a xenograft's reference
    assert both.assembly is None
    assert [both.find(name) for name in ("NC_000067.7", "chr1", "NC_000002.12")] == [
        "NC_000067.7",
        "NC_000001.11",
        None,
    ]
    assert known_assembly(None) is None
