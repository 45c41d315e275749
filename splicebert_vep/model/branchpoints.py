"""A fine-tuned branchpoint model, ready to be asked: the probability of a branchpoint by nucleotide."""

from __future__ import annotations

from .nucleotides import NucleotideModel

#: Labels of the task, in the order of its probabilities.
LABELS = NEITHER, BRANCHPOINT = "neither", "branchpoint"
TASK = "branchpoints"


class BranchpointModel(NucleotideModel):
    """Run a model of ``finetune branchpoints``: p(neither) and p(branchpoint) of every nucleotide."""

    task = TASK
    known_labels = LABELS
