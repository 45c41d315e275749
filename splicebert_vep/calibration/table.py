"""The calibration table: what random SNVs of each region class score, in one small file bound to a score digest."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from splicebert_vep.errors import CalibrationError
from splicebert_vep.files import whole_or_not
from splicebert_vep.identity import SCORED_BY

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
        values: by score and region class: the background's scores in ``steps``, ascending.
        scored_by: what of a run's provenance determines its scores, and the model's name.
        score_digest: of that.
        about: how it was made: seed, FASTA, annotation, contigs and the like, as JSON has it.
        digest: SHA-256 (hex) of its file.
    """

    values: Mapping[tuple[str, str], Sequence[int]]
    scored_by: Mapping[str, str]
    score_digest: str
    about: Mapping[str, Any]
    digest: str

    @property
    def counts(self) -> dict[str, int]:
        """Number of background SNVs by region class."""
        return {name: len(self.values[next(iter(SIGNS)), name]) for name in REGION_CLASSES}

    def percentile(self, score: str, region_class: str, value: float) -> float:
        """Return 100 (n_less + n_equal / 2) / n among the background of a class."""
        background, asked = self.values[score, region_class], steps(score, value)
        less, not_more = bisect_left(background, asked), bisect_right(background, asked)
        return 50 * (less + not_more) / len(background)

    @classmethod
    def of(
        cls,
        values: Mapping[tuple[str, str], Sequence[int]],
        provenance: Mapping[str, str],
        about: Mapping[str, Any],
    ) -> bytes:
        """Return a file's bytes; the same contents give the same bytes.

        Args:
            values: as of the table; sorted here.
            provenance: of the run that scored them.
            about: what is kept with them.
        """
        meta = {
            "kind": _KIND,
            "format": _FORMAT,
            "score_digest": provenance["ScoreDigest"],
            "scored_by": {key: provenance[key] for key in ("Model", *SCORED_BY)},
            "about": dict(about),
        }
        members = {"meta": np.frombuffer(json.dumps(meta, sort_keys=True).encode(), dtype=np.uint8)}
        for (score, name), column in values.items():
            members[_member(score, name)] = np.array(sorted(column), dtype="<i4")
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for label, array in sorted(members.items()):
                # A fixed date and system, so that the bytes depend on the contents alone.
                entry = zipfile.ZipInfo(f"{label}.npy", date_time=(1980, 1, 1, 0, 0, 0))
                entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
                npy = io.BytesIO()
                np.lib.format.write_array(npy, array, version=(1, 0), allow_pickle=False)
                archive.writestr(entry, npy.getvalue())
        return buffer.getvalue()

    @classmethod
    def load(cls, path: str | Path) -> CalibrationTable:
        """Read a file of ``splicebert-vep calibrate``.

        Raises:
            CalibrationError: it cannot be read, is damaged or no such table.
        """
        try:
            data = Path(path).read_bytes()
            return cls._decoded(data)
        except (
            OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, KeyError, ValueError, TypeError
        ) as error:  # fmt: skip
            raise CalibrationError(
                "The calibration table cannot be read.",
                needed=f"a file of 'splicebert-vep calibrate', format {_FORMAT}",
                found=getattr(error, "strerror", None) or str(error) or type(error).__name__,
                where=str(path),
                remedy="give another, or make it again with 'splicebert-vep calibrate'",
            ) from error

    @classmethod
    def _decoded(cls, data: bytes) -> CalibrationTable:
        if not data.startswith(b"PK\x03\x04"):
            raise ValueError("a file of another kind")
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            meta: dict[str, Any] = json.loads(archive["meta"].tobytes())
            if (meta.get("kind"), meta.get("format")) != (_KIND, _FORMAT):
                raise ValueError(f"it says {meta.get('kind')!r}, format {meta.get('format')!r}")
            values = {
                (score, name): _column(archive[_member(score, name)]) for score in SIGNS for name in REGION_CLASSES
            }
        return cls(values, meta["scored_by"], meta["score_digest"], meta["about"], hashlib.sha256(data).hexdigest())


def write_table(path: str | Path, data: bytes) -> None:
    """Write a table, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    with whole_or_not(path) as temporary:
        temporary.write_bytes(data)


def _member(score: str, name: str) -> str:
    return f"{score}.{name}"


def _column(array: np.ndarray[Any, Any]) -> list[int]:
    if array.dtype != np.dtype("<i4") or array.ndim != 1 or not array.size or (np.diff(array) < 0).any():
        raise ValueError("a column that is not ascending whole numbers")
    found: list[int] = array.tolist()
    return found
