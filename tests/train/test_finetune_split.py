"""What is trained on, what stops it, and what is tested: contigs under any name, species, paralogs."""

from pathlib import Path

import numpy as np
import pytest

from factories import GENE, gene_text, genome, source
from splicebert_vep.errors import CorpusError, SettingsError
from splicebert_vep.genome.gene_build import load_table
from splicebert_vep.genome.reference import Reference
from splicebert_vep.train import labels as module
from splicebert_vep.train.corpus import Source
from splicebert_vep.train.labels import ExonEdges, split_genes

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
    opened = module._Open(Source("x", fasta, str(gtf)), load_table(gtf), Reference(fasta), ExonEdges(load_table(gtf)))
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
    with pytest.raises(SettingsError, match="held out is not there"):
        divided([both], [asked])


def test_a_contig_that_the_fasta_lacks_cannot_be_held_out(tmp_path):
    both = source(tmp_path, {"1": "+-+-+-+-+-", "2": "+-+"})
    text = both.reference.read_text()
    both.reference.write_text(text[: text.index(">2")])
    with pytest.raises(SettingsError, match="held out is not there"):
        divided([both], ["test:2"])


def test_with_nothing_held_out_there_is_no_test(tmp_path):
    found = divided([source(tmp_path, {"1": "+-+-+-+-+-"})], [])
    assert found.tests == () and found.untested == ()
    assert len(found.training.stretches) + len(found.validation.stretches) == 10


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


def test_holding_out_everything_leaves_nothing_to_train_on(tmp_path):
    with pytest.raises(CorpusError, match="no gene to train on"):
        divided([source(tmp_path, {"1": "+-"})], ["test"])


def test_training_does_not_depend_on_how_much_is_tested(tmp_path):
    both = source(tmp_path, {"1": "+-+-+-+-+-", "2": "+-+-+-"})
    digests = {divided([both], ["test:2"], test_nt=nt).training.digest for nt in (1, 10**9)}
    assert len(digests) == 1
    assert np.count_nonzero(divided([both], []).training.labels == 1) > 0
