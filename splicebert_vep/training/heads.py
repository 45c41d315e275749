"""A classifier on an encoder: how it begins, is trained, and is kept; the same for every task of ``finetune``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from splicebert_vep.model.bert import BertConfig, Encoder, SpliceBert
from splicebert_vep.model.checkpoint import load_checkpoint
from splicebert_vep.model.classifier import Classifier, FineTuned, save_classifier
from splicebert_vep.model.config import read_config
from splicebert_vep.model.devices import choose_device
from splicebert_vep.model.registry import DEFAULT_MODEL, resolve_model

from .initial import initialise
from .loop import Optimisation, Task, train
from .recipe import FineTuneRecipe, SequenceRecipe
from .run_folder import RunFolder

RANDOM = "random"
"""Name of a start from random weights, with the sizes of the bundled model."""


def begin(base: str, labels: int, *, head: str, seed: int, pooled: bool = False) -> tuple[Classifier, str]:
    """Return a classifier on the encoder of a model, or on a random one of the bundled model's sizes, and the digest
    of the model's weights.

    Raises:
        ModelError: the model cannot be loaded.
    """
    loaded = load_checkpoint(resolve_model(DEFAULT_MODEL if base == RANDOM else base))
    start: Encoder = loaded.model
    if base == RANDOM:
        fresh = SpliceBert(loaded.config)
        initialise(fresh, neighbour_layers=2, seed=seed)
        start = fresh
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Classifier(loaded.config, labels, head=head, pooled=pooled)
    encoder = {name: value for name, value in start.state_dict().items() if name in model.state_dict()}
    model.load_state_dict(model.state_dict() | encoder)
    return model, "none" if base == RANDOM else loaded.weights_sha256


def machine(device: str, precision: str, threads: int | None) -> tuple[torch.device, bool]:
    """Return the device for a name of ``choose_device``, and whether to train in bf16: ``auto`` does on a CUDA GPU.

    Args:
        precision: ``auto``, ``fp32`` or ``bf16``.
        threads: CPU threads; None leaves torch's.

    Raises:
        SettingsError: the device is not there.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    chosen = choose_device(device)
    return chosen, precision == "bf16" or precision == "auto" and chosen.type == "cuda"


def config_of(base: str) -> BertConfig:
    """Return the sizes of a model to begin as.

    Raises:
        ModelError: there is no such model, or its config cannot be read.
    """
    return read_config(resolve_model(DEFAULT_MODEL if base == RANDOM else base) / "config.json").config


def train_head(
    model: Classifier,
    learned: Task,
    how: Optimisation,
    about: FineTuned,
    path: Path,
    *,
    recipe: FineTuneRecipe | SequenceRecipe,
    digests: tuple[str, str],
    finish: Callable[[Classifier], None],
    device: torch.device,
    half: bool = False,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Train a classifier, or go on with a run that was broken off; return the folder of the model.

    Args:
        model: as ``begin`` gave it; changed in place.
        about: what the model's folder says of it.
        path: the run's folder, see ``run_folder.py``.
        recipe: with ``about`` and ``digests``, what determines the run.
        digests: SHA-256 of what is trained on, and of what stops it.
        finish: changes the best weights into those that are kept.
        half: run the network in bf16.
        say: told how it goes.
        progress: told which step is done, and of how many.

    Raises:
        SettingsError: the folder holds another run, another process trains in it, or the training diverged.
        OutputError: something cannot be written.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not recipe.frozen or name.startswith(("head.", "classifier.")))
    model.to(device).train()
    training, validation = digests
    identity = {
        "recipe": asdict(recipe), "task": about.task, "base": about.base, "base_sha256": about.base_sha256,
        "training_sha256": training, "validation_sha256": validation,
    }  # fmt: skip
    with RunFolder(path, json.dumps(identity, indent=1) + "\n") as folder:
        train(model, learned, how, folder, device=device, half=half, say=say, progress=progress)
        folder.load_best(model)
        model.eval()
        with torch.no_grad():
            finish(model)
        save_classifier(model, about, folder.model)
    return folder.model
