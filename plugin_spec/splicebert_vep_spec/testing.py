"""Tests that every plugin object has to pass; the built-ins pass them too.

Subclass one in a test module and name the object; pytest finds the tests::

    class TestGcContent(ScorerConformance):
        scorer = GcContent()
        tensor = staticmethod(torch.tensor)

Nothing here imports torch, numpy or pytest: a test class gives them as attributes.
"""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .hooks import Command
from .joins import JoinAdapter, JoinQuery, JoinRequest, OpenJoin
from .models import (
    CLS,
    NEEDS,
    NEEDS_HIDDEN,
    NEEDS_MASKED,
    NEEDS_PAIRS,
    SEP,
    A,
    AlignedBatch,
    Backend,
    BackendInfo,
    BackendOptions,
    BackendOutput,
    C,
    Edit,
    G,
    MaskedSite,
    N,
    Scorer,
    SequenceScorer,
    Side,
    SpliceModel,
    T,
)
from .outputs import ColumnAdapter, InfoAdapter, Merger, MergingAdapter, RunInfo, TableAdapter, TextAdapter
from .values import (
    INFO_FIELD_NEEDED,
    NAME_NEEDED,
    Allele,
    AlleleReport,
    FieldSpec,
    GeneContext,
    InfoField,
    Interval,
    RecordReport,
    ScoredContext,
    Skipped,
    Status,
    Value,
    fits,
    info_problem,
    is_info_field,
    is_name,
)

# Made-up outcomes, batches, alleles and files of every kind that a plugin meets.

HIDDEN = 4
_VOCABULARY = 10
_SPAN = 3
#: REF and ALT span of each allele of ``sample_batch``: two SNVs, an MNV, an insertion, a deletion, a delins.
ALLELES = ("C>T", "G>A", "AC>GT", ">GA", "TT>", "ACG>T")
_TOKEN = {"A": A, "C": C, "G": G, "T": T}


def sample_batch(
    tensor: Callable[[Any], Any],
    *,
    flank: int = 5,
    needs: frozenset[str] = NEEDS,
    rows: Sequence[int] = range(len(ALLELES)),
) -> AlignedBatch:
    """Return the outputs of a made-up model for ``ALLELES``, the same at every call.

    The second allele has no splice site in its window and an N in its flank.

    Args:
        tensor: ``torch.tensor`` or another function that turns nested lists into arrays.
        flank: F.
        needs: outputs in the batch; the others are None, as in a run without such a scorer.
        rows: indices into ``ALLELES``.
    """
    made = [_row(number, flank) for number in rows]

    def stacked(name: str) -> Any:
        return tensor([row[name] for row in made])

    def side(which: str) -> Side:
        hidden = stacked(f"{which}_hidden") if NEEDS_HIDDEN in needs else None
        return Side(stacked(f"{which}_tokens"), stacked(f"{which}_logits"), hidden)

    pairs = NEEDS_PAIRS in needs
    any_valid = any(any(row["valid"]) for row in made)
    masked = MaskedSite(*(stacked(name) for name in ("site_ref", "site_alt", "site_logits", "valid")))
    return AlignedBatch(
        flank=flank,
        ref=side("ref") if pairs else None,
        alt=side("alt") if pairs else None,
        paired=stacked("paired"),
        donor=stacked("donor"),
        acceptor=stacked("acceptor"),
        in_ref=stacked("in_ref"),
        in_alt=stacked("in_alt"),
        snv=stacked("snv"),
        masked=masked if NEEDS_MASKED in needs and any_valid else None,
    )


