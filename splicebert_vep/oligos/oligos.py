"""Every k-mer of a region as an oligo against a splice site: what hiding it does, ranked, and what its letters say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import exp
from typing import TYPE_CHECKING

from splicebert_vep.cohort.places import Stretch, region_stretches
from splicebert_vep.errors import SettingsError
from splicebert_vep.genome.guard import Observed
from splicebert_vep.sequence.windows import Index
from splicebert_vep_spec import Interval

from .aim import Aim, Site, Wanted, find_aim
from .hiding import Hidden, Progress, SpliceModel, hide
from .off_targets import count_occurrences
from .results import Change, Goal, Measure, Oligo, Oligos
from .tiles import complement, gc_content, lay_tiles, longest_stem, self_complementarity

if TYPE_CHECKING:
    from splicebert_vep.annotator import Annotator

AROUND = 150  # nt on both sides of the exon or site
LENGTHS = (18, 25)  # nt
LONGEST_REGION = 5000  # nt
_GOALS: Mapping[str, tuple[Goal, ...]] = {"exon": ("skip", "include"), "site": ("block", "include")}
_MEASURES: tuple[Measure, ...] = ("zero-shot", "head")
_TYPICAL = {"donor": ("GT", "GC", "AT"), "acceptor": ("AG", "AC")}  # of GT-AG, GC-AG and AT-AC introns
#: Provenance of an annotator that also determines these numbers.
_PROVENANCE = (
    "Version", "Backend", "Model", "WeightsSHA256", "Architecture", "Window", "Precision", "BatchTokens", "Device",
    "Reference", "ReferenceSHA256", "Annotation", "AnnotationDigest", "Plugins", "Quality",
)  # fmt: skip
_NOTE = (
    "hiding a stretch from a model is not an oligo's binding: no chemistry, no RNA structure, no toxicity, no "
    "off-targets with mismatches; hypotheses to test, nothing more"
)


def oligos_of(
    annotator: Annotator, *, exon: str | int | None = None, gene: str | None = None, site: str | None = None,
    kind: str | None = None, strand: str | None = None, region: str | None = None, around: int = AROUND,
    lengths: tuple[int, int] = LENGTHS, step: int = 1, goal: str | None = None, splice_model: SpliceModel | None = None,
    measure: str | None = None, off_targets: bool = True, progress: Progress | None = None,
) -> Oligos:  # fmt: skip
    """Hide every k-mer around an exon or a splice site from the model, and rank them by what that does to the sites.

    No other thread may use the annotator meanwhile.

    Args:
        annotator: whose model, window, reference and genes they are.
        exon: ``chr17:43044295-43044390``, 1-based with both ends; or a number, 1 is the first of ``gene``.
        gene: symbol or id; its reported transcript's id is known too.
        site: ``chr17:43044295``, 1-based: the exon's nucleotide beside the intron. Instead of ``exon``.
        kind: of ``site``, ``donor`` or ``acceptor``.
        strand: ``+`` or ``-``; None is what the annotation says.
        region: what is tiled, 1-based with both ends, at most 5,000 nt; None is ``around``.
        around: nt on both sides of the exon or site, less at a contig's end.
        lengths: the shortest and the longest oligo, within 15 to 30 nt.
        step: nt between the starts of neighbours of one length.
        goal: ``skip`` or ``include`` an exon, ``block`` or ``include`` a site; None is the first of the two.
        splice_model: a model fine-tuned to tell splice sites.
        measure: what is ranked by, ``zero-shot`` or ``head``; None is ``head`` where there is a ``splice_model``.
        off_targets: whether the FASTA is searched for other places that hold the same sequence.
        progress: called with what is being done, how much of it is done, and how much there is.

    Raises:
        SettingsError: something was asked for that is not there or does not fit; see the message.
        BuildError: FASTA and annotation are not of one build.
        BackendError: a model failed.

    Example:
        >>> found = oligos_of(annotator, exon=18, gene="BRCA1", goal="skip")
        >>> best = found.oligos[0]
        >>> best.sequence, best.effect
    """
    warnings: list[str] = []
    aim = find_aim(Wanted(None if exon is None else str(exon), gene, site, kind, strand), annotator, warnings)
    chosen_goal = _goal(goal, aim)
    chosen_measure = _measure(measure, splice_model)
    place = _region(region, around, aim, annotator)
    tiles = lay_tiles(place.end - place.start, lengths, step)
    if aim.gene is not None:
        warnings += _check_build(annotator, place)
    start = place.end - tiles.first - tiles.length if aim.strand == "-" else place.start + tiles.first
    found = _hide(aim, start, tiles.length, annotator, splice_model, progress)
    if not any(one.there.any() for one in found):
        raise SettingsError(
            "No oligo of the region lies in the window of a splice site.",
            needed=" or ".join(f"{aim.contig}:{one.window[0] + 1}-{one.window[1]}" for one in found),
            found=f"{place.contig}:{place.start + 1}-{place.end}",
            remedy="give a region near the target",
        )
    warnings += [text for one in found for text in _warnings(one)]
    bases = annotator.reference.fetch(*place).decode("ascii")
    bases = "".join(base if base in "ACGT" else "N" for base in bases)
    bases = complement(bases) if aim.strand == "-" else bases
    oligos = [
        _oligo(row, int(start[row]), bases[first : first + length], aim, found, chosen_goal, chosen_measure)
        for row, (first, length) in enumerate(zip(tiles.first.tolist(), tiles.length.tolist(), strict=True))
    ]
    if off_targets:
        oligos = _with_off_targets(oligos, annotator, progress)
    told = {
        "Region": f"{place.contig}:{place.start + 1}-{place.end}",
        "Lengths": f"{lengths[0]}-{lengths[1]}",
        "Step": str(step),
        "Goal": chosen_goal,
        "RankedBy": chosen_measure,
        "OffTargets": "exact matches in the FASTA, both strands" if off_targets else "not looked for",
    }
    genes = annotator.genes
    return Oligos(
        aim=aim,
        region=place,
        goal=chosen_goal,
        measure=chosen_measure,
        lengths=lengths,
        step=step,
        oligos=tuple(_ranked(oligos, aim.strand)),
        sites=tuple(found),
        exons=tuple(genes.exons(aim.gene.gene_id, *place)) if aim.gene else (),
        provenance=_provenance(annotator, aim, found, splice_model, told),
        warnings=tuple(warnings),
    )


def _goal(asked: str | None, aim: Aim) -> Goal:
    known = _GOALS["site" if aim.exon is None else "exon"]
    if asked is None:
        return known[0]
    for goal in known:
        if goal == asked:
            return goal
    raise SettingsError(
        "The goal does not fit the target.", needed=" or ".join(known), found=asked, where=aim.name,
        remedy="an exon is skipped or included, a single site blocked or included",
    )  # fmt: skip


def _measure(asked: str | None, splice_model: SpliceModel | None) -> Measure:
    known = _MEASURES if splice_model is not None else _MEASURES[:1]
    if asked is None:
        return known[-1]
    for measure in known:
        if measure == asked:
            return measure
    raise SettingsError(
        "Nothing was computed that could be ranked by that.", needed=" or ".join(known), found=asked,
        remedy="'head' needs a splice-site model",
    )  # fmt: skip


def _region(region: str | None, around: int, aim: Aim, annotator: Annotator) -> Stretch:
    """Return what is tiled: what was asked for, else the target and what lies around it."""
    if region is not None:
        [place] = region_stretches([region], annotator.reference)
        if place.contig != aim.contig:
            raise SettingsError("Region and target are on different contigs.", needed=aim.contig, found=place.contig)
    else:
        end = min(aim.span.end + around, annotator.reference.lengths[aim.contig])
        place = Stretch(aim.contig, max(aim.span.start - around, 0), end)
    if place.end - place.start > LONGEST_REGION:
        raise SettingsError(
            "The region is too long.", needed=f"at most {LONGEST_REGION:,} nt", found=f"{place.end - place.start:,} nt",
            where=f"{place.contig}:{place.start + 1}-{place.end}", remedy="give a smaller region around the sites",
        )  # fmt: skip
    return place


def _check_build(annotator: Annotator, place: Stretch) -> list[str]:
    """Return warnings; raises BuildError where annotation and FASTA are of different builds."""
    guard = annotator.files().guard({})
    bases = annotator.reference.fetch(*place).decode("ascii")
    guard.observe([Observed(place.contig, place.start + 1, bases)])
    return guard.finish()


def _hide(
    aim: Aim, start: Index, length: Index, annotator: Annotator, splice_model: SpliceModel | None,
    progress: Progress | None,
) -> list[Hidden]:  # fmt: skip
    done, total = 0, len(aim.sites) * (1 if splice_model is None else 2) * (len(start) + 1)

    def more(windows: int) -> None:
        nonlocal done
        done += windows
        if progress:
            progress("windows with a stretch hidden", done, total)

    return [hide(site, start, length, annotator, splice_model, more) for site in aim.sites]


def _warnings(found: Hidden) -> Iterator[str]:
    site = found.site
    place = f"the {site.kind} {site.contig}:{site.dinucleotide.start + 1}-{site.dinucleotide.end}"
    if found.bases not in _TYPICAL[site.kind]:
        yield f"{place} is {found.bases}, not {_TYPICAL[site.kind][0]}: see that position, kind and strand are right"
    if found.unknown:
        yield f"{found.unknown} nt of the window of {place} are not A, C, G or T"


def _oligo(row: int, start: int, target: str, aim: Aim, found: Sequence[Hidden], goal: Goal, measure: Measure) -> Oligo:
    """Return one stretch, not yet ranked or searched for elsewhere."""
    end = start + len(target)
    known = "N" not in target
    changes: dict[str, Change] = {one.site.kind: _change(one, row) for one in found if one.there[row]} if known else {}
    touched = [site.kind for site in aim.sites if site.footprint.start < end and site.footprint.end > start]
    status = "OK"
    if not known:
        status = "N_IN_TARGET"
    elif not changes:
        status = "OUTSIDE_WINDOW"
    elif touched:
        status = "OWN_SITE"
    sequence = complement(target) if known else None
    oligo = Oligo(
        rank=None,
        status=status,
        start=start,
        end=end,
        target=target,
        sequence=sequence,
        region="&".join(_regions(aim, start, end)),
        offsets={site.kind: _offsets(site, start, end) for site in aim.sites},
        own_site="&".join(touched) or None,
        changes=changes,
        effect=None,
        gc=gc_content(sequence) if sequence else None,
        self_complementarity=self_complementarity(sequence) if sequence else None,
        hairpin=longest_stem(sequence) if sequence else None,
        off_targets=None,
    )
    total = oligo.log_p if measure == "zero-shot" else oligo.head
    if total is None:
        return oligo
    return replace(oligo, effect=total if goal == "include" else -total)


def _change(found: Hidden, row: int) -> Change:
    log_p = float(found.log_p_hidden[row])
    head = None
    if found.head is not None and found.head_hidden is not None:
        head = float(found.head_hidden[row]) - found.head
    return Change(log_p - found.log_p, exp(log_p) - exp(found.log_p), head)


def _regions(aim: Aim, start: int, end: int) -> Iterator[str]:
    """Yield the words for where a stretch lies, 5' to 3' of the transcript; of a single site its edge parts two."""
    if aim.exon is None:
        [site] = aim.sites
        edge = site.dinucleotide.start if site.intron_is_right else site.dinucleotide.end
        exon = Interval(edge, edge)
    else:
        exon = aim.exon
    before, after = start < exon.start, end > exon.end
    if aim.strand == "-":
        before, after = after, before
    if before:
        yield "upstream"
    if aim.exon and start < exon.end and end > exon.start:
        yield "exon"
    if after:
        yield "downstream"


def _offsets(site: Site, start: int, end: int) -> tuple[int, int]:
    """Return where the first and the last nucleotide lie from the site's edge, in transcript direction."""
    first, last = site.offset(start), site.offset(end - 1)
    return (last, first) if site.strand == "-" else (first, last)


