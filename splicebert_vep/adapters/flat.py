"""Flat INFO: one key per field, one value per ALT, for bcftools, vcfanno, slivar and spreadsheets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from splicebert_vep_spec import InfoField, RecordReport, RunInfo, ScoredContext, Value

PREFIX = "SpliceBERT_"

Getter = Callable[[ScoredContext], Value]


def _of_context(attribute: str) -> Getter:
    def get(outcome: ScoredContext) -> Value:
        value: Value = None if outcome.context is None else getattr(outcome.context, attribute)
        return value

    return get


#: Columns about the gene, in output order: id, VCF description, where the value comes from.
CONTEXT_FIELDS: tuple[tuple[str, str, Getter], ...] = (
    ("SYMBOL", "Gene symbol", _of_context("symbol")),
    ("GENE", "Gene id", _of_context("gene_id")),
    ("TRANSCRIPT", "Reported transcript", _of_context("transcript_id")),
    ("STRAND", "Strand of the gene", _of_context("strand")),
    ("REGION", "CDS, 5_prime_UTR, 3_prime_UTR, exon or intron", _of_context("region")),
    (
        "SITE_OFFSET",
        "Distance to the nearest exon: +5 or -12 intronic as in HGVS; 3 exonic, from the nearest site (1 = edge base)",
        _of_context("site_offset"),
    ),
    (
        "SITE_HIT",
        "donor, acceptor or both: the span touches an annotated splice-site dinucleotide of any transcript",
        _of_context("site_hit"),
    ),
)
STATUS_DESCRIPTION = "Why an ALT has or has no scores: OK or the reason word, see docs/statuses.md"


class FlatAdapter:
    """Write ``SpliceBERT_<FIELD>`` with Number=A; with several genes all values come from one of them."""

    name = "flat"
    version = "1"

    def header(self, run: RunInfo) -> Sequence[InfoField]:
        """Return one INFO line per field."""
        lines = [InfoField(f"{PREFIX}{f.id}", f.number, f.type, f.description) for f in run.fields]
        lines += [InfoField(f"{PREFIX}{name}", "A", "String", text) for name, text, _ in CONTEXT_FIELDS]
        lines.append(
            InfoField(
                f"{PREFIX}NGENES", "A", "Integer", "Number of genes the allele overlaps; values are of one of them"
            )
        )
        lines.append(InfoField(f"{PREFIX}STATUS", "A", "String", STATUS_DESCRIPTION))
        return lines

    def render(self, report: RecordReport, run: RunInfo) -> Mapping[str, tuple[Value, ...]]:
        """Return one value per ALT for every key."""
        firsts = [allele.contexts[0] for allele in report.alleles]
        values: dict[str, tuple[Value, ...]] = {
            f"{PREFIX}{f.id}": tuple(first.values.get(f.id) for first in firsts) for f in run.fields
        }
        for name, _, get in CONTEXT_FIELDS:
            values[f"{PREFIX}{name}"] = tuple(get(first) for first in firsts)
        values[f"{PREFIX}NGENES"] = tuple(
            None if allele.contexts[0].context is None else len(allele.contexts) for allele in report.alleles
        )
        values[f"{PREFIX}STATUS"] = tuple(str(first.status) for first in firsts)
        return values
