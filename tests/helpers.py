"""Small stand-ins that tests build a pipeline from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace

from splicebert_vep.model.engine import Engine
from splicebert_vep.model.null import NullBackend
from splicebert_vep.plugins import GuardedBackend, load_plugins
from splicebert_vep.scoring.pipeline import Pipeline, Scoring
from splicebert_vep.scoring.plan import plan_scores, with_choice
from splicebert_vep.sequence.windows import WindowShape
from splicebert_vep.settings import Settings
from splicebert_vep_spec import Backend, GeneContext, Interval, hookimpl

SHARED = Path(__file__).resolve().parents[2] / "shared"

ALL_SCORES = (
    "LLR", "PLLR", "DELTA_P", "KL_CTX", "KL_DONOR", "KL_ACCEPTOR", "KL_SS", "N_SITES", "KL_MAX", "KL_MAX_POS",
    "EMB_COS", "EMB_L2",
)  # fmt: skip


@dataclass
class FakeReference:
    """Contigs as strings, upper-case."""

    sequences: dict[str, str]

    @property
    def lengths(self) -> dict[str, int]:
        return {name: len(bases) for name, bases in self.sequences.items()}

    def find(self, contig: str) -> str | None:
        return contig if contig in self.sequences else None

    def fetch(self, contig: str, start: int, end: int) -> bytes:
        return self.sequences[contig][max(0, start) : max(0, end)].encode()


@dataclass
class FakeGenes:
    """The same contexts everywhere, or none."""

    found: list[GeneContext]

    def contexts(self, contig: str, start: int, end: int) -> list[GeneContext]:
        return list(self.found)


@dataclass
class FakeRecord:
    chrom: str
    pos: int
    ref: str
    alts: tuple[str, ...]
    id: str = "."


def gene(gene_id="G1", strand="+", donor=None, acceptor=None, biotype="protein_coding", near_site=True) -> GeneContext:
    return GeneContext(
        gene_id=gene_id, symbol=gene_id, transcript_id=f"T{gene_id}", transcript_choice="longest_CDS", biotype=biotype,
        strand=strand, region="exon", site_offset="3", site_hit=None,
        donor=Interval(*donor) if donor else None, acceptor=Interval(*acceptor) if acceptor else None,
        near_site=near_site,
    )  # fmt: skip


@dataclass
class Counting:
    """A backend that counts what goes through another."""

    inner: Backend
    windows: list[int] = field(default_factory=list)

    @property
    def info(self):
        return self.inner.info

    def forward(self, tokens, positions):
        self.windows.append(len(tokens))
        return self.inner.forward(tokens, positions)


class Point:
    """Stand in for an entry point."""

    dist = SimpleNamespace(name="mine-package", version="2.5")

    def __init__(self, name, plugin):
        self.name, self.value, self.plugin = name, f"{name}_module", plugin

    def load(self):
        if isinstance(self.plugin, BaseException):
            raise self.plugin
        return self.plugin


def plugin(**hooks):
    """A module with these hooks."""
    module = ModuleType("mine")
    vars(module).update({name: hookimpl(hook) for name, hook in hooks.items()})
    return module


def pipeline(
    reference, genes, backend=None, *, width=200, flank=20, scores=ALL_SCORES, batch_tokens=4096, local=None, **shape
):
    settings = Settings(window=WindowShape(width, flank, **shape), scores=scores, batch_tokens=batch_tokens)
    plugins = load_plugins()
    scorers, origins = plugins.scorers, plugins.origins("scorer")
    plan = plan_scores(scorers, origins, settings)
    guarded = GuardedBackend(backend or NullBackend(), plugins.origins("backend")["null"])
    engine = Engine(guarded, flank=flank, batch_tokens=batch_tokens, local=local)
    scoring = Scoring(reference, genes, settings.window, engine, plan, with_choice(plan, scorers, origins))
    return Pipeline(reference, scoring)
