"""One self-contained HTML page about an annotated file; every text it shows is escaped, and nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from splicebert_vep_spec import Status, Value, format_number

from ...annotator import Annotator
from ...errors import SettingsError, require
from ...genome.contigs import canonical_name
from ...genome.gene_index import GeneIndex, Transcript
from ...scoring.delta import MAXIMUM
from ...settings import DISTURBED
from ...variants import Variant
from ..drawing import cut, drawing, plain_words, position_words, svg
from ..plot import Profile, describe, draw
from ..plot import profile as profile_of
from ..top import reason
from ..transcript_picture import describe_effect, draw_transcript
from .collect import (
    DRAWN,
    NOT_ANNOTATED,
    SPLICEAI,
    SPLICEAI_THRESHOLD,
    STATUSES,
    AnnotatedVcf,
    Beside,
    Collected,
    Row,
    hits_site,
    is_unseen,
    order_of,
    place_of,
)

#: Provenance that a picture must share with its file, with the options that set it.
_SAME = (
    ("WeightsSHA256", "--model"),
    ("ScoreDigest", "--model, --backend and --precision"),
    ("AnnotationDigest", "-A"),
    ("SpliceModelSHA256", "--splice-model"),
)
_TOLERANCE = 1e-3  # above the digits that the file prints and the differences between processors
_AS_ANNOTATED = "give {} as for the run that annotated the file, or no -R for a page without pictures"


def check_same(provenance: Mapping[str, str], annotator: Annotator, where: str) -> None:
    """Raise SettingsError where an annotator has not the model, options and genes of a file's provenance."""
    opened = annotator.run.provenance
    for name, option in _SAME:
        if name in opened and provenance.get(name) != opened[name]:
            of = ", ".join(opened[one] for one in ("Model", "SpliceModel", "Annotation") if one in opened)
            raise SettingsError(
                "The pictures would not be of the model and genes that the file's scores are of.",
                needed=f"{name} {provenance.get(name, 'as in the file, which does not say')}",
                found=f"{opened[name]}, of {of}", where=where,
                remedy=_AS_ANNOTATED.format(option),
            )  # fmt: skip


def draw_tracks(cards: Sequence[Card], annotator: Annotator, provenance: Mapping[str, str]) -> Iterator[Card]:
    """Add what the models say of REF and ALT to cards of a file of some provenance, one by one.

    Raises:
        SettingsError: the scores differ from the file's, as with another reference; or there is none to compare, and
            the reference is another.
    """
    wanted, opened = provenance.get("ReferenceSHA256"), annotator.run.provenance["ReferenceSHA256"]
    for card in cards:
        row = card.row
        if row.fields.get("STATUS") != Status.OK:
            yield card
            continue
        found = profile_of(annotator, Variant(row.chrom, row.pos, row.ref, row.alt), row.fields.get("GENE"))
        of_file = _compared(row, found)
        if not of_file and wanted != opened:
            raise SettingsError(
                f"No score of {name_of(row)} tells that the reference is the one that the file was annotated with.",
                needed=f"ReferenceSHA256 {wanted or 'as in the file, which does not say'}", found=opened,
                where=row.where, remedy=_AS_ANNOTATED.format("-R"),
            )  # fmt: skip
        found = replace(found, values={**found.values, **of_file})  # the page shows one number, to the last digit
        yield card._replace(tracks=svg(draw(found, with_transcript=not card.transcript)), words=describe(found))


def _compared(row: Row, found: Profile) -> dict[str, Value]:
    """Return the scores of a row that its picture has too, as the file has them; raise where they differ."""
    same: dict[str, Value] = {}
    for name, value in found.values.items():
        written = row.number(name) if isinstance(value, float) else None
        if written is None or not isinstance(value, float):
            continue
        if abs(written - value) > _TOLERANCE * max(1.0, abs(value)):
            raise SettingsError(
                f"The scores of {name_of(row)} come out otherwise than in the file, so its picture would be wrong.",
                needed=f"{name} {row.fields[name]}, as in the file", found=f"{value:.4f}", where=row.where,
                remedy=f"{_AS_ANNOTATED.format('-R')}; if it is that, annotate again",
            )  # fmt: skip
        same[name] = written
    return same


