"""Oligos against a splice site or an exon: hide every stretch around it from the model, and rank what that does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import exp
from typing import Any, Literal

import ahocorasick
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from splicebert_vep_spec import MASK, A, Edit, GeneContext, Interval, N, SpliceModel, Value

from ..annotator import Annotator
from ..errors import SettingsError
from ..genome.gene_index import Exon, GeneIndex
from ..genome.ids import stable_id
from ..genome.places import Stretch, gene_places, region_stretches
from ..genome.reference import Reference
from ..scoring.delta import stretch_tokens
from ..scoring.scorers import log_p
from ..sequence.tokens import Tokens, letters, other_strand, reverse_complement, with_special
from ..sequence.windows import Index, Mask
from .plot import is_named
from .windows import answers, check_width, strand_tokens

Floats = NDArray[np.float64]
Progress = Callable[[str, int, int], None]
"""Called with a task, how much of it is done, and how much there is."""

SHORTEST, LONGEST = 15, 30  # nt of an oligo
AROUND = 150  # nt on both sides of the exon or site
LENGTHS = (18, 25)  # nt
LONGEST_REGION = 5000  # nt
_TOGETHER = 64  # stretches between two looks at the progress
LOOP = 3  # nt: a hairpin has at least so many between its stems
Kind = Literal["acceptor", "donor"]
KINDS: tuple[Kind, ...] = ("acceptor", "donor")  # 5' to 3' of an exon, and the columns of a splice-site model's answers
_SITE = 2  # nt: the intronic dinucleotide
_TYPICAL = {"donor": ("GT", "GC", "AT"), "acceptor": ("AG", "AC")}  # of GT-AG, GC-AG and AT-AC introns
_SHOWN = 5  # exons in a message
_CHUNK = 1 << 20  # nt of the FASTA that are searched at once
_MEGABASE = 10**6
#: Provenance of an annotator that also determines these numbers.
_PROVENANCE = (
    "Version", "Backend", "Model", "WeightsSHA256", "Architecture", "Window", "Precision", "BatchTokens", "Device",
    "Reference", "ReferenceSHA256", "Annotation", "AnnotationDigest", "Plugins", "Quality",
)  # fmt: skip
_NOTE = (
    "hiding a stretch from a model is not an oligo's binding: no chemistry, no RNA structure, no toxicity, no "
    "off-targets with mismatches; hypotheses to test, nothing more"
)


@dataclass(frozen=True, slots=True)
class Site:
    """A splice site."""

    kind: Kind  # acceptor or donor
    contig: str  # under the FASTA's name
    strand: str  # + or -, of the transcript
    edge: int  # 0-based, the exon's nucleotide beside the intron: its last for a donor, its first for an acceptor

    @property
    def intron_is_right(self) -> bool:
        """True where the intron lies at higher genomic positions than the exon."""
        return (self.kind == "donor") == (self.strand == "+")

    @property
    def dinucleotide(self) -> Interval:
        """The two intronic nucleotides."""
        start = self.edge + 1 if self.intron_is_right else self.edge - _SITE
        return Interval(start, start + _SITE)

    @property
    def footprint(self) -> Interval:
        """The two intronic nucleotides and the exon's beside them; a stretch that touches them is not ranked."""
        return Interval(min(self.edge, self.dinucleotide.start), max(self.edge + 1, self.dinucleotide.end))

    def __str__(self) -> str:
        return f"{self.kind} {self.contig}:{self.dinucleotide.start + 1}-{self.dinucleotide.end}"

    def offset(self, position: int) -> int:
        """Return where a genomic position lies from the edge between exon and intron, in transcript direction.

        There is no 0: -1 is the last nucleotide 5' of the edge, 1 the first 3' of it. Of an acceptor negative offsets
        are intronic, of a donor positive ones.
        """
        along = position - self.edge if self.strand == "+" else self.edge - position
        if self.kind == "donor":
            return along if along > 0 else along - 1
        return along if along < 0 else along + 1


@dataclass(frozen=True, slots=True)
class Aim:
    """The target of oligos."""

    name: str  # in words
    contig: str  # under the FASTA's name
    strand: str  # + or -, of the transcript
    exon: Interval | None  # 0-based half-open; None where a single site is aimed at
    sites: tuple[Site, ...]  # acceptor before donor; one for a terminal exon and for a single site
    gene: GeneContext | None  # with its reported transcript; None where the annotation was not asked, or has none

    @property
    def span(self) -> Interval:
        """The exon, or the single site's footprint."""
        return self.exon or self.sites[0].footprint


