"""Sentences of the page: what a status means, what the scores do not see, what a line of provenance is."""

from __future__ import annotations

import contextlib
import heapq
import math
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from splicebert_vep_spec import Status, escape_info

from ...errors import VcfError
from ...joining.evidence import EVIDENCE, SPLICEAI, SPLICEAI_THRESHOLD
from ...outputs.flat import PREFIX
from ...outputs.tables import utf8
from ...outputs.vep import KEY
from ...vcf.header import PROVENANCE
from ...vcf.read import VcfRecord, open_vcf
from ..drawing import cut, drawing, plain_words

_FORMAT = "Format: "
_REMEDY = "give the output of 'splicebert-vep annotate'"


@dataclass(frozen=True, slots=True)
class Row:
    """One allele in one gene.

    Args:
        chrom, pos, id, ref, alt: as in the VCF; pos is 1-based.
        fields: values by field id without ``SpliceBERT_``, as the file prints them; what is missing is left out.
        where: file and line, for messages.
    """

    chrom: str
    pos: int
    id: str
    ref: str
    alt: str
    fields: Mapping[str, str]
    where: str

    def number(self, field: str) -> float | None:
        """Return a field's value; None is missing.

        Raises:
            VcfError: it is no number.
        """
        text = self.fields.get(field)
        if text is None:
            return None
        with contextlib.suppress(ValueError):
            value = float(text)
            if math.isfinite(value):
                return value
        raise VcfError(f"{field} is not a number.", needed="a number, or nothing", found=text[:40], where=self.where)


class AnnotatedVcf:
    """Read an annotated VCF or BCF, once; a context manager.

    Args:
        path: of the file; ``-`` is stdin.

    Raises:
        VcfError: not a VCF or BCF; without annotation by this program; with that of several runs that differ in what
            determines scores.
    """

    def __init__(self, path: str) -> None:
        self._reader = open_vcf(path)
        try:
            header = self._reader.header
            described = header.info_descriptions()
            self.name = self._reader.name
            self.provenance = _provenance(header.provenances(), self.name)
            #: Field id -> description, of every flat field and every column of the VEP-style entries.
            self.fields = {key.removeprefix(PREFIX): text for key, text in described.items() if key.startswith(PREFIX)}
            self._columns = _columns(described.get(KEY, ""))
            #: Whether rows are of every gene; flat INFO speaks of one of them.
            self.every_gene = bool(self._columns)
            for column in self._columns:
                self.fields.setdefault(column, "")
            if "STATUS" not in self.fields:
                raise VcfError(
                    "The file has no SpliceBERT annotation.",
                    needed=f"INFO fields {PREFIX}STATUS and others, or {KEY} with its format, declared in the header",
                    found="none of these",
                    where=self.name,
                    remedy="annotate with --emit flat or --emit vep; a page is not made of --emit csq alone",
                )
        except BaseException:
            self._reader.close()
            raise

    def __enter__(self) -> AnnotatedVcf:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._reader.close()

    def records(self) -> Iterator[list[list[Row]]]:
        """Yield the rows of each ALT of each record: those of its genes, the one that flat output reports first.

        An ALT without annotation has one row without fields; a record without ALT has none.

        Raises:
            VcfError: a malformed record, or one whose fields do not fit its ALTs.
        """
        for record in self._reader:
            yield self._rows(record)

    def _rows(self, record: VcfRecord) -> list[list[Row]]:
        info: dict[str, str] = {}
        for item in record.columns()[7].decode("utf-8", "replace").split(";"):
            key, _, value = item.partition("=")
            if key.startswith(KEY):
                info[key] = value
        flat = self._flat(info, record)
        entries = [self._entry(entry, record) for entry in info.get(KEY, "").split(",") if entry not in ("", ".")]
        rows = []
        for alt, values in zip(record.alts, flat, strict=True):
            mine = [entry for entry in entries if entry.get("ALLELE") == escape_info(alt)]
            if entries and not mine and not values:
                raise VcfError(
                    "VEP-style entries and ALT alleles of a record do not belong together.",
                    needed=f"an entry of {KEY} that begins with {alt[:40]}",
                    found=", ".join(sorted({entry.get("ALLELE", "")[:40] for entry in entries})),
                    where=record.where,
                    remedy="annotate after normalising or splitting, not before",
                )
            found = [_merged(entry, values) for entry in mine] or [values]
            head = [str(utf8(text)) for text in (record.chrom, record.id, record.ref, alt)]
            rows.append([Row(head[0], record.pos, head[1], head[2], head[3], fields, record.where) for fields in found])
        return rows

    def _flat(self, info: Mapping[str, str], record: VcfRecord) -> list[dict[str, str]]:
        """Return the flat values of each ALT."""
        found: list[dict[str, str]] = [{} for _ in record.alts]
        for key, text in info.items():
            if not key.startswith(PREFIX):
                continue
            values = text.split(",")
            if len(values) != len(found):
                raise VcfError(
                    "An INFO field does not have one value for each ALT.",
                    needed=f"{len(found)} of {key}",
                    found=str(len(values)),
                    where=record.where,
                    remedy="whatever split or joined the alleles has to know Number=A; or annotate again",
                )
            for of_alt, value in zip(found, values, strict=True):
                if value not in ("", "."):
                    of_alt[key.removeprefix(PREFIX)] = value
        return found

    def _entry(self, entry: str, record: VcfRecord) -> dict[str, str]:
        cells = entry.split("|")
        if len(cells) != len(self._columns):
            raise VcfError(
                "A VEP-style entry does not have the columns that the header declares.",
                needed=f"{len(self._columns)} in {KEY}",
                found=str(len(cells)),
                where=record.where,
                remedy="annotate again",
            )
        return {column: cell for column, cell in zip(self._columns, cells, strict=True) if cell}


