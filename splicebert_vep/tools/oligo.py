"""Oligos as a table, TSV or Parquet by the file's suffix; whole under its name, or not there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from splicebert_vep_spec import MASK, A, GeneContext, Interval, N, Value

from ..errors import BackendError, SettingsError
from ..files import is_stdout, whole_or_not
from ..genome.gene_index import Exon, GeneIndex
from ..genome.ids import stable_id
from ..genome.places import Stretch, gene_places, region_stretches
from ..outputs.tables import RowsWriter, cell
from ..plugins import GuardedBackend
from ..scoring.scorers import log_p
from ..sequence.tokens import Tokens, encode, letters, other_strand, reverse_complement, with_special
from ..sequence.windows import Index, Mask
from .plot import is_named

if TYPE_CHECKING:
    from ..annotator import Annotator
    from ..genome.reference import Reference


SHORTEST, LONGEST = 15, 30  # nt of an oligo
LOOP = 3  # nt: a hairpin has at least so many between its stems
_Find = Callable[[int, int, str], int]


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """T stretches of a region, by length and then 5' to 3' of the transcript.

    Args:
        first: (T,) nt of the region that lie 5' of the stretch.
        length: (T,) nt.
    """

    first: Index
    length: Index

    def __len__(self) -> int:
        return len(self.first)


def lay_tiles(region: int, lengths: tuple[int, int], step: int) -> Tiles:
    """Return the stretches of a region of so many nt.

    Args:
        lengths: the shortest and the longest, nt.
        step: nt between the starts of neighbours of one length.

    Raises:
        SettingsError: lengths outside 15 to 30 nt, a step below 1, or a region shorter than the shortest.
    """
    low, high = lengths
    if not SHORTEST <= low <= high <= LONGEST or step < 1:
        raise SettingsError(
            "Oligos of such lengths or steps are not tiled.",
            needed=f"lengths from {SHORTEST} to {LONGEST} nt, the shorter first; a step of 1 nt or more",
            found=f"{low}-{high} nt in steps of {step}",
        )
    if region < low:
        raise SettingsError("The region is shorter than an oligo.", needed=f"at least {low} nt", found=f"{region} nt")
    starts = [np.arange(0, region - length + 1, step, dtype=np.int64) for length in range(low, high + 1)]
    counts = [len(one) for one in starts]
    return Tiles(np.concatenate(starts), np.repeat(np.arange(low, high + 1, dtype=np.int64), counts))


def gc_content(bases: str) -> float:
    """Return the share of G and C."""
    return (bases.count("G") + bases.count("C")) / len(bases)


def self_complementarity(bases: str) -> int:
    """Return the length of the longest stretch whose reverse complement is also in the sequence.

    There two copies of the sequence can pair without a gap. Watson-Crick pairs only.
    """
    return _longest(bases, lambda at, length, other: bases.find(other))


def longest_stem(bases: str) -> int:
    """Return the length of the longest hairpin stem: two stretches that pair, with a loop of at least 3 nt between."""
    return _longest(bases, lambda at, length, other: bases.find(other, at + length + LOOP))


def _longest(bases: str, find: _Find) -> int:
    """Return the largest length of a stretch that ``find`` finds a partner of.

    Where a stretch of some length has a partner, one of every smaller length has, so that the first failure is the end.
    """
    for length in range(1, len(bases) + 1):
        stretches = (bases[at : at + length] for at in range(len(bases) - length + 1))
        if all(find(at, length, other_strand(one)) < 0 for at, one in enumerate(stretches)):
            return length - 1
    return len(bases)


Goal = Literal["skip", "include", "block"]
Measure = Literal["zero-shot", "head"]


@dataclass(frozen=True, slots=True)
class Change:
    """How the expectation of one site changes when a stretch is hidden: hidden minus not hidden.

    Args:
        log_p: of the sum of ln p over the two intronic nucleotides, nats; negative = less expected.
        p: of the product of the two p.
        head: of the splice-site model's p of the site; None without such a model.
    """

    log_p: float
    p: float
    head: float | None


@dataclass(frozen=True, slots=True)
class Oligo:
    """One stretch and the oligo that would cover it.

    Args:
        rank: 1 is the best; None for what is not ranked, see ``status``.
        status: ``OK``; ``OWN_SITE`` touches a site of the target; ``OUTSIDE_WINDOW`` lies in no site's window;
            ``N_IN_TARGET`` holds a base that is not A, C, G or T.
        start, end: of the stretch, 0-based half-open.
        target: the stretch, 5' to 3' of the transcript.
        sequence: the oligo, its reverse complement; None with N.
        region: ``upstream``, ``exon`` and ``downstream`` of the target, joined by ``&``.
        offsets: by kind of site, where the first and the last nucleotide lie from the edge between exon and intron.
        own_site: ``acceptor``, ``donor``, both joined by ``&``, or None.
        changes: by kind of site; a site whose window does not hold the stretch whole is not in it.
        effect: what is ranked, higher is better; None without a value.
        gc: share of G and C; None with N, as the next two.
        self_complementarity: nt of the longest stretch whose reverse complement is also in the oligo.
        hairpin: nt of the longest stem with a loop of at least 3 nt.
        off_targets: other places of the FASTA, on both strands, that hold the target exactly; None when they were
            not looked for.
    """

    rank: int | None
    status: str
    start: int
    end: int
    target: str
    sequence: str | None
    region: str
    offsets: Mapping[str, tuple[int, int]]
    own_site: str | None
    changes: Mapping[str, Change]
    effect: float | None
    gc: float | None
    self_complementarity: int | None
    hairpin: int | None
    off_targets: int | None

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
    """Oligos against the sites of one target.

    Args:
        aim: the target and its sites.
        region: what is tiled.
        goal: ``skip``, ``include`` or ``block``.
        measure: what is ranked by, ``zero-shot`` or ``head``.
        lengths: the shortest and the longest, nt.
        step: nt between neighbours of one length.
        oligos: those with a rank by rank, then the others 5' to 3'.
        sites: what the model expects of each site, hidden and not.
        exons: of the target's gene in the region.
        provenance: what determines the numbers.
        warnings: sentences for the user.
    """

    aim: Aim
    region: Stretch
    goal: Goal
    measure: Measure
    lengths: tuple[int, int]
    step: int
    oligos: tuple[Oligo, ...]
    sites: tuple[Hidden, ...]
    exons: tuple[Exon, ...]
    provenance: Mapping[str, str]
    warnings: tuple[str, ...]

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


_SEED = 12  # nt; 4^12 flags take 16 MiB
_CHUNK = 1 << 20  # nt
_MEGABASE = 10**6
Codes = NDArray[np.uint64]


def count_occurrences(sequences: Sequence[str], reference: Reference, progress: Progress | None = None) -> list[int]:
    """Return in how many places of the FASTA each sequence stands, on either strand.

    A place where a sequence that is its own reverse complement stands counts once. Whatever is not A, C, G or T in the
    FASTA matches nothing.

    Args:
        sequences: of A, C, G and T, 12 to 32 nt.
        progress: called with what is done of all megabases.

    Raises:
        FastaError: the FASTA cannot be read.
    """
    found = _Counts(sequences)
    total, done = sum(reference.lengths.values()), 0
    for contig, length in reference.lengths.items():
        for start in range(0, length, _CHUNK):
            end = min(start + _CHUNK, length)
            found.read(reference.fetch(contig, start, end + found.longest - 1), end - start)
            done += end - start
            if progress:
                progress("megabases of the FASTA searched", done // _MEGABASE, -(-total // _MEGABASE))
    return [found.of(sequence) for sequence in sequences]


class _Counts:
    """How often each of some sequences, and its reverse complement, was met on the forward strand."""

    def __init__(self, sequences: Sequence[str]) -> None:
        wanted: dict[int, set[int]] = {}
        self._seeds = np.zeros(1 << 2 * _SEED, dtype=np.bool_)
        for sequence in {*sequences, *map(other_strand, sequences)}:
            wanted.setdefault(len(sequence), set()).add(_code(sequence))
            self._seeds[_code(sequence[:_SEED])] = True
        self.longest = max(wanted, default=_SEED)
        self._codes = {length: np.array(sorted(codes), dtype=np.uint64) for length, codes in wanted.items()}
        self._met = {length: np.zeros(len(codes), dtype=np.int64) for length, codes in self._codes.items()}

    def of(self, sequence: str) -> int:
        """Return the number of places that were met, on both strands."""
        return sum(self._forward(one) for one in {sequence, other_strand(sequence)})

    def _forward(self, sequence: str) -> int:
        row = np.searchsorted(self._codes[len(sequence)], np.uint64(_code(sequence)))
        return int(self._met[len(sequence)][row])

    def read(self, bases: bytes, starts: int) -> None:
        """Count the sequences that begin at the first ``starts`` of these bases; the rest are their ends."""
        tokens = encode(bases)
        if len(tokens) < _SEED:
            return
        unknown = np.concatenate([[0], np.cumsum(tokens == N, dtype=np.int64)])  # N before each base
        digit = (tokens - np.uint8(N + 1)) & np.uint8(3)  # A, C, G, T are 0 to 3; N is whatever, and looked at below
        seeds = _seed_codes(digit)[:starts]
        at = np.flatnonzero(self._seeds[seeds])
        at = at[unknown[at + _SEED] == unknown[at]]
        code = np.zeros(len(at), dtype=np.uint64)
        for length in range(1, self.longest + 1):
            within = at + length <= len(tokens)
            at, code = at[within], code[within]
            code = code << np.uint64(2) | digit[at + length - 1]
            if length in self._codes:
                self._count(length, code[unknown[at + length] == unknown[at]])

    def _count(self, length: int, code: Codes) -> None:
        known = self._codes[length]
        row = np.minimum(np.searchsorted(known, code), len(known) - 1)
        self._met[length] += np.bincount(row[known[row] == code], minlength=len(known))


def _seed_codes(digit: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return the number of every 12-mer, two bits per nucleotide, the first highest; (L - 11,)."""
    code = digit.astype(np.uint32)
    width = 1
    while width < 8:
        code = code[:-width] << np.uint32(2 * width) | code[width:]
        width *= 2
    four = digit.astype(np.uint32)
    four = four[:-1] << np.uint32(2) | four[1:]
    four = four[:-2] << np.uint32(4) | four[2:]
    return code[: len(digit) - _SEED + 1] << np.uint32(8) | four[8:]


