"""What a run did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from splicebert_vep_spec import RecordReport, Status


@dataclass(slots=True)
class Summary:
    """What a run did: records and ALTs read, ALTs by status, seconds, and sentences for the user."""

    records: int = 0
    alleles: int = 0
    records_without_alt: int = 0
    status: Counter[Status] = field(default_factory=Counter)
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)

    def add(self, reports: Sequence[RecordReport]) -> None:
        """Count a chunk; with several genes an ALT counts once, by the outcome that flat output shows."""
        self.records += len(reports)
        for report in reports:
            self.alleles += len(report.alleles)
            if not report.alleles:
                self.records_without_alt += 1
                self.status[Status.NO_ALT] += 1
            self.status.update(allele.contexts[0].status for allele in report.alleles)

    def by_status(self) -> dict[str, int]:
        """Return counts in the order of ``Status``, those of zero left out."""
        return {str(status): self.status[status] for status in Status if self.status[status]}
