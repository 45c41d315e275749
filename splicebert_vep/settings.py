"""Every knob of a run, once: command-line options, Python arguments, provenance and digests are read from here."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from splicebert_vep_spec import BackendInfo, FieldSpec

from .errors import SettingsError
from .model.registry import DEFAULT_MODEL, DEFAULT_SPLICE_MODEL, PREFERRED_SPLICE_MODEL

if TYPE_CHECKING:
    from .sequence.windows import WindowShape

#: Raised by one whenever the same input can give another score; named under "Scores" in CHANGELOG.md.
SCORE_VERSION = 3

DISCLAIMER = "zero-shot scores, not calibrated to ACMG/AMP evidence, no PP3/BP4 threshold"

#: The score by which flat output chooses between genes that are otherwise equal.
CHOICE = "KL_CTX"

#: The field about the window that every run reports after the scores.
N_FRAC = FieldSpec("N_FRAC", "A", "Float", "Share of the REF window that is not A, C, G or T in the reference")

#: Percentiles, which come from a calibration table, and the score that each is of.
PERCENTILES = {"PCTL_KL_CTX": "KL_CTX", "PCTL_LLR": "LLR"}
REGION_CLASS = FieldSpec("REGION_CLASS", "A", "String", "Region class that the percentiles are of, see docs/scores.md")

_HIT = "donor, acceptor or both: the allele touches an annotated splice-site dinucleotide"

#: Columns about the gene and the place in it, in output order, by the attribute of ``GeneContext`` that each shows.
CONTEXT_FIELDS = {
    "symbol": FieldSpec("SYMBOL", "A", "String", "Gene symbol"),
    "gene_id": FieldSpec("GENE", "A", "String", "Gene id"),
    "transcript_id": FieldSpec("TRANSCRIPT", "A", "String", "Reported transcript"),
    "strand": FieldSpec("STRAND", "A", "String", "Strand of the gene"),
    "region": FieldSpec(
        "REGION", "A", "String",
        "Of the reported transcript: CDS, 5_prime_UTR, 3_prime_UTR, exon or intron; upstream or downstream of it",
    ),
    "site_offset": FieldSpec(
        "SITE_OFFSET", "A", "String",
        "Place beside the nearest exon of the reported transcript: +5 or -12 intronic as in HGVS; 3 exonic, from the "
        "nearest splice site (1 = edge base)",
    ),
    "distance": FieldSpec(
        "DISTANCE", "A", "Integer",
        "nt to the nearest splice site of the reported transcript: 1 = base beside an exon's edge, on either side; 0 = "
        "across the edge",
    ),
    "site_hit": FieldSpec("SITE_HIT", "A", "String", f"{_HIT} of the reported transcript"),
    "exon": FieldSpec("EXON", "A", "String", "Exon number / number of exons of the reported transcript"),
    "intron": FieldSpec("INTRON", "A", "String", "Intron number / number of introns of the reported transcript"),
    "other_region": FieldSpec(
        "OTHER_REGION", "A", "String",
        "exon or intron of another transcript, whose exon or splice site is nearer than the reported transcript's",
    ),
    "other_offset": FieldSpec("OTHER_OFFSET", "A", "String", "Place there, written as SITE_OFFSET"),
    "other_site_hit": FieldSpec("OTHER_SITE_HIT", "A", "String", f"{_HIT} that only other transcripts have"),
    "hgvsc": FieldSpec("HGVSC", "A", "String", "HGVS name on the reported transcript, c. or n."),
    "hgvsg": FieldSpec("HGVSG", "A", "String", "HGVS name on the chromosome"),
}  # fmt: skip

#: Names of output columns that no scorer may take.
RESERVED_FIELDS = (
    "ALLELE", *(field.id for field in CONTEXT_FIELDS.values()), "NGENES", "STATUS",
    "CHROM", "POS", "ID", "REF", "ALT", "START", "SPAN_REF", "SPAN_ALT", "TRANSCRIPT_CHOICE", "BIOTYPE", "REASON",
    "GENE_KEY", *PERCENTILES, REGION_CLASS.id, N_FRAC.id,
)  # fmt: skip

#: Words of ``--scores`` that stand for several fields: every default one, and all of the delta scorer.
ZERO_SHOT, DELTA = "zero-shot", "delta"
GROUPS = (ZERO_SHOT, DELTA)

#: Farthest that a delta score looks, nt.
FARTHEST = 5000

#: DS_MAX from which a gene comes first in flat output, whatever the place of the allele in it; and from which a run
#: counts an allele as disturbing where its splice-site model was measured at no threshold.
DISTURBED = 0.2

#: When a gain at an annotated site and a loss elsewhere are set to 0: never, or before or after the largest is taken.
MASKS = ("none", "after", "before")

#: Names of the program's own commands, which no plugin may take.
RESERVED_COMMANDS = (
    "annotate", "score", "cohort", "store", "saturate", "genes", "models", "calibrate", "corpus", "pretrain",
    "validate", "evaluate", "plugins", "doctor", "report", "plot", "map", "embed", "finetune",
    "oligo", "top", "serve", "tracks",
)  # fmt: skip

#: Random SNVs of a class that a table needs; with fewer a percentile means little.
LEAST = 100


def _knob(default: Any, help: str, *, provenance: str = "", **option: Any) -> Any:  # noqa: A002
    """Return a field of ``Settings``.

    Args:
        help: of the command-line option, which has the field's name with dashes; empty where there is no option.
        provenance: name in the provenance line, of a value that goes there as it is.
        option: more arguments of the click option; ``choices`` are the words it takes, ``least`` its smallest number.
    """
    return field(default=default, metadata={"help": help, "provenance": provenance, **option})


@dataclass(frozen=True, slots=True)
class Settings:
    """The knobs of a run.

    ``Annotator("x.fa", "grch38", scores="LLR,KL_SS", window=510)`` takes them as keyword arguments.
    """

    model: str = _knob(DEFAULT_MODEL, "The model; 'models list' shows the names.", metavar="NAME|FOLDER")
    backend: str = _knob("torch", "Runs the model; 'null' is no model, for tests of speed.", metavar="NAME")
    device: str = _knob(
        "auto", "Where the model runs; auto is a CUDA GPU where there is one, else the CPU.",
        choices=("auto", "cpu", "cuda", "mps"),
    )  # fmt: skip
    precision: str = _knob(
        "auto", "auto is fp32 on a CPU; on a GPU half precision if a check at the start finds the same ranking.",
        choices=("auto", "fp32", "fp16", "bf16"),
    )  # fmt: skip
    batch_tokens: int | None = _knob(
        None, "Tokens in one forward pass. Default: the number that suits the device.", metavar="N", least=1
    )
    threads: int | None = _knob(None, "CPU threads. Default: torch's choice.", metavar="N", least=1)
    scores: tuple[str, ...] = _knob(
        (), "Scores to compute, e.g. DS_MAX,KL_SS; 'plugins' shows all. delta: those of a splice-site model, and "
        "zero-shot: those of SpliceBERT, are the default. PCTL_LLR, PCTL_KL_CTX: percentiles.",
        metavar="FIELD,...",
    )  # fmt: skip
    calibration: str | None = _knob(
        None, "Table of 'calibrate', for percentiles. Default: the bundled model's own, where its scores are the same.",
        metavar="FILE", path=True,
    )  # fmt: skip
    splice_model: str = _knob(
        "auto",
        "Model of the delta scores: a name of 'plugins', or 'model' of a run of 'finetune splice-sites'. auto is "
        f"{PREFERRED_SPLICE_MODEL} where its plugin is installed, else {DEFAULT_SPLICE_MODEL}.",
        metavar="NAME|FOLDER",
    )
    delta_distance: int | None = _knob(
        None, f"How far around the allele delta scores look, 1 to {FARTHEST}, as far as the model sees. Default: the "
        "model's own.",
        metavar="NT", least=1, short="-D",
    )  # fmt: skip
    mask: str = _knob(
        "none", "Delta scores: a gain at an annotated site, and a loss where none is annotated, count 0; before the "
        "largest is taken, or after, as in SpliceAI. 0 is none, 1 is after.",
        choices=MASKS, short="-M", words={"0": "none", "1": "after"},
    )  # fmt: skip
    outside: bool = _knob(
        False, "Delta scores: show the genome's own bases outside of the gene to a model that was made for N there.",
    )  # fmt: skip
    window: int = _knob(510, "Bases that the model sees at once.", metavar="NT", provenance="Window")
    flank: int = _knob(100, "Bases on each side of the allele that count.", metavar="NT", provenance="Flank")
    trust_build: bool = _knob(
        False, "You vouch that VCF, FASTA and annotation are of one build though contigs differ in length: a FASTA "
        "cut from a genome. Bases and splice sites are still compared.", provenance="TrustBuild",
    )  # fmt: skip
    chunk_records: int = _knob(1024, "")  # records that flow through the pipeline together; bounds memory

    def __post_init__(self) -> None:
        scores: Any = self.scores
        words = scores.split(",") if isinstance(scores, str) else scores or ()
        object.__setattr__(self, "scores", tuple(word for word in words if word))
        for name in ("model", "splice_model", "calibration"):
            value: Any = getattr(self, name)
            if isinstance(value, os.PathLike):  # a path is never the name of a model
                object.__setattr__(self, name, os.path.abspath(value))
        if self.flank < 1 or self.window < 2 * self.flank + 1:
            needed = "--flank of at least 1 and --window of at least 2 x flank + 1"
            found = f"--window {self.window} --flank {self.flank}"
            raise SettingsError("The window has no room for the flanks.", needed=needed, found=found)
        if self.mask not in MASKS:
            raise SettingsError(f"--mask {self.mask} is no mask.", needed=" or ".join(MASKS))
        if self.delta_distance is not None and not 1 <= self.delta_distance <= FARTHEST:
            raise SettingsError(f"--delta-distance {self.delta_distance}: delta scores look 1 to {FARTHEST} nt far.")
        if (self.batch_tokens is not None and self.batch_tokens < 1) or self.chunk_records < 1:
            raise SettingsError("Batch tokens and chunk records must be at least 1.")

    @property
    def shape(self) -> WindowShape:
        """Width and flank of the windows."""
        from .sequence.windows import WindowShape  # numpy: here, so that --help stays fast

        return WindowShape(self.window, self.flank)

    def provenance(self, *names: str) -> dict[str, str]:
        """Return the values of some knobs under their names in the provenance line."""
        keys = {knob.name: knob.metadata["provenance"] for knob in fields(self)}
        return {keys[name]: str(getattr(self, name)) for name in names}


def check_window(shape: WindowShape, info: BackendInfo) -> None:
    """Raise SettingsError when the model was not trained for windows of this width."""
    found = f"--window {shape.width}"
    if info.fixed_window is not None and shape.width != info.fixed_window:
        problem = f"Model {info.model} takes windows of one length only."
        raise SettingsError(problem, needed=f"--window {info.fixed_window}", found=found)
    if shape.width > info.max_window:
        problem = f"The window is wider than model {info.model} was trained for."
        raise SettingsError(problem, needed=f"--window of at most {info.max_window}", found=found)