#: Zero-shot scores, the one that was measured best first; a page's table has one of them.
ZERO_SHOT = ("KL_SS", "KL_CTX", "LLR", "PLLR")
#: Scores of a card, beside those of delta scores.
_CARD_SCORES = ("KL_SS", "KL_DONOR", "KL_ACCEPTOR", "KL_CTX", "PCTL_KL_CTX", "LLR", "PCTL_LLR", "PLLR")
#: Scores that are shown small under their sum, with their names.
_PARTS = {"KL_SS": (("KL_DONOR", "donor"), ("KL_ACCEPTOR", "acceptor"))}
_NOTES = {
    "KL_SS": "Of one site and of two it is not on one scale: KL_DONOR and KL_ACCEPTOR under it say which are in it.",
    "PLLR": "Compare it among alleles of one length only: a deletion's is large whatever it disturbs.",
}
_DELTAS = {"AG": "acceptor gain", "AL": "acceptor loss", "DG": "donor gain", "DL": "donor loss"}
_SMALL = 0.001
_DELTA_NOTE = "under it gains and losses of acceptors and donors (AG, AL, DG, DL) that are not 0, with nt from POS"
_FIRST_COLUMNS = (
    ("variant", "Variant", "Contig, 1-based position, REF and ALT as in the VCF, and its ID. It leads to the card, or "
     "is a permanent link to the row."),
    ("gene", "Gene and names", "Gene, HGVS name of the allele, predicted HGVS name of the RNA, reported transcript, "
     "and place in it."),
    ("says", "What it does", "What the allele does to the reported transcript by its delta scores; else why there is "
     "no answer."),
)  # fmt: skip
_SPLICEAI_STATUS = "SpliceAI_STATUS"


class TableColumn(NamedTuple):
    """A column of the table."""

    id: str  # field id, or a name of the page's own
    label: str  # its heading
    note: str  # meaning of a high or low value, under the heading
    kind: str  # how it sorts: text, high or low; numbers sort the more disturbed ones first
    meaning: str  # a sentence for the legend


def table_columns(vcf: AnnotatedVcf, collected: Collected, known: Beside) -> list[TableColumn]:
    """Return the columns for a file's fields."""
    fields, score = vcf.fields, collected.score
    answers = MAXIMUM in fields or collected.unscored.total > 0
    found = [
        TableColumn(name, label, "", "text", meaning)
        for name, label, meaning in _FIRST_COLUMNS
        if answers or name != "says"
    ]
    zero_shot = [name for name in ZERO_SHOT if name in fields][:1]
    for name in dict.fromkeys((MAXIMUM, SPLICEAI, score, *zero_shot)):
        if name not in fields:
            continue
        note = vcf.directions.get(name, "")
        more = _DELTA_NOTE if name in (MAXIMUM, SPLICEAI) else _NOTES.get(name, "")
        status = fields.get(_SPLICEAI_STATUS, "") if name == SPLICEAI else ""
        meaning = ". ".join(filter(None, (fields[name], status, more)))
        label = {SPLICEAI: "SpliceAI"}.get(name, name)
        found.append(TableColumn(name, label, note, "low" if note.startswith("negative") else "high", meaning))
    if known.clinvar:
        meaning = f"ClinVar's significance, {known.clinvar.name} of the file."
        found.append(TableColumn("clinvar", "ClinVar", "", "text", meaning))
    if known.frequency:
        meaning = f"Frequency in gnomAD, {known.frequency.name} of the file."
        found.append(TableColumn("frequency", "gnomAD", "frequency", "high", meaning))
    if known.samples or known.zygosity:
        meaning = "Zygosity for this ALT: het, hom, hemi (a single allele is called), absent, half call or no call."
        if known.counted:
            meaning = f"How many of the {len(known.samples):,} samples have this ALT; --samples names some."
        found.append(TableColumn("samples", "Samples", "", "text", meaning))
    if vcf.assembly in _LINKS or _is_clinvars(vcf):
        meaning = "Pages of ClinVar, gnomAD and the UCSC genome browser; none is asked before you follow the link."
        found.append(TableColumn("links", "Look up", "", "text", meaning))
    return found


