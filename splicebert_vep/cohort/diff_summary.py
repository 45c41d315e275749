"""Say on one page, in Markdown, what changed between two runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from splicebert_vep_spec import Value, format_value

from ..files import whole_or_not
from ..provenance import SCORED_BY
from .diff import CONTEXT, Change, Changes, Comparison
from .diff_outputs import rows

_LARGEST = 20
_LONGEST_ALLELE = 24  # bases that a cell shows
_DECIDES = {
    **dict.fromkeys(("ScoreDigest", "Model", *SCORED_BY), "scores"),
    **dict.fromkeys(("Annotation", "AnnotationDigest"), "genes"),
    **dict.fromkeys(("Reference", "ReferenceSHA256"), "sequence"),
    **dict.fromkeys(("SpliceModelSHA256", "DeltaDistance", "DeltaMasked"), "delta scores"),
    "Calibration": "percentiles",
    "Scores": "columns",
}
_WARNINGS = (
    (
        "ScoreDigest",
        "**The score digests differ: the runs were scored by different models or settings, and their scores are not "
        "comparable.** What is said of scores below tells the models apart, not the alleles.",
    ),
    (
        "AnnotationDigest",
        "**The gene annotations differ:** genes, their context and the strand that is scored may have changed with "
        "them.",
    ),
    ("ReferenceSHA256", "**The references differ:** the sequence around an allele may have changed."),
)


def write_summary(comparison: Comparison, path: str | Path) -> None:
    """Write the page into a file.

    Raises:
        OutputError: disk full and the like; nothing is left then.
    """
    with whole_or_not(path) as temporary:
        temporary.write_text(summarise(comparison), encoding="utf-8")


def summarise(comparison: Comparison) -> str:
    """Return the page."""
    parts = (_head, _alleles, _statuses, _genes, _scores, _provenance, _not_compared, _largest)
    return "\n".join(line for part in parts for line in part(comparison)).rstrip("\n") + "\n"


def differences(comparison: Comparison) -> list[tuple[str, str, str]]:
    """Return every key under which the provenance of the runs differs, with what OLD and NEW say; empty = nothing."""
    old, new = comparison.old.provenance, comparison.new.provenance
    keys = dict.fromkeys((*old, *new))
    return [(key, old.get(key, ""), new.get(key, "")) for key in keys if comparison.differs(key)]


def _head(comparison: Comparison) -> Iterator[str]:
    yield from ("# What changed between two cohort runs", "")
    differing = [text for key, text in _WARNINGS if comparison.differs(key)]
    for text in differing:
        yield from (text, "")
    if not comparison.differs("ScoreDigest"):
        yield from ("The score digest is the same in both runs: their scores can be compared.", "")
    if not len(comparison.changes):
        yield from (
            "**Nothing changed: both runs have the same alleles in the same genes, with the same statuses, and no "
            f"score that both have moved by more than {_threshold(comparison)}.**",
            "",
        )


def _alleles(comparison: Comparison) -> Iterator[str]:
    counts, old, new = comparison.counts(), comparison.old, comparison.new
    yield from ("## Alleles", "")
    body = [
        ("run", _code(old.name), _code(new.name)),
        *((key, _count(old.counts.get(key)), _count(new.counts.get(key))) for key in ("files", "records")),
        ("rows (allele x gene)", _count(old.rows), _count(new.rows)),
        ("distinct alleles", _count(counts.old), _count(counts.new)),
    ]
    yield from _table(("", "OLD", "NEW"), body)
    yield from _table(
        ("alleles", "number"),
        [
            ("new", _count(counts.appeared)),
            ("gone", _count(counts.gone)),
            ("in both, another status", _count(counts.status)),
            ("in both, another gene or context", _count(counts.genes)),
            ("in both, another score", _count(counts.scores)),
        ],
    )


def _statuses(comparison: Comparison) -> Iterator[str]:
    changes, both = comparison.changes, comparison.rows
    part = changes.of(changes.kind == Change.STATUS)
    if not len(part):
        return
    yield from (
        "## Statuses",
        "",
        "Alleles by what became of their status; one with several genes may have several.",
        "",
    )
    status = both.words["STATUS"]
    # An allele whose genes all went the same way counts once.
    ways = np.unique(np.stack([both.allele[part.right], status.codes[part.left], status.codes[part.right]]), axis=1)[1:]
    counted = Counter(zip(*ways.tolist(), strict=True))
    body = [(-n, status.values[a] or "", status.values[b] or "") for (a, b), n in counted.items()]
    yield from _table(("from", "to", "alleles"), [(a, b, _count(-n)) for n, a, b in sorted(body)])


def _genes(comparison: Comparison) -> Iterator[str]:
    changes, names = comparison.changes, comparison.names
    body = [
        (word, _count(int(np.count_nonzero(changes.kind == kind))))
        for kind, word in ((Change.NEW_GENE, "gene new for the allele"), (Change.GONE_GENE, "gene gone"))
    ]
    of_field = np.bincount(changes.field[changes.kind == Change.CONTEXT], minlength=len(names)).tolist()
    body += [(name, _count(of_field[names.index(name)])) for name in CONTEXT]
    body = [row for row in body if row[1] != "0"]
    if body:
        yield from ("## Genes and context", "")
        yield from _table(("what changed", "rows"), body)


def _scores(comparison: Comparison) -> Iterator[str]:
    changes = comparison.changes
    if not comparison.scores:
        return
    yield from ("## Scores", "", f"Rows whose score moved by more than {_threshold(comparison)}, or came or went.", "")
    body = []
    for name in comparison.scores:
        part = changes.of((changes.kind == Change.SCORE) & (changes.field == comparison.names.index(name)))
        if comparison.fields[name] == "word":
            body.append((name, _count(len(part)), "", "", "", ""))
            continue
        size = np.abs(part.new - part.old)
        size = size[~np.isnan(size)]
        most, middle = (format_value(float(f(size))) if len(size) else "" for f in (np.max, np.median))
        went, came = (int(np.count_nonzero(np.isnan(side))) for side in (part.new, part.old))
        body.append((name, _count(len(size)), most, middle, _count(went), _count(came)))
    yield from _table(("score", "moved", "largest", "median of the moved", "now missing", "now present"), body)


def _provenance(comparison: Comparison) -> Iterator[str]:
    found = differences(comparison)
    yield from ("## Provenance", "")
    if not found:
        yield from ("The same in both runs.", "")
        return
    body = [(key, _code(old), _code(new), _DECIDES.get(key, "")) for key, old, new in found]
    yield from _table(("differs", "OLD", "NEW", "decides about"), body)


def _not_compared(comparison: Comparison) -> Iterator[str]:
    found = (
        ("only OLD has", comparison.only_old),
        ("only NEW has", comparison.only_new),
        ("numbers in one run and words in the other", comparison.unlike),
    )
    lines = [f"- {why}: {', '.join(names)}" for why, names in found if names]
    if lines:
        yield from ("## Scores that were not compared", "", *lines, "")


def _largest(comparison: Comparison) -> Iterator[str]:
    chosen = _largest_changes(comparison)
    if not len(chosen):
        return
    yield from (
        "## Largest changes of a score",
        "",
        f"Up to {_LARGEST} rows, each with the score that moved most; scores that are whole numbers are left out.",
        "",
    )
    body = []
    for chrom, pos, ref, alt, gene, symbol, _, field, old, new, delta in rows(comparison, chosen):
        allele = f"{chrom}:{pos} {_short(ref)}>{_short(alt)}"
        body.append(
            (_code(allele), _code(format_value(symbol or gene)), str(field), *map(format_value, (old, new, delta)))
        )
    yield from _table(("allele", "gene", "score", "OLD", "NEW", "moved by"), body)


def _largest_changes(comparison: Comparison) -> Changes:
    """Return of each row the score that moved most, the largest first; of equal ones, the first by position."""
    changes = comparison.changes
    measured = np.array([kind == "float" for kind in comparison.fields.values()], np.bool_)
    size = np.abs(changes.new - changes.old)
    number = np.flatnonzero(measured[changes.field] & ~np.isnan(size))
    number = number[np.argsort(-size[number], kind="stable")]
    _, first = np.unique(changes.left[number], return_index=True)
    return changes.of(number[np.sort(first)[:_LARGEST]])


def _threshold(comparison: Comparison) -> str:
    return format(comparison.threshold, "g")


def _short(allele: Value) -> str:
    text = format_value(allele)
    return text if len(text) <= _LONGEST_ALLELE else f"{text[:_LONGEST_ALLELE]}...({len(text):,})"


def _count(number: int | None) -> str:
    return "not known" if number is None else f"{number:,}"


def _code(text: str) -> str:
    """Return text that Markdown shows as it is; a bar would end the cell even there."""
    return f"`{text.replace('`', chr(39)).replace('|', chr(92) + '|')}`" if text else ""


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in (head, ("---",) * len(head), *body):
        yield f"| {' | '.join(row)} |"
    yield ""