def _row(number: int, flank: int) -> dict[str, Any]:
    """Return one allele's columns: 2 F of the flanks, four of the sites, three of the span."""
    rng = random.Random(f"{number}-{flank}")
    ref, alt = ALLELES[number].split(">")
    columns = 2 * flank + 4 + _SPAN
    equal = len(ref) == len(alt)
    sites = number != 1

    def spread(flanks: bool, site: bool, span: list[bool]) -> list[bool]:
        return [flanks] * (2 * flank) + [site] * 4 + span

    def logits(count: int) -> list[list[float]]:
        return [[rng.gauss(0, 1) for _ in range(_VOCABULARY)] for _ in range(count)]

    tokens = [rng.choice((A, C, G, T)) for _ in range(columns)]
    if not sites:
        tokens[1] = N
    row: dict[str, Any] = {}
    for name, span in (("ref", ref), ("alt", alt)):
        own = [_TOKEN[base] for base in span] + [N] * (_SPAN - len(span))
        row[f"{name}_tokens"] = tokens[: columns - _SPAN] + own
        row[f"{name}_logits"] = logits(columns)
        row[f"{name}_hidden"] = [[rng.gauss(0, 1) for _ in range(HIDDEN)] for _ in range(columns)]
        row[f"in_{name}"] = spread(True, False, [i < len(span) for i in range(_SPAN)])
    row["paired"] = spread(True, sites, [equal and i < len(ref) for i in range(_SPAN)])
    row["donor"] = [sites and 2 * flank <= i < 2 * flank + 2 for i in range(columns)]
    row["acceptor"] = [sites and 2 * flank + 2 <= i < 2 * flank + 4 for i in range(columns)]
    row["snv"] = len(ref) == len(alt) == 1
    row["valid"] = [equal and i < len(ref) for i in range(_SPAN)]
    row["site_ref"] = [_TOKEN[ref[i]] if row["valid"][i] else A for i in range(_SPAN)]
    row["site_alt"] = [_TOKEN[alt[i]] if row["valid"][i] else A for i in range(_SPAN)]
    row["site_logits"] = logits(_SPAN)
    return row


def sample_run(*fields: FieldSpec) -> RunInfo:
    """Return a run that computes some fields; KL_SS, KL_MAX, KL_MAX_POS and N_SITES when none is given."""
    usual = (
        FieldSpec("KL_SS", "A", "Float", "Splice-site score", "higher"),
        FieldSpec("KL_MAX", "A", "Float", "Largest KL in the flanks", "higher"),
        FieldSpec("KL_MAX_POS", "A", "Integer", "Its offset in transcript direction"),
        FieldSpec("N_SITES", "A", "Integer", "Number of splice sites"),
    )
    return RunInfo(fields or usual, {"Version": "0", "Model": "made-up", "Note": 'a "quoted" word'})


def sample_reports(run: RunInfo | None = None) -> list[RecordReport]:
    """Return made-up outcomes: two genes, several ALTs, values present and missing, ALTs and records without scores."""
    fields = (run or sample_run()).fields

    def values(share: float) -> dict[str, Value]:
        made: dict[str, Value] = {}
        for i, field in enumerate(fields):
            of_type: dict[str, Value] = {"Float": share + i, "Integer": -(i + 1), "String": "a word"}
            made[field.id] = of_type[field.type]
        return made

    def gene(name: str, strand: str) -> GeneContext:
        return GeneContext(
            f"ENSG{name}.1", name, f"ENST{name}.2", "MANE_Select", "protein_coding", strand, "intron", "+2", "donor",
            Interval(102, 104), None, True,
        )  # fmt: skip

    nameless = GeneContext(
        "ENSG3", None, "ENST3", "longest_CDS", "lncRNA", "+", "exon", None, None, None, None, False
    )  # fmt: skip
    both = (
        ScoredContext(gene("ONE", "-"), Status.OK, "", values(0.25)),
        ScoredContext(gene("TWO", "+"), Status.OK, "", values(1e-7)),
    )
    missing = (ScoredContext(nameless, Status.OK, "", {field.id: None for field in fields}),)
    failed = (ScoredContext(nameless, Status.FAILED, "out of memory; tried, twice|all", {}),)

    def none(status: Status, reason: str) -> tuple[ScoredContext, ...]:
        return (ScoredContext(None, status, reason, {}),)

    return [
        RecordReport("chr1", 103, "rs1", "G", (AlleleReport("A", Allele("chr1", 102, "G", "A"), both),)),
        RecordReport(
            "chr1",
            110,
            ".",
            "ACG",
            (
                AlleleReport("A", Allele("chr1", 110, "CG", ""), both),
                AlleleReport("ACGTT", Allele("chr1", 113, "", "TT"), missing),
                AlleleReport("<DEL>", None, none(Status.SYMBOLIC, "ALT <DEL> is symbolic")),
                AlleleReport("*", None, none(Status.SPANNING_DELETION, "ALT '*' stands for a deletion")),
            ),
        ),
        RecordReport("HLA-A*01:01", 5, "a;b", "T", (AlleleReport("C", Allele("HLA-A*01:01", 4, "T", "C"), failed),)),
        RecordReport(
            "chrX", 7, ".", "T", (AlleleReport("G", Allele("chrX", 6, "T", "G"), none(Status.NO_GENE, "no gene")),)
        ),
        RecordReport("chrX", 9, ".", "T", ()),
    ]


_LENGTH = 30_000
_EXON = (15_000, 15_120)


