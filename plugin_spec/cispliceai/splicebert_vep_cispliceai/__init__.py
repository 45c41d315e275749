"""CI-SpliceAI (Strauch et al. 2022, 10.1371/journal.pone.0269159) as a splice-site model of splicebert-vep."""

from __future__ import annotations

from collections.abc import Sequence

from splicebert_vep_spec import SpliceModel, hookimpl


@hookimpl
def register_splice_models() -> Sequence[type[SpliceModel]]:
    from .network import CiSpliceAi  # here: torch takes a second to import, and --help needs none

    return [CiSpliceAi]
