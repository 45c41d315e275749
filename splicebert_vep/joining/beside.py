"""What is set beside SpliceBERT's scores in one run: other programs' scores, and which of the two calls an allele."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType

from splicebert_vep.genome.reference import Reference
from splicebert_vep.plugins import Plugins
from splicebert_vep_spec import InfoField, RecordReport, RunInfo

from .evidence import plan_evidence
from .joins import Informed, Joins
from .sources import JoinWord


class Beside:
    """Joined sources, open, and thresholds; a context manager that closes the sources. For one thread at a time.

    Args:
        words: what is joined, see ``parse_joins``.
        evidence: thresholds, ``SCORE=VALUE``.
        plugins: whose joins they are.
        reference: the FASTA.
        info: INFO definitions of the input, by key; none where there is no VCF.
        run: fields and provenance of the scores.

    Raises:
        SettingsError, VcfError, PluginError: as ``Joins`` and ``plan_evidence``.
    """

    def __init__(
        self,
        words: Sequence[JoinWord],
        evidence: Sequence[str],
        plugins: Plugins,
        reference: Reference,
        info: Mapping[str, InfoField],
        run: RunInfo,
    ) -> None:
        self._joins = Joins(words, plugins, reference, info, run.fields)
        try:
            self._evidence = plan_evidence(evidence, run, self._joins.fields, plugins.scorers)
        except BaseException:
            self._joins.close()
            raise
        self.run = self._extended(run)

    @property
    def files(self) -> list[str]:
        """Every file that is read, with its index."""
        return self._joins.files

    @property
    def notes(self) -> Sequence[str]:
        """Sentences on what could be asked for."""
        return self._evidence.notes

    def warnings(self) -> list[str]:
        """Return sentences for the user, complete after the last record."""
        return self._joins.warnings()

    def add(self, records: Sequence[Informed], reports: Sequence[RecordReport]) -> list[RecordReport]:
        """Return the reports of records with all that is set beside their scores.

        Raises:
            BuildError, PluginError, SettingsError, VcfError: as ``Joins.add``.
        """
        return self._evidence.add(self._joins.add(records, reports))

    def _extended(self, run: RunInfo) -> RunInfo:
        added = (*self._joins.fields, *self._evidence.fields)
        if not added:
            return run
        about = {"Joins": self._joins.about, "Evidence": self._evidence.about}
        return RunInfo(
            (*run.fields, *added), {**run.provenance, **{name: text for name, text in about.items() if text}}
        )

    def __enter__(self) -> Beside:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._joins.close()
