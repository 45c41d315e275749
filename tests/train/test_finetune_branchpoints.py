"""Branchpoints: from lines of a BED to labels on both strands, and through a whole run."""

import gzip
import json

import numpy as np
import pytest

from factories import RECIPE, genome, source, tiny_model
from splicebert_vep.errors import CorpusError, SettingsError
from splicebert_vep.genome.gene_build import load_table
from splicebert_vep.genome.reference import Reference
from splicebert_vep.model.classifier import load_classifier
from splicebert_vep.model.tuned import BranchpointModel
from splicebert_vep.train.finetune import BedPositions, finetune_branchpoints
from splicebert_vep.train.labels import label_genes
from splicebert_vep.train.recipe import scaled
from splicebert_vep_spec import A, T


def write(path, lines):
    path.write_text("track name=bp\n# a remark\n" + "".join(f"{line}\n" for line in lines))
    return str(path)


@pytest.fixture
def place(tmp_path):
    """Genes at 500-3500 (+), 4000-7000 (-) of chr1; 500-3500 (+) of chr2."""
    fasta, gtf = genome(tmp_path, {"chr1": "+-", "chr2": "+"})
    return load_table(gtf), Reference(fasta)


def test_a_line_is_the_base_that_it_names(place, tmp_path):
    table, reference = place
    bed = write(
        tmp_path / "b.bed", ["chr1\t700\t701\tx\t0\t+", "1\t5000\t5001\ty\t0\t-", "chr1\t700\t701\tagain\t0\t+"]
    )
    sites = BedPositions(bed, table, reference)
    labelled = label_genes(table, reference, range(3), 40, sites)
    plus, minus, other = (labelled.take([row]) for row in range(3))
    assert labelled.names == ("neither", "branchpoint")
    assert np.flatnonzero(plus.labels == 1).tolist() == [40 + 700 - 500]
    assert np.flatnonzero(minus.labels == 1).tolist() == [40 + 6999 - 5000]
    assert other.count("branchpoint") == 0
    assert chr(reference.fetch("chr1", 700, 701)[0]) == "ACGT"[plus.bases[40 + 200] - A]
    assert chr(reference.fetch("chr1", 5000, 5001)[0]) == "TGCA"[minus.bases[40 + 1999] - A]
    adenines = sum(part.bases[part.labels == 1].tolist() == [A] for part in (plus, minus))
    assert sites.told == (
        f"{bed}: 3 lines; 0 lie in no protein-coding or lncRNA gene of their strand, 0 on no contig of FASTA and "
        f"annotation; 2 positions are left, {adenines / 2:.0%} of them A"
    )


def test_lines_outside_genes_and_contigs_are_counted(place, tmp_path):
    table, reference = place
    lines = [
        "chr1\t500\t501\tx\t0\t+", "chr1\t3499\t3500\tx\t0\t+",  # the first and last base of a gene
        "chr1\t499\t500\tx\t0\t+", "chr1\t3500\t3501\tx\t0\t+",  # the bases beside it
        "chr1\t700\t701\tx\t0\t-", "chr1\t5000\t5001\tx\t0\t+", "chr1\t999999\t1000000\tx\t0\t+",
        "chr3\t700\t701\tx\t0\t+", "chrUn\t1\t2\tx\t0\t+",
    ]  # fmt: skip
    with gzip.open(tmp_path / "b.bed.gz", "wt") as handle:
        handle.write("\n".join(lines) + "\n")
    told = BedPositions(str(tmp_path / "b.bed.gz"), table, reference).told
    assert "9 lines; 5 lie in no protein-coding or lncRNA gene of their strand, 2 on no contig" in told
    assert "2 positions are left" in told


