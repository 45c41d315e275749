"""``splicebert-vep tracks``: p(acceptor) and p(donor) along a gene, for genome browsers."""

from __future__ import annotations

from typing import Any

import click
import cloup

from ..progress import progress_bar
from .options import (
    PATH,
    annotation_option,
    check_targets,
    device_option,
    knob,
    open_annotator,
    reference_option,
    say,
    splice_model_option,
    warn,
)

_EPILOG = """\b
Examples:
  splicebert-vep tracks BRCA1 -R GRCh38.fa -o BRCA1.bw
  splicebert-vep tracks chr17:43045000-43050000 -R GRCh38.fa -o region.bedGraph
  splicebert-vep tracks chr17-43047641-A-C -R GRCh38.fa -D 500 -o variant.bw
  splicebert-vep tracks BRCA1 --vcf haplotype.vcf.gz -R GRCh38.fa -o haplotype.bw
  splicebert-vep tracks BRCA1 -R GRCh38.fa -o sites.bed
  splicebert-vep tracks 'BRCA1:c.5467+2T>G' -R GRCh38.fa --igv igv
\b
What igv-reports does with the last:
  create_report igv/sites.bed --fasta GRCh38.fa --track-config igv/tracks.json --output page.html
"""


@cloup.command(epilog=_EPILOG)
@cloup.argument("where", metavar="REGION|GENE|VARIANT")
@cloup.option_group(
    "Input and output",
    reference_option,
    annotation_option,
    cloup.option("-o", "--output", "target", type=PATH, metavar="FILE",
                 help="FILE.bw or FILE.bedGraph: a file for each track, FILE.acceptor.ref.bw and so on. FILE.bed: "
                 "predicted sites."),
    cloup.option("--igv", type=PATH, metavar="FOLDER",
                 help="Write bedGraph tracks, sites.bed and tracks.json, as igv-reports takes them, into it."),
    cloup.option("--vcf", type=PATH, metavar="FILE",
                 help="Put its records in the region or gene onto one sequence, whatever their genotypes, for ALT."),
    cloup.option("--gene", metavar="SYMBOL|ID",
                 help="Where there are several. Default: of a variant as 'score' reports; of a region the only one, or "
                 "the only protein-coding one."),
    cloup.option("--least", type=click.FloatRange(0, 1, min_open=True), default=0.1, show_default=True, metavar="P",
                 help="p of REF or ALT from which a nucleotide is a predicted site of FILE.bed."),
    cloup.option("--ucsc", is_flag=True, help="Write UCSC's names, chr17 for 17. Default: names of the FASTA."),
)  # fmt: skip
@cloup.option_group(
    "What is computed", splice_model_option, knob("delta_distance"), knob("outside"), knob("trust_build")
)
@cloup.option_group("Model and machine", device_option, knob("threads"))
def tracks(
    where: str, target: str | None, igv: str | None, vcf: str | None, gene: str | None, least: float, ucsc: bool,
    **model: Any,
) -> None:  # fmt: skip
    """Write p(acceptor) and p(donor) as tracks for IGV and UCSC.

    Of a region or gene every nucleotide has p(REF); with --vcf also p(ALT) and the difference. Of a variant the
    nucleotides that its delta scores look at have all three. Positions are those of the reference: a deleted base
    has p(ALT) 0, inserted bases count with a base beside them, as for delta scores. An acceptor is the first base of
    an exon, a donor the last. What the model does not see, N and outside of the gene, has no value.
    """
    from ..tools.tracks import SIDES, Tracks, outputs_of, save

    if target is None and igv is None:
        raise click.UsageError("nothing to write: give -o FILE, --igv FOLDER, or both")
    check_targets(outputs_of(target, None, SIDES), model, vcf)
    with open_annotator(**model, scores=("delta",)) as annotator:
        say(annotator.note)
        made = Tracks(annotator)
        asked = made.find(where, gene, vcf)
        for text in asked.warnings:
            warn(text)
        annotator.check_targets(outputs_of(target, igv, asked.sides), [vcf] if vcf else [])
        with progress_bar() as progress:
            written = save(made, asked, target, igv, least=least, ucsc=ucsc, progress=progress)
    for path in written:
        say(f"wrote {path}")
    place = f"{asked.contig}:{asked.start + 1:,}-{asked.end:,}"
    say(f"{place} in {asked.title}; {len(asked.alleles):,} alleles" if asked.alleles else f"{place} in {asked.title}")
