"""What a report knows of a file after reading it once: counts, distributions, and the rows that it shows.

Memory is bounded by the number of rows shown and, for the distributions, by 8 bytes per allele and score.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from splicebert_vep.joining.evidence import EVIDENCE, SPLICEAI, SPLICEAI_THRESHOLD

from .places import place_of
from .reading import AnnotatedVcf, Row

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