def _merged(entry: Mapping[str, str], flat: Mapping[str, str]) -> dict[str, str]:
    """Return an entry, and what flat INFO alone says of that allele in that gene."""
    return {**flat, **entry} if entry.get("GENE") == flat.get("GENE") else dict(entry)


def _columns(description: str) -> list[str]:
    _, found, text = description.rpartition(_FORMAT)
    return text.strip().split("|") if found else []


def _provenance(found: Sequence[dict[str, str]], where: str) -> dict[str, str]:
    if not found:
        raise VcfError(
            "The file does not say how it was annotated.",
            needed=f"a header line ##{PROVENANCE}",
            found="none",
            where=where,
            remedy=_REMEDY,
        )
    for name, what, choices in (
        ("ScoreDigest", "score digest", "one model and one set of options"),
        ("AnnotationDigest", "gene annotation", "one set of genes"),
        ("Calibration", "calibration table", "one calibration table"),
    ):
        digests = {line.get(name, "none") for line in found}
        if name == "Calibration":
            digests.discard("none")  # a run without percentiles adds none of another table
        if len(digests) > 1:
            raise VcfError(
                "The file holds the scores of several runs, and these are not comparable.",
                needed=f"one {what}",
                found=", ".join(sorted(digest[:12] for digest in digests)),
                where=where,
                remedy=f"annotate all records with {choices}",
            )
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


def place_of(row: Row, *, classed: bool) -> str | None:
    """Return the group of an allele that has a gene.

    Args:
        classed: the file gives region classes (to SNVs); without them the region and the distance to the exon decide.
    """
    if classed:
        given = row.fields.get("REGION_CLASS")
        return NOT_CLASSED if given is None else _NAMES.get(given, given)
    if "REGION" not in row.fields:
        return None
    return _NAMES[_group(row)]


def _group(row: Row) -> str:
    region, offset = row.fields["REGION"], row.number("SITE_OFFSET")
    if "SITE_HIT" in row.fields:
        return "canonical"
    if region != "intron":
        return "utr" if region in ("5_prime_UTR", "3_prime_UTR") else "exon"
    if offset is None:
        return "intron"
    return "near_intron" if abs(offset) <= _NEAR else "deep_intron"


def position_words(region: str, offset: str | None) -> str:
    """Return where an allele lies in a gene; 'exon 12' would be read as the twelfth exon."""
    if offset is None:
        return region
    return f"{region} {offset}" if offset.startswith(("+", "-")) else f"{region}, base {offset} from the site"


def order_of(place: str) -> tuple[int, str]:
    """Order groups from the splice site outwards; names that are not known come last."""
    names = [*_NAMES.values(), NOT_CLASSED]
    return (names.index(place) if place in names else len(names), place)


