"""VEP-style INFO: one pipe-separated entry per ALT and gene, in the form that VEP and SpliceAI write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from splicebert_vep_spec import InfoAdapter, InfoField, RecordReport, RunInfo, Value, escape_info, format_value

from .flat import CONTEXT_IDS, context_values, score_ids

KEY = "SpliceBERT"


class VepAdapter(InfoAdapter):
    """Write ``SpliceBERT=ALLELE|SYMBOL|...|STATUS``; empty is missing."""

    name = "vep"
    version = "1"

    def header(self, run: RunInfo) -> Sequence[InfoField]:
        """Return the one INFO line; its Description ends in the format."""
        columns = ["ALLELE", *CONTEXT_IDS, *score_ids(run), "STATUS"]
        text = f"Place, delta and zero-shot scores, one entry per ALT and gene. Format: {'|'.join(columns)}"
        return [InfoField(KEY, ".", "String", text)]

    def render(self, report: RecordReport, run: RunInfo) -> Mapping[str, tuple[Value, ...]]:
        """Return one entry per ALT x gene."""
        ids = score_ids(run)
        entries: list[Value] = []
        for allele in report.alleles:
            for outcome in allele.contexts:
                cells = [escape_info(allele.alt)]
                cells += map(entry_cell, context_values(outcome.context))
                cells += map(entry_cell, map(outcome.values.get, ids))
                cells.append(outcome.status)
                entries.append("|".join(cells))
        return {KEY: tuple(entries)}


def entry_cell(value: Value) -> str:
    """Print a subfield of an entry."""
    return escape_info(value) if isinstance(value, str) else format_value(value)
