"""Scores inside the entries of Ensembl VEP's CSQ and SnpEff's ANN, at the allele and gene that an entry is about.

An entry gets scores only where allele and gene are certain; all other entries get empty subfields.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os.path import commonprefix

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
from .vep import entry_cell

PREFIX = "SpliceBERT_pred_"
MINIMAL_EMPTY = "-"
_NAMESPACES = (re.compile(r"ENS[A-Z]*\d+"), re.compile(r"\d+\Z"))  # Ensembl, and NCBI Gene

Naming = Callable[[str, Sequence[str]], list[str]]
"""Return an annotator's names of the ALTs of a record, from its REF and ALTs."""


def vep_words(ref: str, alts: Sequence[str]) -> list[str]:
    """Return Ensembl VEP's names of the ALTs of a record.

    As in VEP's VCF parser: when an ALT differs from REF in length, and REF and all ALTs but those of ``*`` begin with
    the same base, that base is cut off, and an allele that is then empty is ``-``. SNVs and MNVs stay as they are.
    """
    bases = [alt for alt in alts if "*" not in alt]
    indel = any(len(alt) != len(ref) for alt in alts)
    if indel and all(alt[:1] == ref[:1] for alt in bases):
        alts = [alt if "*" in alt else alt[1:] or MINIMAL_EMPTY for alt in alts]
    return [alt.upper() for alt in alts]


def minimal_words(ref: str, alts: Sequence[str]) -> list[str]:
    """Return Ensembl VEP's names with ``--minimal``: shared prefix, then shared suffix cut off."""
    words, ref = [], ref.upper()
    for alt in map(str.upper, alts):
        start = len(commonprefix([ref, alt]))
        end = len(commonprefix([ref[start:][::-1], alt[start:][::-1]]))
        words.append(alt[start : len(alt) - end] or MINIMAL_EMPTY)
    return words


def written_words(ref: str, alts: Sequence[str]) -> list[str]:
    """Return SnpEff's names: the ALTs as the record writes them."""
    return [alt.upper() for alt in alts]


def alts_of(
    words: Sequence[str],
    numbers: Sequence[str] | None,
    ref: str,
    alts: Sequence[str],
    namings: Sequence[Sequence[str]],
) -> list[int | None]:
    """Return the index of the ALT that each entry is about, None where the index is not certain.

    All entries of a record are matched together. A naming fits when it explains every word, and a word counts only
    where it means the same ALT in all namings that fit.

    Where no naming fits, an ALT has left the record since it was annotated (``bcftools norm -m-`` leaves every entry
    in every part). Words are then believed only if REF, ALTs and words have one length, so that no base can have been
    cut off.

    VEP's ALLELE_NUM has to agree with the word. A number that does not agree is a sign of a lost ALT as well, and its
    word may name another ALT (with ``--minimal`` all deletions in a repeat are ``-``): a word claimed by two numbers
    matches neither.

    ``words`` are the upper-case alleles of the entries (empty is no evidence), ``numbers`` the 1-based numbers of their
    ALTs, ``namings`` the words for the ALTs in every way that the annotator may have used.
    """
    lost, claimed_twice = False, set[str]()
    if numbers is not None:
        numbered = [_numbered(number, word, namings) for number, word in zip(numbers, words, strict=True)]
        if None not in numbered:
            return numbered
        given = [(word, number) for word, number in zip(words, numbers, strict=True) if word and number.isdecimal()]
        lost = any(_numbered(number, word, namings) is None for word, number in given)
        claims = Counter(word for word, _ in set(given))
        claimed_twice = {word for word in claims if claims[word] > 1}
    known_words = {word for word in words if word}
    fitting = [] if lost else [naming for naming in namings if known_words.issubset(naming)]
    if not fitting:
        lengths = {len(text) for text in (ref, *alts, *known_words)}
        if len(lengths) > 1 or MINIMAL_EMPTY in known_words:
            return [None] * len(words)
        fitting = [written_words(ref, alts)]
    index = [{word: i for i, word in enumerate(naming) if naming.count(word) == 1} for naming in fitting]
    meant = {word: {by_word.get(word) for by_word in index} for word in known_words - claimed_twice}
    certain = {word: indices.pop() for word, indices in meant.items() if len(indices) == 1}
    return [certain.get(word) for word in words]


