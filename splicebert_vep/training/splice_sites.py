"""Fine-tune a splice-site model on the genes of genomes, and test it on what was held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from splicebert_vep.model.registry import DEFAULT_MODEL
from splicebert_vep.model.splice_sites import SpliceSiteModel

from .corpus import Source
from .gene_tasks import Rows, finetune_on_genes
from .recipe import FineTuneRecipe
from .split import exon_edges


def finetune_splice_sites(
    sources: Sequence[Source],
    path: Path,
    *,
    hold_out: Sequence[str] = (),
    base: str = DEFAULT_MODEL,
    recipe: FineTuneRecipe | None = None,
    validation_share: float = 0.05,
    test_nt: int = 3_000_000,
    device: torch.device | None = None,
    half: bool = False,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Path, Rows]:
    """Train and test; return the model's folder, and a row of figures per test set and kind of site.

    Args:
        sources: genomes, of which protein-coding and lncRNA genes are taken.
        path: the run's folder; a run that is there is gone on with, and tested again. ``figures.json`` has the rows.
        hold_out: ``SPECIES`` or ``SPECIES:CONTIG``.
        base: model to begin as, or ``random``.
        recipe: how it is trained; None for the default.
        validation_share: of the genes that are not held out, those that stop the training.
        test_nt: about how many nucleotides of a held-out contig are tested, in whole genes.
        device: None for the CPU.
        half: train in bf16.
        say, progress: told how it goes.

    Raises:
        SettingsError: scikit-learn is not installed, what is to be held out is not there, the folder holds another run,
            another process trains in it, or the training diverged.
        CorpusError: there is no gene, or no site of a kind, to train on or to stop by.
        ModelError: the model to begin as cannot be loaded.
        OutputError: something cannot be written.
        SpliceBertError: a reference or annotation cannot be read.
    """
    return finetune_on_genes(
        SpliceSiteModel, exon_edges, sources, path, hold_out=hold_out, base=base, recipe=recipe,
        validation_share=validation_share, test_nt=test_nt, device=device, half=half, say=say, progress=progress,
    )  # fmt: skip
