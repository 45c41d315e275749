"""The header of a VCF: raw lines, and the few changes that this program makes to them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from splicebert_vep_spec import InfoField

from ..errors import VcfError
from .info import is_ours

PROVENANCE = "SpliceBERT_provenance"

_PROVENANCE_LINE = f"##{PROVENANCE}=".encode()
_ID = re.compile(rb"##(\w+)=<(?:[^\"]*?,)?ID=([^,>]+)")
_LENGTH = re.compile(rb"[<,]length=(\d+)")
_MD5 = re.compile(rb"[<,]md5=\"?([0-9A-Fa-f]{32})\b")
_TYPE = re.compile(rb"[<,]Type=(\w+)")
_NUMBER = re.compile(rb"[<,]Number=([^,>]+)")
_ITEM = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^,">]*)')
_WELL_FORMED = re.compile(rf"##INFO=<{_ITEM.pattern}(?:,{_ITEM.pattern})*\s*>\s*\Z")
_DEFINITION = ("ID", "Number", "Type", "Description")
_VALUE = re.compile(r'[<,](\w+)="((?:[^"\\]|\\.)*)"')
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class VcfHeader:
    """Raw header lines with their ends; the last is ``#CHROM``.

    Args:
        lines: every line, byte for byte.
        fields: the INFO fields that this program declared, empty for a header as read.
        notes: sentences for the user about definitions that had to change.
    """

    lines: tuple[bytes, ...]
    fields: tuple[InfoField, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, lines: Sequence[bytes], source: str) -> VcfHeader:
        """Check that lines form a header.

        Raises:
            VcfError: no ``##fileformat`` first, no ``#CHROM`` last, or fewer than 8 columns in it.
        """
        remedy = "give a whole VCF or BCF; a file without header can be given one with bcftools reheader"
        if not lines or not lines[0].startswith(b"##fileformat=VCF"):
            found = repr(lines[0][:40].decode("utf-8", "replace")) if lines else "nothing"
            raise VcfError("Not a VCF.", needed="##fileformat=VCFv4.x first", found=found, where=source, remedy=remedy)
        if not lines[-1].startswith(b"#CHROM\t"):
            raise VcfError(
                "The header has no #CHROM line.",
                needed="a line that starts with #CHROM and a tab",
                found=repr(lines[-1][:40].decode("utf-8", "replace")),
                where=f"{source}:{len(lines)}",
                remedy=remedy,
            )
        last = lines[-1] if lines[-1].endswith(b"\n") else lines[-1] + b"\n"
        header = cls((*lines[:-1], last))
        if header.columns_count < 8:
            raise VcfError(
                "The #CHROM line has too few columns.",
                needed="at least 8, separated by tabs",
                found=str(header.columns_count),
                where=f"{source}:{len(lines)}",
                remedy=remedy,
            )
        return header

    @property
    def columns_count(self) -> int:
        """How many columns a record has."""
        return self.lines[-1].count(b"\t") + 1

    @property
    def samples_count(self) -> int:
        """How many samples a record has."""
        return max(0, self.columns_count - 9)

    def to_bytes(self) -> bytes:
        """Return the header as it is written."""
        return b"".join(self.lines)

    def contigs(self) -> dict[str, int | None]:
        """Return declared contigs with their lengths, None where the header gives none."""
        found: dict[str, int | None] = {}
        for line in self.lines:
            key = _key_of(line)
            if key and key[0] == "contig":
                length = _LENGTH.search(line)
                found[key[1]] = int(length.group(1)) if length else None
        return found

    def contig_md5s(self) -> dict[str, str]:
        """Return the MD5 of each contig that is declared with one."""
        found: dict[str, str] = {}
        for line in self.lines:
            key = _key_of(line)
            if key and key[0] == "contig" and (digest := _MD5.search(line)):
                found[key[1]] = digest.group(1).decode().lower()
        return found

    def provenances(self) -> list[dict[str, str]]:
        """Return names and values of every provenance line; a file of one run has one."""
        lines = [line.decode("utf-8", "replace") for line in self.lines if line.startswith(_PROVENANCE_LINE)]
        return [{key: re.sub(r"\\(.)", r"\1", value) for key, value in _VALUE.findall(line)} for line in lines]

    def identifiers(self) -> dict[str, set[str]]:
        """Return the ids declared in each section: contig, FILTER, INFO, FORMAT."""
        found: dict[str, set[str]] = {"contig": set(), "FILTER": set(), "INFO": set(), "FORMAT": set()}
        for line in self.lines:
            key = _key_of(line)
            if key and key[0] in found:
                found[key[0]].add(key[1])
        return found

    def annotated(
        self,
        fields: Sequence[InfoField],
        provenance: Mapping[str, str],
        *,
        version: str,
    ) -> VcfHeader:
        """Return a header that declares our fields, and how they were made, before ``#CHROM``.

        Lines of an earlier run are taken out; a field of another program that is declared again (a merged
        CSQ) gets its new number, type and description where it stands. All other lines stay byte for byte.

        Args:
            fields: INFO fields that will be written.
            provenance: names and values of the one structured provenance line.
            version: of this program.

        Raises:
            ValueError: a provenance name is not a VCF header key.
        """
        end = b"\r\n" if self.lines[-1].endswith(b"\r\n") else b"\n"
        foreign = {field.key: field for field in fields if not is_ours(field.key)}
        lines: list[bytes] = []
        replaced: set[str] = set()
        for line in self.lines[:-1]:
            section, key = _key_of(line) or ("", "")
            if line.startswith(_PROVENANCE_LINE) or (section == "INFO" and is_ours(key)):
                continue
            if section == "INFO" and key in foreign:
                lines.append(_redefined(line, foreign[key]))
                replaced.add(key)
                continue
            lines.append(line)
        lines += [_info_line(field, version) + end for field in fields if field.key not in replaced]
        lines += [_provenance_line(provenance) + end, self.lines[-1]]
        return VcfHeader(tuple(lines), tuple(fields))

    def extended(self, added: Sequence[bytes]) -> VcfHeader:
        """Return a header with further lines, given without line ends, before ``#CHROM``."""
        lines = (*self.lines[:-1], *[line + b"\n" for line in added], self.lines[-1])
        return replace(self, lines=lines)

    def retyped(self, types: Mapping[str, str], note: str) -> VcfHeader:
        """Return a header with other types for some INFO keys, and a note to the user for each."""
        lines = list(self.lines)
        for i, line in enumerate(lines):
            section, key = _key_of(line) or ("", "")
            if section == "INFO" and key in types:
                lines[i] = re.sub(rb"([<,]Type=)\w+", rb"\g<1>" + types[key].encode(), line, count=1)
        notes = tuple(note.format(key=key, type=kind) for key, kind in types.items())
        return replace(self, lines=tuple(lines), notes=self.notes + notes)

    def infos(self) -> dict[str, InfoField]:
        """Return the definition of each INFO key, the first where it has several."""
        found: dict[str, InfoField] = {}
        for field, _ in self._definitions():
            found.setdefault(field.key, field)
        return found

    def infos_in_doubt(self) -> dict[str, str]:
        """Return why a definition cannot be built upon, by INFO key."""
        first = self.infos()
        found: dict[str, str] = {}
        for field, line in self._definitions():
            if not _WELL_FORMED.match(line):
                found[field.key] = "its line cannot be read to the end, such as one with a quote inside Description"
            elif field.description != first[field.key].description:
                found.setdefault(field.key, "it is defined more than once, each time otherwise")
        return found

    def _definitions(self) -> Iterator[tuple[InfoField, str]]:
        """Yield what every INFO line defines, and the line."""
        for line in self.lines:
            section, key = _key_of(line) or ("", "")
            if section == "INFO":
                text = line.decode("utf-8", "surrogateescape")
                quotes = {name: re.sub(r'\\(["\\])', r"\1", value) for name, value in _VALUE.findall(text)}
                number, kind = _NUMBER.search(line), _TYPE.search(line)
                field = InfoField(
                    key,
                    number.group(1).decode() if number else ".",
                    kind.group(1).decode() if kind else "String",
                    quotes.get("Description", ""),
                )
                yield field, text

    def info_types(self) -> dict[str, str]:
        """Return the declared type of each INFO key."""
        found: dict[str, str] = {}
        for line in self.lines:
            section, key = _key_of(line) or ("", "")
            if section == "INFO" and (match := _TYPE.search(line)):
                found.setdefault(key, match.group(1).decode())
        return found

    def info_descriptions(self) -> dict[str, str]:
        """Return the description of each declared INFO key, empty where it has none."""
        found: dict[str, str] = {}
        for line in self.lines:
            section, key = _key_of(line) or ("", "")
            if section == "INFO":
                values = dict(_VALUE.findall(line.decode("utf-8", "replace")))
                found.setdefault(key, re.sub(r"\\(.)", r"\1", values.get("Description", "")))
        return found


