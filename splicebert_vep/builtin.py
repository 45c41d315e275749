"""The built-in backends, scorers and adapters; they come through the same door as any plugin's."""

from __future__ import annotations

from collections.abc import Sequence

from splicebert_vep_spec import Adapter, Backend, JoinAdapter, Scorer, SequenceScorer, SpliceModel, hookimpl

from .joins.spliceai import OpenSpliceAiJoin, PangolinJoin, SpliceAiJoin
from .joins.table import TableJoin
from .model.backend import TorchBackend
from .model.null import NullBackend, NullSpliceModel
from .model.tuned import WindowSpliceModel
from .outputs.csq import CsqAdapter
from .outputs.flat import FlatAdapter
from .outputs.layout import SpliceAiLayoutAdapter
from .outputs.tables import JsonlAdapter, ParquetAdapter, TsvAdapter
from .outputs.vep import VepAdapter
from .scoring.delta import DeltaScorer
from .scoring.scorers import DivergenceScorer, EmbeddingScorer, LikelihoodScorer


@hookimpl
def register_backends() -> Sequence[type[Backend]]:
    return [TorchBackend, NullBackend]


@hookimpl
def register_splice_models() -> Sequence[type[SpliceModel]]:
    return [WindowSpliceModel, NullSpliceModel]


@hookimpl
def register_scorers() -> Sequence[Scorer | SequenceScorer]:
    return [DeltaScorer(), LikelihoodScorer(), DivergenceScorer(), EmbeddingScorer()]


@hookimpl
def register_adapters() -> Sequence[Adapter]:
    info = [FlatAdapter(), VepAdapter(), SpliceAiLayoutAdapter(), CsqAdapter()]
    return [*info, TsvAdapter(), JsonlAdapter(), ParquetAdapter()]


@hookimpl
def register_joins() -> Sequence[JoinAdapter]:
    return [SpliceAiJoin(), OpenSpliceAiJoin(), PangolinJoin(), TableJoin()]
