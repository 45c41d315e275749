"""Read an annotated file once: its scores, counts, distributions and the rows that a page shows."""

from __future__ import annotations

import contextlib
import heapq
import math
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from splicebert_vep_spec import Status, escape_info

from ...consequence.outcomes import Effect
from ...errors import SettingsError, VcfError, suggestion
from ...genome.contigs import ContigNames
from ...outputs.csq import EntryLayout, entry_layouts, matched_entries
from ...outputs.flat import PREFIX
from ...outputs.layout import KEY as LAYOUT_KEY
from ...outputs.tables import utf8
from ...outputs.vep import KEY
from ...plugins import load_plugins
from ...scoring.delta import MAXIMUM, NOT_JUDGEABLE
from ...settings import DISTURBED
from ...vcf.header import PROVENANCE
from ...vcf.read import VcfRecord, open_vcf

#: Scores whose distributions are drawn, where the file has them.
DRAWN = (MAXIMUM, "KL_CTX", "KL_SS", "LLR")
SPLICEAI = "SpliceAI_DS_MAX"
#: The high-recall cut-off of Jaganathan et al. 2019 (10.1016/j.cell.2018.12.015).
SPLICEAI_THRESHOLD = 0.2
NOT_ANNOTATED = "NOT_ANNOTATED"

#: Sentences for the statuses, in the order of the page.
STATUSES: Mapping[str, str] = {
    Status.OK: "At least one requested score is present.",
    Status.NO_ALT: "The record has no ALT allele; it passed untouched.",
    Status.SYMBOLIC: "A symbolic ALT or a breakend: there is no sequence to score.",
    Status.SPANNING_DELETION: "ALT is '*': look at the record that holds the deletion.",
    Status.NON_ACGT: "A letter outside A, C, G, T in REF or ALT.",
    Status.NO_CHANGE: "REF and ALT are the same.",
    Status.NO_CONTIG: "The contig is not in the FASTA under any known name.",
    Status.REF_MISMATCH: "The FASTA has other bases than REF; if there are many, the genome build is wrong.",
    Status.TOO_LONG: "The allele is too long for a window with flanks on both sides.",
    Status.NO_GENE: "No gene of the annotation overlaps the allele.",
    Status.N_CONTEXT: "A base near the allele is unknown, or the contig ends before a window fits.",
    Status.FAILED: "The model failed on the allele; run again, and report it if it stays.",
    Status.NOT_APPLICABLE: "None of the requested scores is defined for this kind of allele.",
    NOT_ANNOTATED: "The record has no SpliceBERT fields: it was added, or they were removed, after the run.",
}

_DIRECTION = re.compile(r"\b(?:higher|negative) = [^;.]+")
_MEANINGS = {"higher": "higher = more disturbed", "negative": "negative = ALT less expected"}
#: Words for scores whose descriptions have none and whose direction is not that of a disturbance.
_OTHER_MEANINGS = {
    "PCTL_": "higher = more unusual in its region class",
    "SpliceAI_DS_": "0 to 1, higher = more likely",
    "DS_": "0 to 1, higher = more likely",
}


def directions_of(fields: Mapping[str, str]) -> dict[str, str]:
    """Return which way each score runs, in the words of its description, else of the plugin that computes it."""
    specs = {spec.id: spec.direction for scorer in load_plugins().scorers for spec in scorer.fields}
    found = {}
    for name, text in fields.items():
        said = _DIRECTION.search(text)
        other = next((words for start, words in _OTHER_MEANINGS.items() if name.startswith(start)), "")
        if words := said[0] if said else other or _MEANINGS.get(specs.get(name, ""), ""):
            found[name] = words
    return found