class MadeUpBases:
    """A contig of made-up bases, the same at every use; it fulfils ``Bases``."""

    def __init__(self) -> None:
        rng = random.Random("bases")
        bases = bytearray(rng.choices(b"ACGT", k=_LENGTH))
        bases[_EXON[0] - 2 : _EXON[0]] = b"AG"
        bases[_EXON[1] : _EXON[1] + 2] = b"GT"
        self._bases = {"chr1": bytes(bases)}

    @property
    def lengths(self) -> Mapping[str, int]:
        """Length of every contig."""
        return {name: len(bases) for name, bases in self._bases.items()}

    def fetch(self, contig: str, start: int, end: int) -> bytes:
        """Return bases, cut at the contig's ends."""
        return self._bases[contig][max(0, start) : max(0, end)]


def sample_alleles(bases: MadeUpBases) -> list[tuple[Allele, GeneContext]]:
    """Return alleles of every kind near one exon, in genes of both strands, and at the contig's start."""
    start, end = _EXON
    donor, acceptor = Interval(end, end + 2), Interval(start - 2, start)

    def gene(strand: str, offset: str | None, hit: str | None, near: bool) -> GeneContext:
        sites = (donor, acceptor) if strand == "+" else (acceptor, donor)
        return GeneContext(
            f"ENSG{strand}", f"GENE{strand}", f"ENST{strand}", "MANE_Select", "protein_coding", strand, "intron",
            offset, hit, *sites, near,
        )  # fmt: skip

    def changed(at: int) -> Allele:
        ref = bases.fetch("chr1", at, at + 1).decode()
        return Allele("chr1", at, ref, "A" if ref != "A" else "C")

    found = []
    for strand in "+-":
        found += [
            (changed(end), gene(strand, "+1", "donor", True)),
            (changed(start + 50), gene(strand, "51", None, True)),
            (changed(end + 300), gene(strand, "+301", None, False)),
            (
                Allele("chr1", end + 4, bases.fetch("chr1", end + 4, end + 7).decode(), ""),
                gene(strand, "+5", None, True),
            ),
            (Allele("chr1", end + 4, "", "ACGT"), gene(strand, "+5", None, True)),
            (changed(3), gene(strand, None, None, False)),
        ]
    return found


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


# Tests by kind of object.


class _Conformance:
    """Checks of every kind; ``_subject`` names the attribute that holds the object under test."""

    _subject: str
    _example: str

    def _given(self, attribute: str, example: str) -> Any:
        """Return an attribute of the test class, or say how to set it."""
        found = getattr(self, attribute, None)
        assert found is not None, f"{type(self).__name__} needs a class attribute: {attribute} = {example}"
        return found

    @property
    def _item(self) -> Any:
        return self._given(self._subject, self._example)

    def test_it_has_a_name_and_a_version(self) -> None:
        item = self._item
        assert isinstance(item, type) == (self._subject == "backend"), f"{item!r}; needed {self._example}"
        assert is_name(item.name), f"name is {item.name!r}; needed {NAME_NEEDED}"
        assert isinstance(item.version, str) and item.version, f"version is {item.version!r}; needed a non-empty string"


def _check_unique(name: str, keys: Sequence[str]) -> None:
    assert keys, f"{name} is empty"
    assert len(set(keys)) == len(keys), f"{name} holds a name twice: {keys}"


class _FieldsConformance(_Conformance):
    """Checks of scorers of both kinds."""

    _types: tuple[str, ...] = ("Float", "Integer")
    _subject, _example = "scorer", "MyScorer()"

    def test_its_fields_are_one_value_per_alt(self) -> None:
        fields = self._item.fields
        for field in fields:
            assert isinstance(field, FieldSpec), f"{field!r} in fields; needed FieldSpec objects"
            assert field.number == "A", f"{field.id} has number {field.number!r}; a score is one value per ALT: 'A'"
            assert field.type in self._types, f"{field.id} has type {field.type}; needed {' or '.join(self._types)}"
        _check_unique("fields", [field.id for field in fields])
        assert list(fields) == list(self._item.fields), "fields differ from one look to the next"

    def _all(self) -> frozenset[str]:
        return frozenset(field.id for field in self._item.fields)

    def _choices(self) -> list[frozenset[str]]:
        return [self._all(), *(frozenset((field,)) for field in sorted(self._all()))]

    def _integers(self) -> set[str]:
        return {field.id for field in self._item.fields if field.type == "Integer"}


