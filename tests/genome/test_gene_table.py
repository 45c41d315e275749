"""The gene table as a file, the built-in tables, and the ``genes`` command."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from factories import ENSEMBL_GFF3, SHARED, reverse_complement, tabbed, write_text
from splicebert_vep.cli.genes import genes
from splicebert_vep.errors import AnnotationError
from splicebert_vep.genome.contigs import is_mitochondrial
from splicebert_vep.genome.gene_build import compile_genes, load_table, read_mane
from splicebert_vep.genome.gene_table import CHOICES, REPORTED, GeneTable
from splicebert_vep.genome.ids import stable_id
from splicebert_vep.genome.reference import Reference

DATA = SHARED / "data"


def test_digest_is_of_the_contents_only(tmp_path: Path) -> None:
    path = write_text(tmp_path, ENSEMBL_GFF3)
    table = compile_genes(path, name="a", source="b")
    assert compile_genes(path, name="c", source="d", assembly="e").digest == table.digest
    genes_first, genes_last = tabbed(ENSEMBL_GFF3).split("###\n")
    path.write_text(genes_last + genes_first, encoding="utf-8")
    assert compile_genes(path).digest == table.digest
    path.write_text(tabbed(ENSEMBL_GFF3).replace("\t301\t450", "\t301\t451"), encoding="utf-8")
    assert compile_genes(path).digest != table.digest


def test_saved_bytes_are_the_same_and_load_gives_the_table_back(tmp_path: Path) -> None:
    table = compile_genes(write_text(tmp_path, ENSEMBL_GFF3, "mine.v2.gff3"))
    one, two = tmp_path / "one.genes.parquet", tmp_path / "two.genes.parquet"
    table.save(one)
    table.save(two)
    assert one.read_bytes() == two.read_bytes()
    assert sorted(tmp_path.iterdir()) == [tmp_path / "mine.v2.gff3", one, two]
    for loaded in (load_table(one), load_table(tmp_path / "mine.v2.gff3")):
        assert (loaded.name, loaded.source, loaded.digest) == ("mine", "mine.v2.gff3", table.digest)
        for field in table.__dataclass_fields__:
            want, have = getattr(table, field), getattr(loaded, field)
            assert np.array_equal(want, have) if isinstance(want, np.ndarray) else want == have, field


def test_load_table_names_what_it_accepts(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="grch37, grch38"):
        load_table("hg18")
    assert (load_table("hg38").name, load_table("HG19").name) == ("grch38", "grch37")
    with pytest.raises(AnnotationError, match="GFF3"):
        load_table(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "other parquet", "no parquet", "start", "refseq"])
def test_a_file_that_is_no_table(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "x.genes.parquet"
    compile_genes(write_text(tmp_path, ENSEMBL_GFF3)).save(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "other parquet":
        pq.write_table(pa.table({"a": [1, 2]}), path)
    elif damage == "no parquet":
        path.write_bytes(b"PAR1 and no more")
    else:
        table = pq.read_table(path)
        at = table.schema.get_field_index(damage)
        values = pa.array([99, 2000], pa.int32()) if damage == "start" else pa.array(["NM_1.1", None], pa.string())
        pq.write_table(table.set_column(at, damage, values), path)
    with pytest.raises(AnnotationError, match="not a compiled gene table"):
        read_whole(path)


def test_a_contig_is_read_without_the_others_and_checked(tmp_path: Path) -> None:
    path, whole = tmp_path / "x.genes.parquet", load_table("grch38")
    whole.save(path)
    data = path.read_bytes()
    groups = pq.ParquetFile(path).metadata
    assert groups.num_rows == len(whole)
    for contig in ("17", "KI270728.1"):
        rows = np.flatnonzero(whole.gene_contig == whole.contigs.index(contig))
        damaged = bytearray(data)
        ends = itertools.accumulate(groups.row_group(number).num_rows for number in range(groups.num_row_groups))
        here = next(number for number, end in enumerate(ends) if end > rows[-1])
        other = groups.row_group(here - 1).column(1)  # gene_id of the row group before
        damaged[other.data_page_offset + other.total_compressed_size // 2] ^= 1
        path.write_bytes(damaged)
        loaded = load_table(path)
        part = loaded.part(int(rows[0]), int(rows[-1]) + 1)
        for field in ("gene_ids", "symbols", "biotypes", "transcript_ids", "refseq_ids"):
            assert getattr(part, field) == getattr(whole, field)[rows[0] : rows[-1] + 1]
        for field in ("gene_contig", "gene_start", "gene_end", "gene_strand", "choice", "cds_start", "cds_end"):
            assert np.array_equal(getattr(part, field), getattr(whole, field)[rows])
        for row in (0, len(rows) - 1):
            assert np.array_equal(part.reported_exons(row), whole.reported_exons(int(rows[row])))
        with pytest.raises(AnnotationError, match="not a compiled gene table"):
            assert loaded.symbols


def read_whole(path: Path) -> GeneTable:
    """Return a table of which everything was read."""
    table = load_table(path)
    for field in table.__dataclass_fields__:
        getattr(table, field)
    return table


def test_a_flipped_bit_is_an_error_or_changes_nothing(tmp_path: Path) -> None:
    path, chance, errors = tmp_path / "x.genes.parquet", random.Random(19), 0
    table = compile_genes(write_text(tmp_path, ENSEMBL_GFF3), assembly="GRCh38")
    table.save(path)
    whole = path.read_bytes()
    for _ in range(400):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        try:
            loaded = read_whole(path)
        except AnnotationError:
            errors += 1
        else:
            for field in table.__dataclass_fields__:
                assert np.array_equal(getattr(table, field), getattr(loaded, field)), field
    assert errors > 200


def test_a_table_of_another_format_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.genes.parquet"
    compile_genes(write_text(tmp_path, ENSEMBL_GFF3)).save(path)
    table = pq.read_table(path)
    (key, about), *_ = table.schema.metadata.items()
    pq.write_table(table.replace_schema_metadata({key: json.dumps({**json.loads(about), "format": 99})}), path)
    with pytest.raises(AnnotationError, match="format 99"):
        GeneTable.load(path)
    np.savez(tmp_path / "old.genes.npz", a=np.arange(3))  # tables were once numpy's archives
    with pytest.raises(AnnotationError, match="genes build"):
        load_table(tmp_path / "old.genes.npz")


def test_cli_build_and_info(tmp_path: Path) -> None:
    def run(*words: str | Path) -> Result:
        return CliRunner().invoke(genes, [str(word) for word in words], catch_exceptions=False)

    source, out = write_text(tmp_path, ENSEMBL_GFF3), tmp_path / "tiny.genes.parquet"
    built = run("build", source, "-O", out, "--name", "tiny")
    assert built.exit_code == 0
    table = [line.split(None, 2) for line in built.stdout.splitlines()]
    assert table[:4] == [
        ["feature", "number"], ["genes", "4", "read"], ["genes", "2", "kept"],
        ["genes", "1", "left out: on the mitochondrial genome"],
    ]  # fmt: skip
    assert ["genes", "1", "left out: not of a wanted biotype: processed_pseudogene 1"] in table
    assert {row[0] for row in table[1:]} == {"genes", "transcripts", "exons", "CDS"}
    assert "2 genes, 6 exons" in built.stderr
    info = json.loads(run("info", out, "--json").stdout)
    assert (info["name"], info["digest"]) == ("tiny", load_table(out).digest)
    assert info["genes_by_biotype"] == {"protein_coding": 2}
    assert info["genes_by_transcript_choice"] == {"MANE_Select": 2}
    assert info["splice_sites"] == {"donor": 3, "acceptor": 3}
    assert (info["contigs"], info["contig_lengths"]) == (["1"], {"1": 5000})
    with pytest.raises(AnnotationError):
        run("info", tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "transcript", "length", "digest"),
    [
        ("GRCh38", "ENST00000357654.9", 50818468, "a4e5dd47efdfbfe078c45f4b3cc1b04090c7720b15b6dfd1f24ab9d07aadd964"),
        ("grch37", "ENST00000357654", 51304566, "444fbc659a18665e182e734847204b38edaa005c7bb72ba1ef183b05a795192e"),
    ],
)
def test_built_in_tables(name: str, transcript: str, length: int, digest: str) -> None:
    table = load_table(name)
    assert (table.name, table.assembly) == (name.lower(), name.replace("grch", "GRCh"))
    assert table.digest == digest  # part of every key of a score store
    assert "/" not in table.source
    assert not any(is_mitochondrial(contig) for contig in table.contigs)
    assert table.contig_lengths["22"] == length
    row = table.symbols.index("BRCA1")
    assert stable_id(table.gene_ids[row]) == "ENSG00000012048"
    assert (table.transcript_ids[row], CHOICES[int(table.choice[row])]) == (transcript, "MANE_Select")
    assert table.refseq_ids[row] == "NM_007294.4"
    assert table.gene_strand[row] == -1
    # An exon always lies in its gene, and each gene has an exon of its reported transcript.
    owner = np.repeat(np.arange(len(table)), np.diff(table.exon_offsets))
    assert (table.exon_start >= table.gene_start[owner]).all()
    assert (table.exon_end <= table.gene_end[owner]).all()
    assert len(np.unique(owner[(table.exon_flags & REPORTED) > 0])) == len(table)


@pytest.mark.parametrize(("name", "fasta"), [("grch38", "GRCh38.subset.fa.gz"), ("grch37", "GRCh37.chr22.fa.gz")])
def test_annotated_sites_are_gt_ag_on_the_real_sequence(name: str, fasta: str) -> None:
    path = DATA / "reference" / fasta
    if not path.exists():
        pytest.skip("the project's shared reference data is absent")
    table = load_table(name)
    with Reference(path) as reference:
        sequence = reference.fetch(str(reference.find("22")), 0, table.contig_lengths["22"]).decode()
    contig, start, strand, is_donor = table.splice_sites()
    for donor, sign in itertools.product((1, 0), (1, -1)):
        rows = (contig == table.contigs.index("22")) & (is_donor == donor) & (strand == sign)
        found = [sequence[at : at + 2] for at in start[rows].tolist()]
        if sign < 0:
            found = [reverse_complement(pair) for pair in found]
        assert len(found) > 1500
        assert sum(pair in (("GT", "GC") if donor else ("AG",)) for pair in found) > 0.99 * len(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file", "mane_from"),
    [
        ("grch38", "Homo_sapiens.GRCh38.113.gff3.gz", None),
        ("grch37", "Homo_sapiens.GRCh37.75.protein_coding.gtf.gz", "grch38"),
    ],
)
def test_built_in_tables_are_what_the_compiler_makes(name: str, file: str, mane_from: str | None) -> None:
    path = DATA / "annotation" / file
    if not path.exists():
        pytest.skip("the project's shared annotation is absent")
    refseq = None if mane_from else read_mane(DATA / "annotation" / "MANE.GRCh38.v1.5.summary.txt.gz")
    table = compile_genes(path, mane_from=load_table(mane_from) if mane_from else None, refseq=refseq)
    assert table.digest == load_table(name).digest
    assert table.refseq_ids == load_table(name).refseq_ids
