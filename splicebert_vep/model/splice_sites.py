"""A fine-tuned splice-site model, ready to be asked: the probability of an acceptor and of a donor by nucleotide."""

from __future__ import annotations

from .nucleotides import NucleotideModel

#: Labels of the task, in the order of its probabilities. An acceptor is the first nucleotide of an exon, a donor the
#: last: the convention of SpliceAI (Jaganathan et al. 2019, 10.1016/j.cell.2018.12.015).
LABELS = NEITHER, ACCEPTOR, DONOR = "neither", "acceptor", "donor"
TASK = "splice-sites"


class SpliceSiteModel(NucleotideModel):
    """Run a model of ``finetune splice-sites``: p(neither), p(acceptor) and p(donor) of every nucleotide."""

    task = TASK
    known_labels = LABELS
