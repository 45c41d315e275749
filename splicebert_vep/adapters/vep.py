"""VEP-style INFO: one pipe-separated entry per ALT x gene, as VEP's and SpliceAI's users know it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from splicebert_vep_spec import InfoField, RecordReport, RunInfo, Value, escape_info, format_value

from .flat import CONTEXT_FIELDS

KEY = "SpliceBERT"


class VepAdapter:
    """Write ``SpliceBERT=ALLELE|SYMBOL|...|STATUS``; empty is missing."""

    name = "vep"
    version = "1"

    def header(self, run: RunInfo) -> Sequence[InfoField]:
        """Return the one INFO line; its Description ends in the format."""
        columns = ["ALLELE", *(name for name, _, _ in CONTEXT_FIELDS), *(f.id for f in run.fields), "STATUS"]
        text = f"SpliceBERT zero-shot splicing scores, one entry per ALT and gene. Format: {'|'.join(columns)}"
        return [InfoField(KEY, ".", "String", text)]

    def render(self, report: RecordReport, run: RunInfo) -> Mapping[str, tuple[Value, ...]]:
        """Return one entry per ALT x gene."""
        entries: list[Value] = []
        for allele in report.alleles:
            for outcome in allele.contexts:
                cells = [allele.alt]
                cells += [format_value(get(outcome)) for _, _, get in CONTEXT_FIELDS]
                cells += [format_value(outcome.values.get(f.id)) for f in run.fields]
                cells.append(str(outcome.status))
                entries.append("|".join(escape_info(cell) for cell in cells))
        return {KEY: tuple(entries)}