@dataclass(frozen=True, slots=True)
class Row:
    """One allele in one gene."""

    chrom: str  # as in the VCF; pos is 1-based
    pos: int
    id: str
    ref: str
    alt: str
    # values by field id without ``SpliceBERT_``, as the file prints them, without missing ones.
    fields: Mapping[str, str]
    where: str  # file and line, for messages
    record: VcfRecord | None = None
    alt_index: int = 0  # of this allele among the record's ALTs

    def number(self, field: str) -> float | None:
        """Return a field's value; None is missing, and VcfError is raised for what is no number."""
        text = self.fields.get(field)
        if text is None:
            return None
        with contextlib.suppress(ValueError):
            value = float(text)
            if math.isfinite(value):
                return value
        raise VcfError(f"{field} is not a number.", needed="a number, or nothing", found=text[:40], where=self.where)

    @property
    def gene(self) -> str | None:
        """Symbol of the gene, else its id."""
        return self.fields.get("SYMBOL") or self.fields.get("GENE")


class AnnotatedVcf:
    """Read an annotated VCF or BCF, once; a context manager.

    Args:
        path: of the file; ``-`` is stdin.

    Raises:
        VcfError: not a VCF or BCF; without annotation by this program; with annotation by several runs that differ in
            what determines scores.
    """

    def __init__(self, path: str) -> None:
        self._reader = open_vcf(path)
        try:
            header = self._reader.header
            described = {key: one.description for key, one in header.infos().items() if key != LAYOUT_KEY}
            self.name = self._reader.name
            self.provenance = _provenance(header.provenances(), self.name)
            #: Field id -> description, of every flat field and every column of the VEP-style entries.
            self.fields = {key.removeprefix(PREFIX): text for key, text in described.items() if key.startswith(PREFIX)}
            #: Definitions of the INFO keys, this program's and others'.
            self.infos = header.infos()
            #: The samples, in the order of their columns.
            self.samples = tuple(name.decode("utf-8", "replace") for name in header.lines[-1].split()[9:])
            lengths = {name: length for name, length in header.contigs().items() if length}
            self._assembly = ContigNames(lengths, where=self.name).assembly if lengths else None
            _, found, text = described.get(KEY, "").rpartition("Format: ")
            self._columns = text.strip().split("|") if found else []
            #: Whether rows are of every gene; flat INFO speaks of one of them.
            self.every_gene = bool(self._columns)
            for column in self._columns:
                self.fields.setdefault(column, "")
            #: Score -> its direction in words.
            self.directions = directions_of(self.fields)
            if "STATUS" not in self.fields:
                problem = f"The file has no SpliceBERT annotation: neither INFO field {PREFIX}STATUS nor {KEY}."
                remedy = "annotate with --emit flat or --emit vep; a page is not made of --emit csq alone"
                raise VcfError(problem, where=self.name, remedy=remedy)
        except BaseException:
            self._reader.close()
            raise

    def __enter__(self) -> AnnotatedVcf:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._reader.close()

    @property
    def assembly(self) -> str | None:
        """Genome assembly by the built-in genes of the run, else by the lengths of contigs; None if neither tells."""
        known = {"grch38": "GRCh38", "hg38": "GRCh38", "grch37": "GRCh37", "hg19": "GRCh37"}
        return known.get(self.provenance.get("Annotation", "").lower(), self._assembly)

    def disturbance(self, score: str, value: float) -> float:
        """Return a number that is higher where a score says more disturbed; without a direction the number itself."""
        return -value if self.directions.get(score, "").startswith("negative") else value

    def is_numeric(self, field: str) -> bool:
        """Tell whether a field holds numbers, by the header, by the scorer that computes it, or by its direction."""
        if field in self.directions:
            return True
        key = self.infos.get(f"{PREFIX}{field}")
        specs = {spec.id: spec.type for scorer in load_plugins().scorers for spec in scorer.fields}
        return field in self.fields and (key.type if key else specs.get(field)) in ("Float", "Integer")

    def records(self) -> Iterator[list[list[Row]]]:
        """Yield the rows of each ALT of each record: those of its genes, the gene of flat output first.

        An ALT without annotation has one row without fields; a record without ALT has none.

        Raises:
            VcfError: a malformed record, or one whose fields do not fit its ALTs.
        """
        for record in self._reader:
            yield self._rows(record)

    def _rows(self, record: VcfRecord) -> list[list[Row]]:
        items = (item.partition("=") for item in record.columns()[7].decode("utf-8", "replace").split(";"))
        info = {key: value for key, _, value in items if key.startswith(KEY) and key != LAYOUT_KEY}
        flat = self._flat(info, record)
        entries = [self._entry(entry, record) for entry in info.get(KEY, "").split(",") if entry not in ("", ".")]
        rows = []
        for at, (alt, values) in enumerate(zip(record.alts, flat, strict=True)):
            mine = [entry for entry in entries if entry.get("ALLELE") == escape_info(alt)]
            if entries and not mine and not values:
                problem = f"VEP-style entries and ALT alleles do not belong together: none of {KEY} is of {alt[:40]}."
                remedy = "annotate after normalising or splitting, not before"
                raise VcfError(problem, where=record.where, remedy=remedy)
            # What flat INFO alone says is of the allele in its reported gene.
            same = [{**values, **entry} if entry.get("GENE") == values.get("GENE") else entry for entry in mine]
            chrom, name, ref, text = (str(utf8(word)) for word in (record.chrom, record.id, record.ref, alt))
            rows.append(
                [Row(chrom, record.pos, name, ref, text, one, record.where, record, at) for one in same or [values]]
            )
        return rows

    def _flat(self, info: Mapping[str, str], record: VcfRecord) -> list[dict[str, str]]:
        """Return the flat values of each ALT."""
        found: list[dict[str, str]] = [{} for _ in record.alts]
        for key, text in info.items():
            if not key.startswith(PREFIX):
                continue
            values = text.split(",")
            if len(values) != len(found):
                problem = f"INFO field {key} does not have one value for each ALT: {len(values)} for {len(found)}."
                remedy = "split or join alleles with a program that knows Number=A; or annotate again"
                raise VcfError(problem, where=record.where, remedy=remedy)
            for of_alt, value in zip(found, values, strict=True):
                if value not in ("", "."):
                    of_alt[key.removeprefix(PREFIX)] = value
        return found

    def _entry(self, entry: str, record: VcfRecord) -> dict[str, str]:
        cells = entry.split("|")
        if len(cells) != len(self._columns):
            problem = f"A VEP-style entry of {KEY} has {len(cells)} columns; the header declares {len(self._columns)}."
            raise VcfError(problem, where=record.where, remedy="annotate again")
        return {column: cell for column, cell in zip(self._columns, cells, strict=True) if cell}


