"""Pre-training: masked windows, the loss on them, the initial weights, and the files of a run."""

import math

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from factories import TINY, losses, write_genome
from splicebert_vep.errors import CorpusError, SettingsError
from splicebert_vep.model.bert import SpliceBert
from splicebert_vep.model.checkpoint import load_checkpoint
from splicebert_vep.train.corpus import Source, build_corpus
from splicebert_vep.train.loop import IGNORED, Machine, Processes, read_log
from splicebert_vep.train.pretrain import MaskedLanguageModelling, initialise, mask_windows, masked_loss, pretrain
from splicebert_vep.train.recipe import MINI, scaled
from splicebert_vep_spec import CLS, MASK, SEP, A, N, T

CPU = torch.device("cpu")


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


def test_the_loss_is_the_sum_of_minus_ln_p_over_the_selected():
    config = TINY.config()
    model = SpliceBert(config)
    initialise(model, neighbour_layers=1, seed=5)
    rng = np.random.default_rng(0)
    windows = rng.integers(6, 10, size=(3, 50), dtype=np.uint8)
    windows[0, :48] = 5  # too few nucleotides: the rest must not count
    batch = mask_windows(rng, windows)
    found = masked_loss(model, batch, CPU)
    logits = model(torch.from_numpy(batch.tokens.astype(np.int64))).logits.detach().double().numpy()
    expected, right = [], 0
    for row in range(3):
        for place, target in zip(batch.positions[row], batch.targets[row], strict=True):
            if target < 0:
                continue
            scores = logits[row, place]
            expected.append(math.log(sum(math.exp(score) for score in scores)) - scores[target])
            right += int(scores.argmax() == target)
    assert len(expected) == found.count < batch.targets.size
    assert found.total.item() == pytest.approx(np.sum(expected), abs=1e-4)
    assert int(found.correct) == right
    assert found.tokens == 3 * 52


def test_a_run_leaves_log_curve_data_and_a_model(unbroken, corpus):
    steps, validations = read_log(unbroken / "train.csv"), read_log(unbroken / "validation.csv")
    task = MaskedLanguageModelling(TINY, corpus)
    assert [int(row["step"]) for row in steps] == list(range(1, task.steps + 1))
    assert {row["stage"] for row in steps[:10]} == {"1"}
    assert steps[-1]["stage"] == "2"
    assert all(20 <= int(row["window"]) <= 40 for row in steps if row["stage"] == "1")
    assert all(60 <= int(row["window"]) <= 80 for row in steps if row["stage"] == "2")
    assert [int(row["step"]) for row in validations] == [7, 14, 20]
    assert float(validations[-1]["sites_loss"]) < math.log(10)
    loaded = load_checkpoint(unbroken / "model")
    assert loaded.max_window == 80
    assert loaded.config.max_trained_length == 80
    assert loaded.config.max_position_embeddings == 82


def test_a_seed_stands_for_the_same_windows_masks_and_weights_in_every_version(unbroken):
    first, last = read_log(unbroken / "train.csv")[0], read_log(unbroken / "train.csv")[-1]
    assert (first["tokens"], first["window"], last["tokens"], last["window"]) == ("360", "34", "6804", "80")
    assert float(first["loss"]) == pytest.approx(2.313633, abs=1e-4)
    assert float(last["loss"]) == pytest.approx(1.562695, abs=0.01)  # rounding of other machines adds up


def test_the_learning_rate_rises_and_falls(unbroken):
    rates = [float(row["learning_rate"]) for row in read_log(unbroken / "train.csv")]
    assert rates[:3] == pytest.approx([1e-3, 2e-3, 3e-3])
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] < 0.1 * max(rates)


def test_transformers_reads_the_result(unbroken):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertForMaskedLM.from_pretrained(unbroken / "model").eval()
    tokens = torch.randint(5, 10, (2, 60), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = theirs(tokens).logits
        got = load_checkpoint(unbroken / "model").model(tokens).logits
    assert (wanted - got).abs().max() < 1e-4


def test_bf16_trains_too(corpus, tmp_path):
    pretrain(scaled(TINY, 2000), corpus, tmp_path, Machine(half=True))
    assert losses(tmp_path)[-1] < losses(tmp_path)[0]
    weights = load_checkpoint(tmp_path / "model").model.state_dict()
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


def test_a_head_of_a_neighbour_layer_sees_its_neighbour():
    model = SpliceBert(MINI.config())
    initialise(model, neighbour_layers=1, seed=1)
    tokens = torch.randint(6, 10, (1, 200), generator=torch.Generator().manual_seed(0))
    layer = model.layers[0]
    hidden = model.embed(tokens)
    weights = layer.attention(hidden, torch.arange(hidden.shape[1])[None])[0]
    for head, offset in enumerate((-1, 1, -2, 2, -3, 3, -4, 4)):
        seen = weights[head].argmax(dim=1)[10:190] - torch.arange(10, 190)
        assert (seen == offset).float().mean() > 0.9


def test_a_corpus_without_held_out_genes_is_refused_before_the_first_step(tmp_path):
    fasta, gtf = write_genome(tmp_path, "+-")
    corpus = build_corpus([Source("test", fasta, str(gtf))], 0.0)
    with pytest.raises(CorpusError, match="No held-out gene"):
        pretrain(TINY, corpus, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_parts_with_unequal_answers_weigh_by_their_answers(tmp_path):
    """The gradient of a step is that of the mean over all its answers, as the log says, not of a mean of means."""
    fasta, gtf = write_genome(tmp_path, "+-" * 10, mask=(600, 2400))  # a gene that is mostly N
    corpus = build_corpus([Source("test", fasta, str(gtf))], 0.3)
    task = MaskedLanguageModelling(TINY, corpus)
    model = SpliceBert(TINY.config())
    initialise(model, neighbour_layers=1, seed=TINY.seed)
    step = next(step for step in range(20) if len({task.loss(model, step, part, CPU).count for part in (0, 1)}) == 2)
    losses = [task.loss(model, step, part, CPU) for part in (0, 1)]
    whole = sum(loss.total for loss in losses) / sum(loss.count for loss in losses)
    whole.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), math.inf)
    run = replace(TINY, learning_rate=1e-12, validate_every=100, save_every=100, clip=1e9)
    pretrain(run, corpus, tmp_path / "run")  # so small a rate leaves the weights as they were
    row = read_log(tmp_path / "run/train.csv")[step]
    assert float(row["loss"]) == pytest.approx(whole.item(), abs=1e-4)
    assert float(row["gradient_norm"]) == pytest.approx(norm.item(), abs=1e-3)


def test_a_part_of_n_alone_has_no_loss_and_no_nan():
    model = SpliceBert(TINY.config())
    initialise(model, neighbour_layers=1, seed=1)
    batch = mask_windows(np.random.default_rng(0), np.full((2, 30), 5, dtype=np.uint8))
    found = masked_loss(model, batch, CPU)
    assert (found.total.item(), found.count) == (0, 0)


def test_more_processes_than_parts_are_refused(corpus, tmp_path):
    with pytest.raises(SettingsError, match="micro-batches"):
        pretrain(TINY, corpus, tmp_path / "run", Machine(processes=Processes(0, 3)))
    assert not (tmp_path / "run").exists()
