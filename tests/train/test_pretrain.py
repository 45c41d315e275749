"""Training: the loss, the shape of a run, and what survives being killed."""

import csv
import dataclasses
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from factories import write_genome
from splicebert_vep.errors import CorpusError, ModelError, SettingsError
from splicebert_vep.model.bert import SpliceBert
from splicebert_vep.model.checkpoint import load_checkpoint
from splicebert_vep.train.corpus import Source, build_corpus
from splicebert_vep.train.loop import Processes, RunFolder, mask_windows, read_log
from splicebert_vep.train.pretrain import MaskedLanguageModelling, identity, initialise, masked_loss, pretrain
from splicebert_vep.train.recipe import MINI, PRESETS, Recipe, Stage, load_recipe, scaled

CPU = torch.device("cpu")
TINY = Recipe(
    name="tiny", hidden_size=32, layers=2, heads=4, intermediate_size=64, layer_norm_eps=1e-5,
    stages=(Stage(20, 40, 4000, 1.0, anywhere=True), Stage(60, 80, 4000, 0.5)),
    batch_tokens=400, parts=2, learning_rate=3e-3, warmup_steps=3, neighbour_layers=1, validate_every=7, save_every=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    fasta, gtf = write_genome(tmp_path_factory.mktemp("genome"), "+-" * 10)
    return build_corpus([Source("test", fasta, str(gtf))], 0.3)


@pytest.fixture(scope="module")
def unbroken(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    pretrain(TINY, corpus, folder, device=CPU)
    return folder


def losses(folder):
    with (folder / "train.csv").open() as handle:
        return [float(row["loss"]) for row in csv.DictReader(handle)]


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


def test_the_same_run_gives_the_same_bytes(unbroken, corpus, tmp_path):
    pretrain(TINY, corpus, tmp_path, device=CPU)
    assert losses(tmp_path) == losses(unbroken)
    assert (tmp_path / "model/model.safetensors").read_bytes() == (unbroken / "model/model.safetensors").read_bytes()


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [3, 5, 8, 13])
def test_a_run_broken_off_goes_on_as_if_it_had_not_been(unbroken, corpus, tmp_path, monkeypatch, at):
    plain = MaskedLanguageModelling.loss

    def dying(self, model, step, part, device):
        if step == at:
            raise Killed
        return plain(self, model, step, part, device)

    monkeypatch.setattr(MaskedLanguageModelling, "loss", dying)
    with pytest.raises(Killed):
        pretrain(TINY, corpus, tmp_path, device=CPU)
    monkeypatch.undo()
    with (tmp_path / "train.csv").open("a") as handle:
        handle.write("99,1")  # a line that was being written
    pretrain(TINY, corpus, tmp_path, device=CPU)
    assert losses(tmp_path) == pytest.approx(losses(unbroken), abs=1e-6)
    assert read_log(tmp_path / "validation.csv") == read_log(unbroken / "validation.csv")
    assert (tmp_path / "model/model.safetensors").read_bytes() == (unbroken / "model/model.safetensors").read_bytes()


def test_kill_9_and_the_same_command_again(corpus, unbroken, tmp_path):
    corpus.save(tmp_path / "c")
    (tmp_path / "tiny.json").write_text(TINY.to_json())
    command = [sys.executable, "-m", "splicebert_vep.cli.main", "pretrain", str(tmp_path / "c"), "-O",
               str(tmp_path / "run"), "--preset", str(tmp_path / "tiny.json"), "--threads", "1"]  # fmt: skip
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    log = tmp_path / "run/train.csv"
    deadline = time.monotonic() + 120
    while not (log.is_file() and len(log.read_text().splitlines()) > 8):
        assert time.monotonic() < deadline and running.poll() in (None, 0)
        if running.poll() == 0:
            break  # faster than we could look; the command again must then change nothing
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "run") == pytest.approx(losses(unbroken), abs=1e-3)
    assert (tmp_path / "run/curve.png").read_bytes().startswith(b"\x89PNG")
    assert not list((tmp_path / "run").glob(".*.tmp"))


def test_a_run_of_another_recipe_or_corpus_is_refused(unbroken, corpus):
    with pytest.raises(SettingsError, match="another recipe or corpus"):
        pretrain(dataclasses.replace(TINY, learning_rate=1e-3), corpus, unbroken, device=CPU)


def test_two_processes_do_not_train_in_one_folder(corpus, tmp_path):
    with (
        RunFolder(tmp_path, identity(TINY, corpus)),
        pytest.raises(SettingsError, match="Another process is training in this folder"),
    ):
        pretrain(TINY, corpus, tmp_path, device=CPU)


def test_a_damaged_checkpoint_is_told(corpus, tmp_path):
    pretrain(scaled(TINY, 800), corpus, tmp_path, device=CPU)
    (tmp_path / "checkpoint.pt").write_bytes(b"cut")
    with pytest.raises(ModelError, match="The checkpoint cannot be read"):
        pretrain(scaled(TINY, 800), corpus, tmp_path, device=CPU)


def test_two_processes_train_as_one(corpus, unbroken, tmp_path):
    corpus.save(tmp_path / "c")
    (tmp_path / "tiny.json").write_text(TINY.to_json())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               "-m", "splicebert_vep.cli.main", "pretrain", str(tmp_path / "c"), "-O", str(tmp_path / "run"),
               "--preset", str(tmp_path / "tiny.json"), "--threads", "1"]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "run") == pytest.approx(losses(unbroken), abs=1e-3)
    assert len(read_log(tmp_path / "run/validation.csv")) == 3