def _provenance(found: Sequence[dict[str, str]], where: str) -> dict[str, str]:
    if not found:
        problem = f"The file does not say how it was annotated: it has no header line ##{PROVENANCE}."
        raise VcfError(problem, where=where, remedy="give the output of 'splicebert-vep annotate'")
    for name, one in (
        ("ScoreDigest", "one model and one set of options"),
        ("AnnotationDigest", "one gene annotation"),
        ("Calibration", "one calibration table"),
        ("SpliceModelSHA256", "one splice-site model"),
        ("DeltaDistance", "one --delta-distance"),
        ("DeltaMask", "one --mask"),
        ("DeltaOutside", "--outside in all or none"),
    ):
        digests = {line.get(name, "none") for line in found}
        if not name.endswith("Digest"):
            digests.discard("none")  # a run without percentiles or delta scores adds none of another kind
        if len(digests) > 1:
            several = f"{name} {', '.join(sorted(digest[:12] for digest in digests))}"
            problem = f"The file holds the scores of several runs, and these are not comparable: {several}."
            raise VcfError(problem, where=where, remedy=f"annotate all records with {one}")
    names = dict.fromkeys(name for line in found for name in line)
    return {name: "; ".join(dict.fromkeys(line[name] for line in found if name in line)) for name in names}


_NEAR = 100  # nt from the exon
_NAMES = {
    "canonical": "splice-site dinucleotide",
    "donor_3_6": "donor +3 to +6",
    "acceptor_3_20": "acceptor -3 to -20",
    "branchpoint_18_44": "branchpoint region -18 to -44",
    "near_intron": f"near intron, to {_NEAR} nt",
    "deep_intron": f"deep intron, beyond {_NEAR} nt",
    "exon_edge": "exon edge, to 3 nt",
    "exon_core": "exon, beyond 3 nt",
    "exon": "exon",
    "utr": "untranslated region",
    "intron": "intron, beside a transcript's end",
}
NOT_CLASSED = "no region class"
#: Groups from the splice site outwards.
PLACES = (*_NAMES.values(), NOT_CLASSED)


