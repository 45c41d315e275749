"""``splicebert-vep plot``: the picture of one variant."""

from __future__ import annotations

from typing import Any

import cloup

from splicebert_vep.variants import Variant

from .complete import PATH
from .console import introduce, say
from .options import (
    annotation_option,
    computed_options,
    machine_options,
    open_annotator,
    reference_option,
)

_EPILOG = """\b
Examples:
  splicebert-vep plot chr17-43071077-T-C -R GRCh38.fa -o variant.png
  splicebert-vep plot 17:43047641:A:C -R GRCh38.fa --gene BRCA1 -o variant.svg
"""


@cloup.command(epilog=_EPILOG)
@cloup.argument("variant", metavar="CHROM-POS-REF-ALT")
@cloup.option_group(
    "Input and output",
    reference_option,
    annotation_option,
    cloup.option("-o", "--output", "target", required=True, type=PATH, metavar="FILE", help=".png, .svg or .pdf."),
    cloup.option("--gene", metavar="SYMBOL|ID", help="Where the variant lies in several. Default: as 'score' reports."),
)
@computed_options
@machine_options
def plot(variant: str, target: str, gene: str | None, **model: Any) -> None:
    """Draw one variant: KL divergence and logos of REF and ALT.

    The variant is given as for 'score'. From top to bottom: exons and introns in transcript direction; how much the
    model's expectation of each base changes; its probabilities of A, C, G, T at the splice sites and the variant.
    """
    from splicebert_vep.report.drawing import check_picture, save
    from splicebert_vep.report.picture import draw

    asked = Variant.parse(variant)
    check_picture(target)
    with open_annotator(**model) as annotator:
        introduce(annotator.backend.info)
        save(draw(annotator.profile(asked, gene)), target)
    say(f"wrote {target}")
