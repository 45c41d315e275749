"""Genes, regions and BED lines become stretches of the reference, or one error names the place that is not there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factories import FASTA, NULL, write_tiny
from splicebert_vep.errors import SettingsError
from splicebert_vep.genome.gene_build import load_table
from splicebert_vep.genome.places import Places, Stretch, find_places, merged
from splicebert_vep.genome.reference import Reference


@pytest.fixture
def tiny(tmp_path):
    return write_tiny(tmp_path)


@pytest.fixture(scope="module")
def genome():
    with Reference(FASTA) as reference:
        yield reference, load_table("grch38")


@pytest.mark.parametrize("name", ["BRCA1", "ENSG00000012048", "ENSG00000012048.26"])
def test_a_gene_is_found_by_symbol_and_id(genome, name):
    assert find_places(Places(genes=(name,)), *genome)[0] == [Stretch("chr17", 43044294, 43170245)]


def test_an_unknown_gene_is_told_with_a_suggestion(run, tmp_path):
    code, _, err = run("saturate", "--gene", "BRCA11", "--gene", "NBR2", *NULL, "-O", tmp_path / "out.vcf.gz")
    assert code == 3 and "no such gene" in err and "found:  BRCA11" in err and "did you mean BRCA1?" in err
    assert list(tmp_path.iterdir()) == []


def test_a_gene_that_is_not_on_the_fasta_is_told(genome, tiny, tmp_path):
    with Reference(tmp_path / "tiny.fa") as reference, pytest.raises(SettingsError, match="FASTA"):
        find_places(Places(genes=("BRCA1",)), reference, genome[1])


def test_a_gene_beyond_the_end_of_the_fasta_is_cut_and_told(tiny, tmp_path):
    (tmp_path / "cut.fa").write_text(f">c1\n{tiny[1][:150]}\n")
    with Reference(tmp_path / "cut.fa") as reference:
        stretches, warnings = find_places(Places(genes=("A",)), reference, load_table(tmp_path / "tiny.gtf"))
    assert stretches == [Stretch("c1", 40, 150)]
    assert "40 nt beyond c1" in warnings[0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr17\t100", "cannot be read"),
        ("chr17\t100\tx", "cannot be read"),
        ("chr17\t-5\t7", "cannot be read"),
        ("chr17\t100\t100", "cannot be read"),
        ("chr99\t100\t200", "no such contig"),
        ("chr17\t100\t83257442", "beyond"),
    ],
)
def test_a_line_of_a_bed_file_that_cannot_be_used_is_named(genome, tmp_path, line, message):
    bed = tmp_path / "x.bed"
    bed.write_text(f"# comment\nchr17\t1\t2\n{line}\n")
    with pytest.raises(SettingsError, match=message) as error:
        find_places(Places(bed=str(bed)), *genome)
    assert f"{bed}:3" in str(error.value)


@pytest.mark.parametrize("content", [None, b"\x1f\x8bxx", b"\xff\n", b""])
def test_a_bed_file_that_is_none_is_refused(genome, tmp_path, content):
    if content is not None:
        (tmp_path / "x.bed").write_bytes(content)
    with pytest.raises(SettingsError):
        find_places(Places(bed=str(tmp_path / "x.bed")), *genome)


@pytest.mark.parametrize("region", ["chr17:0-5", "chr17:1-83257442", "chr99:1-5", "chr17:9-5"])
def test_a_region_that_is_not_there_is_refused(genome, region):
    with pytest.raises(SettingsError):
        find_places(Places(regions=(region,)), *genome)


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 20), st.integers(1, 6)).map(
            lambda drawn: Stretch(drawn[0], drawn[1], drawn[1] + drawn[2])
        )
    )
)
def test_merged_stretches_are_the_same_positions_apart(stretches):
    found = list(merged(stretches, ["b", "a"]))
    positions = {(one.contig, at) for one in stretches for at in range(one.start, one.end)}
    assert sorted((one.contig, at) for one in found for at in range(one.start, one.end)) == sorted(positions)
    for one, other in zip(found, found[1:], strict=False):
        assert one.contig != other.contig and (one.contig, other.contig) == ("b", "a") or one.end < other.start
