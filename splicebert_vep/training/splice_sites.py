"""Fine-tune a splice-site model on the genes of genomes, and test it on what was held out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from splicebert_vep.files import whole_or_not
from splicebert_vep.model.splice_sites import TASK, SpliceSiteModel

from .corpus import Source
from .finetune import finetune
from .recipe import FineTuneRecipe
from .site_metrics import site_figures
from .split import TestSet, split_genes
from .stitched import answers

FIGURES = "figures.json"


def finetune_splice_sites(
    sources: Sequence[Source],
    path: Path,
    *,
    hold_out: Sequence[str] = (),
    base: str = "splicebert-mini",
    recipe: FineTuneRecipe | None = None,
    validation_share: float = 0.05,
    test_nt: int = 3_000_000,
    device: torch.device | None = None,
    half: bool = False,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Path, list[dict[str, Any]]]:
    """Train and test; return the model's folder, and a row of figures per test set and kind of site.

    Args:
        sources: genomes, see ``split_genes`` for what is taken of them.
        path: the run's folder; a run that is there is gone on with, and tested again. ``figures.json`` has the rows.
        hold_out: ``SPECIES`` or ``SPECIES:CONTIG``.
        base: model to begin as, or ``random``.
        half: train in bf16.
        say, progress: told how it goes.

    Raises:
        SpliceBertError: see ``split_genes`` and ``finetune``.
    """
    recipe, device = recipe or FineTuneRecipe(), device or torch.device("cpu")
    split = split_genes(
        sources, hold_out, validation_share=validation_share, margin=recipe.window // 2 + 1, test_nt=test_nt
    )
    for name, part in (("training", split.training), ("validation", split.validation)):
        sites = ", ".join(f"{part.count(label):,} {label}s" for label in part.names[1:])
        say(f"{name}: {len(part.stretches):,} stretches, {part.nucleotides:,} nt, {sites}")
    for test in split.tests:
        say(f"test {test.name}: {test.labelled.nucleotides:,} nt; {test.paralogs} genes are left out as paralogs")
    folder = finetune(
        recipe, split.training, split.validation, base, path, task=TASK, device=device, half=half, say=say,
        progress=progress,
    )  # fmt: skip
    model = SpliceSiteModel(folder, device)
    rows = [row for test in split.tests for row in tested(model, test, progress)]
    with whole_or_not(path / FIGURES) as temporary:
        temporary.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return folder, rows


def tested(
    model: SpliceSiteModel, test: TestSet, progress: Callable[[str, int, int], None] | None = None
) -> list[dict[str, Any]]:
    """Return a row of figures per kind of site; see ``SiteFigures`` for its columns, and ``test`` for the name."""
    told = partial(progress, f"testing on {test.name}") if progress else lambda done, of: None
    found, labels = answers(model.probabilities, test.labelled, width=model.window, progress=told)
    return [{"test": test.name, **asdict(figure)} for figure in site_figures(found, labels, test.labelled.names)]
