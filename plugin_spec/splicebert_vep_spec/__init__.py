"""The contract between splicebert-vep and its plugins.

A plugin is a module with functions marked ``@hookimpl``, named in an entry point of group ``splicebert_vep``. The
functions return objects that fulfil the protocols ``BackendFactory``, ``Scorer``, ``SequenceScorer``, ``InfoAdapter``,
``MergingAdapter``, ``TextAdapter``, ``TableAdapter``, ``JoinAdapter``, ``Command``. ``splicebert_vep_spec.testing``
holds tests that every such object has to pass.
"""

from ._adapters import (
    Adapter,
    InfoAdapter,
    InfoField,
    Merger,
    MergingAdapter,
    RunInfo,
    TableAdapter,
    TableWriter,
    TextAdapter,
)
from ._backends import (
    CLS,
    MASK,
    NUCLEOTIDES,
    PAD,
    SEP,
    UNK,
    A,
    AttentiveBackend,
    Backend,
    BackendFactory,
    BackendInfo,
    BackendOptions,
    BackendOutput,
    C,
    G,
    LayeredBackend,
    LocalBackend,
    N,
    T,
)
from ._bases import Bases
from ._commands import Command
from ._errors import Refused
from ._fields import FieldSpec
from ._format import escape_info, format_number, format_value
from ._hooks import PROJECT, hookimpl, hookspec
from ._joins import IndexedTable, JoinAdapter, JoinQuery, JoinRequest, OpenJoin
from ._scorers import (
    NEEDS,
    NEEDS_HIDDEN,
    NEEDS_MASKED,
    NEEDS_PAIRS,
    AlignedBatch,
    MaskedSite,
    Scorer,
    SequenceScorer,
    Side,
)
from ._types import (
    Allele,
    AlleleReport,
    GeneContext,
    Interval,
    RecordReport,
    ScoredContext,
    Skipped,
    Status,
    Value,
)

__version__ = "0.1.0"

__all__ = [
    "A",
    "Adapter",
    "AlignedBatch",
    "Allele",
    "AlleleReport",
    "AttentiveBackend",
    "Backend",
    "BackendFactory",
    "BackendInfo",
    "BackendOptions",
    "BackendOutput",
    "Bases",
    "C",
    "CLS",
    "Command",
    "FieldSpec",
    "G",
    "GeneContext",
    "IndexedTable",
    "InfoAdapter",
    "InfoField",
    "Interval",
    "JoinAdapter",
    "JoinQuery",
    "JoinRequest",
    "LayeredBackend",
    "LocalBackend",
    "MASK",
    "MaskedSite",
    "Merger",
    "MergingAdapter",
    "N",
    "NEEDS",
    "NEEDS_HIDDEN",
    "NEEDS_MASKED",
    "NEEDS_PAIRS",
    "NUCLEOTIDES",
    "OpenJoin",
    "PAD",
    "PROJECT",
    "RecordReport",
    "Refused",
    "RunInfo",
    "SEP",
    "ScoredContext",
    "Scorer",
    "SequenceScorer",
    "Side",
    "Skipped",
    "Status",
    "T",
    "TableAdapter",
    "TableWriter",
    "TextAdapter",
    "UNK",
    "Value",
    "escape_info",
    "format_number",
    "format_value",
    "hookimpl",
    "hookspec",
]
