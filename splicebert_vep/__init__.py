"""Zero-shot splicing scores of a pre-mRNA language model for every allele of a VCF.

::

    from splicebert_vep import Annotator

    with Annotator("GRCh38.fa", "grch38") as annotator:
        print(annotator.score("chr17-43047641-A-C"))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .annotator import Annotator as Annotator
    from .embedding.embed import Embedding as Embedding
    from .embedding.embed import Embeddings as Embeddings
    from .errors import SpliceBertError as SpliceBertError
    from .joining.beside import Beside as Beside
    from .model.branchpoints import BranchpointModel as BranchpointModel
    from .model.sequences import SequenceModel as SequenceModel
    from .model.splice_sites import SpliceSiteModel as SpliceSiteModel
    from .mutagenesis.dependency import Dependency as Dependency
    from .mutagenesis.dependency import dependency_of as dependency_of
    from .mutagenesis.region_map import RegionMap as RegionMap
    from .mutagenesis.region_map import map_region as map_region
    from .oligos.oligos import oligos_of as oligos_of
    from .oligos.results import Oligo as Oligo
    from .oligos.results import Oligos as Oligos
    from .profile import Profile as Profile
    from .results import ScoredVariant as ScoredVariant
    from .sequence.windows import WindowShape as WindowShape
    from .settings import DeltaSettings as DeltaSettings
    from .settings import Settings as Settings
    from .summary import Summary as Summary
    from .training.branchpoints import finetune_branchpoints as finetune_branchpoints
    from .training.corpus import Source as Source
    from .training.recipe import FineTuneRecipe as FineTuneRecipe
    from .training.recipe import SequenceRecipe as SequenceRecipe
    from .training.recipe import Stage as Stage
    from .training.sequence_task import finetune_sequences as finetune_sequences
    from .training.splice_sites import finetune_splice_sites as finetune_splice_sites
    from .variants import Variant as Variant

__version__ = "0.1.0"

#: Public name -> where it lives. They are imported when asked for: torch takes seconds, and ``--help`` does without.
_PUBLIC = {
    "Annotator": "annotator",
    "Beside": "joining.beside",
    "BranchpointModel": "model.branchpoints",
    "DeltaSettings": "settings",
    "Dependency": "mutagenesis.dependency",
    "Embedding": "embedding.embed",
    "Embeddings": "embedding.embed",
    "FineTuneRecipe": "training.recipe",
    "Oligo": "oligos.results",
    "Oligos": "oligos.results",
    "Profile": "profile",
    "RegionMap": "mutagenesis.region_map",
    "ScoredVariant": "results",
    "SequenceModel": "model.sequences",
    "SequenceRecipe": "training.recipe",
    "Settings": "settings",
    "Source": "training.corpus",
    "SpliceBertError": "errors",
    "SpliceSiteModel": "model.splice_sites",
    "Stage": "training.recipe",
    "Summary": "summary",
    "Variant": "variants",
    "WindowShape": "sequence.windows",
    "dependency_of": "mutagenesis.dependency",
    "finetune_branchpoints": "training.branchpoints",
    "finetune_sequences": "training.sequence_task",
    "finetune_splice_sites": "training.splice_sites",
    "map_region": "mutagenesis.region_map",
    "oligos_of": "oligos.oligos",
}
__all__ = [*_PUBLIC, "__version__"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