_SCORES = ("KL_CTX", "PCTL_KL_CTX", "KL_SS", "LLR", "PCTL_LLR", "PLLR")
#: Scores that another is the sum of, shown small under it, with their names.
_PARTS = {"KL_SS": (("KL_DONOR", "donor"), ("KL_ACCEPTOR", "acceptor"))}
_NOTES = {
    "KL_SS": "Of one site and of two it is not on one scale: KL_DONOR and KL_ACCEPTOR under it say which are in it.",
    "PLLR": "Compare it among alleles of one length only: a deletion's is large whatever it disturbs.",
}
_EVIDENCE = {
    "both": "both",
    "splicebert_only": "SpliceBERT only",
    "spliceai_only": "SpliceAI only",
    "neither": "neither",
    "not_scored": "not scored",
}
_DELTAS = ("AG", "AL", "DG", "DL")
_STATUS = "SpliceAI_STATUS"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table.

    Args:
        id: field id, or a name of our own.
        label: its heading.
        note: what a high or low value means, under the heading.
        kind: how it sorts; numbers sort the more disturbed ones first.
        meaning: a sentence for the legend.
    """

    id: str
    label: str
    note: str
    kind: Literal["text", "high", "low"]
    meaning: str


def direction(score: str) -> str:
    """Say what the direction of a score means."""
    if score.startswith("PCTL_"):
        return "higher = more unusual in its region class"
    if score.startswith("SpliceAI_"):
        return "0 to 1, higher = more likely"
    if score in NEGATIVE:
        return "negative = ALT less expected"
    return "higher = more disturbed"


def columns(fields: Mapping[str, str], score: str) -> list[Column]:
    """Return the columns for a file's fields, given with their descriptions; ``score`` is that which chose the rows."""
    found = [
        Column("variant", "Variant", "", "text", "Contig, 1-based position, REF and ALT as in the VCF, and its ID."),
        Column("gene", "Gene", "", "text", "Gene, and the transcript that is reported for it."),
        Column(
            "place", "Place", "", "text",
            "Region, and the distance to the nearest exon: +5 or -12 in an intron as in HGVS; in an exon its "
            "bases counted from the nearest splice site, base 1 beside it. Then the splice site whose dinucleotide the "
            "allele touches.",
        ),
        Column("STATUS", "Status", "", "text", "OK, or why the allele has no scores; see Statuses."),
    ]  # fmt: skip
    for name in dict.fromkeys((score, *_SCORES)):
        if name in fields and name != SPLICEAI:  # which has its own column
            kind: Literal["high", "low"] = "low" if name in NEGATIVE else "high"
            found.append(Column(name, name, direction(name), kind, _meaning(name, fields)))
    if EVIDENCE in fields:
        found.append(Column(EVIDENCE, "Seen by", "", "text", fields[EVIDENCE]))
    if SPLICEAI in fields:
        meaning = ". ".join(text for text in (fields[SPLICEAI], fields.get(_STATUS)) if text)
        found.append(Column(SPLICEAI, "SpliceAI max", direction(SPLICEAI), "high", meaning))
    if any(f"SpliceAI_DS_{delta}" in fields for delta in _DELTAS):
        meaning = (
            "SpliceAI's delta scores of acceptor gain and loss (AG, AL) and donor gain and loss (DG, DL), and in "
            "brackets where, in nt from POS along the genome, whatever the strand; those of 0 are left out."
        )
        found.append(Column("deltas", "SpliceAI deltas", "score (nt from POS)", "text", meaning))
    return found


def evidence_words(word: str) -> str:
    """Return the word that sets SpliceBERT beside SpliceAI as a reader knows it."""
    return _EVIDENCE.get(word, word)


def _meaning(name: str, fields: Mapping[str, str]) -> str:
    return ". ".join(part for part in (fields[name], _NOTES.get(name, "")) if part)


def type_of(row: Row) -> str:
    """Return SNV or other; a spanning deletion has one character, and is none."""
    return "SNV" if all(len(bases) == 1 and bases in "ACGTacgt" for bases in (row.ref, row.alt)) else "other"


def cells(row: Row, shown: list[Column]) -> list[str]:
    """Return a row's cells; numbers as the VCF prints them, empty where missing."""
    return [_cell(row, column.id) for column in shown]


def parts(row: Row, column: Column) -> list[str]:
    """Return what is shown small under a score: the scores that it is the sum of."""
    return [f"{word} {row.fields[name]}" for name, word in _PARTS.get(column.id, ()) if name in row.fields]