def name_of(row: Row) -> str:
    """Return an allele's name, long alleles cut."""
    return f"{row.chrom}-{row.pos}-{cut(row.ref)}-{cut(row.alt)}"


def plain_value(text: str) -> str:
    """Return a text of INFO as it was before ``escape_info``, but for white space."""
    return text.replace("&", ",").replace("%3B", ";").replace("%3D", "=")


def says(row: Row, vcf: AnnotatedVcf) -> str:
    """Return in a sentence what an allele does, or why that is not known."""
    status = row.fields.get("STATUS", NOT_ANNOTATED)
    if status != Status.OK:
        return STATUSES.get(status, status)
    if "EFFECT_TEXT" in row.fields or MAXIMUM in row.fields:
        text = reason(row)
        return text[0].upper() + text[1:]
    if MAXIMUM in vcf.fields:
        return "No delta scores: the window of the splice-site model does not hold the allele."
    return ""


def place_words(row: Row) -> str:
    """Return region, offset, and number of exon or intron."""
    fields = row.fields
    if "REGION" not in fields:
        return ""
    region, offset = fields["REGION"], fields.get("SITE_OFFSET")
    if region == "intron" and "INTRON" in fields:
        words = list(filter(None, (f"intron {fields['INTRON']}", offset)))
    else:
        words = [position_words(region, offset)]
        words += [f"{name.lower()} {fields[name]}" for name in ("EXON", "INTRON") if name in fields]
    if "SITE_HIT" in fields:
        words.append("both dinucleotides" if fields["SITE_HIT"] == "both" else f"{fields['SITE_HIT']} dinucleotide")
    if "OTHER_REGION" in fields:
        words.append(f"{position_words(fields['OTHER_REGION'], fields.get('OTHER_OFFSET'))} in another transcript")
    return ", ".join(words)


def _cell(row: Row, column: str, vcf: AnnotatedVcf, known: Beside) -> str:
    """Return a cell; numbers as the VCF prints them, empty where missing."""
    fields = row.fields
    if column == "variant":
        return name_of(row)
    if column == "gene":
        return row.gene or ""
    if column == "says":
        return says(row, vcf)
    if column == "clinvar":
        return _words(known.clinvar.value(row)) if known.clinvar else ""
    if column == "frequency":
        return known.frequency.value(row) if known.frequency else ""
    if column == "samples":
        return _samples(row, known)
    if column == SPLICEAI and column not in fields and fields.get(_SPLICEAI_STATUS) != "FOUND":
        return fields.get(_SPLICEAI_STATUS, "")
    return fields.get(column, "")


def _words(text: str) -> str:
    return ", ".join(part.replace("_", " ").strip() for part in re.split(r"[|&,]", text))


def _samples(row: Row, known: Beside) -> str:
    if known.zygosity:
        return _words(known.zygosity.value(row))
    found = known.genotypes(row)
    if not known.counted:
        return ", ".join(f"{name} {word}" for name, word, _ in found)
    counts = Counter(word for _, word, _ in found)
    return ", ".join(
        f"{counts[word]:,} {word}" for word in ("hom", "hemi", "het", "half call", "no call") if counts[word]
    )


def _deltas(row: Row, prefix: str) -> list[str]:
    """Return gains and losses that are not 0, the largest first, each with its place."""
    found = [(number, name, row.fields.get(f"{prefix}DP_{name}")) for name in _DELTAS
             if (number := row.number(f"{prefix}DS_{name}")) is not None and number >= 0.005]  # fmt: skip
    return [f"{name} {number:.2f}" + (f" ({int(at):+d})" if _is_whole(at) else "")
            for number, name, at in sorted(found, key=lambda one: -one[0]) for at in [at or ""]]  # fmt: skip


def _is_whole(text: str) -> bool:
    return re.fullmatch(r"-?\d{1,12}", text) is not None


