"""``splicebert-vep report``: an annotated file as one page that people read; and numbers for MultiQC."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
import cloup
from click.core import ParameterSource

from splicebert_vep import __version__
from splicebert_vep.errors import SettingsError, suggestion

from .complete import PATH
from .console import introduce, progress_line, say
from .options import annotation_option, machine_options, opening_of

if TYPE_CHECKING:
    from splicebert_vep.report.collecting import Collected
    from splicebert_vep.report.page import Picture
    from splicebert_vep.report.reading import AnnotatedVcf

#: KL_SS was measured best, here (docs/models.md) and in the published figures.
_USUAL = ("KL_SS", "KL_CTX")
_EPILOG = """\b
Examples:
  splicebert-vep report out.vcf.gz -o report.html
  splicebert-vep report out.vcf.gz -R GRCh38.fa -o report.html --by KL_SS --pictures 5
  splicebert-vep report out.vcf.gz --multiqc qc/ --sample S1
"""


@cloup.command(epilog=_EPILOG)
@cloup.argument("source", metavar="IN", type=PATH)
@cloup.option_group(
    "Output",
    cloup.option("-o", "--output", "target", type=PATH, metavar="FILE", help="The page, e.g. report.html."),
    cloup.option("--multiqc", type=PATH, metavar="FOLDER", help="Write *_mqc.json files for MultiQC into it."),
    cloup.option("--sample", metavar="NAME", help="The sample's name in MultiQC. Default: IN without its suffixes."),
)
@cloup.option_group(
    "What is shown",
    cloup.option(
        "--by", metavar="FIELD", help="Score that chooses and sorts variants. Default: KL_SS, or KL_CTX.",
    ),
    cloup.option("--top", type=click.IntRange(1), default=500, show_default=True, metavar="N",
                 help="So many with the most disturbed score; also so many at splice sites, and without scores."),
    cloup.option("--pictures", type=click.IntRange(0), default=10, show_default=True, metavar="N",
                 help="So many of these are drawn; needs -R."),
    cloup.option("-R", "--reference", type=PATH, metavar="FASTA", help="Reference that IN was annotated with."),
    annotation_option,
)  # fmt: skip
@machine_options
def report(
    source: str, target: str | None, multiqc: str | None, sample: str | None, by: str | None, top: int, pictures: int,
    reference: str | None, **model: Any,
) -> None:  # fmt: skip
    """Make a page of an annotated VCF or BCF.

    The page is one file that loads nothing from anywhere: summary, limits, statuses, distributions, a table of the
    variants that sorts and filters, and with -R pictures of the most disturbed. Window, model and genes of the
    pictures are those that IN names in its header, unless they are given; scores that differ end the command.
    """
    if target is None and multiqc is None:
        raise click.UsageError("nothing to write: give -o FILE, --multiqc FOLDER, or both")
    inputs = filter(None, (source, reference, model["annotation"]))
    if target is not None and os.path.realpath(target) in map(os.path.realpath, inputs):
        raise click.UsageError("-o would replace an input")
    if multiqc is not None and source == "-" and sample is None:
        raise click.UsageError("stdin has no name: give --sample")
    if sample is not None and os.path.basename(sample) != sample:
        raise click.UsageError("--sample is part of a file name, which has no slash")
    from splicebert_vep.files import whole_or_not
    from splicebert_vep.report.collecting import collect
    from splicebert_vep.report.multiqc import write_multiqc
    from splicebert_vep.report.page import check_page, render
    from splicebert_vep.report.reading import AnnotatedVcf

    if target is not None:
        check_page()
    with AnnotatedVcf(source) as vcf:
        by = by or next((score for score in _USUAL if score in vcf.fields), _USUAL[-1])
        _check_score(vcf, by)
        found = collect(vcf, by, top)
    if multiqc is not None:
        for path in write_multiqc(multiqc, sample or _sample_of(vcf.name), found, vcf.provenance):
            say(f"wrote {path}")
    if target is None:
        return
    drawing = reference is not None and pictures > 0
    drawn = _draw(vcf, found, pictures, reference=reference, **model) if drawing else []
    page = render(vcf, found, drawn, __version__, drawn=drawing)
    with whole_or_not(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    what = f"{len(found.shown()):,} rows, {len(drawn)} pictures, {len(page.encode()) / 1e6:.1f} MB"
    say(f"wrote {target}: {what}" + ("; -R FASTA adds pictures" if reference is None else ""))


def _check_score(vcf: AnnotatedVcf, by: str) -> None:
    from splicebert_vep.report.collecting import scores_of

    scores = scores_of(vcf.fields)
    if by not in scores:
        raise SettingsError(
            f"The file has no score {by} of which it is known which way more disturbed lies.",
            needed=", ".join(scores) or "a score",
            found=f"{by}, which has no such direction" if by in vcf.fields else by,
            where=vcf.name,
            remedy=suggestion([by], scores) or "give --by one of the file's scores",
        )


def _draw(vcf: AnnotatedVcf, found: Collected, count: int, **given: Any) -> list[Picture]:
    """Draw the first rows with the settings that the file names; what was given on the command line goes before."""
    from splicebert_vep.report.pictures import check_same, draw_pictures

    rows = found.top[:count]
    with opening_of(**_as_annotated(vcf.provenance, given, vcf.name)).open() as annotator:
        introduce(annotator.backend.info)
        check_same(vcf.provenance, annotator, vcf.name)
        pictures = []
        with progress_line() as progress:
            for picture in draw_pictures(rows, annotator, vcf.provenance):
                pictures.append(picture)
                if progress:
                    progress("pictures", len(pictures), len(rows))
    return pictures


def _as_annotated(provenance: Mapping[str, str], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the options that a run was made with, and in place of them what was given now."""
    from splicebert_vep.genome.annotation import is_built_in
    from splicebert_vep.model.registry import MODELS
    from splicebert_vep.report.picture import SCORES

    context = click.get_current_context()
    chosen = dict(given)

    def take(option: str, value: str) -> None:
        if context.get_parameter_source(option) is not ParameterSource.COMMANDLINE:
            chosen[option] = value

    if provenance.get("Model") in MODELS:
        take("model", provenance["Model"])
    if is_built_in(provenance.get("Annotation", "")):
        take("annotation", provenance["Annotation"])
    take("backend", provenance.get("Backend", "torch").partition("/")[0])
    take("precision", provenance.get("Precision", "auto"))
    radius = provenance.get("Radius", "none").partition(",")[0]
    try:
        return {
            **chosen,
            "window": int(provenance["Window"]),
            "flank": int(provenance["Flank"]),
            "window_mode": provenance["WindowMode"],
            "mode": provenance["EngineMode"],
            "radius": 240 if radius == "none" else int(radius),
            "scores": SCORES,
        }
    except (KeyError, ValueError) as error:
        raise SettingsError(
            "The file does not say with which windows it was annotated, so nothing can be drawn.",
            needed="Window, Flank, WindowMode, EngineMode and Radius in its provenance line",
            found=f"{type(error).__name__}: {error}",
            where=where,
            remedy="annotate again, or give no -R for a page without pictures",
        ) from error


def _sample_of(name: str) -> str:
    return re.sub(r"(\.vcf|\.bcf)?(\.b?gz)?\Z", "", os.path.basename(name)) or "sample"
