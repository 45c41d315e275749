"""The picture of one variant: the transcript that it changes, p of sites, KL divergence and logos of REF and ALT."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splicebert_vep_spec import Allele, GeneContext, Interval, ScoredContext, Status, Value, format_value

from ..annotator import Annotator
from ..consequence.outcomes import KINDS
from ..errors import SettingsError
from ..genome.gene_index import Exon, Transcript
from ..genome.ids import stable_id
from ..results import ScoredVariant
from ..scoring.delta import MAXIMUM, Around, look_around
from ..scoring.pipeline import Mirror, turns
from ..scoring.scorers import log_p
from ..sequence import windows
from ..sequence.alleles import in_transcript
from ..sequence.tokens import LETTERS, with_special
from ..sequence.windows import Across, Index, Mask, WindowShape, across
from ..variants import Variant
from .drawing import (
    DARK,
    EXON,
    GREY,
    OF_SITE,
    SCORE,
    cut,
    draw_logo,
    draw_structure,
    drawing,
    plain,
    plain_words,
    position_words,
)
from .transcript_picture import draw_effect
from .windows import answers


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """The model's expectation around an allele, REF beside ALT, in P columns 5' to 3' of the transcript.

    REF and ALT are paired as for the scores; each side is one whole window of W bases, whatever the engine's mode.
    """

    variant: Variant  # as it was given
    allele: Allele  # normalised, 0-based, as far 3' in the transcript as it can stand
    gene: GeneContext  # the gene, its reported transcript, and the place of the allele in it
    values: dict[str, Value]  # the scores by field; None is missing
    window: WindowShape  # width, flank and placing of the windows
    position: Index  # (P,) genomic position of the REF base, 0-based; read it where in_ref
    # (P,) nt from the span in transcript direction: -1 the last base 5' of it, +1 the first 3', 0 within.
    offset: Index
    ref: str  # P letters A, C, G, T or N of the transcribed strand; - where that side has no base
    alt: str
    in_ref: Mask  # (P,) that side has a base
    in_alt: Mask
    paired: Mask  # (P,) both have, and they are each other's counterpart, which bases of a length change are not
    p_ref: NDArray[np.float64]  # (P, 4) probabilities of A, C, G, T; NaN where that side has no base
    p_alt: NDArray[np.float64]
    kl: NDArray[np.float64]  # (P,) KL divergence of ALT from REF, nats; NaN where not paired
    donor: Mask  # (P,) REF bases of that site of the nearest exon
    acceptor: Mask
    exons: tuple[Exon, ...]  # every distinct exon of the gene that touches the window, by genomic position
    transcript: Transcript | None = None  # the reported one
    sites: Around | None = None  # p of splice sites in REF and ALT, where delta scores were asked for


def profile(annotator: Annotator, variant: str | Variant | ScoredVariant, gene: str | None = None) -> Profile:
    """Return the model's expectation of every base around a variant, REF beside ALT: the numbers behind a picture.

    Args:
        annotator: gives model, window, reference and genes.
        variant: as for ``Annotator.score``, or its result.
        gene: symbol or id; None is the gene that ``Annotator.score`` reports first.

    Raises:
        SettingsError: the variant has no scores, or does not lie in that gene.
        BuildError: as ``Annotator.score``.
        BackendError: the model failed.
    """
    annotator.check_usable()
    result = variant if isinstance(variant, ScoredVariant) else annotator.score(variant)
    with annotator.lock:
        return _profile(result, gene, annotator)


def _profile(result: ScoredVariant, gene: str | None, annotator: Annotator) -> Profile:
    reference, shape, genes = annotator.reference, annotator.settings.shape, annotator.genes
    outcome = _chosen(result, gene)
    scored, context = result.allele, outcome.context
    if outcome.status != Status.OK or scored is None or context is None:
        found = f"{result.variant}: {outcome.status}" + (f", {outcome.reason}" if outcome.reason else "")
        raise SettingsError("There is nothing to draw of a variant without scores.", found=found)
    allele = in_transcript(scored, context.strand, partial(reference.fetch, scored.contig))
    mirror, length = Mirror(reference), reference.lengths[allele.contig]
    turned = turns(allele, context.strand)
    here, gene_here = (mirror.allele(allele), mirror.context(context, allele.contig)) if turned else (allele, context)
    placed = windows.place([here], [length], shape)
    start = int(placed.start[0])
    low, high = windows.region(here, start, shape.width)
    cut = windows.cut([here], placed.start, [mirror.fetch(here.contig, low, high)], shape)
    pair = windows.pair(cut, [0], [gene_here])
    columns = across(here, start, shape.width, minus=gene_here.strand == "-")
    if turned:
        columns, low, high = replace(columns, position=length - 1 - columns.position), length - high, length - low
    every = [pair.ref, pair.alt] if allele.shift == 0 else [pair.ref, pair.alt, pair.ref_right]
    tokens = np.concatenate(every)  # (2 or 3, W)
    bases, backend = np.tile(np.arange(1, shape.width + 1), (len(tokens), 1)), annotator.backend  # past [CLS]
    log_ps = answers(lambda: log_p(backend.forward(with_special(tokens), bases).logits).cpu().numpy())  # (2 or 3, W, 4)
    ref_row = np.where(columns.right, len(tokens) - 1, 0)
    log_ref, log_alt = log_ps[ref_row, columns.index], log_ps[1, columns.index]
    kl = (np.exp(log_alt) * (log_alt - log_ref)).sum(axis=1)
    return Profile(
        variant=result.variant, allele=allele, gene=context,
        values={spec.id: outcome.values.get(spec.id) for spec in result.fields},
        window=shape, position=columns.position, offset=columns.offset,
        ref=_letters(tokens[ref_row, columns.index], columns.in_ref),
        alt=_letters(tokens[1, columns.index], columns.in_alt),
        in_ref=columns.in_ref, in_alt=columns.in_alt, paired=columns.paired,
        p_ref=np.where(columns.in_ref[:, None], np.exp(log_ref), np.nan),
        p_alt=np.where(columns.in_alt[:, None], np.exp(log_alt), np.nan),
        kl=np.where(columns.paired, kl, np.nan),
        donor=_within(columns, context.donor), acceptor=_within(columns, context.acceptor),
        exons=tuple(genes.exons(context.gene_id, allele.contig, low, high)),
        transcript=genes.gene(context, allele.contig, scored.start, scored.end).transcript,
        sites=_sites(annotator, scored, context),
    )  # fmt: skip


def _sites(annotator: Annotator, allele: Allele, context: GeneContext) -> Around | None:
    """Return the splice-site model's answers; None without one, and where its window does not hold the allele."""
    delta = annotator.delta
    if delta.model is None:
        return None
    [found] = look_around(
        delta.model, [(allele, context)], annotator.reference, annotator.genes, int(delta.provenance["DeltaDistance"]),
        outside=delta.provenance["DeltaOutside"] == "genome",
    )  # fmt: skip
    return found if isinstance(found, Around) else None


