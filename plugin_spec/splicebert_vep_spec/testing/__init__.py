"""Tests that every plugin object has to pass; the built-ins pass them too.

Subclass one in a test module and name the object; pytest finds the tests::

    class TestGcContent(ScorerConformance):
        scorer = GcContent()
        tensor = staticmethod(torch.tensor)

Nothing here imports torch, numpy or pytest: what is needed of them is given as a class attribute.
"""

from ._adapters import (
    InfoAdapterConformance,
    MergingAdapterConformance,
    TableAdapterConformance,
    TextAdapterConformance,
)
from ._backends import BackendConformance
from ._commands import CommandConformance
from ._joins import JoinAdapterConformance, MadeUpTable, sample_queries
from ._samples import sample_batch, sample_reports, sample_run
from ._scorers import ScorerConformance
from ._sequence import MadeUpBases, SequenceScorerConformance, sample_alleles

__all__ = [
    "BackendConformance",
    "CommandConformance",
    "InfoAdapterConformance",
    "JoinAdapterConformance",
    "MadeUpBases",
    "MadeUpTable",
    "MergingAdapterConformance",
    "ScorerConformance",
    "SequenceScorerConformance",
    "TableAdapterConformance",
    "TextAdapterConformance",
    "sample_alleles",
    "sample_batch",
    "sample_queries",
    "sample_reports",
    "sample_run",
]