def _code(bases: str) -> int:
    """Return a sequence as a number, two bits per nucleotide, the first highest."""
    number = 0
    for base in bases:
        number = number << 2 | "ACGT".index(base)
    return number


Kind = Literal["acceptor", "donor"]
KINDS: tuple[Kind, ...] = ("acceptor", "donor")  # 5' to 3' of an exon
STRANDS = ("+", "-")
_SITE = 2  # nt: the intronic dinucleotide
_SHOWN = 5  # exons in a message


@dataclass(frozen=True, slots=True)
class Site:
    """A splice site.

    Args:
        kind: ``acceptor`` or ``donor``.
        contig: under the FASTA's name.
        strand: ``+`` or ``-``, of the transcript.
        edge: genomic position, 0-based, of the exon's nucleotide beside the intron: the last of the exon for a donor,
            the first for an acceptor.
    """

    kind: Kind
    contig: str
    strand: str
    edge: int

    @property
    def intron_is_right(self) -> bool:
        """Whether the intron lies at higher genomic positions than the exon."""
        return (self.kind == "donor") == (self.strand == "+")

    @property
    def dinucleotide(self) -> Interval:
        """The two intronic nucleotides."""
        start = self.edge + 1 if self.intron_is_right else self.edge - _SITE
        return Interval(start, start + _SITE)

    @property
    def footprint(self) -> Interval:
        """The two intronic nucleotides and the exon's beside them: what a tile must not touch to be ranked."""
        return Interval(min(self.edge, self.dinucleotide.start), max(self.edge + 1, self.dinucleotide.end))

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
    """What oligos are to change.

    Args:
        name: in words.
        contig: under the FASTA's name.
        strand: ``+`` or ``-``, of the transcript.
        exon: 0-based half-open; None where a single site is aimed at.
        sites: acceptor before donor; one for a terminal exon and for a single site.
        gene: the gene and its reported transcript; None where the annotation was not asked, or has none there.
    """

    name: str
    contig: str
    strand: str
    exon: Interval | None
    sites: tuple[Site, ...]
    gene: GeneContext | None

    @property
    def span(self) -> Interval:
        """The exon, or the single site's footprint."""
        return self.exon or self.sites[0].footprint


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user asks for: an exon or a site.

    Args:
        exon: ``chr17:43044295-43044390``, 1-based with both ends; or, with ``gene``, a number: 1 is the first exon of
            the reported transcript.
        gene: symbol or id of the gene, or id of its reported transcript.
        site: ``chr17:43044295``, 1-based: the exon's nucleotide beside the intron.
        kind: of the site, ``donor`` or ``acceptor``.
        strand: ``+`` or ``-``; None is what the annotation says.
    """

    exon: str | None = None
    gene: str | None = None
    site: str | None = None
    kind: str | None = None
    strand: str | None = None


def find_aim(wanted: Wanted, annotator: Annotator, warnings: list[str]) -> Aim:
    """Return the sites that are asked for.

    Args:
        warnings: gets sentences for the user.

    Raises:
        SettingsError: not one exon or one site was asked for; it is not on the FASTA or, without a strand, not in the
            annotation; the strand is in doubt; an exon has no splice site.
    """
    if (wanted.exon is None) == (wanted.site is None) or (wanted.site is None) != (wanted.kind is None):
        raise SettingsError(
            "Oligos are aimed at one exon or one splice site.",
            needed="an exon; or a site and its kind, donor or acceptor",
            found=", ".join(name for name in ("exon", "site", "kind") if getattr(wanted, name) is not None)
            or "neither",
        )
    for value, known in ((wanted.strand, STRANDS), (wanted.kind, KINDS)):
        if value is not None and value not in known:
            raise SettingsError("An unknown word was given.", needed=" or ".join(known), found=value)
    if wanted.site is not None:
        return _site(wanted, wanted.site, annotator, warnings)
    exon = str(wanted.exon)
    if exon.isdecimal():
        return _numbered(int(exon), wanted, annotator, warnings)
    return _exon(wanted, exon, annotator)


def _site(wanted: Wanted, text: str, annotator: Annotator, warnings: list[str]) -> Aim:
    [stretch] = region_stretches([text], annotator.reference)
    if stretch.end - stretch.start != 1:
        raise SettingsError(
            "A splice site is told by one position.",
            needed="the exon's nucleotide beside the intron: its last for a donor, its first for an acceptor",
            found=f"{stretch.end - stretch.start:,} nt",
            where=text,
        )
    kind = next(kind for kind in KINDS if kind == wanted.kind)
    genes = _named(annotator.genes.contexts(*stretch), wanted.gene, text)
    on_strand = [gene for gene in genes if wanted.strand in (None, gene.strand)]
    strand = wanted.strand or _strand(on_strand, text)
    if genes and not on_strand:
        warnings.append(f"the annotation has genes on the other strand only at {text}")
    site = Site(kind, stretch.contig, strand, stretch.start)
    return Aim(f"{kind} {text}", stretch.contig, strand, None, (site,), _chosen(on_strand, annotator.genes, stretch))


def _numbered(number: int, wanted: Wanted, annotator: Annotator, warnings: list[str]) -> Aim:
    """Return an exon of a gene's reported transcript, counted from its 5' end."""
    if wanted.gene is None:
        raise SettingsError(
            "The number of an exon needs a gene.", needed="a gene, or the exon's place", found=f"exon {number}"
        )
    table = annotator.genes.table
    by_transcript = {
        name: gene
        for transcript, gene in zip(table.transcript_ids, table.gene_ids, strict=True)
        for name in (transcript, stable_id(transcript))
    }
    asked = by_transcript.get(wanted.gene, wanted.gene)
    places = list(gene_places([asked], annotator.reference, table, warnings))
    if len(places) > 1:
        raise SettingsError(
            "The annotation has several genes of that name.",
            needed="the id of one",
            found=", ".join(table.gene_ids[place.row] for place in places),
            where=wanted.gene,
        )
    [(stretch, row)] = places
    gene_id, strand = table.gene_ids[row], "+" if table.gene_strand[row] > 0 else "-"
    if wanted.strand not in (None, strand):
        raise SettingsError("The gene is on the other strand.", needed=strand, found=str(wanted.strand), where=asked)
    own = [exon.interval for exon in annotator.genes.exons(gene_id, *stretch) if exon.reported]
    own.sort(key=lambda exon: exon.start, reverse=strand == "-")
    if not 1 <= number <= len(own):
        raise SettingsError(
            "The gene has no exon of that number.",
            needed=f"1 to {len(own)}, the exons of {table.transcript_ids[row]}",
            found=str(number),
            where=wanted.gene,
        )
    exon = own[number - 1]
    place = Stretch(stretch.contig, exon.start, exon.end)
    gene = next(one for one in annotator.genes.contexts(*place) if one.gene_id == gene_id)
    return _aim(f"exon {number} of {gene.symbol or gene_id}, {gene.transcript_id}", place, strand, gene, annotator)


def _exon(wanted: Wanted, text: str, annotator: Annotator) -> Aim:
    """Return an exon of the annotation by its ends; with a strand it may be one that the annotation lacks."""
    [stretch] = region_stretches([text], annotator.reference)
    index, exact = annotator.genes, Interval(stretch.start, stretch.end)
    genes = _named(index.contexts(*stretch), wanted.gene, text)
    around = {gene: index.exons(gene.gene_id, *stretch) for gene in genes}
    having = [gene for gene, exons in around.items() if any(exon.interval == exact for exon in exons)]
    on_strand = [gene for gene in having if wanted.strand in (None, gene.strand)]
    if on_strand:
        strand = wanted.strand or _strand(on_strand, text)
        return _aim(f"exon {text}", stretch, strand, _chosen(on_strand, index, stretch), annotator)
    if having or wanted.strand is None:
        near = sorted({exon.interval for exons in around.values() for exon in exons}, key=lambda one: one.start)
        shown = [f"{stretch.contig}:{one.start + 1}-{one.end}" for one in near]
        more = f" and {len(shown) - _SHOWN:,} more" if len(shown) > _SHOWN else ""
        raise SettingsError(
            "The exon is on the other strand." if having else "The annotation has no exon with these ends.",
            needed=", ".join(shown[:_SHOWN]) + more if shown else "an exon of the annotation",
            found=f"{text} on {wanted.strand}" if having else text,
            remedy="leave out the strand"
            if having
            else "give an exon's own ends; of one not annotated, its strand too",
        )
    sites = _sites(stretch, wanted.strand, KINDS)
    return Aim(f"exon {text}, not annotated", stretch.contig, wanted.strand, exact, sites, None)


def _aim(name: str, stretch: Stretch, strand: str, gene: GeneContext | None, annotator: Annotator) -> Aim:
    """Return an annotated exon with the annotated sites at its edges."""
    known = annotator.genes.site_intervals(*stretch)
    there = {(site.kind, site.interval) for site in known if site.strand == strand}
    sites = tuple(one for one in _sites(stretch, strand, KINDS) if (one.kind, one.dinucleotide) in there)
    if not sites:
        raise SettingsError(
            "The exon has no splice site.", needed="an exon beside an intron", found=name, where=stretch.contig
        )
    return Aim(name, stretch.contig, strand, Interval(stretch.start, stretch.end), sites, gene)


def _sites(stretch: Stretch, strand: str, kinds: Sequence[Kind]) -> tuple[Site, ...]:
    """Return the sites at an exon's edges."""
    contig, start, end = stretch
    return tuple(
        Site(kind, contig, strand, start if (kind == "acceptor") == (strand == "+") else end - 1) for kind in kinds
    )