@dataclass(frozen=True, slots=True, eq=False)
class Hidden:
    """A model's expectation of one site."""

    site: Site
    bases: str  # its two intronic nucleotides, 5' to 3'
    log_p: float  # sum over them of ln p, each masked, in the whole window; nats
    head: float | None  # p of the site's kind at the exon's nucleotide, in the whole window; None without such a model
    window: tuple[int, int]  # genomic, 0-based half-open
    unknown: int  # nucleotides of the window that are not A, C, G or T
    there: Mask  # (T,) which stretches lie wholly in the window
    log_p_hidden: Floats  # (T,) the same sum with the stretch hidden; NaN where not there
    head_hidden: Floats | None  # (T,) the same p with the stretch hidden; None without such a model


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one site when a stretch is hidden: hidden minus not hidden."""

    log_p: float  # of the sum of ln p over the two intronic nucleotides, nats; negative = less expected
    p: float  # of the product of the two p
    head: float | None  # of the splice-site model's p of the site; None without such a model


@dataclass(frozen=True, slots=True)
class Oligo:
    """One stretch and the oligo that would cover it."""

    rank: int | None  # 1 is the best; None for what is not ranked, see status
    # ``OK``; ``OWN_SITE`` touches a site of the target; ``OUTSIDE_WINDOW`` lies in no site's window;
    # ``N_IN_TARGET`` holds a base that is not A, C, G or T.
    status: str
    start: int  # of the stretch, 0-based half-open
    end: int
    target: str  # the stretch, 5' to 3' of the transcript
    sequence: str | None  # the oligo, its reverse complement; None with N
    region: str  # upstream, exon and downstream of the target, joined by &
    offsets: Mapping[str, tuple[int, int]]  # by kind of site, of the first and the last nucleotide; see Site.offset
    own_site: str | None  # acceptor, donor, both joined by &, or None
    changes: Mapping[str, Change]  # by kind of site; a site whose window does not hold the stretch whole is not in it
    effect: float | None  # the value that ranks, higher is better; None without one
    gc: float | None  # share of G and C; None with N, as the next two
    self_complementarity: int | None  # nt of the longest stretch whose reverse complement is also in the oligo
    hairpin: int | None  # nt of the longest stem with a loop of at least 3 nt
    off_targets: int | None  # other places of the FASTA, on both strands, that hold the target; None without a search

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def outside(self) -> tuple[str, ...]:
        """Kinds of the sites whose window does not hold the stretch whole."""
        return () if self.sequence is None else tuple(kind for kind in self.offsets if kind not in self.changes)

    @property
    def log_p(self) -> float | None:
        """Sum of the changes of ln p over the sites that have one."""
        return sum(one.log_p for one in self.changes.values()) if self.changes else None

    @property
    def head(self) -> float | None:
        """Sum of the changes of the splice-site model's p over the sites that have one."""
        there = [one.head for one in self.changes.values() if one.head is not None]
        return sum(there) if there else None


@dataclass(frozen=True, slots=True, eq=False)
class Oligos:
    """Oligos against the sites of one target."""

    aim: Aim  # the target and its sites
    region: Stretch  # the stretch that is tiled
    goal: str  # skip, include or block
    measure: str  # ranks the oligos, zero-shot or head
    lengths: tuple[int, int]  # the shortest and the longest, nt
    step: int  # nt between neighbours of one length
    oligos: tuple[Oligo, ...]  # those with a rank by rank, then the others 5' to 3'
    sites: tuple[Hidden, ...]  # the model's expectation of each site, hidden and not
    exons: tuple[Exon, ...]  # of the target's gene in the region
    provenance: Mapping[str, str]  # everything that determines the numbers
    warnings: tuple[str, ...]  # sentences for the user

    def __len__(self) -> int:
        return len(self.oligos)

    def statuses(self) -> dict[str, int]:
        """Return how many stretches have each status."""
        return dict(Counter(oligo.status for oligo in self.oligos))

    @property
    def position(self) -> Index:
        """Genomic position, 0-based, of every nucleotide of the region, 5' to 3' of the transcript."""
        along = np.arange(self.region.start, self.region.end, dtype=np.int64)
        return along[::-1] if self.aim.strand == "-" else along