_CLINVAR = re.compile(r"clinvar_?(clnsig|clin_sig|sig)|clnsig|clin_sig", re.IGNORECASE)
_FREQUENCY = re.compile(r"gnomad[a-z0-9.]*_((exomes?|genomes?|joint)_)?af|af_gnomad[a-z]*", re.IGNORECASE)
_SAMPLES = 4  # of more than these only counts are shown, unless some are chosen
NONE = "none"


@dataclass(frozen=True, slots=True)
class ForeignField:
    """A field of another program: an INFO key, or a subfield of the entries of one.

    Args:
        name: key, or key:subfield.
        number: of the INFO key, as its header line has it.
        layout: of the entries; None for an INFO key.
        column: number of the subfield.
    """

    name: str
    number: str = "."
    layout: EntryLayout | None = None
    column: int = 0

    def value(self, row: Row) -> str:
        """Return what the field says of an allele, as the file has it; empty for nothing.

        Of a record with several ALTs only values that are certain to be of this one count.
        """
        if row.record is None:
            return ""
        info = row.record.info()
        if self.layout is not None:
            entries = info.get(self.layout.field.key, "").split(",")
            matched = matched_entries(self.layout, entries, row.record.ref, row.record.alts)
            said = (cells[self.column] for cells, alt in matched if alt == row.alt_index)
            return next((text for text in said if text not in ("", ".")), "")
        text = info.get(self.name, "")
        if self.number in ("A", "R"):
            values = text.split(",")
            at = row.alt_index + (self.number == "R")
            text = values[at] if at < len(values) else ""
        elif len(row.record.alts) > 1:
            return ""
        return "" if text == "." else text


@dataclass(frozen=True, slots=True)
class Beside:
    """Findings of other programs and of the samples' columns on an allele; a field that the file lacks is None.

    Args:
        clinvar: significance.
        frequency: of gnomAD.
        zygosity: of individuals, where VEP wrote it and the file has no samples.
        samples: number of the column and name of each sample that is shown.
        counted: samples are too many to name, and are counted.
    """

    clinvar: ForeignField | None
    frequency: ForeignField | None
    zygosity: ForeignField | None
    samples: tuple[tuple[int, str], ...]
    counted: bool

    def genotypes(self, row: Row) -> list[tuple[str, str, str]]:
        """Return sample, zygosity and genotype of each sample that is shown."""
        columns = [] if row.record is None else row.record.columns()[8:]
        if not columns or not self.samples:
            return []
        form, *samples = columns[0].decode("utf-8", "replace").split("\t")
        keys = form.split(":")
        if "GT" not in keys:
            return []
        at = keys.index("GT")
        found = []
        for number, name in self.samples:
            cells = samples[number].split(":")
            genotype = cells[at] if at < len(cells) else "."
            found.append((name, zygosity(genotype, row.alt_index + 1), genotype))
        return found


def zygosity(genotype: str, alt: int) -> str:
    """Return in a word how a genotype of a VCF has an ALT, by its number from 1.

    The words are het, hom, hemi (a single allele is called), absent, half call and no call.
    """
    alleles = re.split(r"[/|]", genotype.lstrip("/|"))
    copies = alleles.count(str(alt))
    if copies and "." in alleles:
        return "half call"
    if copies == len(alleles):
        return "hom" if copies > 1 else "hemi"
    if copies:
        return "het"
    return "no call" if "." in alleles else "absent"


