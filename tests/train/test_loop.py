"""The training loop, on pre-training: the same bytes for the same run, killed or not; processes, and failures."""

import dataclasses
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from factories import TINY, Killed, kill_at, losses
from splicebert_vep.errors import ModelError, SettingsError
from splicebert_vep.files import locked
from splicebert_vep.train.loop import read_log, step_rng
from splicebert_vep.train.pretrain import MaskedLanguageModelling, pretrain
from splicebert_vep.train.recipe import scaled


@pytest.mark.parametrize("at", [3, 5, 13])
def test_a_run_broken_off_goes_on_as_if_it_had_not_been(unbroken, corpus, tmp_path, monkeypatch, at):
    kill_at(at, MaskedLanguageModelling, monkeypatch)
    with pytest.raises(Killed):
        pretrain(TINY, corpus, tmp_path)
    monkeypatch.undo()
    with (tmp_path / "train.csv").open("a") as handle:
        handle.write("99,1")  # a line that was being written
    pretrain(TINY, corpus, tmp_path)
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


def test_two_processes_do_not_train_in_one_folder(corpus, tmp_path):
    pretrain(scaled(TINY, 800), corpus, tmp_path)
    with locked(tmp_path, "training"), pytest.raises(SettingsError, match="Another process"):
        pretrain(scaled(TINY, 800), corpus, tmp_path)


def test_a_damaged_checkpoint_is_told(corpus, tmp_path):
    pretrain(scaled(TINY, 800), corpus, tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"cut")
    with pytest.raises(ModelError, match="checkpoint"):
        pretrain(scaled(TINY, 800), corpus, tmp_path)


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


def test_a_training_that_diverges_ends_with_its_last_checkpoint(corpus, tmp_path, monkeypatch):
    plain = MaskedLanguageModelling.loss

    def diverging(self, model, step, part, device):
        loss = plain(self, model, step, part, device)
        return dataclasses.replace(loss, total=loss.total * math.nan) if step == 8 else loss

    monkeypatch.setattr(MaskedLanguageModelling, "loss", diverging)
    with pytest.raises(SettingsError, match="step 9"):
        pretrain(TINY, corpus, tmp_path)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert saved["progress"]["step"] == 5
    assert all(torch.isfinite(weight).all() for weight in saved["model"].values())


def test_a_step_draws_the_same_again_and_other_steps_others():
    assert step_rng(1, 5, 2).random() == step_rng(1, 5, 2).random()
    drawn = {step_rng(seed, step, part).random() for seed in (1, 2) for step in range(20) for part in range(4)}
    assert len(drawn) == 160
