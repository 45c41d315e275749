"""``splicebert-vep report``: an annotated file as one page that people read; and numbers for MultiQC."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
import cloup
from click.core import ParameterSource

from ..errors import SettingsError, suggestion, visible
from ..progress import progress_bar
from ..variants import Variant
from ..version import __version__
from .options import (
    PATH,
    annotation_option,
    check_targets,
    computed_options,
    introduce,
    json_option,
    knob,
    machine_options,
    open_annotator,
    print_json,
    print_table,
    reference_option,
    say,
    split_words,
    warn,
)

if TYPE_CHECKING:
    from ..genome.gene_index import GeneIndex
    from ..tools.report.collect import AnnotatedVcf
    from ..tools.report.page import Card


#: The scores that were measured best first (docs/models.md).
_USUAL = ("DS_MAX", "KL_SS", "KL_CTX")
_REPORT_EPILOG = """\b
Examples:
  splicebert-vep report out.vcf.gz -o report.html
  splicebert-vep report out.vcf.gz -R GRCh38.fa -o report.html --by KL_SS --cards 5
  splicebert-vep report out.vcf.gz -o report.html --samples proband,mother --frequency CSQ:gnomADg_AF
  splicebert-vep report out.vcf.gz --multiqc qc/ --sample S1
"""


@cloup.command(epilog=_REPORT_EPILOG)
@cloup.argument("source", metavar="IN", type=PATH)
@cloup.option_group(
    "Output",
    cloup.option("-o", "--output", "target", type=PATH, metavar="FILE", help="The page, e.g. report.html."),
    cloup.option("--multiqc", type=PATH, metavar="FOLDER", help="Write *_mqc.json files for MultiQC into it."),
    cloup.option("--sample", metavar="NAME", help="The sample's name in MultiQC. Default: IN without its suffixes."),
)  # fmt: skip
@cloup.option_group(
    "What is shown",
    cloup.option("--by", metavar="FIELD",
                 help="Numeric field that chooses and sorts variants. Default: DS_MAX; in a file without it KL_SS, "
                 "KL_CTX or its first score."),
    cloup.option("--top", type=click.IntRange(1), default=500, show_default=True, metavar="N",
                 help="So many of the first; also so many not judgeable, at splice sites, and without scores."),
    cloup.option("--cards", type=click.IntRange(0), default=10, show_default=True, metavar="N",
                 help="So many of the first have a card with the transcript; with -R also with the models' answers."),
    cloup.option("--clinvar", metavar="FIELD|none",
                 help="INFO key or subfield of CSQ with ClinVar's significance. Default: by its usual names."),
    cloup.option("--frequency", metavar="FIELD|none",
                 help="INFO key or subfield of CSQ with gnomAD's frequency. Default: by its usual names."),
    cloup.option("--samples", multiple=True, callback=split_words, metavar="NAME,...|none",
                 help="Samples whose genotypes are shown. Default: all of up to 4, else counts."),
    cloup.option("-R", "--reference", type=PATH, metavar="FASTA", help="Reference that IN was annotated with."),
    annotation_option,
    knob("splice_model", metavar="NAME|FOLDER"),
)  # fmt: skip
@machine_options
def report(
    source: str, target: str | None, multiqc: str | None, sample: str | None, by: str | None, top: int, cards: int,
    clinvar: str | None, frequency: str | None, samples: tuple[str, ...], reference: str | None, **model: Any,
) -> None:  # fmt: skip
    """Make a page of an annotated VCF or BCF.

    The page is one file that loads nothing from anywhere. First comes the table of the variants, which sorts and
    filters: what each does, its scores, and what the file knows from ClinVar, gnomAD and genotypes. Cards with the
    transcript follow, then limits, counts and provenance. Genes, models and windows of the pictures are those that IN
    names in its header, unless they are given; with -R scores that differ end the command.
    """
    if target is None and multiqc is None:
        raise click.UsageError("nothing to write: give -o FILE, --multiqc FOLDER, or both")
    check_targets([target] if target else [], model, source, reference)
    if multiqc is not None and source == "-" and sample is None:
        raise click.UsageError("stdin has no name: give --sample")
    if sample is not None and os.path.basename(sample) != sample:
        raise click.UsageError("--sample is part of a file name, which has no slash")
    from ..files import whole_or_not
    from ..tools.report.collect import AnnotatedVcf, beside, collect
    from ..tools.report.multiqc import write_multiqc
    from ..tools.report.page import check_page, draw_cards, render

    if target is not None:
        check_page()
    with AnnotatedVcf(source) as vcf:
        by = _sorting_field(vcf, by)
        known = beside(vcf, clinvar=clinvar, frequency=frequency, samples=samples)
        found = collect(vcf, by, top)
    if multiqc is not None:
        for path in write_multiqc(multiqc, sample or _sample_of(vcf.name), found, vcf.provenance):
            say(f"wrote {path}")
    if target is None:
        return
    first = [row for row in found.shown if row.fields.get("STATUS") == "OK"][:cards]
    drawn = reference is not None and bool(first)
    shown = draw_cards(first, _genes_of(vcf, model) if first else None)
    if drawn:
        shown = _draw(vcf, shown, reference=reference, **model)
    page = render(vcf, found, shown, known, __version__, drawn=drawn)
    with whole_or_not(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    what = f"{len(found.shown):,} rows, {len(shown)} cards, {len(page.encode()) / 1e6:.1f} MB"
    say(f"wrote {target}: {what}" + ("; -R FASTA adds the models' answers" if reference is None else ""))


def _sorting_field(vcf: AnnotatedVcf, by: str | None) -> str:
    """Return the field that sorts the page; SettingsError where it is not in the file, or not numeric."""
    numeric = [name for name in vcf.fields if vcf.is_numeric(name)]
    if by is None:
        by = next((name for name in (*_USUAL, *vcf.directions, *numeric) if name in vcf.fields), None)
    if by in numeric:
        return by
    problem = f"{vcf.name} has no numeric field {by or 'at all'}, by which the page could be sorted."
    remedy = suggestion([by] if by else [], numeric) or "give --by one of the file's numeric fields"
    raise SettingsError(problem, needed=", ".join(numeric) or "a score", remedy=remedy)


def _genes_of(vcf: AnnotatedVcf, model: Mapping[str, Any]) -> GeneIndex | None:
    """Open the genes that a file was annotated with: built-in ones, or those given; None where neither are at hand.

    Raises:
        SettingsError: the given ones are others.
    """
    from ..genome.gene_build import is_built_in, load_table
    from ..genome.gene_index import GeneIndex

    given = click.get_current_context().get_parameter_source("annotation") is ParameterSource.COMMANDLINE
    name = model["annotation"] if given else vcf.provenance.get("Annotation", "")
    if not given and not is_built_in(name):
        return None
    table = load_table(name)
    if table.digest == vcf.provenance.get("AnnotationDigest"):
        return GeneIndex(table)
    if not given:
        return None
    needed = f"AnnotationDigest {vcf.provenance.get('AnnotationDigest', 'as in the file, which does not say')}"
    raise SettingsError(
        "The genes are not those that the file was annotated with.", needed=needed, found=table.digest, where=vcf.name,
        remedy="give -A as for that run, or leave it out for cards without pictures",
    )  # fmt: skip


def _draw(vcf: AnnotatedVcf, cards: list[Card], **given: Any) -> list[Card]:
    """Add the models' answers to cards, with the settings that the file names unless others are given."""
    from ..tools.report.page import check_same, draw_tracks

    drawn = []
    with open_annotator(**_as_annotated(vcf, given)) as annotator:
        introduce(annotator.backend.info, annotator.note)
        check_same(vcf.provenance, annotator, vcf.name)
        with progress_bar() as progress:
            for card in draw_tracks(cards, annotator, vcf.provenance):
                drawn.append(card)
                progress("cards", len(drawn), len(cards))
    return drawn