def test_a_contig_of_the_annotation_that_the_fasta_lacks_is_no_contig(tmp_path):
    fasta, gtf = genome(tmp_path, {"chr1": "+", "chr2": "+"})
    text = fasta.read_text()
    fasta.write_text(text[: text.index(">chr2")])
    bed = write(tmp_path / "b.bed", ["chr1\t700\t701\tx\t0\t+", "chr2\t700\t701\tx\t0\t+"])
    told = BedPositions(bed, load_table(gtf), Reference(fasta)).told
    assert "2 lines; 0 lie in no" in told and "1 on no contig" in told


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("chr1\t700\t702\tx\t0\t+", "longer than a base"),
        ("chr1\t700\t701\tx\t0\t.", "no strand"),
        ("chr1\t700\t701", "no strand"),
        ("chr1\t700\t700\tx\t0\t+", "cannot be read"),
        ("chr1\ta\tb\tx\t0\t+", "cannot be read"),
    ],
)
def test_a_line_that_is_no_branchpoint_is_told_with_its_number(place, tmp_path, line, said):
    bed = write(tmp_path / "b.bed", ["chr1\t700\t701\tx\t0\t+", line])
    with pytest.raises(SettingsError, match=said) as told:
        BedPositions(bed, *place)
    assert told.value.where == f"{bed}:4"


def test_a_file_with_nothing_in_a_gene_is_told(place, tmp_path):
    with pytest.raises(CorpusError, match="No branchpoint lies in a gene") as told:
        BedPositions(write(tmp_path / "b.bed", ["chr1\t700\t701\tx\t0\t-"]), *place)
    assert "1 lie in no" in told.value.found
    with pytest.raises(SettingsError, match="BED file cannot be read"):
        BedPositions(str(tmp_path / "no.bed"), *place)


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """A run on genes in which every acceptor has a branchpoint 20 nt upstream, and its BED."""
    folder = tmp_path_factory.mktemp("bp")
    one = source(folder, {"1": "+-" * 4, "2": "+-"})
    table = load_table(one.annotation)
    lines = []
    for row in range(len(table)):
        exons = range(int(table.exon_offsets[row]), int(table.exon_offsets[row + 1]))
        for exon in exons:
            plus = table.gene_strand[row] > 0
            at = int(table.exon_start[exon]) - 20 if plus else int(table.exon_end[exon]) + 19
            if table.exon_flags[exon] & 1:  # has an acceptor
                contig = table.contigs[table.gene_contig[row]]
                lines.append(f"{contig}\t{at}\t{at + 1}\tbp\t0\t{'+' if plus else '-'}")
    bed = write(folder / "b.bed", lines)
    base = str(tiny_model(folder / "base"))
    said = []
    model, rows = finetune_branchpoints(
        [bed], [one], folder / "run", hold_out=["test:2"], base=base, recipe=scaled(RECIPE, 3000),
        validation_share=0.3, say=said.append,
    )  # fmt: skip
    return folder, one, bed, base, model, rows, said


def test_a_run_gives_figures_and_a_model(run_of):
    folder, _, bed, _, model, rows, said = run_of
    assert said[0].startswith(f"{bed}: 40 lines; 0 lie in no")
    assert [(row["test"], row["label"], row["nucleotides"], row["sites"]) for row in rows] == [
        ("test 2", "branchpoint", 6000, 8),
    ]  # fmt: skip
    assert json.loads((folder / "run/figures.json").read_text()) == rows
    about = load_classifier(model).about
    assert (about.task, about.labels) == ("branchpoints", ("neither", "branchpoint"))
    opened = BranchpointModel.open(model, "cpu")
    tokens = np.full((1, 62), T, dtype=np.uint8)
    assert opened.probabilities(tokens).shape == (1, 60, 2)  # one window, no positions
    assert opened.labels == ("neither", "branchpoint")


def test_a_bed_for_every_genome(run_of, tmp_path):
    _, one, bed, base, *_ = run_of
    with pytest.raises(SettingsError, match="Every genome needs its branchpoints") as told:
        finetune_branchpoints([bed], [one, one], tmp_path, base=base)
    assert told.value.found == "1 BED files and 2 genomes"
