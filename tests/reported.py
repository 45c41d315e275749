"""Annotated files for tests of the report, written by hand."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

PROVENANCE = (
    '##SpliceBERT_provenance=<ID=run,Version="0.1.0",ScoreDigest="abc",Model="mine",WeightsSHA256="w1",'
    'Window="510",Flank="100",Reference="x.fa",Annotation="grch38",AnnotationDigest="a1",Quality="so \\"good\\"">'
)
FIELDS = {
    "KL_CTX": "Float", "KL_SS": "Float", "LLR": "Float", "SYMBOL": "String", "GENE": "String", "TRANSCRIPT": "String",
    "STRAND": "String", "REGION": "String", "SITE_OFFSET": "String", "SITE_HIT": "String", "NGENES": "Integer",
    "STATUS": "String",
}  # fmt: skip
SPLICEAI = {
    **{f"SpliceAI_DS_{delta}": "Float" for delta in ("AG", "AL", "DG", "DL", "MAX")},
    **{f"SpliceAI_DP_{delta}": "Integer" for delta in ("AG", "AL", "DG", "DL")},
    "SpliceAI_STATUS": "String",
    "EVIDENCE": "String",
}


def declared(fields: dict[str, str]) -> list[str]:
    return [f'##INFO=<ID=SpliceBERT_{n},Number=A,Type={t},Description="about {n}">' for n, t in fields.items()]


def info(**values: object) -> str:
    return ";".join(f"SpliceBERT_{name}={value}" for name, value in values.items())


def scored(kl_ctx: float, **values: object) -> str:
    given = {
        "KL_CTX": kl_ctx, "KL_SS": 0.5, "LLR": -1.5, "SYMBOL": "ABC", "GENE": "ENSG1.2", "TRANSCRIPT": "ENST1.1",
        "STRAND": "+", "REGION": "CDS", "SITE_OFFSET": 12, "NGENES": 1, "STATUS": "OK", **values,
    }  # fmt: skip
    return info(**{name: value for name, value in given.items() if value is not None})


def write(path: Path, records: list[str], *, fields: dict[str, str] | None = None, extra: tuple[str, ...] = ()) -> Path:
    """Write a VCF; a record is ``CHROM POS ID REF ALT INFO`` separated by spaces."""
    lines = ["##fileformat=VCFv4.2", *declared({**FIELDS, **(fields or {})}), *extra]
    lines += [PROVENANCE, "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    for record in records:
        chrom, pos, name, ref, alt, text = record.split(" ")
        lines.append("\t".join((chrom, pos, name, ref, alt, ".", ".", text)))
    path.write_text("\n".join(lines) + "\n")
    return path


class Page(HTMLParser):
    """Elements of a page, and the rows of its table of variants."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.rows, self._in, self._inline = [], [], [], {"script": "", "style": ""}
        self.feed(text)
        self.text = text

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        self._in.append(tag)
        if tag == "tr" and "data-gene" in attributes:
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if tag in ("meta", "link", "img", "input"):
            self._in.pop()

    def handle_endtag(self, tag):
        while self._in.pop() != tag:
            pass
        if tag == "table" and self.rows:
            self.table, self.rows = self.rows, []

    def handle_data(self, data):
        if self._in and self._in[-1] in self._inline:
            self._inline[self._in[-1]] += data
        elif self.rows and "small" not in self._in:
            self.rows[-1][-1:] = [self.rows[-1][-1] + data.strip()] if self.rows[-1] else []

    def tags(self, name):
        return [attributes for tag, attributes in self.elements if tag == name]

    def inline(self, name):
        return self._inline[name]


def maker(run, target: Path):
    """Return what makes the page of a file, at ``target``."""

    def made(source: Path, *arguments: object) -> Page:
        code, _, err = run("report", source, "-o", target, *arguments)
        assert code == 0, err
        return Page(target.read_text())

    return made