def _as_annotated(vcf: AnnotatedVcf, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a run was made with, and in place of them what was given now."""
    from ..genome.gene_build import is_built_in
    from ..model.registry import DEFAULT_SPLICE_MODEL, MODELS
    from ..plugins import load_plugins
    from ..tools.plot import DELTA_SCORES, SCORES

    context = click.get_current_context()
    chosen, provenance = dict(given), vcf.provenance

    def take(option: str, value: str) -> None:
        if context.get_parameter_source(option) is not ParameterSource.COMMANDLINE:
            chosen[option] = value

    if provenance.get("Model") in MODELS:
        take("model", provenance["Model"])
    if is_built_in(provenance.get("Annotation", "")):
        take("annotation", provenance["Annotation"])
    named = provenance.get("SpliceModel", "")
    if named == DEFAULT_SPLICE_MODEL or named in load_plugins().splice_models:
        take("splice_model", named)
    take("backend", provenance.get("Backend", "torch").partition("/")[0])
    take("precision", provenance.get("Precision", "auto"))
    scores = [name for name in (*SCORES, *DELTA_SCORES) if name in vcf.fields]
    try:
        shape = {"window": int(provenance["Window"]), "flank": int(provenance["Flank"])}
        if any(name in DELTA_SCORES for name in scores):
            shape["delta_distance"] = int(provenance["DeltaDistance"])
            chosen |= {
                "mask": provenance.get("DeltaMask", "none"),
                "outside": provenance.get("DeltaOutside") == "genome",
            }
    except (KeyError, ValueError) as error:
        problem = "The file does not say with which windows it was annotated (Window, Flank, DeltaDistance)."
        remedy = "annotate again, or give no -R for cards without the models' answers"
        raise SettingsError(problem, where=vcf.name, remedy=remedy) from error
    return {**chosen, **shape, "scores": tuple(scores) or SCORES}


def _sample_of(name: str) -> str:
    return re.sub(r"(\.vcf|\.bcf)?(\.b?gz)?\Z", "", os.path.basename(name)) or "sample"


_PLOT_EPILOG = """\b
Examples:
  splicebert-vep plot chr17-43071077-T-C -R GRCh38.fa -o variant.png
  splicebert-vep plot 17:43047641:A:C -R GRCh38.fa --gene BRCA1 -o variant.svg
"""


@cloup.command(epilog=_PLOT_EPILOG)
@cloup.argument("variant", metavar="CHROM-POS-REF-ALT")
@cloup.option_group(
    "Input and output",
    reference_option,
    annotation_option,
    cloup.option("-o", "--output", "target", required=True, type=PATH, metavar="FILE", help=".png, .svg or .pdf."),
    cloup.option("--gene", metavar="SYMBOL|ID", help="Where the variant lies in several. Default: as 'score' reports."),
)  # fmt: skip
@computed_options
@machine_options
def plot(variant: str, target: str, gene: str | None, **model: Any) -> None:
    """Draw a variant: transcript, sites and scores.

    The variant is given as for 'score', and everything runs 5' to 3' of the transcript. From top to bottom: exons,
    changed splice sites and the predicted transcript; p(acceptor) and p(donor) around the variant, where --scores has
    delta scores; how much the zero-shot model's expectation of each base changes, and its probabilities of A, C, G, T
    at the splice sites and the variant, where it has zero-shot ones.
    """
    from ..consequence.hgvs import FoundName, read_variant
    from ..tools.drawing import check_picture, save
    from ..tools.plot import draw, profile

    read = read_variant(variant)
    check_picture(target)
    check_targets([target], model)
    with open_annotator(**model) as annotator:
        introduce(annotator.backend.info, annotator.note)
        asked, note = FoundName(read, "") if isinstance(read, Variant) else annotator.lookup(read)
        if note:
            say(note)
        save(draw(profile(annotator, asked, gene)), target)
    say(f"wrote {target}")


_TOP_EPILOG = """\b
Examples:
  splicebert-vep top out.vcf.gz
  splicebert-vep annotate in.vcf -R GRCh38.fa | splicebert-vep top - -n 5
"""


@cloup.command(epilog=_TOP_EPILOG)
@cloup.argument("source", metavar="IN", type=PATH)
@cloup.option("-n", "--count", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="So many.")
@json_option
def top(source: str, count: int, as_json: bool) -> None:
    """Print the most disturbing alleles of a file, and why.

    Alleles are sorted by DS_MAX, and each is told for the gene that it disturbs most. The reason is EFFECT_TEXT, what
    happens to the reported transcript; where there is none, the largest loss and gain with p(REF) and p(ALT) of the
    site and its position on the contig.
    """
    from ..tools.report.collect import AnnotatedVcf
    from ..tools.top import place, rank, reason

    with AnnotatedVcf(source) as vcf:
        found = rank(vcf, count)
    if as_json:
        print_json(
            [
                {
                    "CHROM": row.chrom, "POS": row.pos, "ID": row.id, "REF": row.ref, "ALT": row.alt, "GENE": row.gene,
                    "PLACE": place(row) or None, "DS_MAX": row.number("DS_MAX"), "REASON": reason(row),
                }
                for row in found.rows
            ]
        )  # fmt: skip
    elif found.rows:
        shown = [
            [
                visible(f"{row.chrom}-{row.pos}-{_cut(row.ref)}-{_cut(row.alt)}"), visible(row.gene or ""),
                visible(place(row)), f"{row.number('DS_MAX') or 0:.2f}", reason(row),
            ]
            for row in found.rows
        ]  # fmt: skip
        print_table([["variant", "gene", "place", "DS_MAX", "reason"], *shown], wrap=True)
    if without := sum(found.without.values()):
        counts = ", ".join(f"{status} {number:,}" for status, number in found.without.most_common())
        say(f"{without:,} of {found.alleles:,} ALTs have no DS_MAX: {counts}")


def _cut(bases: str) -> str:
    return bases if len(bases) <= 12 else f"{bases[:9]}...({len(bases)} nt)"


_MAP_EPILOG = """\b
Examples:
  splicebert-vep map chr17:43047640-43047650 -R GRCh38.fa -o map.tsv --picture map.png
  splicebert-vep map chr17:43047640-43047650 -R GRCh38.fa -o map.parquet --gene BRCA1 --score KL_CTX
  splicebert-vep map chr17:43047640-43047650 -R GRCh38.fa -o map.tsv --dependency pairs.parquet
"""


@cloup.command("map", epilog=_MAP_EPILOG)
@cloup.argument("region", metavar="CHROM:START-END")
@cloup.option_group(
    "Input and output",
    reference_option,
    annotation_option,
    cloup.option("-o", "--output", "table", required=True, type=PATH, metavar="FILE",
                 help=".tsv or .parquet: one row per SNV."),
    cloup.option("--picture", type=PATH, metavar="FILE", help="Heat maps over exons and logo: .png, .svg or .pdf."),
    cloup.option("--dependency", type=PATH, metavar="FILE",
                 help=".tsv or .parquet: KL divergence at every position when another is mutated."),
    cloup.option("--dependency-picture", type=PATH, metavar="FILE", help="The same as .png, .svg or .pdf."),
    cloup.option("--gene", metavar="SYMBOL|ID",
                 help="Where the region touches several. Default: the only one, or the only protein-coding one."),
    cloup.option("--score", multiple=True, callback=split_words, metavar="FIELD,...",
                 help="Scores in --picture. Default: KL_SS (KL_CTX where no SNV has it) and LLR."),
)  # fmt: skip
@computed_options
@machine_options
def map_(
    region: str, table: str, picture: str | None, dependency: str | None, dependency_picture: str | None,
    gene: str | None, score: tuple[str, ...], **model: Any,
) -> None:  # fmt: skip
    """Score every SNV of a region: in-silico mutagenesis.

    The region is 1-based with both ends, at most 5,000 nt (1,000 with a dependency map), and lies in one gene.
    Scores are those of 'score'. An SNV that has none has a row with its status. Pictures run in transcript
    direction, on the transcribed strand.
    """
    outputs = [path for path in (table, picture, dependency, dependency_picture) if path is not None]
    check_targets(outputs, model)
    from ..tools import map as maps
    from ..tools.drawing import check_picture, save
    from ..tools.map_picture import draw_dependency, draw_map
    from ..tools.tables import check_table

    for path in filter(None, (table, dependency)):
        check_table(path)
    for path in filter(None, (picture, dependency_picture)):
        check_picture(path)
    pairs = dependency is not None or dependency_picture is not None
    with open_annotator(**model) as annotator:
        maps.check_scores(score, annotator.plan.fields)
        if pairs:
            maps.stretch_of(region, annotator.reference, maps.LONGEST_DEPENDENCY)
        introduce(annotator.backend.info, annotator.note)
        with progress_bar() as progress:
            found = maps.map_region(annotator, region, gene, progress=progress)
            followed = maps.dependency_of(annotator, found, progress=progress) if pairs else None
        drawn = [(draw_map(found, score), picture)] if picture is not None else []
        if followed is not None and dependency_picture is not None:
            drawn.append((draw_dependency(found, followed), dependency_picture))
        maps.write_map(found, table, annotator.run)
        if followed is not None and dependency is not None:
            maps.write_dependency(found, followed, dependency, annotator.run)
        for figure, path in drawn:
            save(figure, path)
    for path in outputs:
        say(f"wrote {path}")
    statuses = ", ".join(f"{word} {count:,}" for word, count in found.statuses().items())
    say(f"{found.gene.symbol or found.gene.gene_id}: {len(found.results):,} SNVs; by status: {statuses}")
    if picture is not None and found.expected() is None:
        warn("the picture has no logo: p(base) is read from LLR, which --scores left out")