def test_a_process_alone_sums_nothing():
    tensor = torch.ones(2)
    Processes().sum([tensor])
    assert tensor.tolist() == [1, 1]


def test_bf16_trains_too(corpus, tmp_path):
    pretrain(scaled(TINY, 2000), corpus, tmp_path, device=CPU, half=True)
    assert losses(tmp_path)[-1] < losses(tmp_path)[0]
    weights = load_checkpoint(tmp_path / "model").model.state_dict()
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


def test_a_head_of_a_neighbour_layer_sees_its_neighbour():
    model = SpliceBert(dataclasses.replace(MINI, neighbour_layers=1).config())
    initialise(model, neighbour_layers=1, seed=1)
    tokens = torch.randint(6, 10, (1, 200), generator=torch.Generator().manual_seed(0))
    layer = model.layers[0]
    hidden = model.embed(tokens)
    keys = layer._split(layer.keys_values(hidden).keys)
    weights = torch.softmax(layer._split(layer.query(hidden)) @ keys.transpose(2, 3) / math.sqrt(16), dim=-1)[0]
    for head, offset in enumerate((-1, 1, -2, 2, -3, 3, -4, 4)):
        seen = weights[head].argmax(dim=1)[10:190] - torch.arange(10, 190)
        assert (seen == offset).float().mean() > 0.9


def test_recipes_travel_as_json(tmp_path):
    for recipe in PRESETS.values():
        (tmp_path / "r.json").write_text(recipe.to_json())
        assert load_recipe(str(tmp_path / "r.json")) == recipe
    assert scaled(MINI, MINI.tokens // 10).tokens == pytest.approx(MINI.tokens // 10, abs=5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stages": ()}, "stages: 0"),
        ({"heads": 3}, "hidden_size by heads: 32 by 3"),
        ({"stages": (Stage(50, 40, 100, 0.5),)}, "window: 50..40"),
        ({"stages": (Stage(40, 40, 100, 1.5),)}, "site_share: 1.5"),
        ({"batch_tokens": 100}, "batch_tokens by parts: 100 by 2"),
        ({"heads": 0}, "heads: 0"),
        ({"layers": 0}, "layers: 0"),
        ({"validate_every": 0}, "validate_every: 0"),
        ({"batch_tokens": 400.5}, "batch_tokens: 400.5"),
        ({"learning_rate": "x"}, "learning_rate: x"),
        ({"selected": 1.5}, "selected: 1.5"),
        ({"seed": 2**64}, "seed: "),
        ({"betas": (0.9,)}, "betas: "),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(change, said):
    with pytest.raises(SettingsError, match=said):
        dataclasses.replace(TINY, **change)


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "x"}', '{"stages": [{"longest": 3}], "betas": [0, 0]}'])
def test_a_file_that_is_no_recipe_is_told(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(SettingsError, match="The recipe cannot be read"):
        load_recipe(str(tmp_path / "r.json"))
    with pytest.raises(SettingsError, match="No preset is called"):
        load_recipe(str(tmp_path / "none.json"))


def test_windows_longer_than_every_gene_are_refused(corpus, tmp_path):
    recipe = dataclasses.replace(TINY, stages=(Stage(3500, 3500, 8000, 0.0),), batch_tokens=8000)
    with pytest.raises(CorpusError, match="No gene to train on of the corpus is as long as a window"):
        pretrain(recipe, corpus, tmp_path, device=CPU)


def test_a_corpus_without_held_out_genes_is_refused_before_the_first_step(tmp_path):
    fasta, gtf = write_genome(tmp_path, "+-")
    corpus = build_corpus([Source("test", fasta, str(gtf))], 0.0)
    with pytest.raises(CorpusError, match="No held-out gene of the corpus"):
        pretrain(TINY, corpus, tmp_path / "run", device=CPU)
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
    run = dataclasses.replace(TINY, learning_rate=1e-12, validate_every=100, save_every=100, clip=1e9)
    pretrain(run, corpus, tmp_path / "run", device=CPU)  # so small a rate leaves the weights as they were
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
    with pytest.raises(SettingsError, match="more processes than micro-batches"):
        pretrain(TINY, corpus, tmp_path / "run", device=CPU, processes=Processes(0, 3))
    assert not (tmp_path / "run").exists()


def test_a_training_that_diverges_ends_with_its_last_checkpoint(corpus, tmp_path, monkeypatch):
    plain = MaskedLanguageModelling.loss

    def diverging(self, model, step, part, device):
        loss = plain(self, model, step, part, device)
        return dataclasses.replace(loss, total=loss.total * math.nan) if step == 8 else loss

    monkeypatch.setattr(MaskedLanguageModelling, "loss", diverging)
    with pytest.raises(SettingsError, match=r"The training diverged(.|\n)*step 9"):
        pretrain(TINY, corpus, tmp_path, device=CPU)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert saved["progress"]["step"] == 5
    assert all(torch.isfinite(weight).all() for weight in saved["model"].values())


def test_warm_up_is_scaled_with_the_tokens():
    assert scaled(MINI, MINI.tokens // 10).warmup_steps == MINI.warmup_steps // 10
