"""The header of a VCF: raw lines, and the few changes that this program makes to them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from splicebert_vep_spec import InfoField

from ..errors import VcfError
from .info import is_ours

PROVENANCE = "SpliceBERT_provenance"

_PROVENANCE_LINE = f"##{PROVENANCE}=".encode()
_ID = re.compile(rb"##(\w+)=<(?:[^\"]*?,)?ID=([^,>]+)")
_IDX = re.compile(rb",IDX=\d+>(\r?\n)\Z")  # BCF's own numbers of names
_LENGTH = re.compile(rb"[<,]length=(\d+)")
_TYPE = re.compile(rb"[<,]Type=(\w+)")
_NUMBER = re.compile(rb"[<,]Number=([^,>]+)")
_ITEM = re.compile(r'(\w+)=("(?:[^"\\]++|\\.)*+"|[^,">]*)')
_WELL_FORMED = re.compile(rf"##INFO=<{_ITEM.pattern}(?:,{_ITEM.pattern})*\s*>\s*\Z")
_DEFINITION = ("ID", "Number", "Type", "Description")
_VALUE = re.compile(r'[<,](\w+)="((?:[^"\\]++|\\.)*+)"')
_LINES = 1 << 14  # the files of a cohort have the same header lines
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class VcfHeader:
    """Raw header lines with their ends, the last is ``#CHROM``, and the INFO fields that this program declared."""

    lines: tuple[bytes, ...]
    fields: tuple[InfoField, ...] = ()

    @classmethod
    def parse(cls, lines: Sequence[bytes], source: str) -> VcfHeader:
        """Check that lines form a header: ``##fileformat`` first, ``#CHROM`` last, 8 columns or more."""
        first, last = (lines[0], lines[-1]) if lines else (b"", b"")
        problem, line, where = "", last, f"{source}:{len(lines)}"
        if not first.startswith(b"##fileformat=VCF"):
            problem, line, where = "Not a VCF: ##fileformat=VCFv4.x is not its first line.", first, source
        elif not last.startswith(b"#CHROM\t"):
            problem = "The header has no #CHROM line."
        elif last.count(b"\t") < 7:
            problem = "The #CHROM line has fewer than 8 columns."
        if problem:
            found = repr(line[:40].decode("utf-8", "replace"))
            remedy = "give a whole VCF or BCF; cat header.vcf FILE > whole.vcf gives one to a file without header"
            raise VcfError(problem, found=found, where=where, remedy=remedy)
        return cls((*lines[:-1], last if last.endswith(b"\n") else last + b"\n"))

    @classmethod
    def parse_bcf(cls, text: bytes, source: str) -> VcfHeader:
        """Check the text header of a BCF file, as ``parse`` does, without BCF's own IDX attributes."""
        lines = text.rstrip(b"\0").splitlines(keepends=True)
        return cls.parse([_IDX.sub(rb">\1", line) if line.startswith(b"##") else line for line in lines], source)

    @property
    def columns_count(self) -> int:
        """Number of columns of a record."""
        return self.lines[-1].count(b"\t") + 1

    def to_bytes(self) -> bytes:
        """Return the header as it is written."""
        return b"".join(self.lines)

    def section(self, name: str) -> dict[str, bytes]:
        """Return the line of each id of a section (contig, FILTER, INFO or FORMAT), the first where it has several."""
        found: dict[str, bytes] = {}
        for line in self.lines:
            section, key = _key_of(line)
            if section == name:
                found.setdefault(key, line)
        return found

    def contigs(self) -> dict[str, int | None]:
        """Return declared contigs with their lengths, None where the header gives none."""
        lengths = {name: _LENGTH.search(line) for name, line in self.section("contig").items()}
        return {name: int(length[1]) if length else None for name, length in lengths.items()}

    def types(self, section: str) -> dict[str, str]:
        """Return the declared type of each id of a section."""
        types = {key: _TYPE.search(line) for key, line in self.section(section).items()}
        return {key: kind[1].decode() if kind else "String" for key, kind in types.items()}

    def provenances(self) -> list[dict[str, str]]:
        """Return names and values of every provenance line; a file of one run has one."""
        lines = [line.decode("utf-8", "replace") for line in self.lines if line.startswith(_PROVENANCE_LINE)]
        return [{key: re.sub(r"\\(.)", r"\1", value) for key, value in _VALUE.findall(line)} for line in lines]

    def infos(self) -> dict[str, InfoField]:
        """Return the definition of each INFO key, the first where it has several."""
        return {key: _field(key, line) for key, line in self.section("INFO").items()}

    def infos_in_doubt(self) -> dict[str, str]:
        """Return why a definition cannot be built upon, by INFO key."""
        first = self.infos()
        found: dict[str, str] = {}
        for line in self.lines:
            section, key = _key_of(line)
            if section != "INFO":
                continue
            if not _WELL_FORMED.match(line.decode("utf-8", "surrogateescape")):
                found[key] = "its line cannot be read to the end, such as a line with a quote inside Description"
            elif _field(key, line).description != first[key].description:
                found.setdefault(key, "it is defined more than once, each time otherwise")
        return found

    def annotated(self, fields: Sequence[InfoField], provenance: Mapping[str, str]) -> VcfHeader:
        """Return a header that declares our fields, and how they were made, before ``#CHROM``.

        Lines of an earlier run are taken out; a field of another program that is declared again (a merged
        CSQ) gets its new number, type and description where it stands. All other lines stay byte for byte.
        ``provenance`` has names and values of the one structured provenance line; ValueError if a name is no key.
        """
        end = b"\r\n" if self.lines[-1].endswith(b"\r\n") else b"\n"
        foreign = {field.key: field for field in fields if not is_ours(field.key)}
        lines: list[bytes] = []
        replaced: set[str] = set()
        for line in self.lines[:-1]:
            section, key = _key_of(line)
            if line.startswith(_PROVENANCE_LINE) or (section == "INFO" and is_ours(key)):
                continue
            if section == "INFO" and key in foreign:
                line = _redefined(line, foreign[key])
                replaced.add(key)
            lines.append(line)
        # No Source and Version: scikit-allel would drop the field, and VCF 4.1 does not have them.
        added = [f"##INFO=<{_definition(field)}>" for field in fields if field.key not in replaced]
        added.append(_provenance_line(provenance))
        lines += [line.encode("utf-8", "surrogateescape") + end for line in added]
        return VcfHeader((*lines, self.lines[-1]), tuple(fields))


