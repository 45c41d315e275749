"""The built-in backends, scorers and adapters; they come through the same door as any plugin's."""

from __future__ import annotations

from collections.abc import Sequence

from splicebert_vep_spec import Adapter, BackendFactory, JoinAdapter, Scorer, SequenceScorer, hookimpl

from .adapters.csq import CsqAdapter
from .adapters.flat import FlatAdapter
from .adapters.joins.pangolin import pangolin_join
from .adapters.joins.spliceai import spliceai_joins
from .adapters.joins.table import TableJoin
from .adapters.parquet import ParquetAdapter
from .adapters.text import JsonlAdapter, TsvAdapter
from .adapters.vep import VepAdapter
from .delta.scorer import DeltaScorer
from .model.backend import TorchBackendFactory
from .model.null import NullBackendFactory
from .scoring.divergence import DivergenceScorer
from .scoring.embedding import EmbeddingScorer
from .scoring.likelihood import LikelihoodScorer


@hookimpl
def register_backends() -> Sequence[BackendFactory]:
    return [TorchBackendFactory(), NullBackendFactory()]


@hookimpl
def register_scorers() -> Sequence[Scorer | SequenceScorer]:
    return [LikelihoodScorer(), DivergenceScorer(), EmbeddingScorer(), DeltaScorer()]


@hookimpl
def register_adapters() -> Sequence[Adapter]:
    return [FlatAdapter(), VepAdapter(), CsqAdapter(), TsvAdapter(), JsonlAdapter(), ParquetAdapter()]


@hookimpl
def register_joins() -> Sequence[JoinAdapter]:
    return [*spliceai_joins(), pangolin_join(), TableJoin()]
