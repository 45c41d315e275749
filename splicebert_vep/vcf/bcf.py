"""Write BCF: define what records use, then have htslib's own program turn VCF text into BCF.

``pysam.VariantFile`` is not used for it: its writer makes, moves and drops END.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

import numpy as np

from splicebert_vep_spec.values import FLOAT_MAX, INTEGER_MAX, INTEGER_MIN

from ..errors import OutputError
from ..files import ByteOutput, reporting
from .header import VcfHeader
from .read import CHUNK, VcfRecord

# Ctrl-C reaches the whole process group; the parent decides what becomes of the output.
_PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
import pysam, pysam.bcftools
pysam.set_verbosity(1)
pysam.bcftools.view("-Ob", "--no-version", "--threads", "2", "-", catch_stdout=False)
"""
_WRITE_VCF = "write VCF instead (.vcf or .vcf.gz, -O v or z)"
_DUMMY = "Not defined in the input header; added by splicebert-vep because BCF needs it"
_INFO_KEY = re.compile(r"[0-9A-Za-z_.+-]+\Z")  # wider than the format's rule: htslib takes 1000GAF and GERP++
_PLAIN = re.compile(r"[^\s,;=<>\"]+\Z")
#: The type of a key that is declared Integer and made Float: 32 bits hold 6 digits, and no digit may change.
_EXACT = "Float of 6 digits"
_FLOAT_MIN = 1.17549435e-38  # below, digits are lost, and then the number becomes 0
_INTEGER = re.compile(rb"[+-]?\d{1,20}\Z")
_FLOAT = re.compile(rb"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d{1,9})?|nan|inf(inity)?)\Z", re.IGNORECASE)
#: Numbers of samples are looked at only where one may not fit: long, with an exponent, a blank, or empty in a list.
_DOUBTFUL = re.compile(rb"\d{8}|[eE][+-]?\d\d|[ xX]|,[,:\t]|[:\t],|,\Z")
_COLUMNS = ("CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER")
_WHAT = {"contig": "contig", "FILTER": "FILTER", "INFO": "INFO key", "FORMAT": "FORMAT key"}


class BcfConverter:
    """Turn VCF text into BCF in a child process, so that both stream.

    The BCF comes back through this process: when this process is killed, the end marker goes nowhere, and no reader
    takes the output for whole.
    """

    def __init__(self, out: ByteOutput) -> None:
        self._out = out
        self._error: Exception | None = None
        self._said = b""
        try:
            tempfile.gettempdir()  # where pysam keeps what htslib says
        except FileNotFoundError as error:
            problem, remedy = "BCF needs a folder for temporary files.", f"set TMPDIR to one, or {_WRITE_VCF}"
            raise OutputError(problem, found=str(error.strerror), where=out.name, remedy=remedy) from error
        pipe = subprocess.PIPE
        with reporting(out.name):
            child = subprocess.Popen([sys.executable, "-P", "-c", _PROGRAM], stdin=pipe, stdout=pipe, stderr=pipe)
        assert child.stdin and child.stdout and child.stderr
        self._child, self._text, self._bcf, self._stderr = child, child.stdin, child.stdout, child.stderr
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._carry, self._listen)]
        for thread in self._threads:
            thread.start()

    def write_bytes(self, text: bytes) -> None:
        """Take a piece of VCF text; raises as ``ByteOutput.write_bytes``, and if htslib refused an earlier record."""
        if self._error is not None:
            raise self._error
        try:
            self._text.write(text)
        except BrokenPipeError:
            self.close()

    def close(self) -> None:
        """Write the last records and the end marker; raises as ``write_bytes``."""
        with contextlib.suppress(BrokenPipeError):  # the child has ended, and its exit code says how
            self._text.close()
        code = self._wait()
        if self._error is not None:
            raise self._error
        if code:
            said = self._said.decode("utf-8", "replace").strip().splitlines() or [f"exit code {code}"]
            found = next((line for line in said if line.startswith("[E::")), said[-1])
            raise OutputError("BCF cannot hold this.", found=found, where=self._out.name, remedy=_WRITE_VCF)

    def abort(self) -> None:
        """Write nothing more, and no end marker, because it would make the output look whole."""
        self._error = self._error or ValueError("aborted")
        self._child.kill()
        with contextlib.suppress(BrokenPipeError):
            self._text.close()
        self._wait()

    def _wait(self) -> int:
        for thread in self._threads:
            thread.join()
        return self._child.wait()

    def _carry(self) -> None:
        with self._bcf as pipe:
            while (data := pipe.read1(CHUNK)) and self._error is None:  # type: ignore[attr-defined]
                try:
                    self._out.write_bytes(data)
                except Exception as error:  # raised again by the thread that writes
                    self._error = error
        if self._error is not None:
            self._child.kill()

    def _listen(self) -> None:
        with self._stderr as pipe:
            self._said = pipe.read()