def _quoted(text: str) -> str:
    text = re.sub(r"[\x00-\x1f\x7f]+", " ", text)
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


@lru_cache(maxsize=_LINES)
def _key_of(line: bytes) -> tuple[str, str]:
    """Return section and id of a structured line, empty for any other."""
    match = _ID.match(line)
    return (match[1].decode(), match[2].decode("utf-8", "surrogateescape").strip()) if match else ("", "")


@lru_cache(maxsize=_LINES)
def _field(key: str, line: bytes) -> InfoField:
    values = dict(_VALUE.findall(line.decode("utf-8", "surrogateescape")))
    description = re.sub(r'\\(["\\])', r"\1", values.get("Description", ""))
    number, kind = _NUMBER.search(line), _TYPE.search(line)
    shape = number[1].decode("utf-8", "surrogateescape") if number else "."
    return InfoField(key, shape, kind[1].decode() if kind else "String", description)


def _redefined(line: bytes, field: InfoField) -> bytes:
    """Return another program's INFO line with a new definition; what else it says, such as Source, stays."""
    text = line.decode("utf-8", "surrogateescape")
    rest = [f",{name}={value}" for name, value in _ITEM.findall(text.partition("<")[2]) if name not in _DEFINITION]
    end = text[len(text.rstrip("\r\n")) :]
    return f"##INFO=<{_definition(field)}{''.join(rest)}>{end}".encode("utf-8", "surrogateescape")


def _definition(field: InfoField) -> str:
    return f"ID={field.key},Number={field.number},Type={field.type},Description={_quoted(field.description)}"


def _provenance_line(provenance: Mapping[str, str]) -> str:
    for key in provenance:
        if not _KEY.match(key) or key == "ID":
            raise ValueError(f"provenance name {key!r}: needed letters, digits and underscores, and not ID")
    parts = ["ID=run", *[f"{key}={_quoted(value)}" for key, value in provenance.items()]]
    return f"##{PROVENANCE}=<{','.join(parts)}>"