def _with_off_targets(oligos: Sequence[Oligo], annotator: Annotator, progress: Progress | None) -> list[Oligo]:
    """Say in how many other places of the FASTA each target stands."""
    targets = {oligo.target for oligo in oligos if oligo.sequence}
    known = sorted(targets)
    count = dict(zip(known, count_occurrences(known, annotator.reference, progress), strict=True))
    return [replace(one, off_targets=count[one.target] - 1) if one.sequence else one for one in oligos]


def _ranked(oligos: Sequence[Oligo], strand: str) -> list[Oligo]:
    """Return the oligos that are ranked, the best first, and then the others 5' to 3' of the transcript."""

    def along(oligo: Oligo) -> tuple[int, int]:
        return (-oligo.end if strand == "-" else oligo.start, len(oligo))

    ranked = sorted((one for one in oligos if one.status == "OK"), key=lambda one: (-(one.effect or 0.0), *along(one)))
    others = sorted((one for one in oligos if one.status != "OK"), key=along)
    return [*(replace(one, rank=rank) for rank, one in enumerate(ranked, start=1)), *others]


def _provenance(
    annotator: Annotator, aim: Aim, found: Sequence[Hidden], splice_model: SpliceModel | None, more: Mapping[str, str]
) -> dict[str, str]:
    """Return what determines the numbers, and what the model expects of the sites when nothing is hidden."""
    run = annotator.run.provenance
    told = {key: run[key] for key in _PROVENANCE}
    told["SpliceModel"] = splice_model.name if splice_model else "none"
    told["SpliceModelSHA256"] = splice_model.weights_sha256 if splice_model else "none"
    told["SpliceModelQuality"] = (splice_model.quality or "not measured") if splice_model else "none"
    told["SpliceModelWindow"] = str(splice_model.window) if splice_model else "none"
    told |= {"Target": aim.name, "Strand": aim.strand, **more}
    for one in found:
        place = one.site.dinucleotide
        words = [
            f"{aim.contig}:{place.start + 1}-{place.end}",
            one.bases,
            f"ln p {one.log_p:.4f}",
            f"p {exp(one.log_p):.4g}",
        ]
        if one.head is not None:
            words.append(f"head p {one.head:.4f}")
        words.append(f"window {one.window[0] + 1}-{one.window[1]}")
        told[one.site.kind.capitalize()] = ", ".join(words)
    return told | {"Note": _NOTE}
