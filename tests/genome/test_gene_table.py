"""The gene table as a file, the built-in tables, and the ``genes`` command."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from factories import ENSEMBL_GFF3, tabbed, write_text
from factories import SHARED as _SHARED
from splicebert_vep.cli.genes import genes
from splicebert_vep.errors import AnnotationError
from splicebert_vep.genome.contigs import canonical_name
from splicebert_vep.genome.gene_build import compile_genes, load_table
from splicebert_vep.genome.gene_table import CHOICES, REPORTED, GeneTable
from splicebert_vep.genome.ids import stable_id

SHARED = _SHARED / "data"


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
    table = compile_genes(write_text(tmp_path, ENSEMBL_GFF3), name="tiny", source="two genes")
    table.save(tmp_path / "one.genes.parquet")
    table.save(tmp_path / "two.genes.parquet")
    assert (tmp_path / "one.genes.parquet").read_bytes() == (tmp_path / "two.genes.parquet").read_bytes()
    loaded = load_table(tmp_path / "one.genes.parquet")
    assert loaded.digest == table.digest
    for field in table.__dataclass_fields__:
        want, have = getattr(table, field), getattr(loaded, field)
        assert np.array_equal(want, have) if isinstance(want, np.ndarray) else want == have, field
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "one.genes.parquet",
        "snippet.gff3",
        "two.genes.parquet",
    ]


def test_load_table_compiles_text(tmp_path: Path) -> None:
    table = load_table(write_text(tmp_path, ENSEMBL_GFF3, "mine.v2.gff3"))
    assert (table.name, table.source, len(table)) == ("mine", "mine.v2.gff3", 2)


def test_load_table_names_what_it_accepts(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"'hg18'(.|\n)*grch37, grch38(.|\n)*GFF3"):
        load_table("hg18")
    assert (load_table("hg38").name, load_table("HG19").name) == ("grch38", "grch37")
    with pytest.raises(AnnotationError, match="No gene annotation"):
        load_table(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "other parquet", "no parquet", "changed"])
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
        at = table.schema.get_field_index("start")
        pq.write_table(table.set_column(at, "start", pa.array([99, 2000], pa.int32())), path)
    with pytest.raises(AnnotationError, match="not a compiled gene table"):
        load_table(path)


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
    source, out = write_text(tmp_path, ENSEMBL_GFF3), tmp_path / "tiny.genes.parquet"
    built = CliRunner().invoke(genes, ["build", str(source), "-O", str(out), "--name", "tiny"], catch_exceptions=False)
    assert built.exit_code == 0
    assert built.stdout == ""
    assert "2 genes, 6 exons" in built.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["snippet.gff3", "tiny.genes.parquet"]
    info = json.loads(CliRunner().invoke(genes, ["info", str(out), "--json"], catch_exceptions=False).stdout)
    assert info["name"] == "tiny"
    assert info["digest"] == load_table(out).digest
    assert info["genes_by_biotype"] == {"protein_coding": 2}
    assert info["genes_by_transcript_choice"] == {"MANE_Select": 2}
    assert info["splice_sites"] == {"donor": 3, "acceptor": 3}
    assert (info["contigs"], info["contig_lengths"]) == (["1"], {"1": 5000})


def test_cli_lets_our_errors_through(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError):
        CliRunner().invoke(genes, ["info", str(tmp_path / "none")], catch_exceptions=False)


@pytest.mark.parametrize("name", ["grch38", "GRCh37"])
def test_built_in_tables(name: str) -> None:
    table = load_table(name)
    assert table.name == name.lower()
    assert table.assembly in ("GRCh37", "GRCh38")
    assert "/" not in table.source
    assert not any(canonical_name(contig) == "MT" for contig in table.contigs)
    assert table.contig_lengths["22"] == {"grch38": 50818468, "grch37": 51304566}[table.name]
    row = table.symbols.index("BRCA1")
    assert stable_id(table.gene_ids[row]) == "ENSG00000012048"
    assert table.transcript_ids[row] == {"grch38": "ENST00000357654.9", "grch37": "ENST00000357654"}[table.name]
    assert CHOICES[int(table.choice[row])] == "MANE_Select"
    assert table.gene_strand[row] == -1
    # An exon always lies in its gene, and each gene has an exon of its reported transcript.
    owner = np.repeat(np.arange(len(table)), np.diff(table.exon_offsets))
    assert (table.exon_start >= table.gene_start[owner]).all()
    assert (table.exon_end <= table.gene_end[owner]).all()
    assert len(np.unique(owner[(table.exon_flags & REPORTED) > 0])) == len(table)


def read_chromosome(path: Path, contig: str) -> bytes:
    lines: list[bytes] = []
    wanted = False
    with gzip.open(path, "rb") as handle:
        for line in handle:
            if line.startswith(b">"):
                wanted = canonical_name(line[1:].split()[0].decode()) == contig
            elif wanted:
                lines.append(line.strip())
    return b"".join(lines).upper()


@pytest.mark.parametrize(("name", "fasta"), [("grch38", "GRCh38.subset.fa.gz"), ("grch37", "GRCh37.chr22.fa.gz")])
def test_annotated_sites_are_gt_ag_on_the_real_sequence(name: str, fasta: str) -> None:
    path = SHARED / "reference" / fasta
    if not path.exists():
        pytest.skip("the project's shared reference data is absent")
    table, sequence = load_table(name), read_chromosome(path, "22")
    contig, start, strand, is_donor = table.splice_sites()
    good = {1: {b"GT", b"GC"}, 0: {b"AG"}}
    for donor, sign in itertools.product((1, 0), (1, -1)):
        starts = start[(contig == table.contigs.index("22")) & (is_donor == donor) & (strand == sign)].tolist()
        bases = [sequence[at : at + 2] for at in starts]
        if sign < 0:
            bases = [pair.translate(bytes.maketrans(b"ACGT", b"TGCA"))[::-1] for pair in bases]
        assert len(bases) > 1500
        assert sum(pair in good[donor] for pair in bases) > 0.99 * len(bases)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file", "mane_from"),
    [
        ("grch38", "Homo_sapiens.GRCh38.113.gff3.gz", None),
        ("grch37", "Homo_sapiens.GRCh37.75.protein_coding.gtf.gz", "grch38"),
    ],
)
def test_built_in_tables_are_what_the_compiler_makes(name: str, file: str, mane_from: str | None) -> None:
    path = SHARED / "annotation" / file
    if not path.exists():
        pytest.skip("the project's shared annotation is absent")
    table = compile_genes(path, mane_from=load_table(mane_from) if mane_from else None)
    assert table.digest == load_table(name).digest
