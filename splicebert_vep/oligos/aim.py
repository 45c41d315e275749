"""What oligos are aimed at: the splice sites of an exon, or one site, and the strand that they are on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from splicebert_vep.cohort.places import Stretch, gene_places, region_stretches
from splicebert_vep.errors import SettingsError
from splicebert_vep.genome.gene_index import GeneIndex
from splicebert_vep.profile import is_named
from splicebert_vep_spec import GeneContext, Interval

if TYPE_CHECKING:
    from splicebert_vep.annotator import Annotator

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
        for name in (transcript, transcript.partition(".")[0])
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
    found = [gene for gene in genes if is_named(gene, name) or gene.transcript_id.partition(".")[0] == name]
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