def beside(
    vcf: AnnotatedVcf, *, clinvar: str | None = None, frequency: str | None = None, samples: Sequence[str] = ()
) -> Beside:
    """Find the fields of other programs in a file, by their usual names or by the given ones.

    Args:
        clinvar, frequency: INFO key, subfield, or key:subfield; ``none`` for nothing.
        samples: names; ``none`` for nothing, and without any all of few and counts of many.

    Raises:
        SettingsError: the file has no such field or sample.
    """
    layouts = list(entry_layouts(vcf.infos))

    def found(usual: re.Pattern[str], asked: str | None) -> ForeignField | None:
        if asked == NONE:
            return None

        def fits(*names: str) -> bool:
            return asked in names if asked else any(usual.fullmatch(name) for name in names)

        for key, field_ in vcf.infos.items():
            if fits(key) and not key.startswith(PREFIX):
                return ForeignField(key, field_.number)
        for layout in layouts:
            for column, name in enumerate(layout.names):
                if fits(name, *([f"{layout.field.key}:{name}"] if asked else [])):
                    return ForeignField(f"{layout.field.key}:{name}", ".", layout, column)
        if asked:
            known = [*vcf.infos, *(name for layout in layouts for name in layout.names)]
            remedy = suggestion([asked], known) or "give an INFO key, a subfield of CSQ, or none"
            raise SettingsError("The file has no such field.", found=asked, where=vcf.name, remedy=remedy)
        return None

    unknown = [name for name in samples if name not in vcf.samples and name != NONE]
    if unknown:
        remedy = suggestion(unknown, vcf.samples) or "give names of the #CHROM line, or none"
        raise SettingsError("The file has no such sample.", found=unknown[0], where=vcf.name, remedy=remedy)
    shown = tuple((at, name) for at, name in enumerate(vcf.samples) if not samples or name in samples)
    individuals = None if vcf.samples or samples else found(re.compile("ZYG"), None)
    counted = not samples and len(shown) > _SAMPLES
    return Beside(found(_CLINVAR, clinvar), found(_FREQUENCY, frequency), individuals, shown, counted)


def hits_site(row: Row) -> bool:
    """Tell whether an allele touches an annotated splice-site dinucleotide of any transcript."""
    return not row.fields.keys().isdisjoint(("SITE_HIT", "OTHER_SITE_HIT"))


def place_of(row: Row, *, classed: bool) -> str | None:
    """Return the group of an allele that has a gene.

    In a ``classed`` file it is the region class, which SNVs have; else the region and the distance to the exon decide.
    """
    if classed:
        given = row.fields.get("REGION_CLASS")
        return NOT_CLASSED if given is None else _NAMES.get(given, given)
    region = row.fields.get("REGION")
    if region is None:
        return None
    offset = row.number("SITE_OFFSET")
    if hits_site(row):
        return _NAMES["canonical"]
    if region in ("upstream", "downstream"):
        return NOT_CLASSED
    if region != "intron":
        return _NAMES["utr" if region in ("5_prime_UTR", "3_prime_UTR") else "exon"]
    if offset is None:
        return _NAMES["intron"]
    return _NAMES["near_intron" if abs(offset) <= _NEAR else "deep_intron"]


def order_of(place: str) -> tuple[int, str]:
    """Order groups from the splice site outwards; unknown names come last."""
    return (PLACES.index(place) if place in PLACES else len(PLACES), place)


@dataclass(slots=True)
class KeptRows:
    """The first rows of a kind, and how many there are."""

    limit: int
    rows: list[Row] = field(default_factory=list)
    total: int = 0

    def add(self, row: Row) -> None:
        """Count a row, and keep it where there is room."""
        self.total += 1
        if len(self.rows) < self.limit:
            self.rows.append(row)


