"""Numbers of a file as MultiQC's custom content (docs.seqera.io/multiqc/custom_content): a bar of statuses, a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from ...files import reporting, whole_or_not
from .collect import SPLICEAI_THRESHOLD, Collected

_PARENT = {
    "parent_id": "splicebert_vep",
    "parent_name": "SpliceBERT",
    "parent_description": "Zero-shot splicing scores, not calibrated to ACMG/AMP evidence.",
}


def write_multiqc(folder: str | Path, sample: str, found: Collected, provenance: Mapping[str, str]) -> list[Path]:
    """Write ``SAMPLE.splicebert_statuses_mqc.json`` and ``SAMPLE.splicebert_summary_mqc.json``; return their paths."""
    with reporting(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in (("statuses", _statuses(sample, found)), ("summary", _summary(sample, found, provenance))):
        path = Path(folder) / f"{sample}.splicebert_{name}_mqc.json"
        with whole_or_not(path) as temporary:
            temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        written.append(path)
    return written


def _statuses(sample: str, found: Collected) -> dict[str, Any]:
    """Return a bar graph: a bar for the sample, split by status."""
    title, ylab = "SpliceBERT: alleles by status", "ALT alleles"
    return {
        "id": "splicebert_vep_statuses", **_PARENT, "section_name": "Statuses",
        "description": "Why ALT alleles have or have no SpliceBERT scores.", "plot_type": "bargraph",
        "pconfig": {"id": "splicebert_vep_statuses_plot", "title": title, "ylab": ylab},
        "data": {sample: {status: found.statuses[status] for status in found.occurring}},
    }  # fmt: skip


def _summary(sample: str, found: Collected, provenance: Mapping[str, str]) -> dict[str, Any]:
    """Return a table: a row for the sample; a median of nothing is left out."""
    row: dict[str, Any] = {
        "alleles": found.alleles,
        "scored_percent": round(100 * found.statuses["OK"] / found.alleles, 2) if found.alleles else None,
        "genes": len(found.genes),
        "site_hits": found.hitting,
        "spliceai_elsewhere": found.elsewhere.total if found.joined else None,
        "median_kl_ctx": _median(found, "KL_CTX"),
        "median_kl_ss": _median(found, "KL_SS"),
        "model": provenance.get("Model"),
    }
    return {
        "id": "splicebert_vep_summary", **_PARENT, "section_name": "Summary",
        "description": "Scores are not calibrated; compare samples of one model only.", "plot_type": "table",
        "pconfig": {"id": "splicebert_vep_summary_table", "title": "SpliceBERT: summary"},
        "headers": {name: header for name, header in _HEADERS.items() if row[name] is not None},
        "data": {sample: {name: value for name, value in row.items() if value is not None}},
    }  # fmt: skip


def _median(found: Collected, score: str) -> float | None:
    every = [value for values in found.values.get(score, {}).values() for value in values]
    return median(every) if every else None


_WHOLE, _DIGITS = {"format": "{:,.0f}"}, {"format": "{:,.3g}"}
_HEADERS: dict[str, dict[str, Any]] = {
    name: {"title": title, "description": description, **look}
    for name, title, description, look in (
        ("alleles", "ALT alleles", "ALT alleles read", {**_WHOLE, "scale": "Greys"}),
        ("scored_percent", "Scored", "Share of ALT alleles with scores",
         {"suffix": "%", "min": 0, "max": 100, "scale": "Blues"}),
        ("genes", "Genes", "Genes that alleles lie in", {**_WHOLE, "scale": "Greys"}),
        ("site_hits", "At splice sites", "ALT alleles that touch an annotated splice-site dinucleotide",
         {**_WHOLE, "scale": "Oranges"}),
        ("spliceai_elsewhere", "SpliceAI elsewhere",
         f"Alleles x genes with a SpliceAI score of {SPLICEAI_THRESHOLD} or more that touch no such site",
         {**_WHOLE, "scale": "Oranges"}),
        ("median_kl_ctx", "Median KL_CTX", "Context score; higher = more disturbed", {**_DIGITS, "scale": "Purples"}),
        ("median_kl_ss", "Median KL_SS", "Splice-site score, nats; higher = more disturbed",
         {**_DIGITS, "scale": "Purples"}),
        ("model", "Model", "The model that gave the scores", {}),
    )
}  # fmt: skip