class BcfDictionary:
    """Names and types that a header defines; the numbers of BCF stand for them.

    The first records complete the header. Undefined INFO and FORMAT keys become ``Number=.,Type=String``, which keeps
    their text; keys without a value become flags. A header without any contig gets all of ``contig_lengths``, where
    these are in the naming of the records. A declared number type that values do not fit is widened (Integer, Float,
    String) so that no digit changes, with a note for the user. Raises OutputError for a name that no header line can
    hold.
    """

    def __init__(self, header: VcfHeader, first: Iterable[VcfRecord], contig_lengths: Mapping[str, int]) -> None:
        self._known = {section: set(header.section(section)) for section in _WHAT}
        self._known["FILTER"].add("PASS")
        self._types = header.types("INFO")
        self._formats = {key.encode(): kind for key, kind in header.types("FORMAT").items() if kind in _FITS}
        #: Names of Floats of which BCF has not kept every digit; grows with ``check``.
        self.rounded: dict[str, None] = {}
        no_contigs = not self._known["contig"]
        flags: dict[str, bool] = {}  # undefined INFO keys, and whether they never have a value
        new: dict[str, list[str]] = {section: [] for section in _WHAT}
        wider: dict[str, str] = {}
        for record in first:
            for section, name, value in _uses(record):
                if name not in self._known[section]:
                    if not (_INFO_KEY if section in ("INFO", "FORMAT") else _PLAIN).match(name):
                        raise _undefined(section, name, record)
                    self._known[section].add(name)
                    new[section].append(name)
                    flags |= {name: True} if section == "INFO" else {}
                if section == "INFO" and name in flags:
                    flags[name] = flags[name] and value is None
                elif value is not None and not _fits(self._types[name], value):
                    wider[name] = self._types[name] = _EXACT if _fits(_EXACT, value) else "String"
        if no_contigs and any(name in contig_lengths for name in new["contig"]):
            new["contig"] = list(dict.fromkeys([*contig_lengths, *new["contig"]]))
            self._known["contig"].update(contig_lengths)
        self._types.update((name, "Flag" if flag else "String") for name, flag in flags.items())
        lengths = {name: f",length={contig_lengths[name]}" for name in new["contig"] if name in contig_lengths}
        added = [f"##contig=<ID={name}{lengths.get(name, '')}>" for name in new["contig"]]
        added += [f'##FILTER=<ID={name},Description="{_DUMMY}">' for name in new["FILTER"]]
        for name, flag in flags.items():
            shape = "Number=0,Type=Flag" if flag else "Number=.,Type=String"
            added.append(f'##INFO=<ID={name},{shape},Description="{_DUMMY}">')
        for name in new["FORMAT"]:
            added.append(f'##FORMAT=<ID={name},Number={1 if name == "GT" else "."},Type=String,Description="{_DUMMY}">')
        lines = list(header.lines)
        for name, kind in wider.items():
            at = lines.index(header.section("INFO")[name])
            lines[at] = re.sub(rb"([<,]Type=)\w+", rb"\g<1>" + kind.split()[0].encode(), lines[at], count=1)
        lines[-1:-1] = [line.encode("utf-8", "surrogateescape") + b"\n" for line in added]
        self.header = VcfHeader(tuple(lines), header.fields)
        why = "because BCF could not hold its values otherwise"
        self.notes = [f"INFO {name}: declared type changed to {kind.split()[0]}, {why}" for name, kind in wider.items()]

    def check(self, record: VcfRecord) -> None:
        """Refuse a record that htslib cannot take whole; htslib sets a number that it cannot hold to missing."""
        for section, name, value in _uses(record):
            if name not in self._known[section]:
                raise _undefined(section, name, record)
            if value is not None and not _fits(self._types[name], value):
                raise _unfit(f"INFO {name}", self._types[name], value, record)
            if value is not None and self._types[name] == "Float" and _is_rounded(value):
                self.rounded[f"INFO {name}"] = None
        columns = record.columns()
        for name, column in zip(_COLUMNS, columns, strict=False):
            if not column or (name == "ALT" and b"" in column.split(b",")):
                raise _unfit(name, "text", column, record)
        if columns[5] != b".":
            if not _is_float(columns[5]):
                raise _unfit("QUAL", "Float", columns[5], record)
            if _is_rounded(columns[5]):
                self.rounded["QUAL"] = None
        formats, *samples = columns[8].split(b"\t") if _DOUBTFUL.search(b"".join(columns[8:])) else [b""]
        for sample in samples:
            for key, value in zip(formats.split(b":"), sample.split(b":"), strict=False):
                if not _fits(kind := self._formats.get(key, ""), value):
                    raise _unfit(f"FORMAT {_text(key)}", kind, value, record)
                if kind == "Float" and _is_rounded(value):
                    self.rounded[f"FORMAT {_text(key)}"] = None