def _chosen(result: ScoredVariant, gene: str | None) -> ScoredContext:
    if gene is None:
        return result.contexts[0]
    found = [outcome for outcome in result.contexts if outcome.context and is_named(outcome.context, gene)]
    if not found:
        genes = ", ".join(one.context.symbol or one.context.gene_id for one in result.contexts if one.context)
        raise SettingsError(f"{result.variant} does not lie in that gene.", needed=genes or "no gene", found=gene)
    return found[0]


def is_named(context: GeneContext, name: str) -> bool:
    """Tell whether a name is a gene's symbol or its id, with or without version."""
    return name in (context.symbol, context.gene_id, stable_id(context.gene_id))


def _letters(tokens: NDArray[np.uint8], there: Mask) -> str:
    return "".join(np.where(there, LETTERS[tokens], "-").tolist())


def _within(columns: Across, site: Interval | None) -> Mask:
    """Tell which columns hold the REF bases of a site."""
    if site is None:
        return np.zeros_like(columns.in_ref)
    inside: Mask = columns.in_ref & (columns.position >= site.start) & (columns.position < site.end)
    return inside


_LEAST_TOP = 0.1  # nats; so that a small disturbance looks small
_ROOM = 60  # bases that a label beside the bars takes
_AROUND = 10  # bases that a logo shows on each side
_SHOWN = 12  # bases of a span that a logo shows
#: Scores that stand above a picture, where they were computed.
SCORES = ("KL_CTX", "KL_SS", "KL_DONOR", "KL_ACCEPTOR", "LLR", "PLLR")
#: Delta scores and what the picture of the transcript reads.
DELTA_SCORES = (
    "DS_MAX", "DS_AG", "DS_AL", "DS_DG", "DS_DL", "DP_AG", "DP_AL", "DP_DG", "DP_DL", "LOSS_P_REF", "LOSS_P_ALT",
    "LOSS_ANNOTATED", "GAIN_P_REF", "GAIN_P_ALT", "GAIN_ANNOTATED", "LOSS_JUDGED", "EFFECT", "EFFECT_SIZE",
    "EFFECT_SITES",
)  # fmt: skip