def _named(genes: Sequence[GeneContext], name: str | None, where: str) -> list[GeneContext]:
    if name is None:
        return list(genes)
    found = [gene for gene in genes if is_named(gene, name) or stable_id(gene.transcript_id) == name]
    if not found:
        raise SettingsError(
            "No gene of that name lies there.",
            needed=", ".join(gene.symbol or gene.gene_id for gene in genes) or "a gene of the annotation",
            found=name,
            where=where,
        )
    return found


def _strand(genes: Sequence[GeneContext], where: str) -> str:
    """Return the strand that all genes are on."""
    strands = sorted({gene.strand for gene in genes})
    if len(strands) == 1:
        return strands[0]
    raise SettingsError(
        "The annotation has genes on both strands there." if genes else "The annotation has no gene there.",
        needed="the strand of the transcript, + or -",
        found=", ".join(f"{gene.symbol or gene.gene_id} {gene.strand}" for gene in genes) or "no gene",
        where=where,
        remedy="give --strand + or --strand -",
    )


def _chosen(genes: Sequence[GeneContext], index: GeneIndex, stretch: Stretch) -> GeneContext | None:
    """Return the gene that is named: one whose reported transcript has the exon, a protein-coding one, the first."""

    def worse(gene: GeneContext) -> tuple[bool, bool, str]:
        own = {exon.interval for exon in index.exons(gene.gene_id, *stretch) if exon.reported}
        return Interval(stretch.start, stretch.end) not in own, gene.biotype != "protein_coding", gene.gene_id

    return min(genes, key=worse, default=None)