def _parts(row: Row, column: TableColumn) -> list[str]:
    if column.id in (MAXIMUM, SPLICEAI):
        return _deltas(row, "" if column.id == MAXIMUM else "SpliceAI_")[:2]
    parts = [(word, row.number(name)) for name, word in _PARTS.get(column.id, ())]
    return [
        f"{word} {f'{value:.3f}' if value >= _SMALL else f'< {_SMALL}'}" for word, value in parts if value is not None
    ]


def _type(row: Row) -> str:
    """Return SNV or other; a spanning deletion has one character, and is none."""
    return "SNV" if all(len(bases) == 1 and bases in "ACGTacgt" for bases in (row.ref, row.alt)) else "other"


#: By assembly: ClinVar's field of positions, gnomAD's data set, UCSC's name.
_LINKS = {"GRCh38": ("chrpos38", "gnomad_r4", "hg38"), "GRCh37": ("chrpos37", "gnomad_r2_1", "hg19")}
_AROUND = 30  # nt that UCSC shows on both sides
_LONGEST_NAME = 60  # nt that an address of gnomAD holds


def _is_clinvars(vcf: AnnotatedVcf) -> bool:
    """Tell whether a file is ClinVar's own, whose ids are those of its pages."""
    return {"ALLELEID", "CLNVC"} <= vcf.infos.keys()


def links_of(row: Row, vcf: AnnotatedVcf) -> list[tuple[str, str]]:
    """Return names and addresses of pages about an allele; every part that a file can hold is quoted."""
    found = []
    chrom = canonical_name(row.chrom)
    is_human = vcf.assembly in _LINKS and re.fullmatch(r"[1-9]|1\d|2[0-2]|X|Y", chrom) is not None
    place, release, browser = _LINKS.get(vcf.assembly or "", ("", "", ""))
    if _is_clinvars(vcf) and row.id.isdecimal():
        found.append(("ClinVar", f"https://www.ncbi.nlm.nih.gov/clinvar/variation/{quote(row.id)}/"))
    elif is_human:
        term = f"{chrom}[chr] AND {row.pos}[{place}]"
        found.append(("ClinVar", f"https://www.ncbi.nlm.nih.gov/clinvar/?term={quote(term)}"))
    if not is_human:
        return found
    bases = f"{row.ref}-{row.alt}".upper()
    if re.fullmatch(r"[ACGT]+-[ACGT]+", bases) and len(bases) <= _LONGEST_NAME:
        address = f"variant/{chrom}-{row.pos}-{bases}"
    else:
        address = f"region/{chrom}-{row.pos}-{row.pos + len(row.ref) - 1}"
    found.append(("gnomAD", f"https://gnomad.broadinstitute.org/{address}?dataset={release}"))
    span = f"chr{chrom}:{max(1, row.pos - _AROUND)}-{row.pos + len(row.ref) - 1 + _AROUND}"
    found.append(("UCSC", f"https://genome.ucsc.edu/cgi-bin/hgTracks?db={browser}&position={quote(span)}"))
    return found


_TEMPLATE = Path(__file__).parent / "template"
_GENES_NAMED = 20

LIMITS = (
    "Prediction, not observation. A sentence says what the splice-site model's answers for REF and ALT lead to on the "
    "reported transcript. It is not measured RNA, and it does not say that anyone is ill.",
    "Not judgeable is not harmless. Where the model hardly sees a site in REF it cannot tell its loss: a small DS_MAX "
    "means nothing there.",
    "Missing is not low. An allele without scores has a status that says why; it was not found harmless.",
    "Sequence only. The models see a stretch of pre-mRNA sequence around one allele. They know nothing of tissue, age "
    "or sex, of expression, of RNA structure, or of other variants on the same chromosome.",
    "Not calibrated. Scores are not calibrated to ACMG/AMP evidence; there is no PP3 or BP4 threshold, and none may be "
    "read off this page.",
    "A splice site that is deleted has no KL score. Its bases have no counterpart in ALT, so the greatest damage can "
    "have the lowest KL_SS. Alleles that touch a splice-site dinucleotide are in the table whatever their scores.",
)

