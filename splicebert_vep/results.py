"""The result of a variant in Python, in a terminal and in a notebook, and the counts of a run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from textwrap import wrap

from splicebert_vep_spec import Allele, FieldSpec, GeneContext, RecordReport, ScoredContext, Status, Value, format_value

from .errors import SettingsError
from .settings import DISTURBED
from .variants import Variant


@dataclass(frozen=True, slots=True)
class ScoredVariant:
    """The outcome for one variant.

    Args:
        report: the outcome of a record with this one ALT.
        fields: the fields of the run, in output order.
    """

    report: RecordReport
    fields: tuple[FieldSpec, ...] = field(repr=False)

    @property
    def variant(self) -> Variant:
        """The variant as it was given."""
        return Variant(self.report.chrom, self.report.pos, self.report.ref, self.report.alleles[0].alt)

    @property
    def allele(self) -> Allele | None:
        """Normalised and left-aligned, 0-based; None when the variant was turned down before that."""
        return self.report.alleles[0].allele

    @property
    def contexts(self) -> tuple[ScoredContext, ...]:
        """One outcome per gene, never empty; the first is the one of ``status``, ``values`` and ``result["FIELD"]``."""
        return self.report.alleles[0].contexts

    @property
    def status(self) -> Status:
        """OK, or why there are no scores."""
        return self.contexts[0].status

    @property
    def reason(self) -> str:
        """The status in a sentence; empty when OK."""
        return self.contexts[0].reason

    @property
    def gene(self) -> GeneContext | None:
        """The gene that the scores are of."""
        return self.contexts[0].context

    @property
    def values(self) -> Mapping[str, Value]:
        """Every field of the run with its value; None is missing."""
        found = self.contexts[0].values
        return {spec.id: found.get(spec.id) for spec in self.fields}

    def __getitem__(self, name: str) -> Value:
        """Return the value of a field, e.g. ``result["KL_SS"]``; None is missing.

        Raises:
            SettingsError: the run did not compute it.
        """
        values = self.values
        if name not in values:
            remedy = "Annotator(..., scores=...); the gene's symbol and the like are in result.gene"
            needed = f"one of {', '.join(values)}"
            raise SettingsError(f"{name} was not computed in this run.", needed=needed, remedy=remedy)
        return values[name]

    def __contains__(self, name: object) -> bool:
        """Tell whether the run computed a field, present or missing."""
        return name in self.values

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the fields."""
        return iter(self.values)

    def __str__(self) -> str:
        """Return a table for the terminal, one block per gene: a sentence, the place, delta scores, other scores."""
        lines = [str(self.variant)]
        for outcome in self.contexts:
            lines += wrap(_sentence(outcome), _WIDTH, initial_indent="  ", subsequent_indent="  ")
            rows = list(self._rows(outcome))
            width = max(_NAMES, *(len(name) for name, *_ in rows))
            lines += [f"  {name:<{width}} {value:<24} {meaning}".rstrip() for name, value, meaning in rows]
            lines.append("")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return the same as HTML, for notebooks."""
        parts = [f"<b>{escape(str(self.variant))}</b>"]
        for outcome in self.contexts:
            cells = (f"<td>{escape(cell)}</td>" for row in self._rows(outcome) for cell in row)
            rows = (f"<tr>{''.join(row)}</tr>" for row in zip(cells, cells, cells, strict=True))
            sentence = _sentence(outcome)
            parts += [f"<p>{escape(sentence)}</p>"] if sentence else []
            parts.append(f"<table>{''.join(rows)}</table>")
        return "".join(parts)

    def _rows(self, outcome: ScoredContext) -> Iterator[tuple[str, str, str]]:
        """Yield name, value and meaning; of descriptions the part before the first colon or semicolon."""
        gene, first = outcome.context, [spec for spec in self.fields if spec.id == _FIRST]
        yield from self._scores(outcome, first)
        if gene:
            about = f"{gene.gene_id} {gene.transcript_id} ({gene.transcript_choice})"
            yield "gene", f"{gene.symbol or gene.gene_id} ({gene.strand})", about
            numbers = [f"{name} {of}" for name, of in (("exon", gene.exon), ("intron", gene.intron)) if of]
            yield "place", _place(gene.region, gene.site_offset), ", ".join([*numbers, *_hits(gene.site_hit)])
            if gene.hgvsc or gene.hgvsg:
                yield "name", gene.hgvsc or "", gene.hgvsg or ""
            if gene.other_region or gene.other_site_hit:
                place = _place(gene.other_region or "", gene.other_offset)
                yield "elsewhere", place, ", ".join(["in another transcript", *_hits(gene.other_site_hit)])
        yield from self._scores(outcome, [spec for spec in self.fields if spec.id not in (_FIRST, _SENTENCE)])
        yield "status", str(outcome.status), outcome.reason

    def _scores(self, outcome: ScoredContext, fields: Sequence[FieldSpec]) -> Iterator[tuple[str, str, str]]:
        for spec in fields:
            if (value := outcome.values.get(spec.id)) is not None:
                yield spec.id, format_value(value), re.split(r"[:;] ", spec.description, maxsplit=1)[0]


_FIRST, _SENTENCE = "DS_MAX", "EFFECT_TEXT"
_NAMES, _WIDTH = 12, 120  # columns of a terminal: of names at least, of the sentence at most


def _sentence(outcome: ScoredContext) -> str:
    """Return what the allele does to the transcript, empty where no consequence was asked for or there is no answer."""
    text = outcome.values.get(_SENTENCE)
    if text is None and outcome.values.get("EFFECT") == "NO_EFFECT":
        return "No effect seen: no site of the reported transcript is lost, and none is gained."
    return "" if text is None else str(text)


def _place(region: str, offset: str | None) -> str:
    return region if offset is None else f"{region} {offset}"


def _hits(hit: str | None) -> list[str]:
    if hit is None:
        return []
    return ["hits a donor and an acceptor dinucleotide" if hit == "both" else f"hits the {hit} dinucleotide"]


_EXPECTED = 0.1  # share of ALTs; the build guard stops at as many mismatches, but cannot tell where the FASTA holds N
_DOUBTS = {Status.REF_MISMATCH: "is it the right FASTA", Status.NO_CONTIG: "does the FASTA lack contigs of the VCF"}


@dataclass(slots=True)
class Summary:
    """Count a run's records, ALTs, ALTs that FAILED in any gene and ALTs by status; hold its seconds, warnings and the
    provenance that the outputs have.

    Args:
        threshold: of DS_MAX, for ``disturbed``.
        disturbed: ALTs with a DS_MAX of the threshold or more in any gene.
        judged: ALTs that have a DS_MAX.
    """

    threshold: float = DISTURBED
    disturbed: int = 0
    judged: int = 0
    records: int = 0
    alleles: int = 0
    records_without_alt: int = 0
    failed: int = 0
    status: Counter[Status] = field(default_factory=Counter)
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    provenance: Mapping[str, str] = field(default_factory=dict)

    def add(self, reports: Sequence[RecordReport]) -> None:
        """Count a chunk; with several genes an ALT counts once, by the outcome that flat output shows."""
        alleles = [allele for report in reports for allele in report.alleles]
        for allele in alleles:
            found = [value for one in allele.contexts if isinstance(value := one.values.get(_FIRST), float)]
            self.judged += bool(found)
            self.disturbed += bool(found) and max(found) >= self.threshold
        self.failed += sum(any(one.status == Status.FAILED for one in allele.contexts) for allele in alleles)
        without = sum(not report.alleles for report in reports)
        self.records += len(reports)
        self.alleles += len(alleles)
        self.records_without_alt += without
        self.status.update(allele.contexts[0].status for allele in alleles)
        if without:
            self.status[Status.NO_ALT] += without

    def doubts(self) -> list[str]:
        """Return a sentence for each status that so many ALTs have that FASTA and records may not fit."""
        return [
            f"{self.status[status]:,} of {self.alleles:,} ALTs are {status}: {doubt}?"
            for status, doubt in _DOUBTS.items()
            if self.status[status] > self.alleles * _EXPECTED
        ]

    def ds_max(self) -> dict[str, float | int]:
        """Return how many ALTs reach the threshold of DS_MAX, as ``--summary`` has it."""
        return {"threshold": self.threshold, "at_or_above": self.disturbed, "alleles": self.judged}

    def by_status(self) -> dict[str, int]:
        """Return counts in the order of ``Status``, those of zero left out."""
        return {str(status): self.status[status] for status in Status if self.status[status]}
