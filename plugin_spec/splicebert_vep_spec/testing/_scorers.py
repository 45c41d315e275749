"""What every scorer has to do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .._scorers import NEEDS, AlignedBatch, Scorer
from ._named import check_fields, check_named, subject
from ._samples import ALLELES, sample_batch

_TOLERANCE = 1e-6


class ScorerConformance:
    """Subclass it, set ``scorer = MyScorer()`` and ``tensor = staticmethod(torch.tensor)``."""

    scorer: Scorer
    tensor: Callable[[Any], Any]

    def test_it_has_a_name_and_fields(self) -> None:
        scorer = self._scorer()
        check_named(scorer)
        check_fields(scorer.fields)
        assert list(scorer.fields) == list(scorer.fields), "fields differ from one look to the next"

    def test_it_needs_what_there_is(self) -> None:
        for asked in self._choices():
            needs = self._scorer().needs(asked)
            assert set(needs) <= NEEDS, f"needs({set(asked)}) is {set(needs)}; needed some of {set(NEEDS)}"
            assert set(needs) <= set(self._scorer().needs(self._all())), "one field needs more than all together"

    def test_it_returns_one_value_per_allele_of_every_kind(self) -> None:
        for flank in (1, 5):
            for asked in self._choices():
                self._score(asked, self._batch(asked, flank=flank), len(ALLELES))

    def test_an_allele_has_the_same_score_in_any_batch(self) -> None:
        asked = self._all()
        together = self._score(asked, self._batch(asked), len(ALLELES))
        backwards = list(reversed(range(len(ALLELES))))
        turned = self._score(asked, self._batch(asked, rows=backwards), len(ALLELES))
        for i in range(len(ALLELES)):
            alone = self._score(asked, self._batch(asked, rows=[i]), 1)
            for field in asked:
                _same(together[field][i], alone[field][0], f"{field} of {ALLELES[i]}, among others and alone")
                _same(together[field][i], turned[field][-1 - i], f"{field} of {ALLELES[i]}, in two orders")

    def test_a_field_does_not_depend_on_the_others_asked_for(self) -> None:
        every = self._score(self._all(), self._batch(self._all()), len(ALLELES))
        for field in sorted(self._all()):
            asked = frozenset((field,))
            for one, all_ in zip(
                self._score(asked, self._batch(asked), len(ALLELES))[field], every[field], strict=True
            ):
                _same(one, all_, f"{field}, alone and with the others")

    def test_it_leaves_the_batch_as_it_was_and_says_the_same_again(self) -> None:
        asked = self._all()
        batch = self._batch(asked)
        first = self._score(asked, batch, len(ALLELES))
        assert repr(_lists(batch)) == repr(_lists(self._batch(asked))), "the scorer changed the batch it was given"
        second = self._score(asked, batch, len(ALLELES))
        for field in asked:
            for one, other in zip(first[field], second[field], strict=True):
                _same(one, other, f"{field}, asked twice")

    def _scorer(self) -> Scorer:
        scorer: Scorer = subject(self, "scorer", "MyScorer()")
        return scorer

    def _all(self) -> frozenset[str]:
        return frozenset(field.id for field in self._scorer().fields)

    def _choices(self) -> list[frozenset[str]]:
        return [self._all(), *(frozenset((field,)) for field in sorted(self._all()))]

    def _batch(self, asked: frozenset[str], flank: int = 5, rows: Sequence[int] = range(len(ALLELES))) -> AlignedBatch:
        """Return a batch that holds what the scorer needs for these fields and nothing else."""
        tensor = subject(self, "tensor", "staticmethod(torch.tensor)")
        return sample_batch(tensor, flank=flank, needs=frozenset(self._scorer().needs(asked)), rows=rows)

    def _score(self, asked: frozenset[str], batch: AlignedBatch, count: int) -> dict[str, list[float]]:
        found = self._scorer().score(batch, asked)
        assert set(found) <= asked, f"asked for {sorted(asked)}, got {sorted(found)}"
        integers = {field.id for field in self._scorer().fields if field.type == "Integer"}
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
                assert field not in integers or whole, f"{field} is {value}; its type is Integer"
        return values


def _same(one: float, other: float, what: str) -> None:
    both = math.isnan(one) and math.isnan(other)
    assert both or math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE), f"{what}: {one} and {other}"


def _lists(value: Any) -> Any:
    """Return nested lists of everything in a batch."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "__dataclass_fields__"):
        return [_lists(getattr(value, name)) for name in value.__dataclass_fields__]
    return value