def oligos_of(
    annotator: Annotator, *, exon: str | int | None = None, gene: str | None = None, site: str | None = None,
    kind: str | None = None, strand: str | None = None, region: str | None = None, around: int = AROUND,
    lengths: tuple[int, int] = LENGTHS, step: int = 1, goal: str | None = None,
    splice_model: SpliceModel | None = None, measure: str | None = None, off_targets: bool = True,
    progress: Progress | None = None,
) -> Oligos:  # fmt: skip
    """Hide every k-mer around an exon or a splice site from the model, and rank them by what that does to the sites.

    No other thread may use the annotator meanwhile.

    Args:
        annotator: gives model, window, reference and genes.
        exon: ``chr17:43044295-43044390``, 1-based with both ends; or a number, 1 is the first of ``gene``.
        gene: symbol or id; its reported transcript's id is known too.
        site: ``chr17:43044295``, 1-based: the exon's nucleotide beside the intron. Instead of ``exon``.
        kind: of ``site``, ``donor`` or ``acceptor``.
        strand: ``+`` or ``-``; None is what the annotation says.
        region: the stretch to tile, 1-based with both ends, at most 5,000 nt; None is ``around``.
        around: nt on both sides of the exon or site, less at a contig's end.
        lengths: the shortest and the longest oligo, within 15 to 30 nt.
        step: nt between the starts of neighbours of one length.
        goal: ``skip`` or ``include`` an exon, ``block`` or ``include`` a site; None is the first of the two.
        splice_model: tells splice sites, e.g. ``annotator.delta.model``.
        measure: ranks the oligos, ``zero-shot`` or ``head``; None is ``head`` where there is a ``splice_model``.
        off_targets: search the FASTA for other places that hold the same sequence.
        progress: called with a task, how much of it is done, and how much there is.

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
    if (exon is None) == (site is None) or (site is None) != (kind is None):
        remedy = "give an exon; or a site and its kind, donor or acceptor"
        raise SettingsError("Oligos are aimed at one exon or one splice site.", remedy=remedy)
    _known(strand, ("+", "-"), "The strand is an unknown word.")
    _known(kind, KINDS, "The kind is an unknown word.")
    if site is not None:
        site_kind: Kind = "donor" if kind == "donor" else "acceptor"
        aim = _aim_at_site(site, site_kind, gene, strand, annotator, warnings)
    elif str(exon).isdecimal():
        aim = _aim_at_number(int(str(exon)), gene, strand, annotator, warnings)
    else:
        aim = _aim_at_exon(str(exon), gene, strand, annotator)
    goals = ("skip", "include") if aim.exon else ("block", "include")
    goal = _known(goal, goals, "The goal does not fit the target.") or goals[0]
    measures = ("head", "zero-shot") if splice_model else ("zero-shot",)
    unknown = "Nothing was computed that could be ranked by that; 'head' needs a splice-site model."
    measure = _known(measure, measures, unknown) or measures[0]
    place = _region(region, around, aim, annotator.reference)
    first, length = lay_tiles(place.end - place.start, lengths, step)
    if aim.gene is not None:
        warnings += annotator.guard().check_stretches([place])
    start = place.end - first - length if aim.strand == "-" else place.start + first
    done, total = 0, len(aim.sites) * (1 if splice_model is None else 2) * (len(start) + 1)

    def more(windows: int) -> None:
        nonlocal done
        done += windows
        if progress:
            progress("windows with a stretch hidden", done, total)

    extent = (0, annotator.reference.lengths[aim.contig])
    if splice_model and splice_model.sees_gene_only and aim.gene:
        of_gene = annotator.genes.gene(aim.gene, aim.contig, aim.span.start, aim.span.end)
        extent = of_gene.start, of_gene.end
    found = [hide(one, start, length, annotator, splice_model, extent, more) for one in aim.sites]
    if not any(one.there.any() for one in found):
        needed = " or ".join(f"{aim.contig}:{one.window[0] + 1}-{one.window[1]}" for one in found)
        problem = "No oligo of the region lies in the window of a splice site."
        raise SettingsError(problem, needed=needed, found=f"{place.contig}:{place.start + 1}-{place.end}")
    warnings += [text for one in found for text in _warnings(one)]
    bases = "".join(base if base in "ACGT" else "N" for base in annotator.reference.fetch(*place).decode("ascii"))
    bases = other_strand(bases) if aim.strand == "-" else bases
    oligos = [
        _oligo(row, at, bases[before : before + nt], aim, found, goal, measure)
        for row, (at, before, nt) in enumerate(zip(start.tolist(), first.tolist(), length.tolist(), strict=True))
    ]
    if off_targets:
        known = sorted({oligo.target for oligo in oligos if oligo.sequence})
        count = dict(zip(known, count_occurrences(known, annotator.reference, progress), strict=True))
        oligos = [replace(one, off_targets=count[one.target] - 1) if one.sequence else one for one in oligos]
    run = annotator.run.provenance
    provenance = {
        **{key: run[key] for key in _PROVENANCE},
        "SpliceModel": splice_model.info.model if splice_model else "none",
        "SpliceModelSHA256": splice_model.info.sha256 if splice_model else "none",
        "SpliceModelQuality": (splice_model.info.quality or "not measured") if splice_model else "none",
        "Target": aim.name, "Strand": aim.strand, "Region": f"{place.contig}:{place.start + 1}-{place.end}",
        "Lengths": f"{lengths[0]}-{lengths[1]}", "Step": str(step), "Goal": goal, "RankedBy": measure,
        "OffTargets": "exact matches in the FASTA, both strands" if off_targets else "not looked for",
        **{one.site.kind.capitalize(): _words(one) for one in found},
        "Note": _NOTE,
    }  # fmt: skip
    exons = tuple(annotator.genes.exons(aim.gene.gene_id, *place)) if aim.gene else ()
    return Oligos(
        aim, place, goal, measure, lengths, step, tuple(_ranked(oligos, aim.strand)), tuple(found), exons, provenance,
        tuple(warnings),
    )  # fmt: skip


def _known(word: str | None, known: Sequence[str], problem: str) -> str | None:
    if word is not None and word not in known:
        raise SettingsError(problem, needed=" or ".join(known), found=word)
    return word


def lay_tiles(region: int, lengths: tuple[int, int], step: int) -> tuple[Index, Index]:
    """Return the stretches of a region of so many nt, by length and then 5' to 3': nt before each, and its length."""
    low, high = lengths
    if not SHORTEST <= low <= high <= LONGEST or step < 1:
        needed = f"lengths from {SHORTEST} to {LONGEST} nt, the shorter first; a step of 1 nt or more"
        found = f"{low}-{high} nt in steps of {step}"
        raise SettingsError("Oligos of such lengths or steps are not tiled.", needed=needed, found=found)
    if region < low:
        raise SettingsError("The region is shorter than an oligo.", needed=f"at least {low} nt", found=f"{region} nt")
    starts = [np.arange(0, region - length + 1, step, dtype=np.int64) for length in range(low, high + 1)]
    return np.concatenate(starts), np.repeat(np.arange(low, high + 1, dtype=np.int64), list(map(len, starts)))


def _region(region: str | None, around: int, aim: Aim, reference: Reference) -> Stretch:
    """Return the stretch to tile: the given region, else the target and ``around``."""
    if region is not None:
        [place] = region_stretches([region], reference)
        if place.contig != aim.contig:
            raise SettingsError("Region and target are on different contigs.", needed=aim.contig, found=place.contig)
    else:
        end = min(aim.span.end + around, reference.lengths[aim.contig])
        place = Stretch(aim.contig, max(aim.span.start - around, 0), end)
    if place.end - place.start > LONGEST_REGION:
        found = f"{place.end - place.start:,} nt"
        raise SettingsError("The region is too long.", needed=f"at most {LONGEST_REGION:,} nt", found=found)
    return place


def _aim_at_site(
    text: str, kind: Kind, name: str | None, asked: str | None, annotator: Annotator, warnings: list[str]
) -> Aim:
    [stretch] = region_stretches([text], annotator.reference)
    if stretch.end - stretch.start != 1:
        needed = "the exon's nucleotide beside the intron: its last for a donor, its first for an acceptor"
        raise SettingsError("A splice site is given by one position.", needed=needed, found=text)
    genes = _named(annotator.genes.contexts(*stretch), name, text)
    on_strand = [gene for gene in genes if asked in (None, gene.strand)]
    strand = asked or _strand(on_strand, text)
    if genes and not on_strand:
        warnings.append(f"the annotation has genes on the other strand only at {text}")
    site = Site(kind, stretch.contig, strand, stretch.start)
    return Aim(f"{kind} {text}", stretch.contig, strand, None, (site,), _chosen(on_strand, annotator.genes, stretch))


def _aim_at_number(number: int, name: str | None, asked: str | None, annotator: Annotator, warnings: list[str]) -> Aim:
    """Return an exon of a gene's reported transcript, counted from its 5' end."""
    if name is None:
        raise SettingsError("The number of an exon needs a gene.", found=f"exon {number}")
    table = annotator.genes.table
    transcripts = zip(table.transcript_ids, table.gene_ids, strict=True)
    gene_name = next((gene for one, gene in transcripts if name in (one, stable_id(one))), name)
    places = list(gene_places([gene_name], annotator.reference, table, warnings))
    if len(places) > 1:
        found = ", ".join(table.gene_ids[place.row] for place in places)
        raise SettingsError("The annotation has several genes of that name; give one id.", found=found, where=name)
    [(stretch, row)] = places
    gene_id, strand = table.gene_ids[row], "+" if table.gene_strand[row] > 0 else "-"
    if asked not in (None, strand):
        raise SettingsError("The gene is on the other strand.", needed=strand, found=str(asked), where=name)
    own = [exon.interval for exon in annotator.genes.exons(gene_id, *stretch) if exon.reported]
    own.sort(key=lambda exon: exon.start, reverse=strand == "-")
    if not 1 <= number <= len(own):
        needed = f"1 to {len(own)}, the exons of {table.transcript_ids[row]}"
        raise SettingsError("The gene has no exon of that number.", needed=needed, found=str(number), where=name)
    place = Stretch(stretch.contig, own[number - 1].start, own[number - 1].end)
    gene = next(one for one in annotator.genes.contexts(*place) if one.gene_id == gene_id)
    words = f"exon {number} of {gene.symbol or gene_id}, {gene.transcript_id}"
    return _annotated(words, place, strand, gene, annotator.genes)


def _aim_at_exon(text: str, name: str | None, asked: str | None, annotator: Annotator) -> Aim:
    """Return an exon of the annotation by its ends; with a strand it may be one that the annotation lacks."""
    [stretch] = region_stretches([text], annotator.reference)
    index, exact = annotator.genes, Interval(stretch.start, stretch.end)
    genes = _named(index.contexts(*stretch), name, text)
    around = {gene: [exon.interval for exon in index.exons(gene.gene_id, *stretch)] for gene in genes}
    having = [gene for gene, exons in around.items() if exact in exons]
    on_strand = [gene for gene in having if asked in (None, gene.strand)]
    if on_strand:
        strand = asked or _strand(on_strand, text)
        return _annotated(f"exon {text}", stretch, strand, _chosen(on_strand, index, stretch), index)
    if having:
        raise SettingsError(f"The exon {text} is on the other strand than {asked}.", remedy="leave out the strand")
    if asked is None:
        near = sorted({exon for exons in around.values() for exon in exons}, key=lambda one: one.start)
        shown = [f"{stretch.contig}:{one.start + 1}-{one.end}" for one in near]
        more = f" and {len(shown) - _SHOWN:,} more" if len(shown) > _SHOWN else ""
        needed = ", ".join(shown[:_SHOWN]) + more if shown else "an exon of the annotation"
        remedy = "give an exon's own ends; of one not annotated, its strand too"
        raise SettingsError("The annotation has no exon with these ends.", needed=needed, found=text, remedy=remedy)
    return Aim(f"exon {text}, not annotated", stretch.contig, asked, exact, _sites(stretch, asked), None)


def _annotated(name: str, stretch: Stretch, strand: str, gene: GeneContext | None, index: GeneIndex) -> Aim:
    """Return an annotated exon with the annotated sites at its edges."""
    there = {(site.kind, site.interval) for site in index.site_intervals(*stretch) if site.strand == strand}
    sites = tuple(one for one in _sites(stretch, strand) if (one.kind, one.dinucleotide) in there)
    if not sites:
        raise SettingsError("The exon has no splice site: no intron lies beside it.", found=name, where=stretch.contig)
    return Aim(name, stretch.contig, strand, Interval(stretch.start, stretch.end), sites, gene)


def _sites(stretch: Stretch, strand: str) -> tuple[Site, ...]:
    """Return the sites at an exon's edges, acceptor and donor."""
    contig, start, end = stretch
    return tuple(
        Site(kind, contig, strand, start if (kind == "acceptor") == (strand == "+") else end - 1) for kind in KINDS
    )