class SpliceModelConformance(_Conformance):
    """Subclass it, set ``model = MyModel.open(BackendOptions("mine"))`` and ``array = staticmethod(numpy.array)``."""

    _subject, _example = "model", 'MyModel.open(BackendOptions("mine"))'
    model: SpliceModel
    array: Callable[..., Any]

    def _along(self, tokens: Sequence[int]) -> list[list[float]]:
        found = self._item.along(self.array(tokens, dtype="uint8"))
        needed = (len(tokens) - 2 * self._item.reach, 2)
        assert tuple(found.shape) == needed, f"answers of shape {tuple(found.shape)}; needed {needed}"
        return found.tolist()  # type: ignore[no-any-return]

    def _sequence(self, length: int) -> list[int]:
        return random.Random(length).choices((A, C, G, T), k=length)

    def test_answers_are_probabilities(self) -> None:
        found = self._along(self._sequence(2 * self._item.reach + 20))
        assert all(0 <= p <= 1 for row in found for p in row), "an answer below 0 or above 1"
        assert all(sum(row) <= 1 + 1e-6 for row in found), "p(acceptor) + p(donor) above 1"

    def test_an_edit_has_as_many_answers_as_it_asks_for(self) -> None:
        for edit, ref, alt in self._edited():
            for answers, count in zip((ref, alt), edit.counts, strict=True):
                assert tuple(answers.shape) == (count, 2), f"{edit}: answers of shape {answers.shape}, not {count}"

    def test_a_change_to_the_same_bases_has_the_same_answers(self) -> None:
        at = self._item.reach + 30
        tokens = self._sequence(2 * self._item.reach + 60)
        same = Edit(at, at + 3, tuple(tokens[at : at + 3]), 10, 10)
        [(ref, alt)] = self._item.alternatives(self.array(tokens, dtype="uint8"), [same])
        assert _near(ref.tolist(), alt.tolist()), "the same bases in their own place have other answers"

    def test_an_edit_has_the_same_answers_among_others_and_alone(self) -> None:
        tokens = self.array(self._sequence(2 * self._item.reach + 60), dtype="uint8")
        for edit, *answers in self._edited():
            [alone] = self._item.alternatives(tokens, [edit])
            for one, other in zip(answers, alone, strict=True):
                assert _near(one.tolist(), other.tolist()), f"{edit}: other answers than alone"

    def _edited(self) -> list[tuple[Edit, Any, Any]]:
        at = self._item.reach + 30
        edits = [
            Edit(at, at + gone, bases, 20, 10 + i)
            for i, (gone, bases) in enumerate(((1, (T,)), (0, (A, C)), (3, ()), (2, (G,))))
        ]
        tokens = self.array(self._sequence(2 * self._item.reach + 60), dtype="uint8")
        answers = self._item.alternatives(tokens, edits)
        assert len(answers) == len(edits), f"{len(answers)} answers to {len(edits)} edits"
        return [(edit, *pair) for edit, pair in zip(edits, answers, strict=True)]