def draw(profile: Profile, *, with_transcript: bool = True) -> Any:
    """Return a matplotlib figure of a profile: the transcript and p of its sites, then the zero-shot model's answers.

    Each half is there where its scores were computed; without the transcript where it is drawn beside.
    """
    with drawing():
        from matplotlib.figure import Figure

        heights = [0.75]
        delta = profile.sites is not None and profile.transcript is not None
        heights += ([2.3] if with_transcript else []) + [2.0] if delta else []
        zero_shot = not profile.values.keys().isdisjoint(SCORES)
        heights += [2.85, 3.6] if zero_shot or not delta else []
        figure: Any = Figure(figsize=(11, sum(heights)))
        head, *parts = figure.subfigures(len(heights), 1, height_ratios=heights)
        _write_head(head, profile)
        if profile.sites is not None and profile.transcript is not None:
            shown = {name: format_value(value) for name, value in profile.values.items() if value is not None}
            variant = profile.variant
            if with_transcript:
                axes = parts.pop(0).add_axes((0.01, 0.02, 0.98, 0.96))
                draw_effect(axes, shown, variant.pos, variant.ref, variant.alt, profile.transcript)
            _draw_sites(parts.pop(0), profile, profile.sites, profile.transcript)
        if parts:
            top, logos = parts
            structure, along = top.subplots(
                2, 1, sharex=True,
                gridspec_kw={"height_ratios": [0.6, 2.2], "hspace": 0.06, "top": 0.99, "bottom": 0.18, "left": 0.07,
                             "right": 0.98},
            )  # fmt: skip
            draw_structure(structure, profile.position, profile.exons, profile.in_ref, exon_names(profile.transcript))
            structure.plot([(sum(_span(profile)) - 1) / 2], [1.75], marker="v", ms=8, color=DARK, zorder=3)
            structure.set_ylim(-0.5, 2)
            _draw_divergence(along, profile)
            _draw_logos(logos, profile)
    return figure


def exon_names(transcript: Transcript | None) -> dict[Interval, str]:
    """Return ``exon 2`` by the place of each exon of a transcript."""
    exons = () if transcript is None else transcript.exons
    return {exon: f"exon {number}" for number, exon in enumerate(exons, start=1)}


_SEEN = 0.01  # a smaller p is not drawn


