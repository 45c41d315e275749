"""What a run did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from splicebert_vep_spec import RecordReport, Status


@dataclass(slots=True)
class Summary:
    """What a run did: records and ALTs read, ALTs that FAILED in any gene, ALTs by status, seconds, warnings, notes on
    what could be asked for, and the provenance that the outputs have.
    """

    records: int = 0
    alleles: int = 0
    records_without_alt: int = 0
    failed: int = 0
    status: Counter[Status] = field(default_factory=Counter)
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    provenance: Mapping[str, str] = field(default_factory=dict)

    def add(self, reports: Sequence[RecordReport]) -> None:
        """Count a chunk; with several genes an ALT counts once, by the outcome that flat output shows."""
        firsts = [allele.contexts[0].status for report in reports for allele in report.alleles]
        self.failed += sum(
            any(one.status == Status.FAILED for one in allele.contexts)
            for report in reports
            for allele in report.alleles
        )
        without = sum(not report.alleles for report in reports)
        self.records += len(reports)
        self.alleles += len(firsts)
        self.records_without_alt += without
        self.status.update(firsts)
        if without:
            self.status[Status.NO_ALT] += without

    def by_status(self) -> dict[str, int]:
        """Return counts in the order of ``Status``, those of zero left out."""
        return {str(status): self.status[status] for status in Status if self.status[status]}