def _named(genes: Sequence[GeneContext], name: str | None, where: str) -> list[GeneContext]:
    if name is None:
        return list(genes)
    found = [one for one in genes if is_named(one, name) or name in (one.transcript_id, stable_id(one.transcript_id))]
    if not found:
        needed = ", ".join(gene.symbol or gene.gene_id for gene in genes) or "a gene of the annotation"
        raise SettingsError("No gene of that name lies there.", needed=needed, found=name, where=where)
    return found


def _strand(genes: Sequence[GeneContext], where: str) -> str:
    """Return the strand that all genes are on."""
    strands = sorted({gene.strand for gene in genes})
    if len(strands) == 1:
        return strands[0]
    names = ", ".join(f"{gene.symbol or gene.gene_id} {gene.strand}" for gene in genes)
    problem = f"has genes on both strands there: {names}." if genes else "has no gene there."
    remedy = "give --strand + or --strand -, that of the transcript"
    raise SettingsError(f"The annotation {problem}", where=where, remedy=remedy)


def _chosen(genes: Sequence[GeneContext], index: GeneIndex, stretch: Stretch) -> GeneContext | None:
    """Return the gene to name: whose reported transcript has the exon, else a protein-coding gene, else the first."""

    def order(gene: GeneContext) -> tuple[bool, bool, str]:
        own = {exon.interval for exon in index.exons(gene.gene_id, *stretch) if exon.reported}
        return Interval(stretch.start, stretch.end) not in own, gene.biotype != "protein_coding", gene.gene_id

    return min(genes, key=order, default=None)