def _numbered(number: str, word: str, namings: Sequence[Sequence[str]]) -> int | None:
    if not (number.isdecimal() and 1 <= int(number) <= len(namings[0])):
        return None
    index = int(number) - 1
    return index if any(naming[index] == word for naming in namings) else None


#: Fields of the allele's names, which follow the scores: the annotator's own are of each transcript.
_NAMES = ("HGVSC", "HGVSG")
#: Of VEP and of SnpEff: form of the Description, its separator, names of subfields, and namings of alleles.
_ANNOTATORS: tuple[tuple[re.Pattern[str], str, tuple[str, ...], tuple[Naming, ...]], ...] = (
    (
        re.compile(r"(.*Format: )(.*?)([\s'\".]*)\Z", re.DOTALL),
        "|", ("Gene", "SYMBOL", "Feature", "ALLELE_NUM"), (vep_words, minimal_words),
    ),
    (
        re.compile(r"(.*Functional annotations: *')([^']*)('.*)\Z", re.DOTALL),
        " | ", ("Gene_ID", "Gene_Name", "Feature_ID", ""), (written_words,),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EntryLayout:
    """Indices of the subfields in the entries of one INFO field, None where the entries do not have them."""

    field: InfoField  # as this program writes it, with our subfields last
    columns: int  # number of subfields in the input
    names: tuple[str, ...]  # of these subfields
    ours: frozenset[int]  # those that an earlier run appended
    allele: int
    gene: int | None
    symbol: int | None
    transcript: int | None
    number: int | None
    namings: tuple[Naming, ...]


def entry_layouts(info: Mapping[str, InfoField], added: Sequence[str] = ()) -> Iterator[EntryLayout]:
    """Yield the layout of each field that has an allele and a gene, symbol or transcript in every entry."""
    for field in info.values():
        for pattern, between, subfields, namings in _ANNOTATORS:
            match = pattern.match(field.description)
            if match is None:
                continue
            before, text, after = match.groups()
            columns = text.split("|")
            names = [column.strip() for column in columns]
            at = {name: i for i, name in reversed(list(enumerate(names)))}  # duplicate names: first wins
            gene, symbol, transcript, number = (at.get(name) for name in subfields)
            if "Allele" not in at or gene is symbol is transcript is None:
                continue
            ours = frozenset(i for i, name in enumerate(names) if name.startswith(PREFIX))
            kept = "|".join(column for i, column in enumerate(columns) if i not in ours).rstrip()
            description = before + between.join([kept, *added]) + after
            merged = InfoField(field.key, ".", "String", description, entries=True)
            yield EntryLayout(
                merged, len(columns), tuple(names), ours, at["Allele"], gene, symbol, transcript, number, namings
            )  # fmt: skip


def matched_entries(
    layout: EntryLayout, entries: Sequence[str], ref: str, alts: Sequence[str]
) -> list[tuple[list[str], int | None]]:
    """Return the subfields of each entry of a record, and the index of its ALT, None where that is not certain."""
    rows = [_subfields(entry, layout) for entry in entries]
    namings = [words(ref, alts) for words in layout.namings]
    numbers = None if layout.number is None else [cells[layout.number] for cells, _ in rows]
    indices = alts_of([word for _, word in rows], numbers, ref, alts, namings)
    return [(cells, alt) for (cells, _), alt in zip(rows, indices, strict=True)]


class CsqAdapter(MergingAdapter):
    """Append ``SpliceBERT_pred_<FIELD>`` to every entry of a CSQ or ANN that the input has."""

    name = "csq"
    version = "1"

    def merge(self, run: RunInfo, info: Mapping[str, InfoField]) -> CsqMerger:
        """Return an object that merges into every field that VEP or SnpEff wrote, whatever its key; Refused if none."""
        ids = score_ids(run)
        found = list(entry_layouts(info, [f"{PREFIX}{name}" for name in (*ids, *_NAMES, "STATUS")]))
        if not found:
            raise Refused(
                "The header declares no annotation of Ensembl VEP or SnpEff to merge into: needed is an "
                "INFO key like CSQ or ANN with Allele and Gene, SYMBOL or Feature. Annotate the file first (vep --vcf "
                "--symbol, or snpEff), or use --emit vep, which needs none."
            )
        return CsqMerger(ids, found)


class CsqMerger(Merger):
    """Merge outcomes into entries; ``ids`` are those of the scores, in output order."""

    def __init__(self, ids: Sequence[str], found: Sequence[EntryLayout]) -> None:
        self._ids = ids
        self._layouts = found
        self._nothing = "|" * (len(ids) + len(_NAMES))
        self.fields = [layout.field for layout in found]

    def render(self, report: RecordReport, info: Mapping[str, str]) -> Mapping[str, tuple[Value, ...]]:
        """Return the entries of a record with our subfields; a field that the record lacks stays away."""
        present = [layout for layout in self._layouts if info.get(layout.field.key, ".") not in ("", ".")]
        genes = [_ScoresByGene(allele, self._ids) for allele in report.alleles] if present else []
        return {
            layout.field.key: tuple(self._entries(layout, info[layout.field.key].split(","), report, genes))
            for layout in present
        }

    def _entries(
        self, layout: EntryLayout, entries: Sequence[str], report: RecordReport, genes: Sequence[_ScoresByGene]
    ) -> Iterator[str]:
        places = (layout.gene, layout.transcript, layout.symbol)
        alts = [allele.alt for allele in report.alleles]
        for cells, alt in matched_entries(layout, entries, report.ref, alts):
            scores = None
            if alt is not None:
                scores = genes[alt].find(*("" if at is None else cells[at] for at in places))
            kept = [cell for i, cell in enumerate(cells) if i not in layout.ours] if layout.ours else cells
            yield f"{'|'.join(kept)}|{self._nothing if scores is None else scores}"


def _subfields(entry: str, layout: EntryLayout) -> tuple[list[str], str]:
    """Return the subfields of an entry, as many as its layout has, and its word for its allele, empty if unknown.

    Subfields that are lacking at the end are empty. Where there are too many no name can be trusted: the surplus
    goes into the last subfield, joined by ``&`` as VEP would have written it, and the entry is about no allele.
    """
    cells = entry.split("|")
    surplus = len(cells) - layout.columns
    if surplus > 0:
        cells[layout.columns - 1 :] = ["&".join(cells[layout.columns - 1 :])]
    elif surplus < 0:
        cells += [""] * -surplus
    word = cells[layout.allele].upper()
    pair = len(word) > 1 and "-" in word  # SnpEff's G-C is the change of a somatic to a germline allele
    return cells, "" if surplus > 0 or pair else word


class _ScoresByGene:
    """The outcomes of one ALT, printed as subfields, by every name that an entry may give to its gene.

    An ALT that was not looked up in any gene has one outcome, its status, for all entries of the allele.
    """

    def __init__(self, allele: AlleleReport, ids: Sequence[str]) -> None:
        self._of_all: str | None = None
        self._by_id: dict[str, str] = {}
        self._by_transcript: dict[str, str] = {}
        self._by_symbol: dict[str, tuple[str, str] | None] = {}
        for outcome in allele.contexts:
            context = outcome.context
            names = (context.hgvsc, context.hgvsg) if context else (None,) * len(_NAMES)
            values = (*map(outcome.values.get, ids), *names)
            printed = "|".join([*map(entry_cell, values), outcome.status])
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
        """Return the subfields for an entry: by gene id, then transcript, then symbol; None for a gene without outcome.

        A symbol counts where the ids cannot be compared, because one is missing or they are of different kinds.
        """
        if self._of_all is not None:
            return self._of_all
        gene = stable_id(gene)
        found = self._by_id.get(gene) or self._by_transcript.get(stable_id(transcript))
        if found:
            return found
        named = self._by_symbol.get(symbol)
        # Two ids of one namespace that differ are two genes, whatever their symbols.
        if named is None or any(kind.match(gene) and kind.match(named[0]) for kind in _NAMESPACES):
            return None
        return named[1]
