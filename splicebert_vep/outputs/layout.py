"""Delta scores in the subfields that SpliceAI writes, for programs that read SpliceAI, under a key of this program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from splicebert_vep_spec import InfoAdapter, InfoField, RecordReport, Refused, RunInfo, Value, escape_info, format_value

from .flat import PREFIX, score_ids

KEY = f"{PREFIX}DELTA"
_EVENTS = ("AG", "AL", "DG", "DL")
_SCORES = tuple(f"{kind}_{event}" for kind in ("DS", "DP") for event in _EVENTS)
_MISSING = "."


class SpliceAiLayoutAdapter(InfoAdapter):
    """Write ``SpliceBERT_DELTA=ALLELE|SYMBOL|DS_AG|...|DP_DL``; ``.`` is missing, as in SpliceAI's own files."""

    name = "spliceai-layout"
    version = "1"

    def header(self, run: RunInfo) -> Sequence[InfoField]:
        """Return the one INFO line; its Description names the model.

        Raises:
            Refused: the run lacks one of the eight scores.
        """
        if lacking := [name for name in _SCORES if name not in score_ids(run)]:
            problem = f"--emit {self.name} is made of delta scores, and this run lacks {', '.join(lacking)}."
            raise Refused(f"{problem} Add delta to --scores, e.g. --scores delta,zero-shot, or leave --scores out.")
        model = run.provenance.get("SpliceModel", "a splice-site model")
        text = f"Delta scores by {model} (not by SpliceAI) in SpliceAI's layout, one entry per ALT and gene"
        return [InfoField(KEY, ".", "String", f"{text}. Format: {'|'.join(('ALLELE', 'SYMBOL', *_SCORES))}")]

    def render(self, report: RecordReport, run: RunInfo) -> Mapping[str, tuple[Value, ...]]:
        """Return one entry per ALT x gene; a gene without a symbol has its id there.

        An ALT of bases that lies in no gene has one entry without values; an ALT that is no bases has none, as readers
        of SpliceAI's files expect.
        """
        entries: list[Value] = []
        for allele in report.alleles:
            if not allele.alt.isalpha():
                continue
            for outcome in allele.contexts:
                gene = outcome.context
                name = escape_info(gene.symbol or gene.gene_id) if gene else _MISSING
                cells = [format_value(outcome.values.get(score), _MISSING) for score in _SCORES]
                entries.append("|".join((escape_info(allele.alt), name, *cells)))
        return {KEY: tuple(entries)}
