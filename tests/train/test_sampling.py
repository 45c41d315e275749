"""What a training step sees: windows of genes, and the right share of them hidden in the right ways."""

import numpy as np
import pytest

from factories import write_genome
from splicebert_vep.errors import CorpusError
from splicebert_vep.train.corpus import Source, build_corpus
from splicebert_vep.train.loop import IGNORED, WindowSampler, mask_windows, step_rng
from splicebert_vep_spec import CLS, MASK, SEP, A, N, T


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    fasta, gtf = write_genome(tmp_path_factory.mktemp("genome"), "+-" * 10)
    return build_corpus([Source("test", fasta, str(gtf))], 0.3)


def random_windows(count, width, *, unknown=0.0):
    rng = np.random.default_rng(7)
    windows = rng.integers(A, T + 1, size=(count, width), dtype=np.uint8)
    windows[rng.random(windows.shape) < unknown] = N
    return windows


def test_fifteen_percent_are_selected_and_hidden_as_bert_does():
    windows = random_windows(4000, 203)
    batch = mask_windows(np.random.default_rng(1), windows)
    assert batch.tokens.shape == (4000, 205)
    assert (batch.tokens[:, 0] == CLS).all() and (batch.tokens[:, -1] == SEP).all()
    shown = batch.tokens[:, 1:-1]
    truth = np.take_along_axis(windows, batch.positions - 1, axis=1)
    seen = np.take_along_axis(batch.tokens, batch.positions, axis=1)
    assert (batch.targets == truth).all()
    assert all(len(set(row)) == len(row) for row in batch.positions[:100].tolist())
    count = batch.positions.size
    assert (seen == MASK).mean() == pytest.approx(0.8, abs=4 * (0.16 / count) ** 0.5)
    # 10 % random, a quarter of them by chance the truth, and 10 % kept
    assert (seen == truth).mean() == pytest.approx(0.125, abs=4 * (0.11 / count) ** 0.5)
    wrong = seen[(seen != MASK) & (seen != truth)]
    assert len(wrong) / count == pytest.approx(0.075, abs=4 * (0.07 / count) ** 0.5)
    assert set(np.unique(wrong)) == {A, A + 1, A + 2, T}
    selected = np.zeros(windows.shape, dtype=bool)
    np.put_along_axis(selected, batch.positions - 1, True, axis=1)
    unselected = ~selected
    assert (shown[unselected] == N).mean() == pytest.approx(0.005, abs=4 * (0.005 / unselected.sum()) ** 0.5)
    kept = unselected & (shown != N)
    assert (shown[kept] == windows[kept]).all()


def test_the_share_selected_is_right_on_average_whatever_the_width():
    shares = [
        mask_windows(np.random.default_rng(seed), random_windows(1, 33)).positions.shape[1] / 33 for seed in range(3000)
    ]
    assert np.mean(shares) == pytest.approx(0.15, abs=0.001)


def test_places_are_selected_evenly():
    batch = mask_windows(np.random.default_rng(2), random_windows(20_000, 40))
    share = np.bincount(batch.positions.ravel() - 1, minlength=40) / 20_000
    assert share == pytest.approx(np.full(40, batch.positions.shape[1] / 40), abs=4 * (0.13 / 20_000) ** 0.5)


def test_n_is_never_selected():
    windows = random_windows(500, 100, unknown=0.5)
    windows[0] = N
    batch = mask_windows(np.random.default_rng(3), windows)
    truth = np.take_along_axis(windows, batch.positions - 1, axis=1)
    assert (batch.targets[truth == N] == IGNORED).all()
    assert (batch.targets[1:] != IGNORED).all()  # where there were enough nucleotides, none is wasted
    assert (batch.targets[0] == IGNORED).all()
    seen = np.take_along_axis(batch.tokens, batch.positions, axis=1)
    assert (seen[truth == N] == N).all()


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("held_out", [False, True])
def test_windows_lie_in_genes_of_their_kind(corpus, share, held_out):
    sampler = WindowSampler(corpus, held_out=held_out)
    windows = sampler.draw(np.random.default_rng(0), 50, 120, share)
    genes = [
        corpus.bases[corpus.offsets[gene] : corpus.offsets[gene + 1]].tobytes()
        for gene in np.flatnonzero(corpus.held_out == held_out)
    ]
    assert windows.shape == (50, 120)
    for window in windows:
        assert any(window.tobytes() in gene for gene in genes)


def test_windows_around_sites_hold_one_at_any_place(corpus):
    sampler = WindowSampler(corpus)
    rng = np.random.default_rng(0)
    junctions = np.unique(np.concatenate([corpus.exon_start, corpus.exon_end]))
    text = corpus.bases.tobytes()
    places = []
    for window in sampler.draw(rng, 400, 120, 1.0):
        start = text.index(window.tobytes())
        inside = junctions[(junctions > start) & (junctions < start + 120)] - start
        assert len(inside)
        places += inside.tolist()
    assert np.mean(places) == pytest.approx(60, abs=6)  # 4 standard errors


def test_a_step_draws_the_same_again_and_other_steps_others():
    assert step_rng(1, 5, 2).random() == step_rng(1, 5, 2).random()
    drawn = {step_rng(seed, step, part).random() for seed in (1, 2) for step in range(20) for part in range(4)}
    assert len(drawn) == 160


def test_a_corpus_of_short_genes_is_refused(corpus):
    with pytest.raises(CorpusError, match="No gene to train on of the corpus is as long as a window"):
        WindowSampler(corpus).draw(np.random.default_rng(0), 4, 5000, 0.0)
