"""An annotated file as rows, one per allele x gene, from flat INFO, VEP-style INFO or both."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

from splicebert_vep.adapters.flat import PREFIX
from splicebert_vep.adapters.rows import utf8
from splicebert_vep.adapters.vep import KEY
from splicebert_vep.errors import VcfError
from splicebert_vep.vcf.header import PROVENANCE
from splicebert_vep.vcf.reader import open_vcf
from splicebert_vep.vcf.records import VcfRecord
from splicebert_vep_spec import escape_info

_FORMAT = "Format: "
_REMEDY = "give the output of 'splicebert-vep annotate'"


@dataclass(frozen=True, slots=True)
class Row:
    """One allele in one gene.

    Args:
        chrom, pos, id, ref, alt: as in the VCF; pos is 1-based.
        fields: values by field id without ``SpliceBERT_``, as the file prints them; what is missing is left out.
        where: file and line, for messages.
    """

    chrom: str
    pos: int
    id: str
    ref: str
    alt: str
    fields: Mapping[str, str]
    where: str

    def number(self, field: str) -> float | None:
        """Return a field's value; None is missing.

        Raises:
            VcfError: it is no number.
        """
        text = self.fields.get(field)
        if text is None:
            return None
        with contextlib.suppress(ValueError):
            value = float(text)
            if math.isfinite(value):
                return value
        raise VcfError(f"{field} is not a number.", needed="a number, or nothing", found=text[:40], where=self.where)


class AnnotatedVcf:
    """Read an annotated VCF or BCF, once; a context manager.

    Args:
        path: of the file; ``-`` is stdin.

    Raises:
        VcfError: not a VCF or BCF; without annotation by this program; with that of several runs that differ in what
            determines scores.
    """

    def __init__(self, path: str) -> None:
        self._reader = open_vcf(path)
        try:
            header = self._reader.header
            described = header.info_descriptions()
            self.name = self._reader.name
            self.provenance = _provenance(header.provenances(), self.name)
            #: Field id -> description, of every flat field and every column of the VEP-style entries.
            self.fields = {key.removeprefix(PREFIX): text for key, text in described.items() if key.startswith(PREFIX)}
            self._columns = _columns(described.get(KEY, ""))
            #: Whether rows are of every gene; flat INFO speaks of one of them.
            self.every_gene = bool(self._columns)
            for column in self._columns:
                self.fields.setdefault(column, "")
            if "STATUS" not in self.fields:
                raise VcfError(
                    "The file has no SpliceBERT annotation.",
                    needed=f"INFO fields {PREFIX}STATUS and others, or {KEY} with its format, declared in the header",
                    found="none of these",
                    where=self.name,
                    remedy="annotate with --emit flat or --emit vep; a page is not made of --emit csq alone",
                )
        except BaseException:
            self._reader.close()
            raise

    def __enter__(self) -> AnnotatedVcf:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._reader.close()

    def records(self) -> Iterator[list[list[Row]]]:
        """Yield the rows of each ALT of each record: those of its genes, the one that flat output reports first.

        An ALT without annotation has one row without fields; a record without ALT has none.

        Raises:
            VcfError: a malformed record, or one whose fields do not fit its ALTs.
        """
        for record in self._reader:
            yield self._rows(record)

    def _rows(self, record: VcfRecord) -> list[list[Row]]:
        info: dict[str, str] = {}
        for item in record.columns()[7].decode("utf-8", "replace").split(";"):
            key, _, value = item.partition("=")
            if key.startswith(KEY):
                info[key] = value
        flat = self._flat(info, record)
        entries = [self._entry(entry, record) for entry in info.get(KEY, "").split(",") if entry not in ("", ".")]
        rows = []
        for alt, values in zip(record.alts, flat, strict=True):
            mine = [entry for entry in entries if entry.get("ALLELE") == escape_info(alt)]
            if entries and not mine and not values:
                raise VcfError(
                    "VEP-style entries and ALT alleles of a record do not belong together.",
                    needed=f"an entry of {KEY} that begins with {alt[:40]}",
                    found=", ".join(sorted({entry.get("ALLELE", "")[:40] for entry in entries})),
                    where=record.where,
                    remedy="annotate after normalising or splitting, not before",
                )
            found = [_merged(entry, values) for entry in mine] or [values]
            head = [str(utf8(text)) for text in (record.chrom, record.id, record.ref, alt)]
            rows.append([Row(head[0], record.pos, head[1], head[2], head[3], fields, record.where) for fields in found])
        return rows

    def _flat(self, info: Mapping[str, str], record: VcfRecord) -> list[dict[str, str]]:
        """Return the flat values of each ALT."""
        found: list[dict[str, str]] = [{} for _ in record.alts]
        for key, text in info.items():
            if not key.startswith(PREFIX):
                continue
            values = text.split(",")
            if len(values) != len(found):
                raise VcfError(
                    "An INFO field does not have one value for each ALT.",
                    needed=f"{len(found)} of {key}",
                    found=str(len(values)),
                    where=record.where,
                    remedy="whatever split or joined the alleles has to know Number=A; or annotate again",
                )
            for of_alt, value in zip(found, values, strict=True):
                if value not in ("", "."):
                    of_alt[key.removeprefix(PREFIX)] = value
        return found

    def _entry(self, entry: str, record: VcfRecord) -> dict[str, str]:
        cells = entry.split("|")
        if len(cells) != len(self._columns):
            raise VcfError(
                "A VEP-style entry does not have the columns that the header declares.",
                needed=f"{len(self._columns)} in {KEY}",
                found=str(len(cells)),
                where=record.where,
                remedy="annotate again",
            )
        return {column: cell for column, cell in zip(self._columns, cells, strict=True) if cell}


def _merged(entry: Mapping[str, str], flat: Mapping[str, str]) -> dict[str, str]:
    """Return an entry, and what flat INFO alone says of that allele in that gene."""
    return {**flat, **entry} if entry.get("GENE") == flat.get("GENE") else dict(entry)


def _columns(description: str) -> list[str]:
    _, found, text = description.rpartition(_FORMAT)
    return text.strip().split("|") if found else []


def _provenance(found: Sequence[dict[str, str]], where: str) -> dict[str, str]:
    if not found:
        raise VcfError(
            "The file does not say how it was annotated.",
            needed=f"a header line ##{PROVENANCE}",
            found="none",
            where=where,
            remedy=_REMEDY,
        )
    for name, what, choices in (
        ("ScoreDigest", "score digest", "one model and one set of options"),
        ("AnnotationDigest", "gene annotation", "one set of genes"),
        ("Calibration", "calibration table", "one calibration table"),
    ):
        digests = {line.get(name, "none") for line in found}
        if name == "Calibration":
            digests.discard("none")  # a run without percentiles adds none of another table
        if len(digests) > 1:
            raise VcfError(
                "The file holds the scores of several runs, and these are not comparable.",
                needed=f"one {what}",
                found=", ".join(sorted(digest[:12] for digest in digests)),
                where=where,
                remedy=f"annotate all records with {choices}",
            )
    names = dict.fromkeys(name for line in found for name in line)
    return {name: "; ".join(dict.fromkeys(line[name] for line in found if name in line)) for name in names}