def _near(some: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> bool:
    return all(abs(a - b) < 1e-5 for one, two in zip(some, others, strict=True) for a, b in zip(one, two, strict=True))


class ScorerConformance(_FieldsConformance):
    """Subclass it, set ``scorer = MyScorer()`` and ``tensor = staticmethod(torch.tensor)``."""

    scorer: Scorer
    tensor: Callable[[Any], Any]

    def test_it_needs_what_there_is(self) -> None:
        for asked in self._choices():
            needs = self._item.needs(asked)
            assert set(needs) <= NEEDS, f"needs({set(asked)}) is {set(needs)}; needed some of {set(NEEDS)}"
            assert set(needs) <= set(self._item.needs(self._all())), "one field needs more than all together"

    def test_it_returns_one_value_per_allele_of_every_kind(self) -> None:
        for flank in (1, 5):
            for asked in self._choices():
                self._score(asked, self._batch(asked, flank=flank), len(ALLELES))

    def test_an_allele_has_the_same_score_in_any_batch(self) -> None:
        asked = self._all()
        together = self._score(asked, self._batch(asked), len(ALLELES))
        backwards = self._score(asked, self._batch(asked, rows=list(reversed(range(len(ALLELES))))), len(ALLELES))
        for i in range(len(ALLELES)):
            alone = self._score(asked, self._batch(asked, rows=[i]), 1)
            for field in asked:
                _same(together[field][i], alone[field][0], f"{field} of {ALLELES[i]}, among others and alone")
                _same(together[field][i], backwards[field][-1 - i], f"{field} of {ALLELES[i]}, in two orders")

    def test_a_field_does_not_depend_on_the_others_asked_for(self) -> None:
        every = self._score(self._all(), self._batch(self._all()), len(ALLELES))
        for asked in self._choices()[1:]:
            [field] = asked
            alone = self._score(asked, self._batch(asked), len(ALLELES))[field]
            for one, other in zip(alone, every[field], strict=True):
                _same(one, other, f"{field}, alone and with the others")

    def test_it_leaves_the_batch_as_it_was_and_says_the_same_again(self) -> None:
        asked = self._all()
        batch = self._batch(asked)
        first = self._score(asked, batch, len(ALLELES))
        assert repr(_lists(batch)) == repr(_lists(self._batch(asked))), "the scorer changed the batch it was given"
        second = self._score(asked, batch, len(ALLELES))
        for field in asked:
            for one, other in zip(first[field], second[field], strict=True):
                _same(one, other, f"{field}, asked twice")

    def _batch(self, asked: frozenset[str], flank: int = 5, rows: Sequence[int] = range(len(ALLELES))) -> AlignedBatch:
        """Return a batch of the outputs that the scorer needs for these fields, and no others."""
        tensor = self._given("tensor", "staticmethod(torch.tensor)")
        return sample_batch(tensor, flank=flank, needs=frozenset(self._item.needs(asked)), rows=rows)

    def _score(self, asked: frozenset[str], batch: AlignedBatch, count: int) -> dict[str, list[float]]:
        found = self._item.score(batch, asked)
        assert set(found) <= asked, f"asked for {sorted(asked)}, got {sorted(found)}"
        values = {field: [math.nan] * count for field in asked}
        for field, tensor in found.items():
            kind = type(batch.snv)
            assert isinstance(tensor, kind), f"{field} is a {type(tensor).__name__}; needed a {kind.__name__}"
            shape = tuple(tensor.shape)
            assert shape == (count,), f"{field} has shape {shape}; needed ({count},), one value per allele x gene"
            values[field] = tensor.tolist()
            for value in values[field]:
                assert not math.isinf(value), f"{field} is infinite; needed a number, or NaN where missing"
                whole = math.isnan(value) or float(value).is_integer()
                assert field not in self._integers() or whole, f"{field} is {value}; its type is Integer"
        return values


def _same(one: float, other: float, what: str) -> None:
    both = math.isnan(one) and math.isnan(other)
    assert both or math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6), f"{what}: {one} and {other}"


def _lists(value: Any) -> Any:
    """Return nested lists of everything in a batch."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "__dataclass_fields__"):
        return [_lists(getattr(value, name)) for name in value.__dataclass_fields__]
    return value


class SequenceScorerConformance(_FieldsConformance):
    """Subclass it and set ``scorer = MyScorer()``."""

    _types = ("Float", "Integer", "String")
    scorer: SequenceScorer

    def test_it_returns_one_value_or_none_per_allele_of_every_kind(self) -> None:
        for asked in self._choices():
            self._score(sample_alleles(MadeUpBases()), asked)
        self._score([], self._all())

    def test_an_allele_has_the_same_score_whatever_the_others(self) -> None:
        alleles = sample_alleles(MadeUpBases())
        together = self._score(alleles, self._all())
        backwards = self._score(alleles[::-1], self._all())
        for i, allele in enumerate(alleles):
            alone = self._score([allele], self._all())
            for field in self._all():
                values = (together[field][i], alone[field][0], backwards[field][-1 - i])
                assert len(set(values)) == 1, f"{field} of {allele[0]} among others, alone, in another order: {values}"

    def _score(self, alleles: Sequence[tuple[Allele, GeneContext]], asked: frozenset[str]) -> dict[str, list[Value]]:
        answer = self._item.score_alleles(alleles, MadeUpBases(), asked)
        assert answer.keys() == asked, f"asked for {sorted(asked)}, got {sorted(answer)}"
        for field, values in answer.items():
            assert len(values) == len(alleles), f"{len(values)} values of {field} for {len(alleles)} alleles"
            for value in values:
                assert not isinstance(value, Skipped), f"{field} failed: {value.reason}"
                if field in self._texts():
                    assert value is None or isinstance(value, str), f"{field} is {value!r}; needed words, or None"
                    continue
                finite = value is None or (isinstance(value, float | int) and math.isfinite(value))
                assert finite, f"{field} is {value}; needed a number, or None where missing"
                whole = field not in self._integers() or value is None or value == int(value)
                assert whole, f"{field} is {value}, no Integer"
        return {
            field: [value for value in values if not isinstance(value, Skipped)] for field, values in answer.items()
        }

    def _texts(self) -> set[str]:
        return {field.id for field in self._item.fields if field.type == "String"}


class _AdapterConformance(_Conformance):
    """Checks of adapters of every kind. ``rendered`` is an adapter's answer for each of some reports."""

    _subject, _example = "adapter", "MyAdapter()"
    run: RunInfo = sample_run()

    def rendered(self, reports: Sequence[RecordReport]) -> list[Any]:
        raise NotImplementedError

    def test_it_says_the_same_again_and_leaves_outcomes_as_they_were(self) -> None:
        reports = sample_reports(self.run)
        first = self.rendered(reports)
        assert reports == sample_reports(self.run), "the adapter changed the outcomes it was given"
        assert first == self.rendered(reports), "two runs over the same records differ"
        assert first[::-1] == self.rendered(reports[::-1]), "a record's outcome depends on the records before it"