def _cell(row: Row, column: str) -> str:
    fields = row.fields
    if column == "variant":
        return name_of(row)
    if column == "gene":
        return gene_of(row) or ""
    if column == "place":
        return position_words(fields["REGION"], fields.get("SITE_OFFSET")) if "REGION" in fields else ""
    if column == EVIDENCE:
        return evidence_words(fields.get(EVIDENCE, ""))
    if column == "deltas":
        return _deltas(fields)
    if column == SPLICEAI:
        return fields.get(SPLICEAI) or _why_none(fields)
    return fields.get(column, "")


def name_of(row: Row) -> str:
    """Return an allele as a reader knows it, long ones cut."""
    return f"{row.chrom}-{row.pos}-{cut(row.ref)}-{cut(row.alt)}"


def _why_none(fields: Mapping[str, str]) -> str:
    status = fields.get(_STATUS, "")
    return "" if status == "FOUND" else status


def _deltas(fields: Mapping[str, str]) -> str:
    parts = []
    for delta in _DELTAS:
        score, place = fields.get(f"SpliceAI_DS_{delta}"), fields.get(f"SpliceAI_DP_{delta}", "")
        if score is not None and score.strip("0."):
            parts.append(f"{delta} {score} ({place})" if place else f"{delta} {score}")
    return ", ".join(parts)


_BOX, _MEDIAN = "#9CC9E3", "#333333"
_LOGARITHMIC, _FLOOR = ("KL_SS",), 1e-6  # the floor is that of the published context score
_PERCENTILES = (5, 25, 50, 75, 95)
_LEAST = 10  # values that make a box; fewer are drawn one by one


@dataclass(frozen=True, slots=True)
class Spread:
    """Values of one score in one class: their number, and the 5th, 25th, 50th, 75th and 95th percentile."""

    place: str
    count: int
    percentiles: tuple[float, ...]


def spreads(by_place: Mapping[str, ArrayLike]) -> list[Spread]:
    """Return a score's figures for each class, from the splice site outwards."""
    found = []
    for place in sorted(by_place, key=order_of):
        values = np.asarray(by_place[place], dtype=np.float64)
        found.append(Spread(place, len(values), tuple(np.percentile(values, _PERCENTILES).tolist())))
    return found


def draw_distributions(values: Mapping[str, Mapping[str, ArrayLike]], directions: Mapping[str, str]) -> Any:
    """Return a matplotlib figure: a panel for every score, a row for every class.

    Args:
        values: score -> class -> values.
        directions: what the direction of a score means, in words.

    Raises:
        SettingsError: matplotlib is not installed.
    """
    places = sorted({place for by_place in values.values() for place in by_place}, key=order_of)
    with drawing():
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, NullLocator

        figure: Any = Figure(figsize=(11, 0.9 + 0.42 * len(places)), layout="constrained")
        panels = figure.subplots(1, len(values), sharey=True, squeeze=False)[0]
        for axes, (score, by_place) in zip(panels, values.items(), strict=True):
            for y, place in enumerate(places):
                if place in by_place:
                    drawn = np.asarray(by_place[place], dtype=np.float64)
                    _draw_row(axes, y, np.maximum(drawn, _FLOOR) if score in _LOGARITHMIC else drawn)
            if score in _LOGARITHMIC:
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(numticks=4))
                axes.xaxis.set_major_formatter("{x:g}")
                axes.xaxis.set_minor_locator(NullLocator())
            axes.set_title(f"{score}\n({directions[score]})", fontsize=9, fontweight="bold")
            axes.set_ylim(len(places) - 0.5, -0.5)
            axes.grid(axis="x", alpha=0.3)
        panels[0].set_yticks(range(len(places)), _labels(places, next(iter(values.values()))))
    return figure


def _labels(places: Sequence[str], by_place: Mapping[str, ArrayLike]) -> list[str]:
    return [f"{plain_words(place)} (n = {len(np.asarray(by_place.get(place, []))):,})" for place in places]


def _draw_row(axes: Any, y: int, values: Any) -> None:
    if len(values) < _LEAST:
        axes.plot(values, [y] * len(values), "o", ms=4, color=_BOX, markeredgecolor=_MEDIAN)
        return
    p5, p25, median, p75, p95 = np.percentile(values, _PERCENTILES)
    axes.plot([p5, p95], [y, y], color=_MEDIAN, linewidth=1)
    axes.barh(y, p75 - p25, left=p25, height=0.55, color=_BOX, edgecolor=_MEDIAN, linewidth=0.8)
    axes.plot([median, median], [y - 0.275, y + 0.275], color=_MEDIAN, linewidth=2.5)
    axes.plot(values.max(), y, "|", ms=8, color=_MEDIAN)
    axes.plot(values.min(), y, "|", ms=8, color=_MEDIAN)


