"""A fine-tuned splice-site model, ready to be asked: the probability of an acceptor and of a donor by nucleotide."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from .nucleotides import NucleotideModel
from .registry import DEFAULT_SPLICE_MODEL, resolve_splice_model

#: Labels of the task, in the order of its probabilities. An acceptor is the first nucleotide of an exon, a donor the
#: last: the convention of SpliceAI (Jaganathan et al. 2019, 10.1016/j.cell.2018.12.015).
LABELS = NEITHER, ACCEPTOR, DONOR = "neither", "acceptor", "donor"
TASK = "splice-sites"


class SpliceSiteModel(NucleotideModel):
    """Run a model of ``finetune splice-sites``: p(neither), p(acceptor) and p(donor) of every nucleotide."""

    task = TASK
    known_labels = LABELS

    @classmethod
    def open(cls, folder: str | Path = DEFAULT_SPLICE_MODEL, device: str = "auto", threads: int | None = None) -> Self:
        """Load the bundled model by its name, or that of a folder that ``finetune splice-sites`` wrote.

        Args:
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
            threads: CPU threads; None leaves torch's.

        Raises:
            ModelError: there is no such model, or the folder does not hold what it should.
            SettingsError: the device is not there.
        """
        return super().open(resolve_splice_model(folder), device, threads)