@dataclass(slots=True)
class Collected:
    """A file's counts, distributions and shown rows."""

    score: str  # chooses the rows
    limit: int  # of rows of each kind
    joined: bool  # SpliceAI's scores stand beside
    records: int = 0  # read
    alleles: int = 0
    hitting: int = 0  # ALTs that touch an annotated splice-site dinucleotide, in any gene
    judged: int = 0  # ALTs that have DS_MAX in any gene
    disturbed: int = 0  # those of them with ``DISTURBED`` or more
    not_judgeable: int = 0  # ALTs whose loss of a site the model cannot tell, in a gene, and that reach no such score
    # ALTs by status, of several genes that of the gene of flat output; records without ALT as NO_ALT.
    statuses: Counter[str] = field(default_factory=Counter)
    genes: Counter[str] = field(default_factory=Counter)  # alleles by gene symbol, else id
    # score -> place -> values of alleles x genes that are OK.
    values: dict[str, dict[str, array[float]]] = field(default_factory=dict)
    scored: int = 0  # alleles x genes that have the score
    # rows with the highest disturbance, highest first; of equal ones the first.
    top: list[Row] = field(default_factory=list)
    hits: KeptRows = field(init=False)  # rows that touch such a site, by file order
    # rows that touch none and that SpliceAI calls (``SPLICEAI_THRESHOLD``), scored or not, by file order.
    elsewhere: KeptRows = field(init=False)
    unseen: KeptRows = field(init=False)  # rows that are not judgeable, by file order
    without: KeptRows = field(init=False)  # rows that are OK and lack the score, by file order
    unscored: KeptRows = field(init=False)  # rows of another status than OK, by file order
    # every row of the table once, the most disturbed first, those without the score last.
    shown: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hits, self.elsewhere, self.unseen, self.without, self.unscored = (
            KeptRows(self.limit) for _ in range(5)
        )  # fmt: skip

    @property
    def occurring(self) -> list[str]:
        """The statuses that occur: OK first, then as they are documented."""
        there = {status for status, count in self.statuses.items() if count}
        return [status for status in STATUSES if status in there] + sorted(there - set(STATUSES))


def is_unseen(row: Row) -> bool:
    """Tell whether an allele seems quiet only because the model hardly sees the site beside it."""
    effect = row.fields.get("EFFECT", Effect.NO_EFFECT)
    if effect == Effect.NO_EFFECT and row.fields.get("LOSS_JUDGED") == NOT_JUDGEABLE:
        return (row.number(MAXIMUM) or 0) < DISTURBED
    return effect == Effect.NOT_JUDGEABLE


def collect(vcf: AnnotatedVcf, score: str, limit: int) -> Collected:
    """Read a file to its end; ``score``, a numeric field, chooses the rows, at most ``limit`` of each kind."""
    found = Collected(score, limit, SPLICEAI in vcf.fields, values={name: {} for name in DRAWN if name in vcf.fields})
    highest: list[tuple[float, int, Row]] = []  # a heap
    for alleles in vcf.records():
        found.records += 1
        found.alleles += len(alleles)
        if not alleles:
            found.statuses["NO_ALT"] += 1
        for rows in alleles:
            found.statuses[rows[0].fields.get("STATUS", NOT_ANNOTATED)] += 1
            found.hitting += any(map(hits_site, rows))
            found.genes.update({row.gene for row in rows if row.gene})
            deltas = [number for row in rows if (number := row.number(MAXIMUM)) is not None]
            found.judged += bool(deltas)
            disturbed = max(deltas, default=0.0) >= DISTURBED
            found.disturbed += disturbed
            found.not_judgeable += not disturbed and any(map(is_unseen, rows))
            for row in rows:
                spliceai = row.number(SPLICEAI)
                if hits_site(row):
                    found.hits.add(row)
                elif spliceai is not None and spliceai >= SPLICEAI_THRESHOLD:
                    found.elsewhere.add(row)
                if row.fields.get("STATUS") != "OK":
                    found.unscored.add(row)
                    continue
                if is_unseen(row):
                    found.unseen.add(row)
                place = place_of(row, classed="REGION_CLASS" in vcf.fields)
                for drawn, by_place in found.values.items():
                    number = row.number(drawn)
                    if number is not None and place is not None:
                        by_place.setdefault(place, array("d")).append(number)
                value = row.number(score)
                if value is None:
                    found.without.add(row)
                else:
                    found.scored += 1
                    keep = heapq.heappush if len(highest) < limit else heapq.heappushpop
                    keep(highest, (vcf.disturbance(score, value), -found.scored, row))
    found.top = [row for *_, row in sorted(highest, key=lambda item: item[:2], reverse=True)]

    def order(row: Row) -> tuple[bool, float]:
        value = row.number(score)
        return row.fields.get("STATUS") != "OK", math.inf if value is None else -vcf.disturbance(score, value)

    every = (*found.top, *found.hits.rows, *found.elsewhere.rows, *found.unseen.rows, *found.without.rows,
             *found.unscored.rows)  # fmt: skip
    found.shown = sorted({id(row): row for row in every}.values(), key=order)  # equal rows of a file are all shown
    return found