#: Scores of which more negative means more disturbed, and those of which higher does.
NEGATIVE = frozenset(("LLR", "PLLR", "DELTA_P"))
HIGHER = frozenset(
    ("KL_CTX", "KL_DONOR", "KL_ACCEPTOR", "KL_SS", "KL_MAX", "EMB_COS", "EMB_L2", "PCTL_KL_CTX", "PCTL_LLR")
    + tuple(f"SpliceAI_DS_{delta}" for delta in ("AG", "AL", "DG", "DL", "MAX"))
)
#: Scores whose distributions are drawn, where the file has them.
DRAWN = ("KL_CTX", "KL_SS", "LLR")
NOT_ANNOTATED = "NOT_ANNOTATED"


def scores_of(fields: Mapping[str, str]) -> list[str]:
    """Return those fields of a file of which it is known which way more disturbed lies; a plugin's description says it.

    Args:
        fields: with their descriptions.
    """
    known = NEGATIVE | HIGHER
    return [name for name, text in fields.items() if name in known or "higher = more disturbed" in text]


def disturbance(score: str, value: float) -> float:
    """Return a number that is higher where a score says more disturbed."""
    return -value if score in NEGATIVE else value


@dataclass(slots=True)
class Kept:
    """The first rows of a kind, and how many there are."""

    limit: int
    rows: list[Row] = field(default_factory=list)
    total: int = 0

    def add(self, row: Row) -> None:
        """Count a row, and keep it where there is room."""
        self.total += 1
        if len(self.rows) < self.limit:
            self.rows.append(row)


class _Highest:
    """The rows with the highest keys; of equal keys the first ones."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[tuple[float, int, Row]] = []
        self.total = 0

    def add(self, key: float, row: Row) -> None:
        self.total += 1
        item = (key, -self.total, row)
        if len(self._heap) < self._limit:
            heapq.heappush(self._heap, item)
        elif self._heap and item[:2] > self._heap[0][:2]:
            heapq.heapreplace(self._heap, item)

    @property
    def rows(self) -> list[Row]:
        return [row for _, _, row in sorted(self._heap, key=lambda item: item[:2], reverse=True)]


@dataclass(slots=True)
class Collected:
    """A file's counts, distributions and shown rows.

    Args:
        score: by which rows were chosen.
        joined: SpliceAI's scores stand beside.
        limit: of rows of each kind.
        records, alleles: read.
        statuses: ALTs by status, with several genes by the one that flat output reports; records without ALT as NO_ALT.
        hitting: ALTs that touch an annotated splice-site dinucleotide, in any gene.
        evidence: alleles x genes by the word that sets SpliceBERT beside SpliceAI.
        genes: alleles by gene symbol, else id.
        values: score -> place -> values of alleles x genes that are OK.
        scored: alleles x genes that have the score.
        top: those with the highest disturbance, highest first.
        hits: those that touch such a site, by file order.
        elsewhere: those that touch none and that SpliceAI calls (``SPLICEAI_THRESHOLD``), scored or not, by file order.
        unscored: those of another status than OK, by file order.
    """

    score: str
    joined: bool
    limit: int
    records: int = 0
    alleles: int = 0
    hitting: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    evidence: Counter[str] = field(default_factory=Counter)
    genes: Counter[str] = field(default_factory=Counter)
    values: dict[str, dict[str, array[float]]] = field(default_factory=dict)
    scored: int = 0
    top: list[Row] = field(default_factory=list)
    hits: Kept = field(init=False)
    elsewhere: Kept = field(init=False)
    unscored: Kept = field(init=False)

    def __post_init__(self) -> None:
        self.hits, self.elsewhere, self.unscored = Kept(self.limit), Kept(self.limit), Kept(self.limit)

    def shown(self) -> list[Row]:
        """Return every row of the table once, the most disturbed first, those without the score last."""
        every = (*self.top, *self.hits.rows, *self.elsewhere.rows, *self.unscored.rows)
        once = {id(row): row for row in every}.values()  # a file may hold equal rows; each is shown
        return sorted(once, key=self._order)

    def _order(self, row: Row) -> float:
        value = row.number(self.score)
        return math.inf if value is None else -disturbance(self.score, value)


def collect(vcf: AnnotatedVcf, score: str, limit: int) -> Collected:
    """Read a file to its end.

    Args:
        score: field id; rows are chosen by it.
        limit: of rows of each kind.

    Raises:
        VcfError: as ``AnnotatedVcf.records``, and for a value that is no number.
    """
    classed = "REGION_CLASS" in vcf.fields
    highest = _Highest(limit)
    found = Collected(score, SPLICEAI in vcf.fields, limit)
    found.values = {name: {} for name in DRAWN if name in vcf.fields}
    for alleles in vcf.records():
        found.records += 1
        found.alleles += len(alleles)
        if not alleles:
            found.statuses["NO_ALT"] += 1
        for rows in alleles:
            found.statuses[rows[0].fields.get("STATUS", NOT_ANNOTATED)] += 1
            found.hitting += any("SITE_HIT" in row.fields for row in rows)
            found.genes.update({name for row in rows if (name := gene_of(row))})
            for row in rows:
                _keep(found, row)
                if row.fields.get("STATUS") != "OK":
                    found.unscored.add(row)
                else:
                    _score(found, highest, row, place_of(row, classed=classed))
    found.top, found.scored = highest.rows, highest.total
    return found


def gene_of(row: Row) -> str | None:
    """Return a row's gene as a reader knows it: its symbol, else its id."""
    return row.fields.get("SYMBOL") or row.fields.get("GENE")


