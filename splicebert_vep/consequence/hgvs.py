"""Name alleles in HGVS, c. or n. of a transcript and g. of a chromosome, and find the allele that such a name means.

An allele is described where it lies farthest 3' in the sequence that the name is of: in the transcript for c. and n.,
on the forward strand for g. Exons count along the transcript, from its first base; so do the numbers of a c. name,
from the first coding base, over exonic bases only. The rules are those of hgvs-nomenclature.org.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache, partial
from itertools import accumulate
from typing import NamedTuple, NoReturn

from splicebert_vep_spec import Allele

from ..errors import SettingsError, suggestion
from ..genome.contigs import accession_assembly, refseq_accession
from ..genome.gene_index import GeneIndex, Transcript
from ..genome.gene_table import CHOICES
from ..genome.ids import is_accession, stable_id
from ..genome.reference import Reference
from ..sequence.alleles import Fetch, anchored, placements
from ..sequence.tokens import other_strand
from ..variants import Variant

_TRANSCRIPTS_KEPT = 256
_OTHER = {base: other_strand(base) for base in "ACGT"}

Label = Callable[[int], str | None]
"""Position of a 0-based base of the forward strand as a name has it; None where the sequence does not have it."""


class Place(NamedTuple):
    """A base as HGVS counts it in a transcript.

    Args:
        base: the number, 1 and more.
        side: ``-`` before the coding sequence, ``*`` after it, empty within it and in a transcript that is not coding.
        offset: of an intronic base, from the exonic base that is counted: + to its 3', - to its 5' side; 0 in an exon.
    """

    base: int
    side: str = ""
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.side}{self.base}{self.offset:+d}" if self.offset else f"{self.side}{self.base}"


class Coordinates:
    """Turn genomic bases into the positions of a transcript and back.

    Genomic bases are 0-based on the forward strand.
    """

    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript
        self.plus = transcript.strand == "+"
        self.exons = transcript.exons if self.plus else transcript.exons[::-1]  # by genomic position
        self._starts = [exon.start for exon in self.exons]
        self.start, self.end = self.exons[0].start, self.exons[-1].end
        lengths = [exon.end - exon.start for exon in transcript.exons]
        before = [0, *accumulate(lengths)]  # exonic bases before each exon, in transcript order
        self.length = before.pop()
        self._firsts = before
        self._before = before if self.plus else before[::-1]
        self.coding: tuple[int, int] | None = None  #: first coding base and end, 0-based along the transcript
        if cds := transcript.cds:
            edges = sorted((self._along(cds.start), self._along(cds.end - 1)))
            self.coding = edges[0], edges[1] + 1

    @property
    def system(self) -> str:
        """``c`` of a coding transcript, ``n`` of another."""
        return "c" if self.coding else "n"

    def place(self, base: int) -> Place | None:
        """Return the position of a genomic base; None outside the transcript.

        An intronic base counts from the nearer exon; the middle one of an odd number from the exon before it.
        """
        if not self.start <= base < self.end:
            return None
        row = bisect_right(self._starts, base) - 1
        if base < self.exons[row].end:
            return self._counted(self._along(base, row), 0)
        left, right = base - self.exons[row].end + 1, self._starts[row + 1] - base
        if left < right or (left == right and self.plus):
            return self._counted(self._along(self.exons[row].end - 1, row), left if self.plus else -left)
        return self._counted(self._along(self._starts[row + 1], row + 1), -right if self.plus else right)

    def label(self, base: int) -> str | None:
        """Return the position of a genomic base as a name has it; None outside the transcript."""
        place = self.place(base)
        return None if place is None else str(place)

    def base(self, place: Place) -> int:
        """Return the genomic base of a position that ``label`` would write, or that counts from the farther exon.

        Raises:
            SettingsError: the transcript has no such position.
        """
        first, end = self.coding or (0, self.length)
        along = {"": first + place.base - 1, "-": first - place.base, "*": end + place.base - 1}[place.side]
        ranges = {"": (first, end), "-": (0, first), "*": (end, self.length)}
        low, high = ranges[place.side]
        if not (place.base and low <= along < high):
            numbered = {"": "", "-": "-", "*": "*"}[place.side]
            shown = f"{self.system}.{numbered}1 to {self.system}.{numbered}{high - low}" if high > low else "none such"
            self._refuse(place, f"{shown}, and introns between exons")
        row = bisect_right(self._firsts, along) - 1
        exon, within = self.transcript.exons[row], along - self._firsts[row]
        size = exon.end - exon.start
        if place.offset:
            later = place.offset > 0
            beside = row + 1 if later else row - 1
            if within != (size - 1 if later else 0) or not 0 <= beside < len(self.exons):
                edge = "last" if later else "first"
                self._refuse(place, f"an offset {'+' if later else '-'} from the {edge} base of an exon with an intron")
            next_exon = self.transcript.exons[beside]
            intron = max(exon.start, next_exon.start) - min(exon.end, next_exon.end)
            if abs(place.offset) > intron:
                self._refuse(place, f"at most {intron:,} nt into this intron")
        return exon.start + within + place.offset if self.plus else exon.end - 1 - within - place.offset

    def _refuse(self, place: Place, needed: str) -> NoReturn:
        raise SettingsError(
            f"{self.transcript.transcript_id} has no position {self.system}.{place}.", needed=needed,
            remedy="check the name; exons and numbers are those of the annotation's transcript",
        )  # fmt: skip

    def _along(self, base: int, row: int | None = None) -> int:
        """Return the 0-based number of an exonic base along the transcript; ``row`` is its exon by position."""
        row = bisect_right(self._starts, base) - 1 if row is None else row
        exon = self.exons[row]
        return self._before[row] + (base - exon.start if self.plus else exon.end - 1 - base)

    def _counted(self, along: int, offset: int) -> Place:
        if self.coding is None:
            return Place(along + 1, "", offset)
        first, end = self.coding
        if along < first:
            return Place(first - along, "-", offset)
        return Place(along - end + 1, "*", offset) if along >= end else Place(along - first + 1, "", offset)


coordinates = lru_cache(maxsize=_TRANSCRIPTS_KEPT)(Coordinates)


def transcript_name(allele: Allele, transcript: Transcript, fetch: Fetch) -> str | None:
    """Return the c. or n. name of an allele; None where it does not lie within the transcript whole.

    Args:
        allele: normalised.
        fetch: of the allele's contig.
    """
    where = coordinates(transcript)
    change = _described(allele, where.plus, (where.start, where.end), where.label, fetch)
    return None if change is None else f"{transcript.transcript_id}:{where.system}.{change}"


def genomic_name(allele: Allele, assembly: str | None, fetch: Fetch) -> str | None:
    """Return the g. name of an allele; None where no accession of its contig is known.

    Args:
        allele: normalised.
        assembly: of the FASTA.
        fetch: of the allele's contig.
    """
    accession = refseq_accession(allele.contig, assembly)
    if accession is None:
        return None
    change = _described(allele, True, None, lambda base: str(base + 1), fetch)
    return f"{accession}:g.{change}"


def _described(allele: Allele, plus: bool, within: tuple[int, int] | None, label: Label, fetch: Fetch) -> str | None:
    """Return positions and change of an allele.

    Args:
        plus: whether the sequence that is described runs along the forward strand.
        within: start and end of it on the forward strand; None for a whole contig.
    """
    ref, alt = allele.ref, allele.alt
    if not ref:
        return _inserted(allele, plus, within, label, fetch)
    if len(ref) == len(alt) == 1:
        position = label(allele.start)
        return position and f"{position}{ref if plus else _OTHER[ref]}>{alt if plus else _OTHER[alt]}"
    start = allele.start if alt else _farthest(allele, plus, within, 0, fetch)
    span = None if start is None else _span(start, start + len(ref), plus, label)
    if span is None:
        return None
    if not alt:
        return f"{span}del"
    if not plus:
        ref, alt = other_strand(ref), other_strand(alt)
    return f"{span}inv" if alt == other_strand(ref) else f"{span}delins{alt}"


def _inserted(allele: Allele, plus: bool, within: tuple[int, int] | None, label: Label, fetch: Fetch) -> str | None:
    """Return positions and change of an insertion: a dup where the bases before it are the inserted ones."""
    size = len(allele.alt)
    at = _farthest(allele, plus, within, 0, fetch)
    if at is not None:
        copied = (at - size, at) if plus else (at, at + size)
        span = _span(*copied, plus, label) if copied[0] >= 0 else None
        if span is not None and fetch(*copied) == _turned(allele.alt, at - allele.start).encode("ascii"):
            return f"{span}dup"
    at = _farthest(allele, plus, within, 1, fetch)  # behind the last base of a transcript there is no position
    span = None if at is None else _span(at - 1, at + 1, plus, label)
    if at is None or span is None:
        return None
    bases = _turned(allele.alt, at - allele.start)
    return f"{span}ins{bases if plus else other_strand(bases)}"


def _turned(bases: str, shift: int) -> str:
    """Return the bases that an insertion has where it is written further to the right."""
    turn = shift % len(bases)
    return bases[turn:] + bases[:turn]


def _farthest(allele: Allele, plus: bool, within: tuple[int, int] | None, margin: int, fetch: Fetch) -> int | None:
    """Return the start of an insertion or deletion as far 3' as it can stand within a stretch, None where it cannot.

    Args:
        margin: bases that the stretch has to have on both sides of it.
    """
    first, last = (one.start for one in placements(allele, fetch))
    if within is not None:
        first, last = max(first, within[0] + margin), min(last, within[1] - margin - len(allele.ref))
    return None if first > last else last if plus else first


def _span(start: int, end: int, plus: bool, label: Label) -> str | None:
    """Return the positions of [start, end), one or two, in the direction of the sequence; None outside it."""
    first = label(start)
    if end - start == 1 or first is None:
        return first
    last = label(end - 1)
    if last is None:
        return None
    return f"{first}_{last}" if plus else f"{last}_{first}"


# ---- names that are given ------------------------------------------------------------------------------------------

_POINT = r"[-*]?\d+(?:[+-]\d+)?"
_NAMED = re.compile(
    rf"""(?P<reference>[^\s:()]+)(?:\((?P<selector>[^\s:()]+)\))?:\s?(?P<system>[cgn])\.
    (?P<first>{_POINT})(?:_(?P<last>{_POINT}))?
    (?: (?P<ref>[ACGT])>(?P<alt>[ACGT])
      | (?P<word>delins|ins)(?P<inserted>[ACGT]+)
      | del(?P<replaced>[ACGT]+|\d+)ins(?P<replacing>[ACGT]+)
      | (?P<only>del|dup|inv)(?P<deleted>[ACGT]+|\d+)?
      | (?P<unit>[ACGT]+)\[(?P<copies>\d+)\]
      | (?P<same>[ACGT]*)=
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_PREDICTED = re.compile(r"\s*\(?p\.[^\s]*\s*$")  # ClinVar writes the protein's change behind the name
_NO_PLACE = re.compile(r"\s*(?:NG_|LRG_|NP_|XP_|ENSP)")  # references whose place on the chromosome is not known here
_FORMS = "NM_007294.4:c.5467+2T>G, ENST00000357654.9:c.68_69del, BRCA1:c.-12_-10dup or NC_000017.11:g.43045802A>C"
_MOST_COPIES = 10_000


def is_hgvs(text: str) -> bool:
    """Tell whether a text is meant as a name, of HGVS or of dbSNP, and not as contig, position and alleles."""
    return bool(re.match(r"\s*(?:[^\s:]+:\s?[a-z]\.|rs\d+\s*$)", text))


class HgvsName(NamedTuple):
    """A name as it is written.

    Args:
        reference, selector: ``NM_007294.4`` and ``BRCA1`` of ``NM_007294.4(BRCA1):c.68A>G``; no selector is empty.
        system: ``c``, ``n`` or ``g``.
        kind: ``>``, ``del``, ``dup``, ``inv``, ``ins``, ``delins``, ``repeat`` or ``=``.
        old: the replaced bases or their number, or the unit of a repeat, where the name has them; else empty.
        new: the bases that come in.
        copies: of a repeat's unit.
    """

    text: str
    reference: str
    selector: str
    system: str
    first: Place
    last: Place
    kind: str
    old: str
    new: str
    copies: int

    @classmethod
    def parse(cls, text: str) -> HgvsName:
        """Read a name of one change at known positions.

        Raises:
            SettingsError: any other text.
        """
        name = re.sub(r"(?<=\d),(?=\d{3})", "", _PREDICTED.sub("", text.strip()))  # 43,047,641
        found = _NAMED.fullmatch(name)
        if found is None or _NO_PLACE.match(name):
            raise SettingsError("A name could not be read.", needed=_FORMS, found=repr(text), remedy=_why_not(text))
        word = {key: value or "" for key, value in found.groupdict().items()}
        kind = (
            ">" if word["ref"] else word["word"] or ("delins" if word["replacing"] else word["only"])
            or ("repeat" if word["unit"] else "=")
        ).lower()  # fmt: skip
        first = _place(word["first"])
        last = _place(word["last"]) if word["last"] else first
        old = (word["ref"] or word["replaced"] or word["deleted"] or word["unit"] or word["same"]).upper()
        new = (word["alt"] or word["inserted"] or word["replacing"]).upper()
        system = word["system"].lower()
        if system != "c" and any(place.side for place in (first, last)):
            raise SettingsError(f"{system}. has no positions with - or *.", found=repr(text))
        if system == "g" and any(place.offset for place in (first, last)):
            raise SettingsError("g. has no offsets: every base has a number of its own.", found=repr(text))
        return cls(
            text, word["reference"], word["selector"], system, first, last, kind, old, new, int(word["copies"] or 0)
        )


def _place(text: str) -> Place:
    side = text[0] if text[0] in "-*" else ""
    base, offset = re.fullmatch(r"(\d+)([+-]\d+)?", text[len(side) :]).groups()  # type: ignore[union-attr]
    return Place(int(base), side, int(offset or 0))


def _why_not(text: str) -> str:
    """Return the reason why a name is refused, with what to do."""
    if re.match(r"\s*rs\d", text):
        return "rs numbers need dbSNP, which is not here: give the place and alleles, or an HGVS name"
    change = text.partition(":")[2].strip()
    if change.startswith("p."):
        return "several changes of DNA make one change of a protein: give the c. or g. name"
    if change[:2] in ("r.", "m."):
        return "names with c., n. and g. are read"
    if _NO_PLACE.match(text):
        return "give the name on a transcript (NM_, ENST) or chromosome (NC_)"
    if ";" in change:
        return "give the changes one by one"
    if "?" in change or "(" in change:
        return "positions must be known: uncertain ones and predicted changes are not scored"
    return "one substitution, del, dup, ins, delins, inv, =, or a repeat as CAG[23], with bases A, C, G, T"


def read_variant(text: str) -> Variant | HgvsName:
    """Read a variant, or an HGVS name, whose variant ``Names`` finds.

    Raises:
        SettingsError: neither can be read.
    """
    return HgvsName.parse(text) if is_hgvs(text) else Variant.parse(text)


class FoundName(NamedTuple):
    """The variant that a name means, and a sentence about the transcript where the name leaves it open; else empty."""

    variant: Variant
    note: str


class Names:
    """Find what HGVS names mean on a FASTA and the reported transcripts of an annotation.

    Args:
        genes: the annotation.
        reference: the FASTA, whose bases must be those that a name says.
    """

    def __init__(self, genes: GeneIndex, reference: Reference) -> None:
        self._genes, self._reference = genes, reference
        self._table = genes.table

    def find(self, given: str | HgvsName) -> FoundName:
        """Return the variant that a name means.

        Raises:
            SettingsError: the name cannot be read, its transcript or position is not there, or its bases are not those
                of the FASTA.
            BuildError: its accession is of another assembly.
        """
        name = HgvsName.parse(given) if isinstance(given, str) else given
        if name.system == "g":
            contig = self._contig(name.reference, name)
            edges = name.first.base - 1, name.last.base - 1
            return FoundName(self._variant(name, contig, edges, plus=True), "")
        transcript, note = self._transcript(name)
        contig = self._contig(transcript.contig, name)
        where = coordinates(transcript)
        if name.system == "c" and where.coding is None:
            raise SettingsError(
                f"{transcript.transcript_id} is not coding: its names have n.", found=name.text,
                remedy="check the transcript",
            )  # fmt: skip
        if name.system == "n" and where.coding is not None:
            if not name.reference.startswith(stable_id(transcript.transcript_id)):  # its first base may be another
                raise SettingsError(
                    f"{name.reference} is coding: its names have c.", found=name.text, remedy="give the c. name"
                )
            where = coordinates(transcript._replace(cds=None))  # n. counts from the first base of any transcript
        edges = where.base(name.first), where.base(name.last)
        return FoundName(self._variant(name, contig, edges, plus=where.plus), note)

    def _contig(self, named: str, name: HgvsName) -> str:
        contig = self._reference.find(named)
        if contig is None:
            raise SettingsError(
                f"The FASTA has no contig {named}.", found=name.text, where=str(self._reference.path),
                remedy=suggestion([named], list(self._reference.lengths)) or "check the name and -R",
            )  # fmt: skip
        return contig

    # ---- transcripts -----------------------------------------------------------------------------------------------

    @cached_property
    def _rows(self) -> Mapping[str | None, list[int]]:
        """Rows of the gene table by symbol, and by the ids of gene and transcript without version."""
        table = self._table
        rows: dict[str | None, list[int]] = defaultdict(list)
        columns = zip(table.symbols, table.gene_ids, table.transcript_ids, table.refseq_ids, strict=True)
        for row, (symbol, gene, transcript, refseq) in enumerate(columns):
            for key in {symbol, stable_id(gene), stable_id(transcript), refseq and stable_id(refseq)} - {None}:
                rows[key].append(row)
        return rows

    def _transcript(self, name: HgvsName) -> tuple[Transcript, str]:
        """Return the reported transcript that a name means, and a sentence where the name does not say it exactly."""
        asked, beside = name.reference, name.selector
        if beside and accession_assembly(asked):  # NC_000017.11(NM_007294.4):c.
            self._contig(asked, name)
            asked, beside = beside, ""
        table = self._table
        rows = self._rows.get(stable_id(asked), [])
        rows = [row for row in rows if self._reference.find(table.contigs[table.gene_contig[row]])] or rows
        if not rows:
            raise self._unknown(asked, beside, name)
        if len(rows) > 1:
            places = (f"{table.contigs[table.gene_contig[row]]} ({table.transcript_ids[row]})" for row in rows)
            raise SettingsError(
                f"{asked} stands for several genes.", needed="a transcript id or a g. name", found=", ".join(places),
                where=name.text,
            )  # fmt: skip
        [row] = rows
        known = [table.transcript_ids[row], *filter(None, [table.refseq_ids[row]])]
        shown = known[0] + (f" ({known[1]})" if known[1:] else "")
        notes = []
        if stable_id(asked) not in map(stable_id, known):
            notes.append(f"{asked} is read on {shown}, its reported transcript ({CHOICES[int(table.choice[row])]})")
        elif asked not in known:
            which = next(one for one in known if stable_id(one) == stable_id(asked))
            why = "" if asked == stable_id(asked) else ", another version: positions may differ"
            notes.append(f"{asked} is read as {which}{why}")
        if beside and beside not in (table.symbols[row], table.gene_ids[row]):
            notes.append(f"{asked} is of {table.symbols[row] or table.gene_ids[row]} here, not of {beside}")
        return self._genes.transcript(row), "; ".join(notes)

    def _unknown(self, asked: str, beside: str, name: HgvsName) -> SettingsError:
        """Return the error of a transcript or gene that is not in the annotation."""
        table = self._table
        has = ""
        for row in self._rows.get(stable_id(beside), []):
            refseq = table.refseq_ids[row]
            has = f"{beside} has {table.transcript_ids[row]}" + (f", which is {refseq}" if refseq else "")
        if is_accession(asked):
            problem = f"{asked} is no reported transcript of {table.name}: it has one of each gene, MANE Select first."
            remedy = "give the name on the reported transcript, a g. name, or an annotation (-A) with this transcript"
            if asked[:2] in ("NM", "NR") and not any(table.refseq_ids):
                problem = f"{table.name} does not know RefSeq's transcripts."
                remedy = "give an ENST or g. name, or an annotation of RefSeq (-A)"
            return SettingsError(problem, found=has or name.text, where=name.text if has else "", remedy=remedy)
        remedy = suggestion([asked], [*filter(None, table.symbols)]) or "check the symbol, or give a g. name"
        return SettingsError(f"{table.name} has no gene or transcript {asked}.", found=name.text, remedy=remedy)

    # ---- changes ---------------------------------------------------------------------------------------------------

    def _variant(self, name: HgvsName, contig: str, edges: tuple[int, int], *, plus: bool) -> Variant:
        """Return the change of a name between two bases, first and last in the direction of the sequence."""
        fetch = partial(self._reference.fetch, contig)
        if (edges[0] > edges[1]) if plus else (edges[0] < edges[1]):
            raise SettingsError("The first position lies behind the last one.", found=name.text)
        start, end = min(edges), max(edges) + 1
        here = fetch(start, end).decode("ascii") if start >= 0 else ""
        if len(here) < end - start:
            raise SettingsError(
                f"{contig} of the FASTA has {self._reference.lengths[contig]:,} nt.", found=name.text,
                needed=f"{end:,}", where=str(self._reference.path), remedy="check the position",
            )  # fmt: skip
        read = here if plus else other_strand(here)
        if name.kind == "repeat":
            return self._repeat(name, contig, edges, plus)
        if name.old.isdecimal():
            if int(name.old) != len(here):
                raise SettingsError(f"The positions hold {len(here)} nt, not {name.old}.", found=name.text)
        elif name.old and name.old != read:
            raise _other_bases(name, name.old, read)
        if name.kind == "ins":
            if end - start != 2:
                raise SettingsError("An insertion lies between two neighbouring positions.", found=name.text)
            return _written(Allele(contig, start + 1, "", name.new if plus else other_strand(name.new)), fetch)
        if name.kind == "dup":
            return _written(Allele(contig, end, "", here), fetch)
        if name.kind == ">" and end - start > 1:
            raise SettingsError("A substitution is of one base: write delins.", found=name.text)
        new = {"inv": other_strand(read), "=": read}.get(name.kind, name.new)
        return _written(Allele(contig, start, here, new if plus else other_strand(new)), fetch)

    def _repeat(self, name: HgvsName, contig: str, edges: tuple[int, int], plus: bool) -> Variant:
        """Return the change of the number of copies of a unit, which begin at the first position."""
        fetch = partial(self._reference.fetch, contig)
        unit = (name.old if plus else other_strand(name.old)).encode("ascii")
        size, copies = len(unit), 0
        first = edges[0] if plus else edges[0] - size + 1
        step = size if plus else -size
        while copies <= _MOST_COPIES and fetch(first + copies * step, first + copies * step + size) == unit:
            copies += 1
        spanned = abs(edges[1] - edges[0]) + 1
        if not copies or name.first != name.last and spanned not in (size, size * copies):
            shown = fetch(min(edges), max(edges) + 1) if spanned > 1 else fetch(first, first + size)
            read = shown.decode("ascii")
            raise _other_bases(name, f"copies of {name.old}", read if plus else other_strand(read))
        start = first if plus else first - (copies - 1) * size
        if name.copies > _MOST_COPIES:
            raise SettingsError(f"At most {_MOST_COPIES:,} copies are read.", found=name.text)
        if name.copies < copies:
            deleted = unit.decode("ascii") * (copies - name.copies)
            return _written(Allele(contig, start, deleted, ""), fetch)
        added = unit.decode("ascii") * (name.copies - copies)
        whole = unit.decode("ascii")
        return _written(Allele(contig, start, "" if added else whole, added or whole), fetch)


def _written(allele: Allele, fetch: Fetch) -> Variant:
    pos, ref, alt = anchored(allele, fetch)
    return Variant(allele.contig, pos, ref, alt)


def _other_bases(name: HgvsName, said: str, there: str) -> SettingsError:
    return SettingsError(
        f"The name says {said[:40]}, the FASTA has {there[:40]}.", found=name.text,
        remedy="check the name, the transcript's version, and that FASTA (-R) and annotation (-A) are of one build",
    )  # fmt: skip