def quoted(text: str) -> str:
    """Quote a value of a structured header line."""
    text = re.sub(r"[\x00-\x1f\x7f]+", " ", text)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _key_of(line: bytes) -> tuple[str, str] | None:
    match = _ID.match(line)
    if not match:
        return None
    return match.group(1).decode(), match.group(2).decode("utf-8", "surrogateescape").strip()


def _info_line(field: InfoField, version: str) -> bytes:
    source = f'Source="splicebert-vep",Version={quoted(version)}'
    return f"##INFO=<{_definition(field)},{source}>".encode("utf-8", "surrogateescape")


def _redefined(line: bytes, field: InfoField) -> bytes:
    """Return another program's INFO line with a new definition; what else it says, such as Source, stays."""
    text = line.decode("utf-8", "surrogateescape")
    rest = [f",{name}={value}" for name, value in _ITEM.findall(text.partition("<")[2]) if name not in _DEFINITION]
    end = text[len(text.rstrip("\r\n")) :]
    return f"##INFO=<{_definition(field)}{''.join(rest)}>{end}".encode("utf-8", "surrogateescape")


def _definition(field: InfoField) -> str:
    return f"ID={field.key},Number={field.number},Type={field.type},Description={quoted(field.description)}"


def _provenance_line(provenance: Mapping[str, str]) -> bytes:
    for key in provenance:
        if not _KEY.match(key) or key == "ID":
            raise ValueError(f"provenance name {key!r}: needed letters, digits and underscores, and not ID")
    parts = ["ID=run", *[f"{key}={quoted(value)}" for key, value in provenance.items()]]
    return f"##{PROVENANCE}=<{','.join(parts)}>".encode()