def _keep(found: Collected, row: Row) -> None:
    """Keep a row that has to be shown whatever its score."""
    found.evidence.update([row.fields[EVIDENCE]] if EVIDENCE in row.fields else [])
    spliceai = row.number(SPLICEAI)
    if "SITE_HIT" in row.fields:
        found.hits.add(row)
    elif spliceai is not None and spliceai >= SPLICEAI_THRESHOLD:
        found.elsewhere.add(row)


def _score(found: Collected, highest: _Highest, row: Row, place: str | None) -> None:
    for score, by_place in found.values.items():
        value = row.number(score)
        if value is not None and place is not None:
            by_place.setdefault(place, array("d")).append(value)
    value = row.number(found.score)
    if value is not None:
        highest.add(disturbance(found.score, value), row)


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

LIMITS = (
    "Sequence only. The model sees one stretch of pre-mRNA sequence around one allele. It knows nothing of tissue, age "
    "or sex, of expression, of RNA structure, or of other variants on the same chromosome.",
    "Expectation, not consequence. A score says how much an allele disturbs what the model expects. It does not say "
    "that an exon is skipped, how much, or that anyone is ill.",
    "Zero-shot, not calibrated. No label of any variant went into the scores. They are not calibrated to ACMG/AMP "
    "evidence; there is no PP3 or BP4 threshold, and none may be read off this page.",
    "A splice site that is deleted has no KL score. Its bases have no counterpart in ALT, so the greatest damage can "
    "have the lowest KL_SS. Alleles that touch a splice-site dinucleotide are in the table whatever their scores.",
    "Missing is not low. An allele without scores has a status that says why; it was not found harmless.",
)

#: Labels of what the provenance line of a run says, in the order shown; other names are shown as they are, after these.
PROVENANCE_LABELS: Mapping[str, str] = {
    "Version": "Program version",
    "ScoreVersion": "Score version",
    "ScoreDigest": "Score digest",
    "Backend": "Backend",
    "Model": "Model",
    "Quality": "Measured quality",
    "WeightsSHA256": "Weights, SHA-256",
    "Architecture": "Architecture",
    "Window": "Window, nt",
    "Flank": "Flank read on each side, nt",
    "WindowMode": "Window placing",
    "Stride": "Stride of tiles",
    "EngineMode": "Engine mode",
    "Radius": "Radius of local mode, nt",
    "Scores": "Scores",
    "SpliceModel": "Splice-site model of delta scores",
    "SpliceModelQuality": "Its measured quality",
    "SpliceModelSHA256": "Its weights, SHA-256",
    "DeltaDistance": "How far delta scores look, nt",
    "DeltaMasked": "Delta scores masked",
    "Precision": "Precision",
    "Device": "Device",
    "BatchTokens": "Tokens in a call",
    "Reference": "Reference",
    "ReferenceSHA256": "Reference, SHA-256",
    "Annotation": "Gene annotation",
    "AnnotationDigest": "Gene annotation, digest",
    "Calibration": "Calibration table, SHA-256",
    "Store": "Score store",
    "Plugins": "Plugins",
}