def _check_declared(
    fields: Sequence[InfoField], rendered: Sequence[Mapping[str, Any]], reports: Sequence[RecordReport]
) -> None:
    for field in fields:
        assert is_info_field(field), f"{field!r}; needed {INFO_FIELD_NEEDED}"
        one_line = field.description and "\n" not in field.description
        assert one_line, f"{field.key} needs a description of one line"
    _check_unique("the header", [field.key for field in fields])
    declared = {field.key: field for field in fields}
    for report, values in zip(reports, rendered, strict=True):
        for key, value in values.items():
            problem = info_problem(declared.get(key), value, len(report.alleles))
            assert not problem, f"{key} is {value!r}; needed {problem}"


class InfoAdapterConformance(_AdapterConformance):
    """Subclass it and set ``adapter = MyAdapter()``; ``run``, where it needs scores of its own."""

    adapter: InfoAdapter

    def rendered(self, reports: Sequence[RecordReport]) -> list[Any]:
        return [dict(self._item.render(report, self.run)) for report in reports]

    def test_it_renders_what_it_declares(self) -> None:
        reports = sample_reports(self.run)
        _check_declared(list(self._item.header(self.run)), self.rendered(reports), reports)

    def test_columns_are_those_of_the_records_one_after_the_other(self) -> None:
        if not isinstance(self._item, ColumnAdapter):
            return
        reports = sample_reports(self.run)
        each = [one for one in self.rendered(reports) if one]
        columns = {key: list(column) for key, column in self._item.columns(reports, self.run).items()}
        assert columns == {key: [value for one in each for value in one[key]] for key in columns}


class MergingAdapterConformance(_AdapterConformance):
    """Subclass it, set ``adapter = MyAdapter()`` and ``info``, the INFO definitions of an input, and define ``record``.

    ``run``, where it needs scores of its own.
    """

    adapter: MergingAdapter
    info: Mapping[str, InfoField]

    def record(self, report: RecordReport) -> Mapping[str, str]:
        """Return the INFO of the input's record that a report is about, by key."""
        raise NotImplementedError("define record(report): the INFO of the input's record, by key")

    def rendered(self, reports: Sequence[RecordReport]) -> list[Any]:
        merger = self._merger()
        return [dict(merger.render(report, self.record(report))) for report in reports]

    def test_it_renders_what_it_declares(self) -> None:
        reports = sample_reports(self.run)
        _check_declared(list(self._merger().fields), self.rendered(reports), reports)

    def test_it_leaves_the_input_as_it_was(self) -> None:
        definitions = dict(self._given("info", '{"CSQ": InfoField(...)}'))
        merger = self._item.merge(self.run, definitions)
        assert definitions == self.info, "the adapter changed the definitions it was given"
        for report in sample_reports(self.run):
            record = dict(self.record(report))
            merger.render(report, record)
            assert record == self.record(report), "the adapter changed the record's INFO"

    def test_it_takes_a_record_without_info(self) -> None:
        merger = self._merger()
        for report in sample_reports(self.run):
            merger.render(report, {})

    def _merger(self) -> Merger:
        merger: Merger = self._item.merge(self.run, self._given("info", '{"CSQ": InfoField(...)}'))
        return merger


