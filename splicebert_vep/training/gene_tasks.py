"""Fine-tune a model of nucleotides on the genes of genomes, and test it on what was held out; for any kind of site."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from splicebert_vep.extras import require
from splicebert_vep.files import whole_or_not
from splicebert_vep.model.nucleotides import NucleotideModel

from .corpus import Source
from .finetune import finetune
from .recipe import FineTuneRecipe
from .site_metrics import site_figures
from .split import FindSites, TestSet, split_genes
from .stitched import answers

FIGURES = "figures.json"
Rows = list[dict[str, Any]]


def finetune_on_genes(
    kind: type[NucleotideModel],
    find_sites: FindSites,
    sources: Sequence[Source],
    path: Path,
    *,
    hold_out: Sequence[str],
    base: str,
    recipe: FineTuneRecipe | None,
    validation_share: float,
    test_nt: int,
    device: torch.device | None,
    half: bool,
    say: Callable[[str], None],
    progress: Callable[[str, int, int], None] | None,
) -> tuple[Path, Rows]:
    """Train and test; return the model's folder, and a row of figures per test set and kind of site.

    Args:
        kind: of model.
        find_sites: the sites of a genome.

    The others are those of ``finetune_splice_sites``.

    Raises:
        SettingsError: scikit-learn is not installed.
        SpliceBertError: see ``split_genes`` and ``finetune``.
    """
    require("sklearn")
    recipe, device = recipe or FineTuneRecipe(), device or torch.device("cpu")
    split = split_genes(
        sources, hold_out, validation_share=validation_share, margin=recipe.window // 2 + 1, test_nt=test_nt,
        find_sites=find_sites,
    )  # fmt: skip
    for name, part in (("training", split.training), ("validation", split.validation)):
        sites = ", ".join(f"{part.count(label):,} {label}s" for label in part.names[1:])
        say(f"{name}: {len(part.stretches):,} stretches, {part.nucleotides:,} nt, {sites}")
    for test in split.tests:
        say(f"test {test.name}: {test.labelled.nucleotides:,} nt; {test.paralogs} genes are left out as paralogs")
        for label in test.labelled.names[1:]:
            if not test.labelled.count(label):
                say(f"test {test.name} has no {label}, so there will be no figure of it")
    for why in split.untested:
        say(f"test {why}")
    if not split.tests:
        say("nothing is held out that can be tested: there will be no figures")
    folder = finetune(
        recipe, split.training, split.validation, base, path, task=kind.task, device=device, half=half, say=say,
        progress=progress,
    )  # fmt: skip
    model = kind(folder, device)
    rows = [row for test in split.tests for row in tested(model, test, progress)]
    write_figures(path, rows)
    return folder, rows


def tested(
    model: NucleotideModel, test: TestSet, progress: Callable[[str, int, int], None] | None = None
) -> list[dict[str, Any]]:
    """Return a row of figures per kind of site; see ``SiteFigures`` for its columns, and ``test`` for the name."""
    told = partial(progress, f"testing on {test.name}") if progress else lambda done, of: None
    found, labels = answers(model.probabilities, test.labelled, width=model.window, progress=told)
    return [{"test": test.name, **asdict(figure)} for figure in site_figures(found, labels, test.labelled.names)]


def write_figures(path: Path, rows: Rows) -> None:
    """Write ``figures.json`` of a run's folder.

    Raises:
        OutputError: it cannot be written.
    """
    with whole_or_not(path / FIGURES) as temporary:
        temporary.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