def _draw_sites(figure: Any, profile: Profile, sites: Around, transcript: Transcript) -> None:
    """Draw p(acceptor) and p(donor) of REF upwards and of ALT downwards, 5' to 3' of the transcript."""
    axes = figure.subplots(gridspec_kw={"top": 0.94, "bottom": 0.27, "left": 0.07, "right": 0.98})
    count = len(sites.ref)
    low, high = sites.start, sites.start + count
    for number, exon in enumerate(transcript.exons, start=1):
        first, last = max(exon.start, low), min(exon.end, high)
        if first < last:
            axes.barh(0, last - first, left=first - 0.5, height=0.14, color=EXON, zorder=1)
            if last - first > count / 14:
                axes.text((first + last - 1) / 2, 0, f"exon {number}", color="white", fontsize=7, ha="center",
                          va="center_baseline", zorder=4)  # fmt: skip
    axes.axhline(0, color=DARK, lw=0.8, zorder=0)
    left, right = sites.left.start - 0.5, max(sites.right.end, sites.left.start + 1) - 0.5
    axes.axvspan(left, right, color=DARK, alpha=0.15, linewidth=0)
    width = max(1.0, count / 250)
    for column, kind in enumerate(KINDS):
        for p, sign in ((sites.ref, 1), (sites.aligned(), -1)):
            at = np.flatnonzero(p[:, column] >= _SEEN)
            axes.bar(low + at, sign * p[at, column], width, color=OF_SITE[kind], zorder=3)
    axes.set_xlim(low - 0.5, high - 0.5)
    if transcript.strand == "-":
        axes.invert_xaxis()
    axes.set_ylim(-1.08, 1.08)
    axes.set_yticks([-1, -0.5, 0, 0.5, 1], ["1", ".5", "0", ".5", "1"])
    axes.set_ylabel("ALT      REF\np of a site")
    axes.yaxis.set_label_coords(-0.042, 0.5)
    axes.set_xticks(
        ticks := np.linspace(low + 0.03 * count, high - 0.04 * count, 7).round(), [f"{at + 1:,.0f}" for at in ticks]
    )
    for x, kind in ((0.0, "acceptor"), (0.07, "donor")):
        axes.text(
            x, 1.0, kind, color=OF_SITE[kind], fontweight="bold", fontsize=8, transform=axes.transAxes, va="bottom"
        )
    contig = plain(profile.variant.chrom)
    axes.set_xlabel(
        f"position on {contig} (1-based), {transcript.strand} strand: transcript from left to right; grey: the variant"
    )


def describe(profile: Profile) -> str:
    """Return where the variant lies, in words."""
    gene = profile.gene
    place = position_words(gene.region, gene.site_offset)
    where = f"{gene.symbol or gene.gene_id} ({gene.strand} strand), {gene.transcript_id}, {place}"
    if gene.site_hit:
        where += f", touches the {_dinucleotides(gene.site_hit)}"
    elsewhere = [position_words(gene.other_region, gene.other_offset)] if gene.other_region else []
    elsewhere += [f"touches the {_dinucleotides(gene.other_site_hit)}"] if gene.other_site_hit else []
    return f"{where}; in another transcript {', '.join(elsewhere)}" if elsewhere else where


def _dinucleotides(hit: str) -> str:
    return "dinucleotides of a donor and an acceptor" if hit == "both" else f"{hit} dinucleotide"


def _write_head(figure: Any, profile: Profile) -> None:
    variant = profile.variant
    name = f"{plain(variant.chrom)}-{variant.pos}-{cut(variant.ref)}-{cut(variant.alt)}"
    figure.text(0.07, 0.76, plain(name), fontsize=13, fontweight="bold", va="center")
    figure.text(0.07, 0.45, plain_words(describe(profile)), va="center")
    shown = [f"{name} {format_value(profile.values[name])}" for name in (MAXIMUM, *SCORES)
             if profile.values.get(name) is not None]  # fmt: skip
    if not (profile.donor | profile.acceptor).any():
        shown.append("no splice site of the nearest exon in the window")
    figure.text(0.07, 0.18, ", ".join(shown), va="center", color=DARK)