class TextAdapterConformance(_AdapterConformance):
    """Subclass it and set ``adapter = MyAdapter()``; ``run``, where it needs scores of its own."""

    adapter: TextAdapter

    def rendered(self, reports: Sequence[RecordReport]) -> list[Any]:
        return [list(self._item.lines(report, self.run)) for report in reports]

    def test_it_returns_lines_without_their_ends(self) -> None:
        head = list(self._item.head(self.run))
        assert head == list(self._item.head(self.run)), "the first lines differ from one call to the next"
        for line in sum(self.rendered(sample_reports(self.run)), head):
            assert isinstance(line, str), f"{line!r} is no line of text"
            assert "\n" not in line and "\r" not in line, f"{line!r} holds a line break; the program adds them"


class TableAdapterConformance(_AdapterConformance):
    """Subclass it and set ``adapter = MyAdapter()``; ``run``, where it needs scores of its own."""

    adapter: TableAdapter

    def rendered(self, reports: Sequence[RecordReport]) -> list[Any]:
        return [self.content(self._written([[report]])) for report in reports]

    def test_it_writes_the_file_it_is_told_to_and_no_other(self) -> None:
        outcomes: list[list[list[RecordReport]]] = [[sample_reports(self.run)] * 3, [[]], []]
        for chunks in outcomes:
            assert self._written(chunks), "the file is empty"

    def test_chunks_make_no_difference(self) -> None:
        reports = sample_reports(self.run)
        once, piecewise = self._written([reports]), self._written([[report] for report in reports])
        assert self.content(once) == self.content(piecewise), "the file depends on how records are cut into chunks"

    def content(self, file: bytes) -> Any:
        """Return the part of a file that is compared; override it where bytes may differ and content may not."""
        return file

    def _written(self, chunks: Sequence[Sequence[RecordReport]]) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "table.tmp")
            writer = self._item.open(str(path), self.run)
            for chunk in chunks:
                writer.write(chunk)
            writer.close()
            found = sorted(file.name for file in Path(folder).iterdir())
            assert found == [path.name], f"files in the folder: {found}; needed the one given to open, {path.name}"
            return path.read_bytes()