Floats = NDArray[np.float64]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

_Ask = Callable[[Tokens], Floats]  # framed windows (B, W + 2) to a number each, (B,)
_HIDDEN_SITE = 2  # nt
_CLASS = {"acceptor": 1, "donor": 2}  # of a splice-site model's answer; 0 is neither


class SpliceModel(Protocol):
    """A model fine-tuned to tell splice sites, as ``SpliceSiteModel`` is."""

    @property
    def name(self) -> str:
        """Name, for provenance."""

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights."""

    @property
    def quality(self) -> str:
        """How good it was measured to be; empty when nothing is known."""

    @property
    def window(self) -> int:
        """Nucleotides that it sees at once."""

    def probabilities(self, tokens: Tokens, positions: Index | None) -> Floats:
        """Return p of neither, acceptor and donor, (N, P, 3), at token positions (N, P) of windows (N, W + 2)."""


@dataclass(frozen=True, slots=True, eq=False)
class Hidden:
    """What a model expects of one site.

    Args:
        site: which.
        bases: its two intronic nucleotides, 5' to 3'.
        log_p: sum over them of ln p, each masked, in the whole window; nats.
        head: p of the site's kind at the exon's nucleotide beside it, in the whole window; None without such a model.
        window: genomic start and end of the window, 0-based half-open; the smaller of the two with a splice-site model.
        unknown: nucleotides of the window that are not A, C, G or T.
        there: (T,) which stretches lie wholly in the window.
        log_p_hidden: (T,) the same sum with the stretch hidden; NaN where not ``there``.
        head_hidden: (T,) the same p with the stretch hidden; None without such a model.
    """

    site: Site
    bases: str
    log_p: float
    head: float | None
    window: tuple[int, int]
    unknown: int
    there: Mask
    log_p_hidden: Floats
    head_hidden: Floats | None


def hide(
    site: Site, start: Index, length: Index, annotator: Annotator, splice_model: SpliceModel | None = None,
    progress: Callable[[int], None] | None = None,
) -> Hidden:  # fmt: skip
    """Run a site's window with each of T stretches hidden in turn.

    Args:
        start: (T,) genomic start of the stretches, 0-based.
        length: (T,) nt.
        splice_model: gives ``head``.
        progress: called with the number of windows that are done.

    Raises:
        SettingsError: a nucleotide of the site is not known, or its contig is shorter than a model's window.
        BackendError: a model failed.
    """
    model = _Window(site, annotator.settings.window.width, annotator.reference)
    info = annotator.backend.info
    if info.fixed_window is not None:
        model.check_width(info.fixed_window, info.model)
    narrow, classes = model, None
    if splice_model is not None:
        classes = _Window(site, splice_model.window, annotator.reference)
        classes.check_width(splice_model.window, splice_model.name)
        narrow = min(model, classes, key=lambda window: len(window.tokens))
    there = np.asarray((start >= narrow.start) & (start + length <= narrow.start + len(narrow.tokens)))
    batch_tokens = annotator.settings.batch_tokens or info.batch_tokens

    def run(window: _Window, tokens: Tokens, ask: _Ask) -> tuple[float, Floats]:
        """Return the answer for the window as it is, and (T,) those with each stretch hidden, NaN where not there."""
        answers = np.concatenate(
            [
                _answer(ask, batch, site, progress)
                for batch in window.batches(tokens, start[there], length[there], batch_tokens)
            ]
        )
        hidden = np.full(len(start), np.nan)
        hidden[there] = answers[1:]
        return float(answers[0]), hidden

    masked = model.tokens.copy()
    masked[model.site] = MASK
    log_p_whole, log_p_hidden = run(model, masked, _log_p_of(model, annotator.backend))
    head, head_hidden = None, None
    if classes is not None and splice_model is not None:
        head, head_hidden = run(classes, classes.tokens, _p_of(classes, site, splice_model))
    if progress:
        progress(int((~there).sum()) * (1 if classes is None else 2))  # which nothing is run for
    return Hidden(
        site=site,
        bases=letters(model.tokens[model.site]),
        log_p=log_p_whole,
        head=head,
        window=(narrow.start, narrow.start + len(narrow.tokens)),
        unknown=int((model.tokens == N).sum()),
        there=there,
        log_p_hidden=log_p_hidden,
        head_hidden=head_hidden,
    )


def _answer(ask: _Ask, batch: Tokens, site: Site, progress: Callable[[int], None] | None) -> Floats:
    """Return a model's answers for windows (B, W)."""
    try:
        found = ask(with_special(batch))
    except RuntimeError as error:
        raise BackendError(
            "The model failed.",
            found=" ".join(str(error).split()),
            remedy="a smaller --batch-tokens needs less room",
        ) from error
    if not np.isfinite(found).all():
        raise BackendError(
            "The model answered with numbers that are not finite.", where=f"{site.kind}, {site.contig}:{site.edge + 1}"
        )
    if progress:
        progress(len(batch))
    return found


