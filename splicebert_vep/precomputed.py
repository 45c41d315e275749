"""Precomputed files: a VCF with one record per allele and gene, exact enough to fill a score store from."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from urllib.parse import quote, unquote

from splicebert_vep_spec import (
    Allele,
    AlleleReport,
    InfoField,
    RecordReport,
    RunInfo,
    ScoredContext,
    Status,
    escape_info,
)

from . import __version__
from .errors import StoreError
from .outputs.flat import PREFIX, FlatAdapter
from .provenance import ABOUT_WINDOW, Space, field_of, score_digest
from .scoring.cache import STORED
from .scoring.plan import ScorePlan
from .sequence.alleles import trim
from .store.exchange import Exported
from .store.store import AlleleKey, StoredScores
from .vcf.header import VcfHeader
from .vcf.info import InfoEncoder
from .vcf.read import VcfRecord, open_vcf

#: Header line with the columns of the scores' space, a JSON list.
COLUMNS = "SpliceBERT_columns"
_COLUMNS_LINE = f"##{COLUMNS}=".encode()
_MD5 = re.compile(rb"[<,]md5=\"?([0-9A-Fa-f]{32})\b")
_ABOUT = (
    InfoField(f"{PREFIX}REASON", "A", "String", "Why the status is not OK, percent-encoded"),
    InfoField(
        f"{PREFIX}GENE_KEY", "A", "String",
        f"What tells the gene from others where {PREFIX}GENE does not, percent-encoded",
    ),
)  # fmt: skip
_REASON, _GENE_KEY = (field.key for field in _ABOUT)
_NGENES, _GENE, _STATUS = f"{PREFIX}NGENES", f"{PREFIX}GENE", f"{PREFIX}STATUS"
_PLAIN = "/:()'"  # what percent-encoding need not touch


class Layout:
    """How scores of a run stand in a precomputed file.

    The keys are those of flat INFO, and one for every other column of the space; numbers have as many digits as give
    the same float when they are read.

    Args:
        space: of the scores.
        run: its fields and provenance.
        choice_plan: what also computes the columns that nobody asked for.
    """

    def __init__(self, space: Space, run: RunInfo, choice_plan: ScorePlan) -> None:
        known = {field.id: field for planned in choice_plan.scorers for field in planned.scorer.fields}
        shown = {field.id for field in run.fields}
        more = [known[name] for name in map(field_of, space.columns) if name not in shown and name in known]
        hidden = [replace(field, description=f"{field.description}; {_WHY_HIDDEN}") for field in more]
        self._space = space
        self._run = RunInfo((*run.fields, *hidden), run.provenance)
        self._flat = FlatAdapter()
        self._fields = (*self._flat.header(self._run), *_ABOUT)
        self._encoder = InfoEncoder(self._fields, exact=True)
        self._records = 0

    def header(self, contigs: Mapping[str, tuple[int, str]]) -> VcfHeader:
        """Return the header of a file; ``contigs`` are length and MD5 by name."""
        lines = ["##fileformat=VCFv4.3"]
        lines += [f"##contig=<ID={name},length={size},md5={md5}>" for name, (size, md5) in contigs.items()]
        lines += [f"##{COLUMNS}={json.dumps(self._space.columns)}", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
        bare = VcfHeader(tuple(f"{line}\n".encode("utf-8", "surrogateescape") for line in lines))
        return bare.annotated(self._fields, self._run.provenance, version=__version__)

    def record(
        self, allele: Allele, written: tuple[int, str, str], outcome: ScoredContext, key: str, genes: int
    ) -> tuple[VcfRecord, bytes]:
        """Return a record and its INFO items.

        Args:
            written: POS, REF and ALT of the allele.
            outcome: in one gene.
            key: that tells the gene from the allele's others, see ``gene_keys``.
            genes: how many the allele has.
        """
        assert outcome.context is not None
        pos, ref, alt = written
        line = f"{allele.contig}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n".encode("utf-8", "surrogateescape")
        self._records += 1
        report = RecordReport(allele.contig, pos, ".", ref, (AlleleReport(alt, allele, (outcome,)),))
        items = dict(self._flat.render(report, self._run))
        items[_NGENES] = (genes,)
        items[_REASON] = (_encoded(outcome.reason) or None,)
        items[_GENE_KEY] = (None if key == escape_info(outcome.context.gene_id) else _encoded(key),)
        return VcfRecord(line, self._records), self._encoder.text(items, 1)


_WHY_HIDDEN = "here only where it chooses between genes of both strands"


def _encoded(text: str) -> str:
    return quote(text, _PLAIN, errors="surrogateescape")


def read_precomputed(path: str | Path) -> Exported:
    """Open a precomputed file, for a store to take its scores.

    Alleles that failed in a gene are left out.

    Raises:
        VcfError: it is no whole VCF.
        StoreError: not written by ``saturate``, rewritten by another program, or its provenance does not fit its
            digest; later, while rows are read: a record that ``saturate`` does not write.
    """
    with open_vcf(str(path)) as reader:
        header, kind = reader.header, reader.kind
    columns_lines = {line for line in header.lines if line.startswith(_COLUMNS_LINE)}
    provenances = header.provenances()
    if not provenances or not columns_lines:
        raise _foreign(path, "a VCF without the header lines of 'saturate'")
    if kind == "bcf" or any(line.startswith(b"##bcftools_") for line in header.lines):
        raise _rounded("a BCF" if kind == "bcf" else "header lines of bcftools", str(path))
    if len(columns_lines) > 1 or any(one != provenances[0] for one in provenances):
        raise _foreign(path, "header lines of several runs")
    space = _space(provenances[0], columns_lines.pop(), header, path)
    found = {name: _MD5.search(line) for name, line in header.section("contig").items()}
    md5s = {name: match[1].decode().lower() for name, match in found.items() if match}
    return Exported(space, {md5: name for name, md5 in md5s.items()}, _rows(path, space, md5s))


def _space(provenance: Mapping[str, str], columns_line: bytes, header: VcfHeader, path: str | Path) -> Space:
    try:
        digest = score_digest(provenance)
        told, annotation = provenance["ScoreDigest"], provenance["AnnotationDigest"]
    except KeyError as error:
        raise _foreign(path, f"a provenance line without {error.args[0]}") from error
    if digest != told:
        raise StoreError(
            "The provenance does not fit its digest.",
            needed=f"ScoreDigest {digest}, which its other values make",
            found=told,
            where=f"{path}, header",
            remedy="give the file as 'saturate' wrote it; someone has changed its header",
        )
    try:
        columns = json.loads(columns_line[len(_COLUMNS_LINE) :])
        fields = [field_of(column) for column in columns]
    except (ValueError, TypeError, AttributeError) as error:
        raise _foreign(path, f"a {COLUMNS} line that cannot be read") from error
    lacking = sorted({f"{PREFIX}{field}" for field in fields} - set(header.section("INFO")))
    if tuple(fields[-1:]) != ABOUT_WINDOW or lacking:
        raise _foreign(path, f"a header that does not declare {', '.join(lacking) or 'the columns about windows'}")
    return Space(told, annotation, tuple(columns), dict(provenance))


def _rows(
    path: str | Path, space: Space, md5s: Mapping[str, str]
) -> Iterator[tuple[AlleleKey, Sequence[StoredScores]]]:
    with open_vcf(str(path)) as reader:
        types = reader.header.types("INFO")
        names = [f"{PREFIX}{field_of(column)}" for column in space.columns]
        keys = [(name, types.get(name) == "Integer") for name in names]
        for (chrom, pos, ref, alts), group in groupby(reader, key=_written):
            records = list(group)
            where = records[0].where
            if chrom not in md5s:
                raise StoreError(
                    "A contig of the precomputed file has no MD5.",
                    needed=f"##contig=<ID={chrom},length=...,md5=...>",
                    where=where,
                    remedy="give the file as 'saturate' wrote it",
                )
            found = [_row(record, keys) for record in records]
            if len(alts) != 1 or any(genes != str(len(records)) for genes, _ in found):
                raise _unfit(where, "one record for each gene of an allele, as many as NGENES says", f"{len(records)}")
            rows = [row for _, row in found]
            if any(row.status == Status.FAILED for row in rows) or len({row.gene for row in rows}) < len(rows):
                continue
            yield AlleleKey(md5s[chrom], *trim(pos, ref, alts[0])), rows


def _written(record: VcfRecord) -> tuple[str, int, str, tuple[str, ...]]:
    return record.chrom, record.pos, record.ref, record.alts


def _row(record: VcfRecord, keys: Sequence[tuple[str, bool]]) -> tuple[str | None, StoredScores]:
    """Return what a record says: the number of genes, and the scores in one; ``keys`` tell whole numbers."""
    text = record.columns()[7].decode("utf-8", "surrogateescape")
    items = {key: value for key, _, value in (item.partition("=") for item in text.split(";")) if value != "."}
    status = items.get(_STATUS, "")
    if status not in STORED and status != Status.FAILED:
        raise _unfit(record.where, f"{_STATUS} of {', '.join(sorted(STORED))} or FAILED", status or "none")
    key = items.get(_GENE_KEY)
    gene = items.get(_GENE, "") if key is None else unquote(key, errors="surrogateescape")
    reason = unquote(items.get(_REASON, ""), errors="surrogateescape")
    values = tuple([_number(items.get(name), name, whole, record) for name, whole in keys])
    return items.get(_NGENES), StoredScores(gene, status, reason, values)


def _number(text: str | None, key: str, whole: bool, record: VcfRecord) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _unfit(record.where, f"a number as {key}", text)
    if text not in (repr(value), str(int(value)) if whole else ""):
        raise _rounded(f"{key}={text}", record.where)
    return value


def _foreign(path: str | Path, found: str) -> StoreError:
    return StoreError(
        "The VCF holds no precomputed scores that a store can take.",
        needed="a file as 'splicebert-vep saturate' writes it",
        found=found,
        where=str(path),
    )


def _rounded(found: str, where: str) -> StoreError:
    return StoreError(
        "The precomputed file was rewritten by a program that keeps numbers in single precision.",
        needed="the file as 'saturate' wrote it, whose numbers are exact",
        found=found,
        where=where,
        remedy="give the original; several files can be imported one after the other",
    )


def _unfit(where: str, needed: str, found: str) -> StoreError:
    return StoreError(
        "A record of the precomputed file is not as 'saturate' writes it.",
        needed=needed,
        found=found,
        where=where,
        remedy="give the file as it was written, or saturate again",
    )