class _Window:
    """A site's window of W nt (all of a shorter contig), 5' to 3' of the transcript.

    ``(W - 2) // 2`` nucleotides come before the site; at a contig's end the window moves until it lies on the contig.
    """

    def __init__(self, site: Site, width: int, reference: Reference) -> None:
        contig, place = reference.lengths[site.contig], f"{site.contig}:{site.edge + 1}"
        size, intron = min(width, contig), site.dinucleotide
        if min(site.footprint.start, contig - site.footprint.end) < 0:
            raise SettingsError("The splice site reaches beyond its contig.", found=f"{site.kind} at {place}")
        self._minus = site.strand == "-"
        first = contig - intron.end if self._minus else intron.start  # on the strand
        on_strand = min(max(first - (size - _SITE) // 2, 0), contig - size)
        self.start = contig - on_strand - size if self._minus else on_strand
        self.end = self.start + size
        self.tokens = strand_tokens(reference, site.contig, self.start, self.end, site.strand)  # (W,)
        self.site = np.arange(_SITE) + first - on_strand  # where the two nucleotides are
        self.edge = int(self.site[0]) - 1 if site.kind == "donor" else int(self.site[1]) + 1
        if (self.tokens[[*self.site, self.edge]] == N).any():
            bases = reference.fetch(site.contig, site.footprint.start, site.footprint.end).decode("ascii")
            needed = "A, C, G or T at the two intronic nucleotides and the exon's beside them"
            problem = "A nucleotide of the splice site is not known."
            raise SettingsError(problem, needed=needed, found=bases, where=str(site))

    def batches(self, tokens: Tokens, start: Index, length: Index, batch_tokens: int) -> Iterator[Tokens]:
        """Yield windows (B, W): first ``tokens`` as they are, then with each genomic stretch hidden."""
        along = np.arange(len(tokens))
        low = start - self.start
        if self._minus:
            low = len(tokens) - low - length
        low, high = np.concatenate([[0], low]), np.concatenate([[0], low + length])  # of the first nothing is hidden
        rows = max(1, batch_tokens // (len(tokens) + 2))
        for first in range(0, len(low), rows):
            part = slice(first, first + rows)
            hidden = (along >= low[part, None]) & (along < high[part, None])  # (B, W)
            yield np.where(hidden, np.uint8(MASK), tokens)


def hide(
    site: Site, start: Index, length: Index, annotator: Annotator, splice_model: SpliceModel | None = None,
    extent: tuple[int, int] | None = None, progress: Callable[[int], None] | None = None,
) -> Hidden:  # fmt: skip
    """Run a site's window with each of T stretches hidden in turn; a splice-site model gives ``head``.

    Args:
        start: (T,) genomic start of the stretches, 0-based.
        length: (T,) nt.
        extent: genomic stretch beyond which the splice-site model sees N; None is the whole contig.
        progress: called with the number of windows that are done.
    """
    reference, backend = annotator.reference, annotator.backend
    model = _Window(site, annotator.settings.window, reference)
    contig = f"{site.contig} of {len(model.tokens)} nt"
    if backend.info.fixed_window is not None:
        check_width(len(model.tokens), backend.info.fixed_window, backend.info.model, contig)
    there = np.asarray((start >= model.start) & (start + length <= model.end))
    along, edits = model.tokens, list[tuple[Edit, int]]()
    if splice_model is not None:
        low, high = model.start - splice_model.reach, model.end + splice_model.reach
        along = stretch_tokens(reference, site.contig, low, high, extent or (0, reference.lengths[site.contig]))
        edits = [_hiding(site, at, nt, low, high) for at, nt in zip(start.tolist(), length.tolist(), strict=True)]
        there &= [splice_model.takes(edit) for edit, _ in edits]
        along = reverse_complement(along) if site.strand == "-" else along
    batch_tokens = annotator.settings.batch_tokens or backend.info.batch_tokens
    own = model.tokens[model.site].astype(np.int64) - A

    def log_p_of_site(tokens: Tokens) -> Floats:
        logp: Floats = log_p(backend.forward(tokens, np.tile(model.site + 1, (len(tokens), 1))).logits).cpu().numpy()
        return np.asarray(logp[:, [0, 1], own].sum(axis=1))

    def run(window: _Window, tokens: Tokens, ask: Callable[[Tokens], Floats]) -> tuple[float, Floats]:
        """Return the answer for the window as it is, and (T,) those with each stretch hidden, NaN where not there."""
        found = []
        for batch in window.batches(tokens, start[there], length[there], batch_tokens):
            found.append(answers(partial(ask, with_special(batch)), f"{site.kind}, {site.contig}:{site.edge + 1}"))
            if progress:
                progress(len(batch))
        whole, *_ = every = np.concatenate(found)
        hidden = np.full(len(start), np.nan)
        hidden[there] = every[1:]
        return float(whole), hidden

    masked = model.tokens.copy()
    masked[model.site] = MASK
    log_p_whole, log_p_hidden = run(model, masked, log_p_of_site)
    head, head_hidden = None, None
    if splice_model is not None:
        edge = model.end - 1 - site.edge if site.strand == "-" else site.edge - model.start  # among those answered for
        column = KINDS.index(site.kind)
        where = f"{site.kind}, {site.contig}:{site.edge + 1}"
        head = float(answers(lambda: splice_model.along(along), where)[edge, column])
        head_hidden = np.full(len(start), np.nan)
        for some in np.array_split(np.flatnonzero(there), max(1, int(there.sum()) // _TOGETHER)):
            asked = [edits[i] for i in some.tolist()]
            if asked:
                head_hidden[some] = head + answers(partial(_change_of_p, splice_model, along, asked, column), where)
            if progress:
                progress(len(some))
    if progress:
        progress(int((~there).sum()) * (1 if splice_model is None else 2))  # nothing is run for these
    unknown, bases = int((model.tokens == N).sum()), letters(model.tokens[model.site])
    window = model.start, model.end
    return Hidden(site, bases, log_p_whole, head, window, unknown, there, log_p_hidden, head_hidden)


def _hiding(site: Site, start: int, length: int, low: int, high: int) -> tuple[Edit, int]:
    """Return a stretch as an edit of [low, high) that hides it, and which of its answers is the site's nucleotide."""
    if site.strand == "-":
        at, first = high - 1 - site.edge, high - start - length
    else:
        at, first = site.edge - low, start - low
    last = first + length
    edit = Edit(first, last, (MASK,) * length, max(0, first - at), max(0, at - last + 1))
    return edit, at - first + edit.left


def _change_of_p(model: SpliceModel, tokens: Tokens, asked: Sequence[tuple[Edit, int]], column: int) -> Floats:
    """Return how much hiding each stretch changes p of the site, (n,)."""
    found = model.alternatives(tokens, [edit for edit, _ in asked])
    return np.array([alt[at, column] - ref[at, column] for (_, at), (ref, alt) in zip(asked, found, strict=True)])


def _warnings(found: Hidden) -> Iterator[str]:
    typical = _TYPICAL[found.site.kind]
    if found.bases not in typical:
        yield f"the {found.site} is {found.bases}, not {typical[0]}: see that position, kind and strand are right"
    if found.unknown:
        yield f"{found.unknown} nt of the window of the {found.site} are not A, C, G or T"


def _words(found: Hidden) -> str:
    """Return the model's expectation of a site when nothing is hidden."""
    place = str(found.site).partition(" ")[2]
    head = "" if found.head is None else f", head p {found.head:.4f}"
    p = f"ln p {found.log_p:.4f}, p {exp(found.log_p):.4g}{head}"
    return f"{place}, {found.bases}, {p}, window {found.window[0] + 1}-{found.window[1]}"


def _oligo(row: int, start: int, target: str, aim: Aim, found: Sequence[Hidden], goal: str, measure: str) -> Oligo:
    """Return one stretch, not yet ranked or searched for elsewhere."""
    end = start + len(target)
    sequence = other_strand(target) if "N" not in target else None
    changes: dict[str, Change] = {one.site.kind: _change(one, row) for one in found if sequence and one.there[row]}
    touched = [site.kind for site in aim.sites if site.footprint.start < end and site.footprint.end > start]
    status = "OK"
    if sequence is None:
        status = "N_IN_TARGET"
    elif not changes:
        status = "OUTSIDE_WINDOW"
    elif touched:
        status = "OWN_SITE"
    first, last = (end - 1, start) if aim.strand == "-" else (start, end - 1)
    oligo = Oligo(
        rank=None, status=status, start=start, end=end, target=target, sequence=sequence,
        region="&".join(_regions(aim, start, end)),
        offsets={site.kind: (site.offset(first), site.offset(last)) for site in aim.sites},
        own_site="&".join(touched) or None, changes=changes, effect=None, off_targets=None,
        gc=(target.count("G") + target.count("C")) / len(target) if sequence else None,
        self_complementarity=self_complementarity(sequence) if sequence else None,
        hairpin=longest_stem(sequence) if sequence else None,
    )  # fmt: skip
    total = oligo.log_p if measure == "zero-shot" else oligo.head
    return oligo if total is None else replace(oligo, effect=total if goal == "include" else -total)


def _change(found: Hidden, row: int) -> Change:
    log_p = float(found.log_p_hidden[row])
    head = None
    if found.head is not None and found.head_hidden is not None:
        head = float(found.head_hidden[row]) - found.head
    return Change(log_p - found.log_p, exp(log_p) - exp(found.log_p), head)


def _regions(aim: Aim, start: int, end: int) -> Iterator[str]:
    """Yield the words for where a stretch lies, 5' to 3' of the transcript; the edge of a single site parts two."""
    if aim.exon is None:
        [site] = aim.sites
        edge = site.dinucleotide.start if site.intron_is_right else site.dinucleotide.end
    exon = aim.exon or Interval(edge, edge)
    before, after = start < exon.start, end > exon.end
    if aim.strand == "-":
        before, after = after, before
    if before:
        yield "upstream"
    if aim.exon and start < exon.end and end > exon.start:
        yield "exon"
    if after:
        yield "downstream"


def _ranked(oligos: Sequence[Oligo], strand: str) -> list[Oligo]:
    """Return the oligos that are ranked, the best first, and then the others 5' to 3' of the transcript."""

    def along(oligo: Oligo) -> tuple[int, int]:
        return (-oligo.end if strand == "-" else oligo.start, len(oligo))

    ranked = sorted((one for one in oligos if one.status == "OK"), key=lambda one: (-(one.effect or 0.0), *along(one)))
    others = sorted((one for one in oligos if one.status != "OK"), key=along)
    return [*(replace(one, rank=rank) for rank, one in enumerate(ranked, start=1)), *others]


def self_complementarity(bases: str) -> int:
    """Return the length of the longest stretch whose reverse complement is also in the sequence.

    There two copies of the sequence can pair without a gap. Watson-Crick pairs only.
    """
    return _longest(bases, lambda at, length, other: bases.find(other))


def longest_stem(bases: str) -> int:
    """Return the length of the longest hairpin stem: two stretches that pair, with a loop of at least 3 nt between."""
    return _longest(bases, lambda at, length, other: bases.find(other, at + length + LOOP))


def _longest(bases: str, find: Callable[[int, int, str], int]) -> int:
    """Return the largest length of a stretch that ``find`` finds a partner of."""
    for length in range(1, len(bases) + 1):  # no partner of this length: none of a larger one
        stretches = (bases[at : at + length] for at in range(len(bases) - length + 1))
        if all(find(at, length, other_strand(one)) < 0 for at, one in enumerate(stretches)):
            return length - 1
    return len(bases)


def count_occurrences(sequences: Sequence[str], reference: Reference, progress: Progress | None = None) -> list[int]:
    """Return in how many places of the FASTA each sequence stands, on either strand.

    A place where a sequence that is its own reverse complement stands counts once. Letters of the FASTA other than A,
    C, G and T match nothing.
    """
    words: Any = ahocorasick.Automaton()
    for word in {*sequences, *map(other_strand, sequences)}:
        words.add_word(word, word)
    words.make_automaton()
    longest = max(map(len, sequences), default=1)
    met: Counter[str] = Counter()
    total, done = sum(reference.lengths.values()), 0
    for contig, length in reference.lengths.items():
        for start in range(0, length, _CHUNK):
            end = min(start + _CHUNK, length)
            before = max(0, start - longest + 1)  # words that end in this chunk may begin in the last
            bases = reference.fetch(contig, before, end).decode("ascii")
            if len(words):
                met.update(word for last, word in words.iter(bases) if before + last >= start)
            done += end - start
            if progress:
                progress("megabases of the FASTA searched", done // _MEGABASE, -(-total // _MEGABASE))
    return [sum(met[one] for one in {word, other_strand(word)}) for word in sequences]


_INTEGER, _FLOAT, _TEXT = pa.int64(), pa.float64(), pa.string()
_OF_SITES = (("OFFSET", _TEXT), ("DLNP", _FLOAT), ("DP", _FLOAT), ("DHEAD", _FLOAT))
COLUMNS = (
    ("RANK", _INTEGER), ("STATUS", _TEXT), ("CHROM", _TEXT), ("START", _INTEGER), ("END", _INTEGER), ("STRAND", _TEXT),
    ("LENGTH", _INTEGER), ("TARGET", _TEXT), ("OLIGO", _TEXT), ("REGION", _TEXT), ("OWN_SITE", _TEXT),
    ("EFFECT", _FLOAT), ("DLNP", _FLOAT), ("DHEAD", _FLOAT), ("N_SITES", _INTEGER), ("OUTSIDE", _TEXT),
    *((f"{kind.upper()}_{name}", type_) for kind in KINDS for name, type_ in _OF_SITES),
    ("GC", _FLOAT), ("SELF_COMPLEMENT", _INTEGER), ("HAIRPIN", _INTEGER), ("OFF_TARGETS", _INTEGER),
)  # fmt: skip


def table_of(found: Oligos) -> tuple[pa.Schema, Iterator[tuple[Value, ...]]]:
    """Return the table's schema, and one row for each oligo, in their order; positions are 1-based."""
    rows: Iterator[tuple[Value, ...]] = (
        (
            oligo.rank, oligo.status, found.aim.contig, oligo.start + 1, oligo.end, found.aim.strand, len(oligo),
            oligo.target, oligo.sequence, oligo.region, oligo.own_site, oligo.effect, oligo.log_p, oligo.head,
            len(oligo.changes), "&".join(oligo.outside) or None,
            *_of_site(oligo, "acceptor"), *_of_site(oligo, "donor"),
            oligo.gc, oligo.self_complementarity, oligo.hairpin, oligo.off_targets,
        )
        for oligo in found.oligos
    )  # fmt: skip
    return pa.schema(COLUMNS, metadata=dict(found.provenance)), rows


def _of_site(oligo: Oligo, kind: str) -> tuple[Value, ...]:
    where = oligo.offsets.get(kind)
    offset = None if where is None else f"{where[0]:+d}..{where[1]:+d}"
    change = oligo.changes.get(kind)
    return (offset, None, None, None) if change is None else (offset, change.log_p, change.p, change.head)