#: Labels of a provenance line's entries, in the order shown; other names are shown as they are, after these.
_LABELS = {
    "Version": "Program version", "ScoreVersion": "Score version", "ScoreDigest": "Score digest", "Backend": "Backend",
    "Model": "Model", "Quality": "Measured quality", "WeightsSHA256": "Weights, SHA-256",
    "Architecture": "Architecture", "Window": "Window, nt", "Flank": "Flank read on each side, nt", "Scores": "Scores",
    "SpliceModel": "Splice-site model of delta scores", "SpliceModelQuality": "Its measured quality",
    "SpliceModelSHA256": "Its weights, SHA-256",
    "DeltaDistance": "How far delta scores look, nt", "DeltaMask": "Delta scores masked", "Precision": "Precision",
    "Device": "Device",
    "BatchTokens": "Tokens in a call", "Reference": "Reference", "ReferenceSHA256": "Reference, SHA-256",
    "Annotation": "Gene annotation", "AnnotationDigest": "Gene annotation, digest",
    "Calibration": "Calibration table, SHA-256", "Store": "Score store", "Plugins": "Plugins",
}  # fmt: skip


def check_page() -> None:
    """Raise SettingsError where matplotlib or jinja2 is not installed."""
    require("matplotlib", "jinja2", extra="report")


class Card(NamedTuple):
    """Drawings and words about one of the first rows of a page.

    Args:
        transcript: drawing of the reported transcript, SVG; empty where its exons are not known.
        tracks: drawing with the models' own answers, SVG; empty without a reference.
        words: of that drawing.
    """

    row: Row
    transcript: str
    tracks: str = ""
    words: str = ""


def transcript_of(row: Row, genes: GeneIndex) -> Transcript | None:
    """Return the transcript that a row is about; None where these genes do not have it."""
    name = row.fields.get("TRANSCRIPT")
    for transcript in genes.transcripts(row.chrom, row.pos - 1, row.pos - 1 + len(row.ref)):
        if transcript.transcript_id == name and row.fields.get("GENE") == transcript.gene_id:
            return transcript
    return None


def draw_cards(rows: Sequence[Row], genes: GeneIndex | None) -> list[Card]:
    """Draw the transcripts of rows; without genes, and where the model gave no answer, there is no drawing."""
    cards = []
    for row in rows:
        transcript = transcript_of(row, genes) if genes and MAXIMUM in row.fields else None
        drawing = draw_transcript(row.fields, row.pos, row.ref, row.alt, transcript) if transcript else None
        cards.append(Card(row, svg(drawing) if drawing else ""))
    return cards


