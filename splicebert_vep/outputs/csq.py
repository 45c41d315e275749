"""Scores inside the entries of Ensembl VEP's CSQ and SnpEff's ANN, at the allele and gene that they are of."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from splicebert_vep_spec import (
    AlleleReport,
    InfoField,
    Merger,
    MergingAdapter,
    RecordReport,
    Refused,
    RunInfo,
    Value,
    escape_info,
)

from ..genome.ids import stable_id
from .flat import score_ids
from .vep import PREFIX, Layout, alts_of, entry_cell, layouts

_NAMESPACES = (re.compile(r"ENS[A-Z]*\d+"), re.compile(r"\d+\Z"))  # Ensembl, and NCBI Gene


class CsqAdapter(MergingAdapter):
    """Append ``SpliceBERT_pred_<FIELD>`` to every entry of a CSQ or ANN that the input has."""

    name = "csq"
    version = "1"

    def merge(self, run: RunInfo, info: Mapping[str, InfoField]) -> CsqMerger:
        """Return what merges into every field that VEP or SnpEff wrote, whatever its key.

        Raises:
            Refused: there is none.
        """
        ids = score_ids(run)
        found = layouts(info, [f"{PREFIX}{name}" for name in (*ids, "STATUS")])
        if not found:
            raise Refused(
                "The header declares no annotation of Ensembl VEP or SnpEff to merge into: needed is an "
                "INFO key like CSQ or ANN with Allele and Gene, SYMBOL or Feature. Annotate the file first (vep --vcf "
                "--symbol, or snpEff), or use --emit vep, which needs none."
            )
        return CsqMerger(ids, found)


class CsqMerger(Merger):
    """Merge outcomes into entries.

    Args:
        ids: of the scores, in output order.
        found: the fields of entries.
    """

    def __init__(self, ids: Sequence[str], found: Sequence[Layout]) -> None:
        self._ids = ids
        self._layouts = found
        self.fields = [layout.field for layout in found]  # the definitions with our subfields last
        self._nothing = "|" * len(ids)

    def render(self, report: RecordReport, info: Mapping[str, str]) -> Mapping[str, tuple[Value, ...]]:
        """Return the entries of a record with our subfields; a field that the record lacks stays away."""
        there = [layout for layout in self._layouts if info.get(layout.field.key, ".") not in ("", ".")]
        if not there:
            return {}
        genes = [_Genes(allele, self._ids) for allele in report.alleles]
        return {
            layout.field.key: tuple(self._entries(layout, info[layout.field.key].split(","), report, genes))
            for layout in there
        }

    def _entries(
        self, layout: Layout, entries: Sequence[str], report: RecordReport, genes: Sequence[_Genes]
    ) -> Iterator[str]:
        rows = [_Row(entry, layout) for entry in entries]
        alts = [allele.alt for allele in report.alleles]
        ways = [words(report.ref, alts) for words in layout.words]
        numbers = None if layout.number is None else [row.cell(layout.number) for row in rows]
        for row, alt in zip(rows, alts_of([row.word for row in rows], numbers, report.ref, alts, ways), strict=True):
            scores = None
            if alt is not None:
                gene, transcript, symbol = map(row.cell, (layout.gene, layout.transcript, layout.symbol))
                scores = genes[alt].find(gene, transcript, symbol)
            yield f"{row.kept(layout.ours)}|{self._nothing if scores is None else scores}"


class _Row:
    """The subfields of one entry, as many as its layout has.

    Subfields that are lacking at the end are empty. Where there are too many no name can be trusted: what is too much
    goes to the last one, joined by ``&`` as VEP would have written it, and the entry is of no allele.
    """

    __slots__ = ("_cells", "_entry", "word")

    def __init__(self, entry: str, layout: Layout) -> None:
        cells = entry.split("|")
        surplus = len(cells) - layout.columns
        if surplus > 0:
            cells[layout.columns - 1 :] = ["&".join(cells[layout.columns - 1 :])]
        elif surplus < 0:
            cells += [""] * -surplus
        self._cells = cells
        self._entry = entry if surplus == 0 else "|".join(cells)
        word = cells[layout.allele].upper()
        pair = len(word) > 1 and "-" in word  # SnpEff's G-C is the change of a somatic to a germline allele
        #: what the entry calls its allele, empty where that is not known
        self.word = "" if surplus > 0 or pair else word

    def cell(self, at: int | None) -> str:
        """Return a subfield, empty where the layout has none."""
        return "" if at is None else self._cells[at]

    def kept(self, ours: Collection[int]) -> str:
        """Return the entry without these subfields."""
        return "|".join(cell for i, cell in enumerate(self._cells) if i not in ours) if ours else self._entry


class _Genes:
    """The outcomes of one ALT, printed as subfields, by what an entry may call its gene.

    An ALT that was not looked up in any gene has one outcome, its status, for all entries of the allele.
    """

    def __init__(self, allele: AlleleReport, ids: Sequence[str]) -> None:
        self._of_all: str | None = None
        self._by_id: dict[str, str] = {}
        self._by_transcript: dict[str, str] = {}
        self._by_symbol: dict[str, tuple[str, str] | None] = {}
        for outcome in allele.contexts:
            values = map(outcome.values.get, ids)
            printed = "|".join([*map(entry_cell, values), outcome.status])
            context = outcome.context
            if context is None:
                self._of_all = printed
                continue
            gene = stable_id(escape_info(context.gene_id))
            self._by_id[gene] = printed
            self._by_transcript[stable_id(escape_info(context.transcript_id))] = printed
            if context.symbol:
                symbol = escape_info(context.symbol)
                self._by_symbol[symbol] = None if symbol in self._by_symbol else (gene, printed)

    def find(self, gene: str, transcript: str, symbol: str) -> str | None:
        """Return the subfields for an entry: by gene id, then transcript, then symbol; None when it is another gene's.

        A symbol counts where the ids cannot be compared, because one is missing or they are of different kinds.
        """
        if self._of_all is not None:
            return self._of_all
        gene = stable_id(gene)
        found = self._by_id.get(gene) or self._by_transcript.get(stable_id(transcript))
        if found:
            return found
        named = self._by_symbol.get(symbol)
        return named[1] if named and not _comparable(gene, named[0]) else None


def _comparable(one: str, other: str) -> bool:
    """Tell whether two gene ids that differ are of one namespace, so that they are two genes."""
    return any(namespace.match(one) and namespace.match(other) for namespace in _NAMESPACES)
