"""The contract between splicebert-vep and its plugins.

A plugin is a module with functions marked ``@hookimpl``, named in an entry point of group ``splicebert_vep``. The
functions return subclasses of ``Backend``, ``SpliceModel``, or objects of subclasses of
``Scorer``, ``SequenceScorer``, ``InfoAdapter``, ``ColumnAdapter``, ``MergingAdapter``, ``TextAdapter``,
``TableAdapter``, ``JoinAdapter`` and ``Command``. ``splicebert_vep_spec.testing`` holds tests that all of them have to
pass.
"""

# ruff: noqa: F403, F405
from .hooks import *
from .joins import *
from .models import *
from .outputs import *
from .values import *

__version__ = "0.1.0"

__all__ = [
    "A", "Adapter", "AlignedBatch", "Allele", "AlleleReport", "Backend", "BackendInfo", "BackendOptions",
    "BackendOutput", "Bases", "C", "CLS", "ColumnAdapter", "Command", "Edit", "FieldSpec", "G", "GeneContext",
    "IndexedTable",
    "InfoAdapter", "InfoField", "Interval", "JoinAdapter", "JoinQuery", "JoinRequest", "MASK", "MaskedSite", "Merger",
    "MergingAdapter", "N", "NEEDS", "NEEDS_HIDDEN", "NEEDS_MASKED", "NEEDS_PAIRS", "NUCLEOTIDES", "OpenJoin",
    "OperatingPoint", "PAD",
    "PROJECT", "RecordReport", "Refused", "RunInfo", "SEP", "ScoredContext", "Scorer",
    "SequenceScorer", "Side", "Skipped", "SpliceModel", "SpliceModelInfo", "Status", "T", "TableAdapter",
    "TableWriter", "TextAdapter", "UNK", "Value", "escape_info", "format_number", "format_value",
    "hookimpl", "hookspec",
]  # fmt: skip