def render(
    vcf: AnnotatedVcf, found: Collected, cards: Sequence[Card], known: Beside, version: str, *, drawn: bool
) -> str:
    """Return the page of a file that was read to its end; ``drawn``: a reference was given."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    style, script = ((_TEMPLATE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    labels = {name: _LABELS.get(name, name) for name in (*_LABELS, *vcf.provenance) if name != "Note"}
    return environment.get_template("page.html").render(
        # The hashes let no other style or script run, even if some text of the file got past the escaping.
        style=Markup(style), script=Markup(script), style_hash=_hash(style), script_hash=_hash(script),
        version=version, name=Path(vcf.name).name, provenance=vcf.provenance,
        labels=[(label, vcf.provenance[name]) for name, label in labels.items() if name in vcf.provenance],
        found=found, kinds=_kinds(found), has_deltas=MAXIMUM in vcf.fields, threshold=DISTURBED,
        statuses=[(status, found.statuses[status], STATUSES.get(status, "")) for status in found.occurring],
        limits=LIMITS, genes=found.genes.most_common(_GENES_NAMED), distributions=_distributions(found, vcf),
        drawn_scores=DRAWN, direction=vcf.directions.get(found.score, "the largest first"), number=format_number,
        parts=_parts, drawn=drawn, **_table(vcf, found, cards, known),
    )  # fmt: skip


def _table(vcf: AnnotatedVcf, found: Collected, cards: Sequence[Card], known: Beside) -> dict[str, Any]:
    columns = table_columns(vcf, found, known)
    classed = "REGION_CLASS" in vcf.fields
    numbers = {id(card.row): number for number, card in enumerate(cards, start=1)}
    taken: set[str] = set()
    rows = []
    for row in found.shown:
        rows.append(
            {
                "row": row, "cells": [_cell(row, column.id, vcf, known) for column in columns],
                "place": place_of(row, classed=classed) or "", "type": _type(row), "card": numbers.get(id(row)),
                "anchor": _anchor(row, taken), "hit": hits_site(row), "unseen": is_unseen(row),
                "where": place_words(row), "links": links_of(row, vcf), "effect": row.fields.get("EFFECT", ""),
                "hgvsc": plain_value(row.fields.get("HGVSC", "")).rpartition(":")[2],
                "hgvsr": plain_value(row.fields.get("HGVSR", "")),
                "disturbed": (row.number(MAXIMUM) or 0) >= DISTURBED,
            }
        )  # fmt: skip
    there = {row.fields.get("STATUS") for row in found.shown}
    by_row = {id(item["row"]): item for item in rows}
    return {
        "columns": columns, "rows": rows, "classed": classed, "every_gene": vcf.every_gene,
        "gene_names": sorted({row.gene for row in found.shown if row.gene}, key=str.casefold),
        "places": sorted({str(row["place"]) for row in rows if row["place"]}, key=order_of),
        "effects": sorted({str(row["effect"]) for row in rows if row["effect"]}),
        "status_names": [status for status in found.occurring if status in there],
        "pictured": any(card.transcript for card in cards),
        "cards": [_card(card, by_row[id(card.row)], vcf, known) for card in cards],
    }  # fmt: skip


def _card(card: Card, item: dict[str, Any], vcf: AnnotatedVcf, known: Beside) -> dict[str, Any]:
    """Return what the card of a row shows."""
    row = card.row
    fields = row.fields
    facts = [
        ("Effect", describe_effect(fields)),
        ("RNA, predicted", item["hgvsr"]),
        ("Protein, predicted", plain_value(fields.get("EFFECT_PROTEIN", ""))),
        ("Transcript", " ".join(filter(None, (fields.get("TRANSCRIPT", ""), item["where"])))),
        ("Genome", plain_value(fields.get("HGVSG", ""))),
        ("ClinVar", _cell(row, "clinvar", vcf, known)),
        ("gnomAD frequency", _cell(row, "frequency", vcf, known)),
        ("Samples", _samples(row, known) if known.counted or known.zygosity
         else ", ".join(f"{name} {word} ({genotype})" for name, word, genotype in known.genotypes(row))),
    ]  # fmt: skip
    scores = [
        (words, *(_delta_cells(row, name, prefix) for prefix in ("", "SpliceAI_")))
        for name, words in _DELTAS.items()
        if f"DS_{name}" in vcf.fields or f"SpliceAI_DS_{name}" in vcf.fields
    ]
    return {
        **item, "number": item["card"], "facts": [fact for fact in facts if fact[1]], "deltas": scores,
        "joined": SPLICEAI in vcf.fields, "says": says(row, vcf),
        "zero_shot": [(name, fields[name]) for name in _CARD_SCORES if name in fields],
        "transcript": _uri(card.transcript) if card.transcript else "",
        "tracks": _uri(card.tracks) if card.tracks else "", "words": card.words,
    }  # fmt: skip


def _delta_cells(row: Row, name: str, prefix: str) -> str:
    score, at = row.fields.get(f"{prefix}DS_{name}", ""), row.fields.get(f"{prefix}DP_{name}", "")
    return f"{score} at {row.pos + int(at):,}" if score.strip("0.") and _is_whole(at) else score


_NOT_IN_ANCHOR = re.compile(r"[^A-Za-z0-9.]+")


def _anchor(row: Row, taken: set[str]) -> str:
    """Return a fragment for a row, the same for the same allele and gene in every page; equal ones are numbered."""
    words = (row.chrom, str(row.pos), row.ref[:20], row.alt[:20], row.gene or "")
    plain = anchor = "v-" + "-".join(_NOT_IN_ANCHOR.sub("_", word) for word in words if word)
    number = 2
    while anchor in taken:
        anchor, number = f"{plain}-{number}", number + 1
    taken.add(anchor)
    return anchor


def _kinds(found: Collected) -> list[str]:
    """Return in words which rows the table has."""
    words = [f"the {len(found.top):,} of {found.scored:,} that are first by {found.score}"]
    if found.scored == len(found.top):
        words = [f"all {found.scored:,} that have {found.score}"]
    for kind, what in (
        (found.without, f"that are scored and lack {found.score}"),
        (found.unseen, "that are not judgeable"),
        (found.hits, "that touch a splice-site dinucleotide"),
        (found.elsewhere, f"elsewhere with a SpliceAI score of {SPLICEAI_THRESHOLD} or more"),
        (found.unscored, "without scores"),
    ):
        if kind.total:
            every = f"all {kind.total:,}" if kind.total > 1 else "1"
            some = f"the first {len(kind.rows):,} of {kind.total:,}"
            words.append(f"{every if kind.total == len(kind.rows) else some} {what}")
    return words


_BOX, _MEDIAN = "#9CC9E3", "#333333"
_LOGARITHMIC, _FLOOR = "KL_SS", 1e-6  # the floor is that of the published context score
_PERCENTILES = (5, 25, 50, 75, 95)
_LEAST = 10  # values that make a box; fewer are drawn one by one


def _distributions(found: Collected, vcf: AnnotatedVcf) -> dict[str, Any]:
    """Return a picture of each score's values by place, and its figures: place, count and percentiles."""
    values = {
        score: {place: np.asarray(by_place[place], dtype=np.float64) for place in sorted(by_place, key=order_of)}
        for score, by_place in found.values.items()
        if by_place
    }
    if not values:
        return {"image": None, "figures": []}
    figures = [
        (score, [(place, len(one), np.percentile(one, _PERCENTILES).tolist()) for place, one in by_place.items()])
        for score, by_place in values.items()
    ]
    return {"image": _uri(svg(draw_distributions(values, vcf.directions))), "figures": figures}


