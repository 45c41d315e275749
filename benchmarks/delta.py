"""Whether delta scores tell ClinVar's pathogenic splice-site SNVs of BRCA1 from its benign deep-intronic ones.

    python benchmarks/delta.py clinvar.BRCA1.vcf.gz -R GRCh38.fa

Pathogenic and likely pathogenic SNVs in canonical dinucleotides of any transcript, against benign and likely benign
ones of the region class deep_intron (docs/scores.md). AUROC is the chance that one of the former scores more
disturbed than one of the latter (lower LLR), of those that have the score; n tells how many have. Average
precision on MFASS is ``splicebert-vep evaluate mfass.tsv --scores zero-shot,DELTA_P,delta``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

import click
from common import MODEL, genome, lines, print_table, say
from scipy.stats import mannwhitneyu

from splicebert_vep import Annotator, Settings, Variant
from splicebert_vep.scoring.percentiles import region_class
from splicebert_vep.settings import MASKS
from splicebert_vep_spec import Status

GENE = "BRCA1"
#: Region class, and what ClinVar says of the SNVs taken from it.
CHOSEN = {
    "canonical": ("Pathogenic", "Likely_pathogenic", "Pathogenic/Likely_pathogenic"),
    "deep_intron": ("Benign", "Likely_benign", "Benign/Likely_benign"),
}
#: Score -> the sign that makes larger mean more disturbed.
SCORES = {"LLR": -1, "PLLR": -1, "KL_CTX": 1, "KL_SS": 1, "DS_AG": 1, "DS_AL": 1, "DS_DG": 1, "DS_DL": 1, "DS_MAX": 1}


@click.command()
@click.argument("vcf", type=Path)
@genome
@MODEL
@click.option("--splice-model", default="auto")
@click.option("--delta-distance", type=int)
@click.option("--mask", type=click.Choice(MASKS), default="none")
def main(
    vcf: Path, reference: str, annotation: str, model: str, splice_model: str, delta_distance: int | None, mask: str
) -> None:
    """Print the table."""
    settings = Settings(scores=tuple(SCORES), delta_distance=delta_distance, mask=mask)
    with Annotator(reference, annotation, model=model, splice_model=splice_model, settings=settings) as annotator:
        print_areas(annotator, vcf, lambda kind, said: said in CHOSEN.get(kind, ()), SCORES)


def print_areas(
    annotator: Annotator, vcf: Path, wanted: Callable[[str, str | None], bool], scores: Mapping[str, int]
) -> None:
    """Print by score how well it tells canonical SNVs of the gene from deep-intronic SNVs.

    ``wanted`` takes the region class and ClinVar's CLNSIG; ``scores`` maps a score to the sign that makes larger mean
    more disturbed.
    """
    chosen: dict[str, list[Variant]] = {kind: [] for kind in CHOSEN}
    for line in lines(vcf):
        chrom, pos, _, ref, alt, _, _, info = line.split("\t")[:8] if line[0] != "#" else [""] * 8
        if len(ref) == len(alt) == 1 and alt in "ACGT":
            said = dict(item.partition("=")[::2] for item in info.split(";")).get("CLNSIG")
            for context in annotator.genes.contexts(chrom, int(pos) - 1, int(pos)):
                kind = region_class(context)
                if context.symbol == GENE and kind in chosen and wanted(kind, said):
                    chosen[kind].append(Variant(chrom, int(pos), ref, alt))
    say(", ".join(f"{kind} {len(snvs):,}" for kind, snvs in chosen.items()))
    found = [
        [
            outcome
            for result in annotator.score(snvs)
            for outcome in result.contexts
            if outcome.status == Status.OK and outcome.context and outcome.context.symbol == GENE
        ]
        for snvs in chosen.values()
    ]
    rows = []
    for name, sign in scores.items():
        sites, others = (
            [sign * value for one in outcomes if isinstance(value := one.values.get(name), float)] for outcomes in found
        )
        area = mannwhitneyu(sites, others).statistic / (len(sites) * len(others))
        medians = [f"{sign * statistics.median(values):.4g}" for values in (sites, others)]
        rows.append([name, str(len(sites)), str(len(others)), *medians, f"{area:.3f}"])
    print_table(["score", *(f"n {kind}" for kind in CHOSEN), *(f"median {kind}" for kind in CHOSEN), "AUROC"], rows)


if __name__ == "__main__":
    main()
