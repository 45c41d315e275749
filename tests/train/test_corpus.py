"""A corpus holds whole genes on the transcribed strand and returns them unchanged; windows are drawn from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factories import GENE, gene_text, write_genome
from splicebert_vep.errors import CorpusError
from splicebert_vep.genome.gene_table import HAS_ACCEPTOR, HAS_DONOR
from splicebert_vep.sequence.tokens import encode
from splicebert_vep.train.corpus import Corpus, Source, build_corpus, pack


def corpus_of(folder, strands, held_out=0.0, **options):
    fasta, gtf = write_genome(folder, strands, **options)
    return build_corpus([Source("test", fasta, str(gtf))], held_out)


def text(corpus, gene):
    return "".join("NACGT"[token - 5] for token in corpus.bases[corpus.offsets[gene] : corpus.offsets[gene + 1]])


def test_a_gene_has_the_same_tokens_and_exons_on_either_strand(tmp_path):
    forward = corpus_of(tmp_path, "+++", name="plus")
    backward = corpus_of(tmp_path, "---", name="minus")
    assert [text(forward, gene) for gene in range(3)] == [gene_text(number)[0] for number in range(3)]
    assert np.array_equal(forward.bases, backward.bases)
    assert np.array_equal(forward.exon_start, backward.exon_start)
    assert np.array_equal(forward.exon_end, backward.exon_end)
    assert np.array_equal(forward.exon_flags, backward.exon_flags)


def test_every_intron_of_the_corpus_begins_with_gt_and_ends_with_ag(tmp_path):
    corpus = corpus_of(tmp_path, "+-+-")
    bases = "".join("NACGT"[token - 5] for token in corpus.bases)
    donors = corpus.exon_end[(corpus.exon_flags & HAS_DONOR) > 0]
    acceptors = corpus.exon_start[(corpus.exon_flags & HAS_ACCEPTOR) > 0]
    assert len(donors) == len(acceptors) == 4 * 4
    assert {bases[at : at + 2] for at in donors} == {"GT"}
    assert {bases[at - 2 : at] for at in acceptors} == {"AG"}


@given(st.text("ACGTN", min_size=1, max_size=50))
def test_packing_gives_back_every_base(bases):
    tokens = encode(bases.encode())
    known = tokens != 5
    packed = pack(tokens)
    assert len(packed) == -(-len(bases) // 4)
    for place, letter in enumerate(bases):  # by hand: two bits each, the first lowest
        if known[place]:
            assert "ACGT"[(packed[place // 4] >> (2 * (place % 4))) & 3] == letter


def test_a_saved_corpus_is_the_same_with_its_n(tmp_path):
    corpus = corpus_of(tmp_path, "+-", held_out=0.5, mask=(700, 777))
    corpus.save(tmp_path / "c")
    loaded = Corpus.load(tmp_path / "c")
    expected = list(gene_text(0)[0])
    expected[200:277] = "N" * 77
    assert text(loaded, 0) == "".join(expected)
    assert loaded.digest == corpus.digest
    assert loaded.names == ("test:G0", "test:G1")
    corpus.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "c").read_bytes()
    assert len(loaded.packed) == 2 * GENE // 4


def test_held_out_genes_do_not_depend_on_what_else_is_there(tmp_path):
    fasta, gtf = write_genome(tmp_path, "+-+-+-+-")
    other_fasta, other_gtf = write_genome(tmp_path, "++", name="other")
    alone = build_corpus([Source("test", fasta, str(gtf))], 0.5)
    both = build_corpus([Source("x", other_fasta, str(other_gtf)), Source("test", fasta, str(gtf))], 0.5)
    assert 0 < alone.held_out.sum() < 8
    assert alone.held_out.tolist() == both.held_out[2:].tolist()


def test_genes_that_overlap_on_either_strand_are_held_out_together(tmp_path):
    fasta, gtf = write_genome(tmp_path, "+-+-+-+-")
    rows = gtf.read_text()
    bridge = 'gene_id "B{0}"; transcript_id "TB{0}"; gene_biotype "lncRNA"; transcript_biotype "lncRNA";'
    for number in range(0, 8, 2):  # an antisense gene over the end of one gene and the start of the next
        start = number * (GENE + 500) + 500 + GENE - 300
        for kind in ("gene", "transcript", "exon"):
            rows += f"1\tx\t{kind}\t{start + 1}\t{start + 1200}\t.\t-\t.\t{bridge.format(number)}\n"
    gtf.write_text(rows)
    corpus = build_corpus([Source("test", fasta, str(gtf))], 0.5)
    assert len(corpus.names) == 12
    held = {name.split(":")[1]: bool(out) for name, out in zip(corpus.names, corpus.held_out, strict=True)}
    assert len(set(held.values())) == 2
    for number in range(0, 8, 2):
        assert held[f"G{number}"] == held[f"B{number}"] == held[f"G{number + 1}"]


def test_a_corpus_without_genes_is_refused(tmp_path):
    fasta, gtf = write_genome(tmp_path, "+")
    fasta.write_text(fasta.read_text().replace(">1", ">another"))
    with pytest.raises(CorpusError, match="No protein_coding"):
        build_corpus([Source("test", fasta, str(gtf))], 0.0)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut", "an array overwritten"])
def test_a_damaged_corpus_is_refused(tmp_path, content):
    if isinstance(content, bytes):
        (tmp_path / "c").write_bytes(content)
    else:
        corpus_of(tmp_path, "+-" * 4).save(tmp_path / "c")
        data = bytearray((tmp_path / "c").read_bytes())
        at = data.index(b"exon_start.npy") + 20
        data[at : at + 40] = bytes(40)
        (tmp_path / "c").write_bytes(data)
    with pytest.raises(CorpusError, match="cannot be read"):
        Corpus.load(tmp_path / "c")


def test_a_gene_that_comes_twice_is_taken_once(tmp_path):
    fasta, gtf = write_genome(tmp_path, "+-+-")
    once = build_corpus([Source("test", fasta, str(gtf))], 0.5)
    twice = build_corpus([Source("test", fasta, str(gtf)), Source("test", fasta, str(gtf))], 0.5)
    assert twice.names == once.names
    assert twice.digest == once.digest
    both = build_corpus([Source("test", fasta, str(gtf)), Source("other", fasta, str(gtf))], 0.5)
    assert len(both.names) == 8


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return corpus_of(tmp_path_factory.mktemp("genome"), "+-" * 10, 0.3)


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("held_out", [False, True])
def test_windows_lie_in_genes_of_their_kind(corpus, share, held_out):
    windows = corpus.bases[corpus.windows(held_out=held_out).draw(np.random.default_rng(0), 50, 120, share)]
    genes = [
        corpus.bases[corpus.offsets[gene] : corpus.offsets[gene + 1]].tobytes()
        for gene in np.flatnonzero(corpus.held_out == held_out)
    ]
    assert windows.shape == (50, 120)
    for window in windows:
        assert any(window.tobytes() in gene for gene in genes)


def test_windows_around_sites_hold_one_at_any_place(corpus):
    junctions = np.unique(np.concatenate([corpus.exon_start, corpus.exon_end]))
    places = []
    for window in corpus.windows().draw(np.random.default_rng(0), 400, 120, 1.0):
        start = window[0]
        inside = junctions[(junctions > start) & (junctions < start + 120)] - start
        assert len(inside)
        places += inside.tolist()
    assert np.mean(places) == pytest.approx(60, abs=6)  # 4 standard errors


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_windows_longer_than_every_gene_are_refused(corpus, share):
    with pytest.raises(CorpusError, match="window of 5000"):
        corpus.windows().draw(np.random.default_rng(0), 4, 5000, share)
