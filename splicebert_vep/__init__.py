"""Splice sites and transcripts that the alleles of a VCF change, by splice-site networks and a language model.

::

    from splicebert_vep import Annotator

    with Annotator("GRCh38.fa", "grch38") as annotator:
        print(annotator.score("chr17-43047641-A-C"))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .annotator import Annotator as Annotator
    from .errors import SpliceBertError as SpliceBertError
    from .joins.join import Joins as Joins
    from .model.tuned import BranchpointModel as BranchpointModel
    from .model.tuned import SequenceModel as SequenceModel
    from .model.tuned import SpliceSiteModel as SpliceSiteModel
    from .results import ScoredVariant as ScoredVariant
    from .results import Summary as Summary
    from .settings import Settings as Settings
    from .tools.embed import Embedding as Embedding
    from .tools.embed import Embeddings as Embeddings
    from .tools.embed import embed as embed
    from .tools.map import Dependency as Dependency
    from .tools.map import RegionMap as RegionMap
    from .tools.map import dependency_of as dependency_of
    from .tools.map import map_region as map_region
    from .tools.oligo import Oligo as Oligo
    from .tools.oligo import Oligos as Oligos
    from .tools.oligo import oligos_of as oligos_of
    from .tools.plot import Profile as Profile
    from .tools.plot import profile as profile
    from .train.corpus import Source as Source
    from .train.finetune import finetune_branchpoints as finetune_branchpoints
    from .train.finetune import finetune_splice_sites as finetune_splice_sites
    from .train.loop import Machine as Machine
    from .train.recipe import FineTuneRecipe as FineTuneRecipe
    from .train.recipe import SequenceRecipe as SequenceRecipe
    from .train.recipe import Stage as Stage
    from .train.sequences import finetune_sequences as finetune_sequences
    from .variants import Variant as Variant

from .version import __version__ as __version__

#: Public name -> where it lives. They are imported when asked for: torch takes seconds, and ``--help`` does without.
_PUBLIC = {
    "Annotator": "annotator",
    "BranchpointModel": "model.tuned",
    "Dependency": "tools.map",
    "Embedding": "tools.embed",
    "Embeddings": "tools.embed",
    "FineTuneRecipe": "train.recipe",
    "Joins": "joins.join",
    "Machine": "train.loop",
    "Oligo": "tools.oligo",
    "Oligos": "tools.oligo",
    "Profile": "tools.plot",
    "RegionMap": "tools.map",
    "ScoredVariant": "results",
    "SequenceModel": "model.tuned",
    "SequenceRecipe": "train.recipe",
    "Settings": "settings",
    "Source": "train.corpus",
    "SpliceBertError": "errors",
    "SpliceSiteModel": "model.tuned",
    "Stage": "train.recipe",
    "Summary": "results",
    "Variant": "variants",
    "dependency_of": "tools.map",
    "embed": "tools.embed",
    "finetune_branchpoints": "train.finetune",
    "finetune_sequences": "train.sequences",
    "finetune_splice_sites": "train.finetune",
    "map_region": "tools.map",
    "oligos_of": "tools.oligo",
    "profile": "tools.plot",
}
__all__ = [*_PUBLIC, "__version__"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