class BackendConformance(_Conformance):
    """Subclass it, set ``backend = MyBackend`` (the class), ``array = staticmethod(numpy.array)`` and ``options``."""

    _subject, _example = "backend", "MyBackend, the class"
    backend: type[Backend]
    array: Callable[[Any], Any]
    options: BackendOptions = BackendOptions("none")

    def test_its_info_is_complete(self) -> None:
        info = self._open().info
        assert isinstance(info, BackendInfo), f"info is {info!r}; needed a BackendInfo"
        assert info.model and info.weights_sha256 and info.precision and info.device, f"a part of {info} is empty"
        assert info.fixed_window is None or info.fixed_window <= info.max_window, "fixed_window exceeds max_window"

    def test_it_answers_in_the_shape_asked_for(self) -> None:
        backend = self._open()
        out = self._forward(backend, 3)
        for name, found, size in (("logits", out.logits, T + 1), ("hidden", out.hidden, backend.info.hidden_size)):
            assert hasattr(found, "isfinite"), f"{name} is a {type(found).__name__}; needed a torch tensor"
            shape = tuple(found.shape)
            assert shape == (3, 4, size), f"{name} has shape {shape}; needed (N, P, size) = (3, 4, {size})"

    def test_a_window_has_the_same_answer_in_any_batch(self) -> None:
        backend = self._open()
        together, alone = self._forward(backend, 3), self._forward(backend, 1)
        for name in ("logits", "hidden"):
            first, only = (getattr(out, name).tolist()[0] for out in (together, alone))
            _close(first, only, f"{name} of a window in batches of 3 and of 1")

    def test_a_position_asked_twice_has_one_answer(self) -> None:
        for row in self._forward(self._open(), 2).logits.tolist():
            assert row[1] == row[3], "positions may repeat, and the repeated one has another answer"

    def test_the_last_layer_is_what_forward_answers(self) -> None:
        backend = self._open()
        if backend.layers is None:
            return
        states = backend.hidden_states(*self._windows(backend, 2), (0, backend.layers)).tolist()
        assert len(states) == 2, f"{len(states)} layers came; 2 were asked for"
        _close(states[1], self._forward(backend, 2).hidden.tolist(), "the last of hidden_states and hidden of forward")

    def test_attention_weights_of_a_token_sum_to_one(self) -> None:
        backend = self._open()
        if backend.heads is None:
            return
        assert backend.layers is not None, "a backend with heads needs layers too"
        tokens, positions = self._windows(backend, 2)
        weights = backend.attention(tokens, positions, (1, backend.layers))
        needed, found = (2, 2, backend.heads, 4, tokens.shape[1]), tuple(weights.shape)
        assert found == needed, f"attention has shape {found}; needed (layers, N, heads, P, W + 2) = {needed}"
        assert min(_flat(weights.tolist())) >= 0, "an attention weight is negative"
        totals = _flat(weights.sum(-1).tolist())
        _close(totals, [1.0] * len(totals), "attention weights of a token sum to 1: their sums and 1")
        repeated = weights[:, :, :, 1], weights[:, :, :, 3]
        assert _flat(repeated[0].tolist()) == _flat(repeated[1].tolist()), "a position asked twice has two answers"

    def _open(self) -> Backend:
        backend: Backend = self._item.open(self.options)
        return backend

    def _forward(self, backend: Backend, windows: int) -> BackendOutput:
        return backend.forward(*self._windows(backend, windows))

    def _windows(self, backend: Backend, windows: int) -> tuple[Any, Any]:
        """Return windows of as many nucleotides as fit, and four positions to ask for, one of them twice."""
        array = self._given("array", "staticmethod(numpy.array)")
        width = backend.info.fixed_window or min(60, backend.info.max_window)
        tokens = [[CLS, *(A + (i * i + row) % 4 for i in range(width)), SEP] for row in range(windows)]
        return array(tokens), array([[1, width // 2, width, width // 2] for _ in range(windows)])


def _close(one: Any, other: Any, what: str) -> None:
    worst = max(abs(a - b) for a, b in zip(_flat(one), _flat(other), strict=True))
    assert worst <= 1e-4, f"{what} differ by {worst}"


def _flat(value: Any) -> list[float]:
    return [number for part in value for number in _flat(part)] if isinstance(value, list) else [value]


class JoinAdapterConformance(_Conformance):
    """Subclass it and set ``adapter = MyJoin()`` and its source: ``info_key`` and ``info``, or ``tables``.

    ``record_info`` gives the INFO of a query's record; ``tables`` holds the lines of each file by its name; ``files``
    are the names that the user gives, where they are not those of ``tables``.
    """

    _subject, _example = "adapter", "MyJoin()"
    adapter: JoinAdapter
    name: str = "Mine"
    info_key: str | None = None
    info: Mapping[str, InfoField] = {}
    tables: Mapping[str, Sequence[str]] = {}
    files: Sequence[str] = ()

    def record_info(self, query: JoinQuery) -> Mapping[str, str]:
        """Return the INFO of the record that holds an allele."""
        return {}

    def test_its_fields_bear_the_name_of_the_request(self) -> None:
        opened = self._open()
        prefix = f"{self._label()}_"
        for field in opened.fields:
            assert isinstance(field, FieldSpec) and field.number == "A", f"{field!r}; needed a FieldSpec with number A"
            assert field.id.startswith(prefix), f"{field.id} does not begin with {prefix}"
        _check_unique("fields", [field.id for field in opened.fields])
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

    def test_an_allele_has_the_same_values_whatever_the_others(self) -> None:
        queries = self._queries()
        together = self._ask(self._open(), queries)
        backwards = self._ask(self._open(), queries[::-1])[::-1]
        alone = [self._ask(self._open(), [query])[0] for query in queries]
        for query, *values in zip(queries, together, backwards, alone, strict=True):
            shown = f"{query.allele} in {query.context.symbol}"
            assert values[0] == values[1] == values[2], f"{shown} among others, backwards and alone: {values}"

    def _label(self) -> str:
        label = self._item.label
        assert isinstance(label, str), f"label is {label!r}; needed text, empty for the user's NAME"
        return label or self.name

    def _open(self) -> OpenJoin:
        bases = MadeUpBases()
        request = JoinRequest(
            self._label(),
            tuple(self.files or self.tables),
            self.info_key,
            self.info,
            lambda path: MadeUpTable(self.tables[path]),
            lambda contig, pos, ref, alt: _normalised(bases, contig, pos, ref.upper(), alt.upper()),
            bases,
        )
        opened: OpenJoin = self._item.join(request)
        return opened

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


class CommandConformance(_Conformance):
    """Subclass it and set ``command = MyCommand()``."""

    _subject, _example = "command", "MyCommand()"
    command: Command

    def test_it_has_a_summary(self) -> None:
        summary = self._item.summary
        assert isinstance(summary, str) and summary and "\n" not in summary, f"summary is {summary!r}; needed one line"

    def test_it_explains_itself(self) -> None:
        try:
            code: object = self._item.run(["--help"])
        except SystemExit as exit:  # as argparse ends
            code = exit.code or 0
        assert code == 0, f"run(['--help']) returned {code!r}; needed 0"
