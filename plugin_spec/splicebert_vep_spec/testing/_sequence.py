"""What every scorer that reads the sequence has to do."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

from .._scorers import SequenceScorer
from .._types import Allele, GeneContext, Interval, Skipped
from ._named import check_fields, check_named, subject

Asked = Sequence[tuple[Allele, GeneContext]]

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


class SequenceScorerConformance:
    """Subclass it and set ``scorer = MyScorer()``."""

    scorer: SequenceScorer

    def test_it_has_a_name_and_fields(self) -> None:
        scorer = self._scorer()
        check_named(scorer)
        check_fields(scorer.fields)

    def test_it_returns_one_number_or_none_per_allele_of_every_kind(self) -> None:
        for asked in (self._all(), *(frozenset((field,)) for field in sorted(self._all()))):
            self._score(self._alleles(), asked)
        self._score([], self._all())

    def test_an_allele_has_the_same_score_in_any_company(self) -> None:
        alleles = self._alleles()
        together = self._score(alleles, self._all())
        backwards = self._score(alleles[::-1], self._all())
        for i, allele in enumerate(alleles):
            alone = self._score([allele], self._all())
            for field in self._all():
                values = (together[field][i], alone[field][0], backwards[field][-1 - i])
                assert len(set(values)) == 1, f"{field} of {allele[0]} among others, alone, in another order: {values}"

    def _scorer(self) -> SequenceScorer:
        scorer: SequenceScorer = subject(self, "scorer", "MyScorer()")
        return scorer

    def _all(self) -> frozenset[str]:
        return frozenset(field.id for field in self._scorer().fields)

    def _alleles(self) -> list[tuple[Allele, GeneContext]]:
        return sample_alleles(MadeUpBases())

    def _score(self, alleles: Asked, asked: frozenset[str]) -> dict[str, list[float | int | None]]:
        answer = self._scorer().score_alleles(alleles, MadeUpBases(), asked)
        found = {field: [self._there(field, value) for value in values] for field, values in answer.items()}
        assert found.keys() == asked, f"asked for {sorted(asked)}, got {sorted(found)}"
        integers = {field.id for field in self._scorer().fields if field.type == "Integer"}
        for field, values in found.items():
            assert len(values) == len(alleles), f"{len(values)} values of {field} for {len(alleles)} alleles"
            for value in values:
                assert value is None or math.isfinite(value), (
                    f"{field} is {value}; needed a number, or None where missing"
                )
                assert field not in integers or value is None or value == int(value), f"{field} is {value}, no Integer"
        return found

    @staticmethod
    def _there(field: str, value: float | int | Skipped | None) -> float | int | None:
        assert not isinstance(value, Skipped), f"{field} failed: {value.reason}"
        return value