def _log_p_of(window: _Window, backend: GuardedBackend) -> _Ask:
    """Return what tells the sum of ln p of the site's own two nucleotides."""
    own = window.tokens[window.site].astype(np.int64) - A

    def ask(tokens: Tokens) -> Floats:
        positions = np.tile(window.site + 1, (len(tokens), 1))  # past [CLS]
        logp: Floats = log_p(backend.forward(tokens, positions).logits).cpu().numpy()  # (B, 2, 4)
        return np.asarray(logp[:, [0, 1], own].sum(axis=1))

    return ask


def _p_of(window: _Window, site: Site, model: SpliceModel) -> _Ask:
    """Return what tells a splice-site model's p of the site at the exon's nucleotide beside it."""

    def ask(tokens: Tokens) -> Floats:
        positions = np.full((len(tokens), 1), window.edge + 1, dtype=np.int64)  # past [CLS]
        return model.probabilities(tokens, positions)[:, 0, _CLASS[site.kind]]

    return ask


class _Window:
    """A site's window, 5' to 3' of the transcript.

    ``(W - 2) // 2`` nucleotides come before the site; at a contig's end the window moves until it lies on the contig.

    Args:
        site: in its middle.
        width: W; all of a contig that is shorter.
        reference: where the bases are.
    """

    def __init__(self, site: Site, width: int, reference: Reference) -> None:
        self._minus = site.strand == "-"
        contig = reference.lengths[site.contig]
        size, intron = min(width, contig), site.dinucleotide
        if min(site.footprint.start, contig - site.footprint.end) < 0:
            raise SettingsError(
                "The splice site reaches beyond its contig.",
                needed=f"two intronic nucleotides on {site.contig} of {contig:,} nt",
                found=f"{site.kind} at {site.edge + 1:,}",
                where=f"{site.contig}:{site.edge + 1}",
            )
        first = contig - intron.end if self._minus else intron.start  # on the strand
        on_strand = min(max(first - (size - _HIDDEN_SITE) // 2, 0), contig - size)
        self.start = contig - on_strand - size if self._minus else on_strand
        bases = reference.fetch(site.contig, self.start, self.start + size)
        if b"U" in bases:  # the model would read it as N, and its answer would look right
            raise SettingsError(
                "A sequence is written as RNA.", needed="T in place of U", found="U", where=site.contig,
                remedy="write U as T, e.g. seqkit seq --rna2dna in.fa",
            )  # fmt: skip
        tokens = encode(bases)
        self.tokens = reverse_complement(tokens) if self._minus else tokens  # (W,)
        self.site = np.arange(_HIDDEN_SITE) + first - on_strand  # where the two nucleotides are
        self.edge = int(self.site[0]) - 1 if site.kind == "donor" else int(self.site[1]) + 1
        if (self.tokens[[*self.site, self.edge]] == N).any():
            raise SettingsError(
                "A nucleotide of the splice site is not known.",
                needed="A, C, G or T in the FASTA at the two intronic nucleotides and the exon's beside them",
                found=reference.fetch(site.contig, site.footprint.start, site.footprint.end).decode("ascii"),
                where=f"{site.kind}, {site.contig}:{site.footprint.start + 1}-{site.footprint.end}",
            )
        self._contig = site.contig

    def check_width(self, width: int, model: str) -> None:
        """Raise SettingsError when the contig holds no window of the only length that a model takes."""
        if len(self.tokens) < width:
            raise SettingsError(
                f"Model {model} takes windows of one length only, and the contig is shorter.",
                needed=f"at least {width} nt",
                found=f"{self._contig} of {len(self.tokens)} nt",
                remedy="choose a model that takes shorter windows, or give the sequence with what surrounds it",
            )

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
    bases = other_strand(bases) if aim.strand == "-" else bases
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
    return annotator.files().guard({}).check_stretches([place])


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
    sequence = other_strand(target) if known else None
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


SUFFIXES = (".tsv", ".parquet")
_INTEGER, _FLOAT, _TEXT = pa.int64(), pa.float64(), pa.string()
_OF_SITES = (("OFFSET", _TEXT), ("DLNP", _FLOAT), ("DP", _FLOAT), ("DHEAD", _FLOAT))
COLUMNS = (
    ("RANK", _INTEGER), ("STATUS", _TEXT), ("CHROM", _TEXT), ("START", _INTEGER), ("END", _INTEGER), ("STRAND", _TEXT),
    ("LENGTH", _INTEGER), ("TARGET", _TEXT), ("OLIGO", _TEXT), ("REGION", _TEXT), ("OWN_SITE", _TEXT),
    ("EFFECT", _FLOAT), ("DLNP", _FLOAT), ("DHEAD", _FLOAT), ("N_SITES", _INTEGER), ("OUTSIDE", _TEXT),
    *((f"{kind.upper()}_{name}", type_) for kind in KINDS for name, type_ in _OF_SITES),
    ("GC", _FLOAT), ("SELF_COMPLEMENT", _INTEGER), ("HAIRPIN", _INTEGER), ("OFF_TARGETS", _INTEGER),
)  # fmt: skip


def check_table(path: str) -> None:
    """See that an output is stdout, or a file whose name says which kind of table it is.

    Raises:
        SettingsError: it is not.
    """
    if not is_stdout(path) and not path.lower().endswith(SUFFIXES):
        raise SettingsError("The table's format is told by its suffix.", needed=", ".join(SUFFIXES), found=path)


def rows(found: Oligos) -> Iterator[tuple[Value, ...]]:
    """Yield one row of ``COLUMNS`` for each oligo, in their order; positions are 1-based."""
    for oligo in found.oligos:
        sites = [value for kind in KINDS for value in _of_site(oligo, kind)]
        yield (
            oligo.rank, oligo.status, found.aim.contig, oligo.start + 1, oligo.end, found.aim.strand, len(oligo),
            oligo.target, oligo.sequence, oligo.region, oligo.own_site, oligo.effect, oligo.log_p, oligo.head,
            len(oligo.changes), "&".join(oligo.outside) or None, *sites,
            oligo.gc, oligo.self_complementarity, oligo.hairpin, oligo.off_targets,
        )  # fmt: skip


def text(found: Oligos) -> Iterator[str]:
    """Yield the lines of the TSV: provenance, header, rows."""
    yield from (f"## {key}={value}\n" for key, value in found.provenance.items())
    yield "\t".join(name for name, _ in COLUMNS) + "\n"
    yield from ("\t".join(map(cell, row)) + "\n" for row in rows(found))


def write_oligos(found: Oligos, path: str | Path) -> None:
    """Write the table.

    Raises:
        SettingsError: another suffix, or stdout.
        OutputError: it cannot be written.
    """
    check_table(str(path))
    with whole_or_not(path) as temporary:
        if Path(path).suffix.lower() == ".parquet":
            writer = RowsWriter(str(temporary), pa.schema(COLUMNS, metadata=dict(found.provenance)))
            try:
                writer.append(rows(found))
            finally:
                writer.close()
            return
        with temporary.open("w", encoding="utf-8", newline="") as out:
            out.writelines(text(found))


def _of_site(oligo: Oligo, kind: str) -> tuple[Value, ...]:
    where = oligo.offsets.get(kind)
    offset = None if where is None else f"{where[0]:+d}..{where[1]:+d}"
    change = oligo.changes.get(kind)
    return (offset, None, None, None) if change is None else (offset, change.log_p, change.p, change.head)
