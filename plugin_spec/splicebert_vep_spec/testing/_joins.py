"""What every join has to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .._adapters import InfoField
from .._fields import FieldSpec
from .._joins import JoinAdapter, JoinQuery, JoinRequest, OpenJoin
from .._rules import fits
from .._types import Allele, Value
from ._named import check_named, subject
from ._sequence import MadeUpBases, sample_alleles


class MadeUpTable:
    """An indexed file made of lines; it fulfils ``IndexedTable``. Contigs answer with and without ``chr``.

    Args:
        lines: those that begin with ``#`` are the head; rows are tab-separated, contig and position first. REF is the
            fourth column where the head has a ``#CHROM`` line; else a row is known by its position only.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        self.head = [line for line in lines if line.startswith("#")]
        self._rows = [line for line in lines if not line.startswith("#")]
        self.contigs = list(dict.fromkeys(row.split("\t")[0] for row in self._rows))
        self._vcf = any(line.startswith("#CHROM") for line in self.head)

    def fetch(self, contig: str, start: int, end: int) -> Iterator[str] | None:
        """Return the rows that overlap [start, end)."""
        if contig.removeprefix("chr") not in [known.removeprefix("chr") for known in self.contigs]:
            return None
        return (row for row in self._rows if self._overlaps(row.split("\t"), contig, start, end))

    def _overlaps(self, cells: Sequence[str], contig: str, start: int, end: int) -> bool:
        at = int(cells[1]) - 1
        length = len(cells[3]) if self._vcf else 1
        return cells[0].removeprefix("chr") == contig.removeprefix("chr") and at < end and at + length > start


def sample_queries(alts: int = 1) -> list[JoinQuery]:
    """Return alleles of every kind in genes of both strands, as records write them, without INFO.

    Args:
        alts: how many ALTs a record has; the second is the first with an A appended.
    """
    bases = MadeUpBases()
    queries = []
    for allele, context in sample_alleles(bases):
        pos, before = allele.start + 1, ""
        if not allele.ref or not allele.alt:
            pos, before = allele.start, bases.fetch(allele.contig, allele.start - 1, allele.start).decode()
        ref, alt = before + allele.ref, before + allele.alt
        written = tuple(alt + "A" * i for i in range(alts))
        queries.append(JoinQuery(pos, ref, alt, written, {}, allele, context))
    return queries


class JoinAdapterConformance:
    """Subclass it and set ``adapter = MyJoin()`` and what it reads: ``info_key`` and ``info``, or ``tables``.

    ``record_info`` gives the INFO of a query's record; ``tables`` holds the lines of each file by its name; ``files``
    is what the user names, where that is not ``tables``.
    """

    adapter: JoinAdapter
    name: str = "Mine"
    info_key: str | None = None
    info: Mapping[str, InfoField] = {}
    tables: Mapping[str, Sequence[str]] = {}
    files: Sequence[str] = ()

    def record_info(self, query: JoinQuery) -> Mapping[str, str]:
        """Return the INFO of the record that holds an allele."""
        return {}

    def test_it_has_a_name_and_a_label(self) -> None:
        adapter = self._adapter()
        check_named(adapter)
        assert isinstance(adapter.label, str), f"label is {adapter.label!r}; needed text, empty for the user's NAME"

    def test_its_fields_bear_the_name_of_the_request(self) -> None:
        opened = self._open()
        assert opened.fields, "fields is empty; needed at least one FieldSpec"
        prefix = f"{self._label()}_"
        for field in opened.fields:
            assert isinstance(field, FieldSpec) and field.number == "A", f"{field!r}; needed a FieldSpec with number A"
            assert field.id.startswith(prefix), f"{field.id} does not begin with {prefix}"
        ids = [field.id for field in opened.fields]
        assert len(set(ids)) == len(ids), f"a field id occurs twice: {ids}"
        assert isinstance(opened.about, str) and "\n" not in opened.about, f"about is {opened.about!r}; needed one line"
        opened.close()

    def test_it_answers_every_query_with_values_that_it_declares(self) -> None:
        opened = self._open()
        types = {field.id: field.type for field in opened.fields}
        for found in self._ask(opened, self._queries()):
            for key, value in found.items():
                assert key in types, f"{key} is among the values and not among the fields"
                good = value is None or fits(types[key], value)
                assert good, f"{key} is {value!r}; needed None or a finite {types[key]}"
        assert self._ask(opened, []) == []
        opened.close()

    def test_an_allele_has_the_same_values_in_any_company(self) -> None:
        queries = self._queries()
        together = self._ask(self._open(), queries)
        backwards = self._ask(self._open(), queries[::-1])[::-1]
        alone = [self._ask(self._open(), [query])[0] for query in queries]
        for query, *values in zip(queries, together, backwards, alone, strict=True):
            shown = f"{query.allele} in {query.context.symbol}"
            assert values[0] == values[1] == values[2], f"{shown} among others, backwards and alone: {values}"

    def _adapter(self) -> JoinAdapter:
        adapter: JoinAdapter = subject(self, "adapter", "MyJoin()")
        return adapter

    def _label(self) -> str:
        return self._adapter().label or self.name

    def _open(self) -> OpenJoin:
        bases = MadeUpBases()

        def normalise(contig: str, pos: int, ref: str, alt: str) -> Allele | None:
            return _normalised(bases, contig, pos, ref.upper(), alt.upper())

        def open_table(path: str) -> MadeUpTable:
            return MadeUpTable(self.tables[path])

        return self._adapter().join(
            JoinRequest(
                self._label(), tuple(self.files or self.tables), self.info_key, self.info, open_table, normalise, bases
            )
        )

    def _queries(self) -> list[JoinQuery]:
        return [
            JoinQuery(q.pos, q.ref, q.alt, q.alts, dict(self.record_info(q)), q.allele, q.context)
            for q in (*sample_queries(), *sample_queries(2))
        ]

    def _ask(self, opened: OpenJoin, queries: Sequence[JoinQuery]) -> list[dict[str, Value]]:
        found = [dict(values) for values in opened.look_up(queries)]
        assert len(found) == len(queries), f"{len(queries)} queries, {len(found)} answers"
        return found


def _normalised(bases: MadeUpBases, contig: str, pos: int, ref: str, alt: str) -> Allele | None:
    """Trim and left-align as the program does."""
    own = "chr" + contig.removeprefix("chr")
    acgt = all(set(one) <= set("ACGT") for one in (ref, alt))
    if own not in bases.lengths or not acgt or bases.fetch(own, pos - 1, pos - 1 + len(ref)).decode() != ref:
        return None
    start = pos - 1
    while ref and alt and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while ref and alt and ref[0] == alt[0]:
        ref, alt, start = ref[1:], alt[1:], start + 1
    while start and (not ref or not alt):
        before = bases.fetch(own, start - 1, start).decode()
        if before != (ref or alt)[-1]:
            break
        ref, alt = (before + ref)[: len(ref)], (before + alt)[: len(alt)]
        start -= 1
    return Allele(own, start, ref, alt)
