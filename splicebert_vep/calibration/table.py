"""The calibration table: what random SNVs of each region class score, in one small file bound to a score digest.

The file is JSON, compressed with gzip, so that ``zcat`` and ``jq`` read it too.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splicebert_vep.errors import CalibrationError
from splicebert_vep.files import whole_or_not
from splicebert_vep.identity import SCORED_BY, score_digest

from .classes import REGION_CLASSES

#: Scores that a table has, and the sign that makes larger mean more disturbed.
SIGNS = {"KL_CTX": 1, "LLR": -1}

_KIND, _FORMAT = "splicebert-vep calibration", 1
_STEPS = 10_000  # of 1: scores are compared to four decimals, as they are printed and as far as they hold


def steps(score: str, value: float) -> int:
    """Return a score in steps of 0.0001, larger = more disturbed; all that is compared is brought to this."""
    return round(SIGNS[score] * value * _STEPS)


@dataclass(frozen=True, eq=False)
class CalibrationTable:
    """Hold the scores of the background.

    Args:
        values: by score and region class: the background's scores in ``steps``, ascending, one at least.
        score_digest: of the scores.
        scored_by: what of a run's provenance goes into it, and the model's name.
        about: how the table was made: seed, FASTA, annotation, contigs and the like.
        digest: SHA-256 (hex) of the file.
    """

    values: Mapping[str, Mapping[str, Sequence[int]]]
    score_digest: str
    scored_by: Mapping[str, str]
    about: Mapping[str, Any]
    digest: str

    def percentile(self, score: str, region_class: str, value: float) -> float:
        """Return 100 (n_less + n_equal / 2) / n among the background of a class."""
        background, asked = self.values[score][region_class], steps(score, value)
        less, not_more = bisect_left(background, asked), bisect_right(background, asked)
        return 50 * (less + not_more) / len(background)

    @classmethod
    def load(cls, path: str | Path) -> CalibrationTable:
        """Read a file of ``splicebert-vep calibrate``.

        Raises:
            CalibrationError: it cannot be read, is damaged or no such table.
        """
        try:
            data = Path(path).read_bytes()
            return cls._of(json.loads(gzip.decompress(data)), hashlib.sha256(data).hexdigest())
        except (
            OSError, EOFError, zlib.error, KeyError, ValueError, TypeError, AttributeError, RecursionError
        ) as error:  # fmt: skip
            raise CalibrationError(
                "The calibration table cannot be read.",
                needed=f"a file of 'splicebert-vep calibrate', format {_FORMAT}",
                found=getattr(error, "strerror", None) or str(error) or type(error).__name__,
                where=str(path),
                remedy="give another, or make it again with 'splicebert-vep calibrate'",
            ) from error

    @classmethod
    def _of(cls, content: Mapping[str, Any], digest: str) -> CalibrationTable:
        if (content.get("kind"), content.get("format")) != (_KIND, _FORMAT):
            raise ValueError(f"it says {content.get('kind')!r}, format {content.get('format')!r}")
        values = content["values"]
        for score in SIGNS:
            for name in REGION_CLASSES:
                column = values[score][name]
                if not column or column != sorted(column) or any(type(value) is not int for value in column):
                    raise ValueError(f"{score} of {name} is not a list of ascending whole numbers")
        scored_by = {key: str(content["scored_by"][key]) for key in ("Model", *SCORED_BY)}
        told = str(content["score_digest"])
        if told != score_digest(scored_by):
            raise ValueError(f"its score digest is {told[:12]}, and what it was scored by gives another")
        return cls(values, told, scored_by, content["about"], digest)


def write_table(
    path: str | Path,
    values: Mapping[str, Mapping[str, Iterable[int]]],
    provenance: Mapping[str, str],
    about: Mapping[str, Any],
) -> None:
    """Write a table, whole or not at all; the same contents give the same bytes.

    Args:
        values: as of ``CalibrationTable``, in any order.
        provenance: of the run that scored them.
        about: what is kept with them, as JSON has it.

    Raises:
        OutputError: it cannot be written.
    """
    content = {
        "kind": _KIND,
        "format": _FORMAT,
        "score_digest": provenance["ScoreDigest"],
        "scored_by": {key: provenance[key] for key in ("Model", *SCORED_BY)},
        "about": about,
        "values": {
            score: {name: sorted(column) for name, column in by_class.items()} for score, by_class in values.items()
        },
    }
    text = json.dumps(content, separators=(",", ":"))
    with whole_or_not(path) as temporary:
        temporary.write_bytes(gzip.compress(text.encode("utf-8"), mtime=0))