def _uses(record: VcfRecord) -> Iterator[tuple[str, str, bytes | None]]:
    """Yield section and name of what a record uses, and the value of an INFO key that has one."""
    _, _, _, _, _, _, filters, info, *samples = record.columns()
    yield "contig", record.chrom, None
    if filters not in (b".", b""):
        for name in _text(filters).split(";"):
            yield "FILTER", name, None
    if samples and (formats := samples[0].partition(b"\t")[0]) not in (b".", b""):
        for name in _text(formats).split(":"):
            yield "FORMAT", name, None
    if info != b".":
        for item in info.split(b";"):
            key, equals, value = item.partition(b"=")
            if key:
                yield "INFO", _text(key), value if equals else None


def _fits(kind: str, value: bytes) -> bool:
    """Tell whether BCF holds a value; nothing at all is missing, and nothing between commas is not."""
    fits = _FITS.get(kind)
    return fits is None or value == b"" or all(token == b"." or fits(token) for token in value.split(b","))


def _is_float(text: bytes) -> bool:
    if not _FLOAT.match(text):
        return False
    size = abs(Decimal(text.decode()))
    return not size.is_finite() or size == 0 or _FLOAT_MIN <= size <= FLOAT_MAX


def _keeps_digits(text: bytes) -> bool:
    return _is_float(text) and float(text) == float(f"{float(text):.6g}")


def _is_integer(text: bytes) -> bool:
    return bool(_INTEGER.match(text)) and INTEGER_MIN <= int(text) <= INTEGER_MAX


def _is_rounded(value: bytes) -> bool:
    """Tell whether a Float, read back from BCF, is another number."""
    long = [float(token) for token in value.split(b",") if len(token) > 7]  # fewer characters are fewer digits
    return any(number == number and float(str(np.float32(number))) != number for number in long)


_FITS = {"Integer": _is_integer, "Float": _is_float, _EXACT: _keeps_digits}


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _undefined(section: str, name: str, record: VcfRecord) -> OutputError:
    remedy = f"{_WRITE_VCF}, or define it with bcftools annotate -h (contigs: bcftools reheader --fai)"
    problem = f"BCF cannot hold this record: its {_WHAT[section]} {ascii(name)} is not defined in the header."
    return OutputError(problem, where=record.where, remedy=remedy)


def _unfit(what: str, kind: str, value: bytes, record: VcfRecord) -> OutputError:
    return OutputError(
        f"BCF cannot hold this record: {what} does not fit its type {kind}.",
        found=ascii(_text(value[:60])), where=record.where, remedy=f"{_WRITE_VCF}, or mend the header or the value",
    )  # fmt: skip
