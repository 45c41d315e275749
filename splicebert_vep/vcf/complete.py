"""What BCF needs and text does not: a definition for every contig, filter, INFO and FORMAT key.

Real files lack some (ClinVar ships no ``##contig`` lines). They are added from the first records; a later
record that still has an undefined one stops the run, because htslib would drop or mangle it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from splicebert_vep.errors import OutputError

from .header import VcfHeader
from .records import TextRecord, VcfRecord

_DUMMY = "Not defined in the input header; added by splicebert-vep because BCF needs it"
_INFO_KEY = re.compile(r"[0-9A-Za-z_.+-]+\Z")  # wider than the format's rule: htslib takes 1000GAF and GERP++
_PLAIN = re.compile(r"[^\s,;=<>\"]+\Z")
_INT_MIN, _INT_MAX = -(2**31) + 8, 2**31 - 1  # the smallest values mark missing and end of vector
_WRITE_VCF = "write VCF (.vcf or .vcf.gz) instead"


def complete_for_bcf(
    header: VcfHeader, first_records: Iterable[VcfRecord], contig_lengths: Mapping[str, int] | None = None
) -> VcfHeader:
    """Return a header that defines what the first records use, in types that hold their values.

    Undefined INFO and FORMAT keys become ``Number=.,Type=String``, which keeps their text; keys without a
    value become flags. A header without any contig gets all of ``contig_lengths``, where these are in the
    naming of the records. A declared number type that values do not fit is widened (Integer, Float, String),
    with a note in the header's ``notes``.

    Raises:
        OutputError: a name that no header line can hold.
    """
    seen = _Seen(header)
    for record in first_records:
        if isinstance(record, TextRecord):  # BCF defines all of its own
            seen.add(record)
    return seen.complete(header, contig_lengths or {})


class _Seen:
    """What records use and the header lacks, with the first record of each."""

    def __init__(self, header: VcfHeader) -> None:
        known = header.identifiers()
        self._contigs = known["contig"]
        self._filters = known["FILTER"] | {"PASS"}
        self._formats = known["FORMAT"]
        self._types = header.info_types()
        self._new: dict[str, dict[str, VcfRecord]] = {"contig": {}, "FILTER": {}, "INFO key": {}, "FORMAT key": {}}
        self._valued: set[str] = set()
        self._wider: dict[str, str] = {}

    def add(self, record: TextRecord) -> None:
        columns = record.columns()
        if record.chrom not in self._contigs:
            self._new["contig"].setdefault(record.chrom, record)
        for name in _filters(columns):
            if name not in self._filters:
                self._new["FILTER"].setdefault(name, record)
        for key in _formats(columns):
            if key not in self._formats:
                self._new["FORMAT key"].setdefault(key, record)
        for key, value in _info(columns):
            kind = self._wider.get(key) or self._types.get(key)
            if kind is None:
                self._new["INFO key"].setdefault(key, record)
                if value is not None:
                    self._valued.add(key)
            elif value is not None and not _fits(kind, value):
                self._wider[key] = "Float" if _fits("Float", value) else "String"

    def complete(self, header: VcfHeader, lengths: Mapping[str, int]) -> VcfHeader:
        for what, names in self._new.items():
            shape = _INFO_KEY if what.endswith("key") else _PLAIN
            for name, record in names.items():
                if not shape.match(name):
                    raise _undefined(what, name, record, _WRITE_VCF)
        contigs = list(self._new["contig"])
        if not self._contigs and any(name in lengths for name in contigs):
            contigs = [*lengths, *(name for name in contigs if name not in lengths)]
        added = []
        for name in contigs:
            added.append(f"##contig=<ID={name},length={lengths[name]}>" if name in lengths else f"##contig=<ID={name}>")
        for name in self._new["FILTER"]:
            added.append(f'##FILTER=<ID={name},Description="{_DUMMY}">')
        for key in self._new["INFO key"]:
            shape_text = "Number=.,Type=String" if key in self._valued else "Number=0,Type=Flag"
            added.append(f'##INFO=<ID={key},{shape_text},Description="{_DUMMY}">')
        for key in self._new["FORMAT key"]:
            number = "1" if key == "GT" else "."
            added.append(f'##FORMAT=<ID={key},Number={number},Type=String,Description="{_DUMMY}">')
        header = header.extended([line.encode("utf-8", "surrogateescape") for line in added])
        note = "INFO {key}: declared type changed to {type}, because BCF could not hold its values otherwise"
        return header.retyped(self._wider, note)


class TextForBcf:
    """Check that htslib can take a text record whole."""

    def __init__(self, header: VcfHeader) -> None:
        """Read what a header defines."""
        known = header.identifiers()
        self._contigs = known["contig"]
        self._filters = known["FILTER"] | {"PASS"}
        self._infos = header.info_types()
        self._formats = known["FORMAT"]
        self._seen_filters: set[bytes] = set()
        self._seen_formats: set[bytes] = set()

    def check(self, record: TextRecord) -> list[bytes]:
        """Return the record's columns.

        Raises:
            OutputError: something is undefined, or a number cannot be held; names it, the record and the remedy.
        """
        columns = record.columns()
        if record.chrom not in self._contigs:
            raise _undefined("contig", record.chrom, record)
        if columns[6] not in self._seen_filters:
            for name in _filters(columns):
                if name not in self._filters:
                    raise _undefined("FILTER", name, record)
            self._seen_filters.add(columns[6])
        if len(columns) > 8 and (keys := columns[8].partition(b"\t")[0]) not in self._seen_formats:
            for key in _formats(columns):
                if key not in self._formats:
                    raise _undefined("FORMAT key", key, record)
            self._seen_formats.add(keys)
        if columns[5] != b"." and not _is_float(columns[5]):
            raise _no_number("QUAL", "a number", columns[5], record)
        for key, value in _info(columns):
            kind = self._infos.get(key)
            if kind is None:
                raise _undefined("INFO key", key, record)
            if value is not None and not _fits(kind, value):
                raise _no_number(f"INFO {key}", f"values of the declared type {kind}", value, record)
        return columns


def _filters(columns: list[bytes]) -> list[str]:
    return [] if columns[6] in (b".", b"") else _text(columns[6]).split(";")


def _info(columns: list[bytes]) -> list[tuple[str, bytes | None]]:
    if columns[7] == b".":
        return []
    items = []
    for item in columns[7].split(b";"):
        key, equals, value = item.partition(b"=")
        if key:
            items.append((_text(key), value if equals else None))
    return items


def _formats(columns: list[bytes]) -> list[str]:
    if len(columns) < 9 or (keys := columns[8].partition(b"\t")[0]) in (b".", b""):
        return []
    return _text(keys).split(":")


def _fits(kind: str, value: bytes) -> bool:
    """Tell whether htslib keeps a value's text or number; it would set others to missing without a word."""
    if kind not in ("Integer", "Float") or value.isdigit() and len(value) < 10:
        return True
    fits = _is_int if kind == "Integer" else _is_float
    return all(token in (b".", b"") or fits(token) for token in value.split(b","))


def _is_float(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_int(text: bytes) -> bool:
    try:
        return _INT_MIN <= int(text) <= _INT_MAX
    except ValueError:
        return False


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _undefined(what: str, name: str, record: VcfRecord, remedy: str = "") -> OutputError:
    shown = ascii(name)
    return OutputError(
        f"BCF cannot hold this record: its {what} {shown} is not defined in the header",
        needed=f"a header line for {what} {shown}",
        found="none in the header, and none of the first records had it",
        where=record.where,
        remedy=remedy or f"{_WRITE_VCF}, or define it with bcftools annotate -h (contigs: bcftools reheader --fai)",
    )


def _no_number(what: str, needed: str, found: bytes, record: VcfRecord) -> OutputError:
    return OutputError(
        f"BCF cannot hold this record: {what} does not fit its type",
        needed=needed,
        found=ascii(_text(found[:60])),
        where=record.where,
        remedy=f"{_WRITE_VCF}, or mend the header or the value",
    )