def draw_distributions(values: Mapping[str, Mapping[str, Any]], directions: Mapping[str, str]) -> Any:
    """Return a matplotlib figure of score -> place -> values: a panel for every score, a row for every place."""
    places = sorted({place for by_place in values.values() for place in by_place}, key=order_of)
    with drawing():
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, NullLocator

        figure: Any = Figure(figsize=(11, 0.9 + 0.42 * len(places)), layout="constrained")
        panels = figure.subplots(1, len(values), sharey=True, squeeze=False)[0]
        for axes, (score, by_place) in zip(panels, values.items(), strict=True):
            for y, place in enumerate(places):
                if place in by_place:
                    _draw_row(axes, y, np.maximum(by_place[place], _FLOOR if score == _LOGARITHMIC else -np.inf))
            if score == MAXIMUM:
                axes.set_xlim(-0.02, 1.02)
            if score == _LOGARITHMIC:
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(numticks=4))
                axes.xaxis.set_major_formatter("{x:g}")
                axes.xaxis.set_minor_locator(NullLocator())
            axes.set_title(f"{score}\n({directions.get(score, '')})", fontsize=9, fontweight="bold")
            axes.set_ylim(len(places) - 0.5, -0.5)
            axes.grid(axis="x", alpha=0.3)
        first = next(iter(values.values()))
        labels = [f"{plain_words(place)} (n = {len(first.get(place, ())):,})" for place in places]
        panels[0].set_yticks(range(len(places)), labels)
    return figure


def _draw_row(axes: Any, y: int, values: Any) -> None:
    if len(values) < _LEAST:
        axes.plot(values, [y] * len(values), "o", ms=4, color=_BOX, markeredgecolor=_MEDIAN)
        return
    p5, p25, median, p75, p95 = np.percentile(values, _PERCENTILES)
    axes.plot([p5, p95], [y, y], color=_MEDIAN, linewidth=1)
    axes.barh(y, p75 - p25, left=p25, height=0.55, color=_BOX, edgecolor=_MEDIAN, linewidth=0.8)
    axes.plot([median, median], [y - 0.275, y + 0.275], color=_MEDIAN, linewidth=2.5)
    axes.plot(values.max(), y, "|", ms=8, color=_MEDIAN)
    axes.plot(values.min(), y, "|", ms=8, color=_MEDIAN)


def _uri(drawing: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(drawing.encode()).decode()}"


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
