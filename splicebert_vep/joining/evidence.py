"""Put SpliceBERT and SpliceAI side by side: which of the two calls an allele, by thresholds that are stated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from splicebert_vep_spec import (
    FieldSpec,
    RecordReport,
    RunInfo,
    ScoredContext,
    Scorer,
    SequenceScorer,
    Value,
)

from ..errors import SettingsError, suggestion

#: SpliceAI's side, whether joined or scored.
SPLICEAI = "SpliceAI_DS_MAX"
#: The high-recall cut-off of Jaganathan et al. 2019 (10.1016/j.cell.2018.12.015).
SPLICEAI_THRESHOLD = 0.2

#: The field that holds the word.
EVIDENCE = "EVIDENCE"


@dataclass(frozen=True, slots=True)
class Threshold:
    """From which value on a score calls an allele: at least, or for a negative score at most."""

    field: FieldSpec
    value: float

    def __str__(self) -> str:
        return f"{self.field.id} {'>=' if self.field.direction == 'higher' else '<='} {self.value}"

    def calls(self, value: Value) -> bool | None:
        """Tell whether a value does; None when there is none."""
        if not isinstance(value, int | float):
            return None
        return value >= self.value if self.field.direction == "higher" else value <= self.value


@dataclass(frozen=True, slots=True)
class Evidence:
    """Both sides; without them nothing is added.

    Args:
        splicebert, spliceai: the thresholds.
        notes: sentences for the user.
    """

    splicebert: Threshold | None = None
    spliceai: Threshold | None = None
    notes: tuple[str, ...] = ()

    @property
    def about(self) -> str:
        """The thresholds, for the provenance."""
        return f"{self.splicebert}, {self.spliceai}" if self.splicebert else ""

    @property
    def fields(self) -> tuple[FieldSpec, ...]:
        """The field that is added, or none."""
        if self.splicebert is None:
            return ()
        words = "both, splicebert_only, spliceai_only, neither, or not_scored where one of them has no value"
        return (FieldSpec(EVIDENCE, "A", "String", f"Which calls the allele: {words}; by {self.about}"),)

    def add(self, reports: Sequence[RecordReport]) -> list[RecordReport]:
        """Return the reports with the word for every allele in every gene."""
        if self.splicebert is None:
            return list(reports)
        return [
            replace(
                report,
                alleles=tuple(
                    replace(allele, contexts=tuple(map(self._with_word, allele.contexts))) for allele in report.alleles
                ),
            )
            for report in reports
        ]

    def _with_word(self, outcome: ScoredContext) -> ScoredContext:
        return replace(outcome, values={**outcome.values, EVIDENCE: self._word(outcome)})

    def _word(self, outcome: ScoredContext) -> str:
        assert self.splicebert is not None and self.spliceai is not None
        own = self.splicebert.calls(outcome.values.get(self.splicebert.field.id))
        theirs = self.spliceai.calls(outcome.values.get(self.spliceai.field.id))
        if own is None or theirs is None:
            return "not_scored"
        if own:
            return "both" if theirs else "splicebert_only"
        return "spliceai_only" if theirs else "neither"


def plan_evidence(
    words: Sequence[str],
    run: RunInfo,
    joined: Sequence[FieldSpec],
    scorers: Sequence[Scorer | SequenceScorer],
) -> Evidence:
    """Read ``SCORE=VALUE`` words.

    Args:
        words: of ``--evidence``.
        run: whose scores SpliceBERT's side is of.
        joined: fields that are joined.
        scorers: those that read the sequence alone are not SpliceBERT's.

    Raises:
        SettingsError: a word cannot be read, names no score with a direction, or there is no SpliceAI.
    """
    given = dict(_read(word) for word in words)
    spliceai = next((field for field in (*run.fields, *joined) if field.id == SPLICEAI), None)
    if spliceai is None:
        if words:
            raise SettingsError(
                "There is no SpliceAI to set beside SpliceBERT.",
                needed=SPLICEAI,
                found=f"--evidence {' '.join(words)}",
                remedy="join it: --join SpliceAI=FILE or --join SpliceAI=info:SpliceAI",
            )
        return Evidence()
    others = {field.id for scorer in scorers if isinstance(scorer, SequenceScorer) for field in scorer.fields}
    own = {f.id: f for f in run.fields if f.direction != "none" and f.id not in others and f.id != SPLICEAI}
    named = [name for name in given if name != SPLICEAI]
    unknown = [name for name in named if name not in own]
    if unknown or len(named) > 1 or len(given) < len(words):
        raise SettingsError(
            "Evidence needs one threshold for each side.",
            needed=f"one of {', '.join(own)}, and {SPLICEAI} if it is not to be {SPLICEAI_THRESHOLD}, each once",
            found=f"--evidence {' '.join(words)}",
            remedy=suggestion(unknown, own) or "SpliceBERT's side is one score that this run computes (--scores)",
        )
    if not named:
        note = (
            "SpliceAI is there without SpliceBERT_EVIDENCE: name a threshold of your own, e.g. --evidence KL_CTX=VALUE"
        )
        return Evidence(notes=(note,))
    theirs = Threshold(spliceai, given.get(SPLICEAI, SPLICEAI_THRESHOLD))
    [name] = named
    return Evidence(Threshold(own[name], given[name]), theirs)


def _read(word: str) -> tuple[str, float]:
    name, _, text = word.partition("=")
    try:
        value = math.nan if "_" in text else float(text)  # which takes 1_0 for 10
    except ValueError:
        value = math.nan
    if not name or not math.isfinite(value):
        raise SettingsError(
            "A threshold cannot be read.", needed="SCORE=NUMBER, e.g. SpliceAI_DS_MAX=0.2", found=f"--evidence {word}"
        )
    return name, value
