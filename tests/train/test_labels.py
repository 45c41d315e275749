"""Labels of nucleotides: sites on either strand and at every edge, BED lines, and genes divided without leaks."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from factories import GENE, gene_text, genome, reverse_complement, source
from splicebert_vep.errors import CorpusError, SettingsError
from splicebert_vep.genome.gene_build import load_table
from splicebert_vep.genome.reference import Reference
from splicebert_vep.sequence.tokens import encode
from splicebert_vep.train import labels as module
from splicebert_vep.train.corpus import Source
from splicebert_vep.train.labels import UNLABELLED, bed_positions, exon_edges, joined, label_genes, split_genes
from splicebert_vep_spec import A, N

NEITHER, ACCEPTOR, DONOR = 0, 1, 2


def write(folder, bases, transcripts, contig="1"):
    """Write a FASTA and a GTF of (gene, strand, exons 0-based half-open)."""
    (folder / "a.fa").write_text(f">{contig}\n{bases}\n")
    lines = []
    for number, (gene, strand, exons) in enumerate(transcripts):
        about = f'gene_id "{gene}"; gene_biotype "protein_coding"; transcript_id "T{number}";'
        lines += [f"{contig}\tx\texon\t{a + 1}\t{b}\t.\t{strand}\t.\t{about}" for a, b in exons]
    (folder / "a.gtf").write_text("\n".join(lines) + "\n")
    return load_table(folder / "a.gtf"), Reference(folder / "a.fa")


def splice_site_labels(table, reference, rows, margin):
    return label_genes(table, reference, rows, margin, exon_edges(table))


def text(length, seed=1):
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


def test_sites_are_the_exonic_nucleotides_beside_introns_on_both_strands(tmp_path):
    bases = text(200)
    plus = ("P", "+", [(20, 30), (50, 60), (80, 95)])
    minus = ("M", "-", [(110, 120), (140, 150), (170, 180)])
    table, reference = write(tmp_path, bases, [plus, minus])
    found = splice_site_labels(table, reference, [0, 1], margin=5)
    assert [(s.start, s.end, s.minus, s.genes) for s in found.stretches] == [
        (20, 95, False, ("P",)), (110, 180, True, ("M",)),
    ]  # fmt: skip
    forward, backward = (found.take([row]) for row in (0, 1))
    assert forward.bases.tolist() == encode(bases[15:100].encode()).tolist()
    assert backward.bases.tolist() == encode(reverse_complement(bases[105:185]).encode()).tolist()
    # Worked by hand: exon 2 of P is 50..59, so its acceptor is 50 and its donor 59; the first exon has no acceptor.
    assert np.flatnonzero(forward.labels == ACCEPTOR).tolist() == [at - 15 for at in (50, 80)]
    assert np.flatnonzero(forward.labels == DONOR).tolist() == [at - 15 for at in (29, 59)]
    # On the other strand position p is at 184 - p: the exon 140..149 begins with 149 and ends with 140.
    assert np.flatnonzero(backward.labels == ACCEPTOR).tolist() == [184 - at for at in (149, 119)]
    assert np.flatnonzero(backward.labels == DONOR).tolist() == [184 - at for at in (170, 140)]
    for one in (forward, backward):
        assert (one.labels[:5] == UNLABELLED).all() and (one.labels[-5:] == UNLABELLED).all()
        assert (one.labels[5:-5] != UNLABELLED).all()
    assert found.nucleotides == 75 + 70 and found.count("acceptor") == found.count("donor") == 4


def test_an_exon_of_one_base_has_no_label(tmp_path):
    for strand in "+-":
        table, reference = write(tmp_path, text(100), [("G", strand, [(20, 30), (50, 51), (70, 80)])])
        found = splice_site_labels(table, reference, [0], margin=0)
        at = 30 if strand == "+" else 79 - 50
        assert found.labels[at] == UNLABELLED
        assert (found.labels == UNLABELLED).sum() == 1
        assert found.count("acceptor") == found.count("donor") == 1


def test_overlapping_genes_of_a_strand_are_one_stretch_with_the_sites_of_all(tmp_path):
    genes = [
        ("A", "+", [(20, 30), (60, 70)]), ("B", "+", [(50, 55), (80, 90)]), ("C", "-", [(40, 50), (85, 100)]),
        ("D", "+", [(90, 95), (110, 120)]),
    ]  # fmt: skip
    table, reference = write(tmp_path, text(150), genes)
    found = splice_site_labels(table, reference, range(4), margin=3)
    assert [(s.start, s.end, s.minus, s.genes) for s in found.stretches] == [
        (20, 90, False, ("A", "B")), (90, 120, False, ("D",)), (40, 100, True, ("C",)),
    ]  # fmt: skip
    first = found.take([0])
    assert np.flatnonzero(first.labels == ACCEPTOR).tolist() == [at - 17 for at in (60, 80)]
    assert np.flatnonzero(first.labels == DONOR).tolist() == [at - 17 for at in (29, 54)]
    # A gene that is not asked for gives its sites all the same where it lies in one that is: they are true.
    alone = splice_site_labels(table, reference, [0], margin=3)
    assert [(s.start, s.end) for s in alone.stretches] == [(20, 70)]
    assert np.flatnonzero(alone.labels == DONOR).tolist() == [at - 17 for at in (29, 54)]


def test_at_the_ends_of_a_contig_the_margin_is_n(tmp_path):
    bases = text(60)
    for strand in "+-":
        table, reference = write(tmp_path, bases, [("G", strand, [(0, 10), (40, 60)])])
        found = splice_site_labels(table, reference, [0], margin=7)
        assert (found.bases[:7] == N).all() and (found.bases[-7:] == N).all()
        wanted = bases if strand == "+" else reverse_complement(bases)
        assert found.bases[7:-7].tolist() == encode(wanted.encode()).tolist()
        assert np.flatnonzero(found.labels == DONOR).tolist() == [7 + (9 if strand == "+" else 19)]
        assert np.flatnonzero(found.labels == ACCEPTOR).tolist() == [7 + (40 if strand == "+" else 50)]


def test_n_has_no_label_and_a_gene_of_n_is_left_out(tmp_path):
    bases = text(20) + "N" * 60 + text(120, 2)[:25] + "N" + text(94, 3)
    genes = [("ALL", "+", [(20, 30), (60, 80)]), ("SOME", "+", [(100, 106), (130, 140)])]
    table, reference = write(tmp_path, bases, genes)
    found = splice_site_labels(table, reference, [0, 1], margin=4)
    assert [s.genes for s in found.stretches] == [("SOME",)]
    assert found.labels[4 + 5] == UNLABELLED and found.bases[4 + 5] == N  # 105, the donor
    assert found.count("donor") == 0 and found.count("acceptor") == 1
    with pytest.raises(CorpusError, match="no gene"):
        splice_site_labels(table, reference, [0], margin=4)


def test_joined_is_one_after_the_other_and_the_digest_sees_everything(tmp_path):
    fasta, gtf = genome(tmp_path, {"1": "+-+"})
    labelled = splice_site_labels(load_table(gtf), Reference(fasta), range(3), 31)
    parts = [labelled.take([0]), labelled.take([1, 2])]
    again = joined(parts)
    assert again.digest == labelled.digest and again.stretches == labelled.stretches
    assert joined(parts[::-1]).digest != labelled.digest


# Branchpoints of BED files.


def write_bed(path, lines):
    path.write_text("track name=bp\n# a remark\n" + "".join(f"{line}\n" for line in lines))
    return str(path)


@pytest.fixture
def place(tmp_path):
    """Genes at 500-3500 (+), 4000-7000 (-) of chr1; 500-3500 (+) of chr2."""
    fasta, gtf = genome(tmp_path, {"chr1": "+-", "chr2": "+"})
    return load_table(gtf), Reference(fasta)


def test_a_line_is_the_base_that_it_names(place, tmp_path):
    table, reference = place
    bed = write_bed(
        tmp_path / "b.bed", ["chr1\t700\t701\tx\t0\t+", "1\t5000\t5001\ty\t0\t-", "chr1\t700\t701\tagain\t0\t+"]
    )
    sites, counts = bed_positions(bed, table, reference)
    labelled = label_genes(table, reference, range(3), 40, sites)
    plus, minus, other = (labelled.take([row]) for row in range(3))
    assert labelled.names == ("neither", "branchpoint")
    assert np.flatnonzero(plus.labels == 1).tolist() == [40 + 700 - 500]
    assert np.flatnonzero(minus.labels == 1).tolist() == [40 + 6999 - 5000]
    assert other.count("branchpoint") == 0
    assert chr(reference.fetch("chr1", 700, 701)[0]) == "ACGT"[plus.bases[40 + 200] - A]
    assert chr(reference.fetch("chr1", 5000, 5001)[0]) == "TGCA"[minus.bases[40 + 1999] - A]
    adenines = sum(part.bases[part.labels == 1].tolist() == [A] for part in (plus, minus))
    assert counts == (
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
    _, told = bed_positions(str(tmp_path / "b.bed.gz"), table, reference)
    assert "9 lines; 5 lie in no protein-coding or lncRNA gene of their strand, 2 on no contig" in told
    assert "2 positions are left" in told


def test_a_contig_of_the_annotation_that_the_fasta_lacks_is_no_contig(tmp_path):
    fasta, gtf = genome(tmp_path, {"chr1": "+", "chr2": "+"})
    text = fasta.read_text()
    fasta.write_text(text[: text.index(">chr2")])
    bed = write_bed(tmp_path / "b.bed", ["chr1\t700\t701\tx\t0\t+", "chr2\t700\t701\tx\t0\t+"])
    _, told = bed_positions(bed, load_table(gtf), Reference(fasta))
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
    bed = write_bed(tmp_path / "b.bed", ["chr1\t700\t701\tx\t0\t+", line])
    with pytest.raises(SettingsError, match=said) as told:
        bed_positions(bed, *place)
    assert told.value.where == f"{bed}:4"


def test_a_file_with_nothing_in_a_gene_is_told(place, tmp_path):
    with pytest.raises(CorpusError, match="No branchpoint") as told:
        bed_positions(write_bed(tmp_path / "b.bed", ["chr1\t700\t701\tx\t0\t-"]), *place)
    assert "1 lie in no" in told.value.found
    with pytest.raises(SettingsError, match="BED"):
        bed_positions(str(tmp_path / "no.bed"), *place)


# Genes to train on, to stop by and to test on.


# Typed from the table of the standard genetic code (NCBI translation table 1), first base T C A G, then second, third.
CODE = {
    "TTT": "F", "TTC": "F", "TTA": "L", "TTG": "L", "TCT": "S", "TCC": "S", "TCA": "S", "TCG": "S",
    "TAT": "Y", "TAC": "Y", "TAA": "*", "TAG": "*", "TGT": "C", "TGC": "C", "TGA": "*", "TGG": "W",
    "CTT": "L", "CTC": "L", "CTA": "L", "CTG": "L", "CCT": "P", "CCC": "P", "CCA": "P", "CCG": "P",
    "CAT": "H", "CAC": "H", "CAA": "Q", "CAG": "Q", "CGT": "R", "CGC": "R", "CGA": "R", "CGG": "R",
    "ATT": "I", "ATC": "I", "ATA": "I", "ATG": "M", "ACT": "T", "ACC": "T", "ACA": "T", "ACG": "T",
    "AAT": "N", "AAC": "N", "AAA": "K", "AAG": "K", "AGT": "S", "AGC": "S", "AGA": "R", "AGG": "R",
    "GTT": "V", "GTC": "V", "GTA": "V", "GTG": "V", "GCT": "A", "GCC": "A", "GCA": "A", "GCG": "A",
    "GAT": "D", "GAC": "D", "GAA": "E", "GAG": "E", "GGT": "G", "GGC": "G", "GGA": "G", "GGG": "G",
}  # fmt: skip


def divided(sources, hold_out, share=0.3, test_nt=10**9, margin=31):
    return split_genes(sources, hold_out, validation_share=share, margin=margin, test_nt=test_nt)


def genes(labelled):
    return sorted(gene for stretch in labelled.stretches for gene in stretch.genes)


def test_the_codon_table_is_the_standard_one():
    letters = "ACGT"
    codons = [a + b + c for a in letters for b in letters for c in letters]
    assert "".join(CODE[codon] for codon in codons) == module._AMINO_ACIDS


@pytest.mark.parametrize("strand", ["+", "-"])
def test_words_are_those_of_the_protein(tmp_path, strand):
    fasta, gtf = genome(tmp_path, {"1": strand}, first=4)
    opened = module._Genome(
        Source("x", fasta, str(gtf)), load_table(gtf), Reference(fasta), exon_edges(load_table(gtf))
    )
    bases, exons = gene_text(4, "GTAAGTACGT", "TTTCTTTTCTTTGCAG")
    spliced = "".join(bases[a:b] for a, b in exons)
    protein = "".join(CODE[spliced[at : at + 3]] for at in range(0, len(spliced) - 2, 3))
    wanted = {
        sum((ord(letter) - ord("*")) * 49**place for place, letter in enumerate(protein[at : at + 7]))
        for at in range(len(protein) - 6)
    }
    found = module._words(opened, 0)
    assert set(found.tolist()) == wanted and found.tolist() == sorted(wanted)


def test_held_out_contigs_are_tested_and_nothing_of_them_is_trained_on(tmp_path):
    both = source(tmp_path, {"chr1": "+-+-+-+-+-", "chr2": "+-+"})
    found = divided([both], ["test:chr2"])
    assert [test.name for test in found.tests] == ["test chr2"]
    assert genes(found.tests[0].labelled) == ["G10", "G11", "G12"]
    assert {stretch.contig for part in (found.training, found.validation) for stretch in part.stretches} == {"chr1"}
    assert sorted(genes(found.training) + genes(found.validation)) == sorted(f"G{number}" for number in range(10))


@pytest.mark.parametrize("asked", ["chr2", "2", "NC_000002.12"])
def test_a_contig_is_held_out_under_any_of_its_names(tmp_path, asked):
    for own in ("chr2", "2"):
        found = divided([source(tmp_path, {"1": "+-+-+-+-+-", own: "+-+"})], [f"test:{asked}"])
        assert [test.name for test in found.tests] == [f"test {own}"]
        assert {stretch.contig for stretch in found.training.stretches} == {"1"}


def test_a_species_of_two_fastas_is_held_out_in_both(tmp_path):
    first = source(tmp_path, {"chr1": "+-+-+-+-+-", "chr2": "+-"})
    fasta, gtf = genome(tmp_path, {"2": "-+", "3": "+-"}, name="other", first=20)
    second = Source("test", fasta, str(gtf))
    found = divided([first, second], ["test:chr2"])
    assert [(test.name, genes(test.labelled)) for test in found.tests] == [
        ("test chr2", ["G10", "G11"]), ("test 2", ["G20", "G21"]),
    ]  # fmt: skip
    assert {stretch.contig for stretch in found.training.stretches} == {"chr1", "3"}


def test_test_sets_of_one_name_are_told_apart(tmp_path):
    first = source(tmp_path, {"chr1": "+-+-+-+-+-", "chr2": "+-"})
    fasta, gtf = genome(tmp_path, {"chr2": "-+"}, name="other", first=20)
    found = divided([first, Source("test", fasta, str(gtf))], ["test:2"])
    assert [test.name for test in found.tests] == ["test chr2 (test.fa)", "test chr2 (other.fa)"]


def test_a_whole_species_is_held_out(tmp_path):
    human = source(tmp_path, {"1": "+-+-+-+-+-"}, "human")
    mouse = source(tmp_path, {"1": "+-", "2": "+"}, "mouse", first=50)
    found = divided([human, mouse], ["mouse"])
    assert [test.name for test in found.tests] == ["mouse 1", "mouse 2"]
    assert all(gene < "G5" or len(gene) == 2 for gene in genes(found.training))


@pytest.mark.parametrize("asked", ["test:chr9", "mouse", "mouse:1", "", ":1", "Test:1", "test:"])
def test_what_is_not_there_cannot_be_held_out(tmp_path, asked):
    both = source(tmp_path, {"1": "+-+-+-+-+-", "2": "+-+"})
    with pytest.raises(SettingsError, match="hold out"):
        divided([both], [asked])


def test_a_contig_that_the_fasta_lacks_cannot_be_held_out(tmp_path):
    both = source(tmp_path, {"1": "+-+-+-+-+-", "2": "+-+"})
    text = both.reference.read_text()
    both.reference.write_text(text[: text.index(">2")])
    with pytest.raises(SettingsError, match="hold out"):
        divided([both], ["test:2"])


def test_genes_that_overlap_go_together_and_the_division_does_not_depend_on_others(tmp_path):
    alone = source(tmp_path, {"1": "+-+-+-+-+-"})
    more = source(tmp_path, {"1": "+-+-+-+-+-", "2": "+-+-+"}, "other")
    few = divided([alone], [])
    many = divided([alone, more], [])
    assert set(genes(few.training)) <= set(genes(many.training))
    assert set(genes(few.validation)) <= set(genes(many.validation))
    annotation = Path(alone.annotation)
    lines = annotation.read_text()
    for number in range(10):  # each gene reaches into the next, on the other strand
        start = 500 + number * (GENE + 500)
        about = f'gene_id "X{number}"; gene_biotype "lncRNA"; transcript_id "X{number}";'
        lines += f"1\tx\texon\t{start + 2900}\t{start + 3600}\t.\t{'-+'[number % 2]}\t.\t{about}\n"
    annotation.write_text(lines)
    with pytest.raises(CorpusError, match="no gene to"):
        divided([alone], [])


def test_genes_with_a_paralog_in_training_are_not_tested(tmp_path):
    human = source(tmp_path, {"1": "+-+-+-+-+-"}, "human")
    trained = {int(gene[1:]) for gene in genes(divided([human], []).training)}
    mouse = source(tmp_path, {"1": "+" * 12}, "mouse")  # its first ten have the proteins of the human ones
    found = divided([human, mouse], ["mouse"])
    (test,) = found.tests
    assert {int(gene[1:]) for gene in genes(test.labelled)} == set(range(12)) - trained
    assert test.paralogs == len(trained)


def test_a_test_set_of_paralogs_alone_is_told(tmp_path):
    human = source(tmp_path, {"1": "+-+-+-+-+-"}, "human")
    trained = min(int(gene[1:]) for gene in genes(divided([human], []).training))
    mouse = source(tmp_path, {"1": "+"}, "mouse", first=trained)
    found = divided([human, mouse], ["mouse"])
    assert found.tests == ()
    assert found.untested == ("mouse 1: none of 1 protein-coding genes can be tested, 1 are like a gene trained on",)


def test_genes_without_a_reading_frame_are_not_tested_and_told(tmp_path):
    both = source(tmp_path, {"1": "+-+-+-+-+-", "2": "+-+"}, coding=False)
    found = divided([both], ["test:2"])
    assert found.tests == ()
    assert found.untested == ("test 2: none of 3 protein-coding genes can be tested, 0 are like a gene trained on",)


def test_whole_genes_are_tested_up_to_a_size(tmp_path):
    both = source(tmp_path, {"1": "+-+-+-+-+-", "2": "+-+-+-"})
    few, all_ = (divided([both], ["test:2"], test_nt=nt).tests[0].labelled for nt in (GENE + 1, 10**9))
    assert few.nucleotides == 2 * GENE and all_.nucleotides == 6 * GENE
    assert set(genes(few)) < set(genes(all_))


def test_training_does_not_depend_on_how_much_is_tested(tmp_path):
    both = source(tmp_path, {"1": "+-+-+-+-+-", "2": "+-+-+-"})
    digests = {divided([both], ["test:2"], test_nt=nt).training.digest for nt in (1, 10**9)}
    assert len(digests) == 1
    assert np.count_nonzero(divided([both], []).training.labels == 1) > 0
