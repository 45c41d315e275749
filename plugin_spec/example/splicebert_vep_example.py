"""An example plugin of splicebert-vep: one score and one output, made with the contract alone."""

from splicebert_vep_spec import C, FieldSpec, G, Refused, Scorer, TextAdapter, hookimpl


class GcContent(Scorer):
    """DELTA_GC: GC content of ALT minus that of REF, over flanks and span."""

    name = "gc"
    version = "1"
    fields = (
        FieldSpec(
            "DELTA_GC", "A", "Float", "GC content of ALT minus that of REF over flanks and span, -1 to 1", "none"
        ),
    )

    def score(self, batch, fields):
        def share(tokens, inside):  # (B, P) -> (B,)
            gc = ((tokens == C) | (tokens == G)) & inside
            return gc.sum(1).double() / inside.sum(1).double()

        return {"DELTA_GC": share(batch.alt.tokens, batch.in_alt) - share(batch.ref.tokens, batch.in_ref)}


class PeakBed(TextAdapter):
    """BED of the base that each allele disturbs most: where KL_MAX is."""

    name = "bed"
    version = "1"

    def head(self, run):
        missing = {"KL_MAX", "KL_MAX_POS"} - {field.id for field in run.fields}
        if missing:
            raise Refused(f"Output bed needs {' and '.join(sorted(missing))}; add them to --scores.")
        return ['track name="SpliceBERT" description="Base that each allele disturbs most"']

    def lines(self, report, run):
        for allele in report.alleles:
            for outcome in allele.contexts:
                offset = outcome.values.get("KL_MAX_POS")  # in transcript direction; -1 is the last base 5' of the span
                if offset is not None:
                    yield "\t".join(map(str, self._row(report, allele, outcome, offset)))

    def _row(self, report, allele, outcome, offset):
        gene, span = outcome.context, allele.allele
        forward = offset if gene.strand == "+" else -offset
        start = span.end + forward - 1 if forward > 0 else span.start + forward  # 0-based, on the genome
        score = min(1000, round(1000 * outcome.values["KL_MAX"]))  # BED wants 0 to 1000
        name = f"{gene.symbol or gene.gene_id}:{report.pos}{report.ref}>{allele.alt}".replace(" ", "_")
        return span.contig, start, start + 1, name, score, gene.strand


@hookimpl
def register_scorers():
    return [GcContent()]


@hookimpl
def register_adapters():
    return [PeakBed()]