def _draw_divergence(axes: Any, profile: Profile) -> None:
    top = 1.25 * _top(profile)
    for name, where in (("acceptor", profile.acceptor), ("donor", profile.donor)):
        columns = np.flatnonzero(where)
        if len(columns):
            axes.axvspan(columns[0] - 0.5, columns[-1] + 0.5, color=OF_SITE[name], alpha=0.25, linewidth=0)
            axes.annotate(name, (columns.mean(), 0.9 * top), ha="center", color=OF_SITE[name], fontsize=8,
                          fontweight="bold")  # fmt: skip
    axes.stairs(profile.kl, np.arange(len(profile.kl) + 1) - 0.5, fill=True, color=SCORE, linewidth=0.6)
    low, high = _span(profile)
    axes.axvspan(low - 0.5, high - 0.5, color=DARK, alpha=0.15, linewidth=0)
    for first, last in ((low - profile.window.flank, low), (high, high + profile.window.flank)):
        axes.plot([first - 0.5, last - 0.5], [0.985 * top] * 2, color=GREY, linewidth=3, solid_capstyle="butt")
    before = low - profile.window.flank
    place = (before - 2, 0.985 * top, "right") if before > _ROOM else (before, 0.93 * top, "left")
    axes.text(*place[:2], "KL_CTX reads here", ha=place[2], va="center", fontsize=7.5, color=GREY)
    ticks = np.flatnonzero((profile.offset % 50 == 0) & (profile.offset != 0)).tolist()
    axes.set_xticks([(low + high - 1) // 2, *ticks], ["0", *(f"{profile.offset[k]:+d}" for k in ticks)])
    axes.set_xlim(-0.5, len(profile.kl) - 0.5)
    axes.set_ylim(0, top)
    axes.yaxis.set_major_formatter("{x:g}")  # few digits, and the label where they end: it has to stay in the picture
    axes.set_ylabel("KL divergence, nats\n(higher = more disturbed)")
    axes.yaxis.set_label_coords(-0.042, 0.5)
    first, last = (profile.position[profile.in_ref][end] + 1 for end in (0, -1))
    contig = plain(profile.variant.chrom)
    axes.set_xlabel(
        f"nt from the variant (triangle: {_change(profile)}), in transcript direction; "
        f"window {contig}:{first:,} to {last:,}"
    )


def _draw_logos(figure: Any, profile: Profile) -> None:
    panels = _panels(profile)
    widths = [columns.stop - columns.start for columns, _ in panels]
    grid = figure.subplots(
        3, len(panels), squeeze=False,
        gridspec_kw={"width_ratios": widths, "height_ratios": [1, 1, 0.5],
                     "top": 0.87, "bottom": 0.04, "left": 0.07, "right": 0.98, "hspace": 0.42,
                     "wspace": max(0.08, 0.2 / len(panels))},
    )  # fmt: skip
    for (columns, title), (ref, alt, change) in zip(panels, grid.T, strict=True):
        _draw_panel(ref, profile, columns, profile.p_ref, profile.ref)
        _draw_panel(alt, profile, columns, profile.p_alt, profile.alt)
        kl = profile.kl[columns]
        change.stairs(kl, np.arange(len(kl) + 1) - 0.5, fill=True, color=SCORE)
        change.set_xlim(-0.5, len(kl) - 0.5)
        change.set_ylim(0, _top(profile))
        change.set_xticks([])
        ref.set_title(title, fontsize=9, fontweight="bold", pad=11)
    for axes, label in zip(grid[:, 0], ("REF\nprobability", "ALT\nprobability", "KL, nats"), strict=True):
        axes.set_ylabel(label)
    for axes in grid[:, 1:].flat:  # whose scales are the same
        axes.tick_params(labelleft=False)


def _draw_panel(axes: Any, profile: Profile, columns: slice, p: NDArray[np.float64], letters: str) -> None:
    count = columns.stop - columns.start
    for where, colour in (
        (profile.acceptor, OF_SITE["acceptor"]), (profile.donor, OF_SITE["donor"]), (profile.offset == 0, DARK),
    ):  # fmt: skip
        for k in np.flatnonzero(where[columns]):
            axes.axvspan(k - 0.5, k + 0.5, color=colour, alpha=0.16, linewidth=0)
    draw_logo(axes, p[columns])
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0", ".5", "1"])
    axes.set_xticks(range(count), letters[columns], fontfamily="monospace", fontsize=9)
    axes.tick_params(axis="x", length=0)
    changed = [one != other for one, other in zip(profile.ref[columns], profile.alt[columns], strict=True)]
    for label, differs in zip(axes.get_xticklabels(), changed, strict=True):
        label.set(fontweight="bold" if differs else "normal", color=DARK)
    axes.plot([-0.5, count - 0.5], [1.08, 1.08], color=DARK, linewidth=0.8, clip_on=False)
    for k in np.flatnonzero(_exonic(profile)[columns]):
        axes.plot([k - 0.5, k + 0.5], [1.08, 1.08], color=EXON, linewidth=4, clip_on=False, solid_capstyle="butt")


def _panels(profile: Profile) -> list[tuple[slice, str]]:
    """Return the columns and titles of the logos: sites of the nearest exon and variant, overlapping ones as one."""
    low, high = _span(profile)
    wanted = [(low - _AROUND, min(high, low + _SHOWN) + _AROUND, "variant")]
    for name, where in (("acceptor", profile.acceptor), ("donor", profile.donor)):
        columns = np.flatnonzero(where)
        if len(columns):
            wanted.append((int(columns[0]) - _AROUND, int(columns[-1]) + 1 + _AROUND, name))
    panels: list[tuple[slice, str]] = []
    for start, end, name in sorted(wanted):
        start, end = max(0, start), min(len(profile.offset), end)
        if panels and start < panels[-1][0].stop:
            before, title = panels.pop()
            start, end, name = before.start, max(before.stop, end), f"{title}, {name}"
        panels.append((slice(start, end), name))
    return panels


def _top(profile: Profile) -> float:
    """Return the largest divergence that the picture has room for, nats."""
    return max(1.05 * float(np.nanmax(profile.kl)), _LEAST_TOP)


def _span(profile: Profile) -> tuple[int, int]:
    """Return the columns [low, high) of the span."""
    columns = np.flatnonzero(profile.offset == 0)
    return int(columns[0]), int(columns[-1]) + 1


def _exonic(profile: Profile) -> NDArray[np.bool_]:
    """Tell which columns are exonic: of the reported transcript, or of any where it has no exon here."""
    own = [exon.interval for exon in profile.exons if exon.reported] or [exon.interval for exon in profile.exons]
    found = np.zeros_like(profile.in_ref)
    for exon in own:
        found |= profile.in_ref & (profile.position >= exon.start) & (profile.position < exon.end)
    low, high = _span(profile)
    if low > 0 and high < len(found) and found[low - 1] and found[high]:
        found[low:high] = True  # inserted bases too
    return found


def _change(profile: Profile) -> str:
    """Return the change as the transcript has it: T>G, or the length of what is deleted or inserted."""
    low, high = _span(profile)
    ref, alt = (letters[low:high].replace("-", "") for letters in (profile.ref, profile.alt))
    if max(len(ref), len(alt)) <= _SHOWN:
        if not ref:
            return f"ins {alt}"
        return f"{ref}>{alt}" if alt else f"del {ref}"
    if not alt:
        return f"{len(ref)} nt deleted"
    return f"{len(ref)} nt become {len(alt)}" if ref else f"{len(alt)} nt inserted"
