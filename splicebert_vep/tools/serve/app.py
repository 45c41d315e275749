"""A look-up page and JSON on this machine: variants in, scores out, with one model that stays in memory."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ipaddress
import logging
import math
import re
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qs

import anyio
import uvicorn
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from splicebert_vep_spec import RunInfo, Status, Value, escape_info, format_value

from ...annotator import Annotator
from ...consequence.hgvs import FoundName, HgvsName, read_variant
from ...errors import BuildError, SettingsError, SpliceBertError, VcfError, folded, shortened
from ...genome.contigs import known_assembly
from ...joins.join import Joins
from ...outputs.tables import objects
from ...plugins import one_line
from ...scoring.delta import EVENTS, MAXIMUM, NAME
from ...settings import CONTEXT_FIELDS, DISCLAIMER, MASKS
from ...variants import Variant, words_of
from ...vcf.header import VcfHeader
from ...vcf.read import VcfRecord
from ...version import __version__
from ..report.collect import Row, is_unseen
from ..report.page import draw_cards, name_of, place_words
from ..top import reason

MOST_BYTES = 1_000_000
_DRAINED = 64_000_000  # of a body that is too long: a browser shows an answer only after it has sent all
_TOGETHER = 4  # alleles that are scored before the next visitor has a turn
_WAITING = 16  # requests that may wait for the model
_LONGEST_NAME = 1000  # characters of a variant that is not a line of a VCF
_CLIENTS = 1024  # addresses whose requests are counted
_CARDS = 10  # alleles of a list that are shown in full
_STOPPING = 3  # seconds that a request may take to end

#: SpliceAI's words for the two maskings that it has.
_MASKS = {"none": "0", "after": "1"}
#: How SpliceAI-lookup writes why a transcript was chosen.
_PRIORITIES = {"MANE_Select": "MS", "MANE_Plus_Clinical": "MP", "Ensembl_canonical": "C"}
_GENE_KEYS = {"GENE": "g_id", "SYMBOL": "g_name", "TRANSCRIPT": "t_id", "BIOTYPE": "t_type", "STRAND": "t_strand"}
_NOT_SCORES = {"CHROM", "POS", "ID", "REF", "ALT", "START", "SPAN_REF", "SPAN_ALT", "TRANSCRIPT_CHOICE", "REASON"}
_SHOWN = ("KL_SS", "KL_CTX", "LLR", "PLLR", "SpliceAI_DS_MAX")

T = TypeVar("T")
log = logging.getLogger(__name__)

Values = dict[str, Value]
"""A row of ``--emit tsv`` by column."""


class Question(NamedTuple):
    """An allele or a name as it was asked for."""

    text: str
    asked: Variant | HgvsName


class Problem(NamedTuple):
    """A part of the text that cannot be answered, and why, in a sentence."""

    text: str
    error: str


class Answer(NamedTuple):
    """The outcome for one question.

    Args:
        text: as it was asked.
        variant: that was scored.
        note: about the transcript that a name was read on; else empty.
        rows: one per gene, never empty; the first is of the gene that ``score`` reports first.
    """

    text: str
    variant: Variant
    note: str
    rows: list[Values]

    @property
    def score(self) -> float:
        """The largest DS_MAX of its genes; minus infinity where there is none."""
        found = [value for row in self.rows if isinstance(value := row.get(MAXIMUM), float)]
        return max(found, default=-math.inf)


def sentence(error: SpliceBertError) -> str:
    """Return an error on one line, without the paths of this machine."""
    parts = [error.problem.rstrip("."), *(f"{word}: {shortened(text)}" for word, text in
             (("needed", error.needed), ("found", error.found)) if text), folded(error.remedy)]  # fmt: skip
    return "; ".join(filter(None, parts))


def read_text(text: str, most: int) -> tuple[list[Question], list[Problem], VcfHeader]:
    """Read what a visitor gives: variants and HGVS names, by lines or commas, or records of a VCF, header or not.

    Returns:
        The questions and problems, both in their order, and the header lines.

    Raises:
        HTTPException: there are more than ``most``.
    """
    questions: list[Question] = []
    problems: list[Problem] = []
    header: list[bytes] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("#"):
            header.append(line.encode())
            continue
        try:
            record = _record(line, number)
            words = _alleles(record) if record else words_of(" ".join(line.split()).strip("'\""))
        except VcfError as error:
            problems.append(Problem(shortened(line), sentence(error)))
            continue
        if len(questions) + len(problems) + len(words) > most:
            remedy = "annotate a file with 'splicebert-vep annotate', or start the server with a larger --most"
            raise HTTPException(413, f"At most {most:,} variants are answered at a time; {remedy}.")
        for word in words:
            try:
                questions.append(word if isinstance(word, Question) else _question(word))
            except SpliceBertError as error:
                problems.append(Problem(shortened(str(word)), sentence(error)))
    return questions, problems, VcfHeader(tuple(header))


def _question(word: str) -> Question:
    if len(word) > _LONGEST_NAME:  # a pattern may take the square of the length
        raise SettingsError(
            f"A variant has more than {_LONGEST_NAME:,} characters.", found=word, remedy="give it as a line of a VCF"
        )
    return Question(shortened(word), read_variant(word))


def _record(line: str, number: int) -> VcfRecord | None:
    """Return a line of a VCF, whose tabs may have become spaces on the way; None where it is no such line."""
    words = line.split("\t") if "\t" in line else line.split()
    if len(words) < 5 or not words[1].strip().isdecimal() or re.fullmatch("[ACGTN]+", words[2], re.IGNORECASE):
        return None
    columns = [word.strip() for word in (*words, *"...")][:8]
    return VcfRecord("\t".join(columns).encode(), number, "line")


def _alleles(record: VcfRecord) -> list[Question]:
    if not record.alts:
        problem = f"The record {record.chrom}:{record.pos} has no ALT, so there is nothing to score."
        raise VcfError(problem, where=record.where)
    known = f" ({record.id})" if record.id not in (".", "") else ""
    variants = [Variant(record.chrom, record.pos, record.ref, alt) for alt in record.alts]
    return [Question(shortened(f"{variant}{known}"), variant) for variant in variants]


class Desk:
    """Answer questions with one annotator.

    Args:
        annotator: that scores; the caller closes it.
        joins: other programs' scores, from ``Annotator.open_joins``; the caller closes them.
    """

    def __init__(self, annotator: Annotator, joins: Joins) -> None:
        self._annotator, self._joins = annotator, joins
        self._run = RunInfo(tuple(joins.run.fields), {**annotator.run.provenance, **joins.run.provenance})
        self.assembly = annotator.reference.assembly

    @property
    def provenance(self) -> Mapping[str, str]:
        """Program, models, settings and files of the run: enough to reproduce every digit."""
        return self._run.provenance

    @property
    def threshold(self) -> float:
        """DS_MAX from which an allele counts as disturbing."""
        return self._annotator.delta.threshold

    @property
    def descriptions(self) -> dict[str, str]:
        """Meaning of every column about the gene and of every score."""
        return {spec.id: spec.description for spec in (*CONTEXT_FIELDS.values(), *self._run.fields)}

    def check_assembly(self, asked: str) -> None:
        """Raise HTTPException where positions are said to be of another assembly than the FASTA's; empty says nothing.

        Args:
            asked: in words, ``GRCh38``, ``hg38`` or ``38``.
        """
        if not asked:
            return
        named = known_assembly(f"GRCh{asked}" if asked.isdecimal() else asked)
        if named is None:
            raise HTTPException(400, f"No assembly is known as {shortened(asked)}: say GRCh38 or GRCh37.")
        if self.assembly is None:
            problem = "The FASTA of this server does not tell its assembly, so nobody can see that it is"
            raise HTTPException(400, f"{problem} {named}: leave the assembly out if you know.")
        if named != self.assembly:
            problem = f"The positions are said to be of {named}, and this server has {self.assembly}."
            remedy = "Lift them over, give an HGVS name on a transcript, or ask a server of that assembly."
            raise HTTPException(400, f"{problem} {remedy}")

    def check_build(self, header: VcfHeader, questions: Sequence[Question]) -> None:
        """Raise BuildError where a VCF's header, or the bases of 20 or more variants, are of another build."""
        variants = [one.asked for one in questions if isinstance(one.asked, Variant)]
        contigs = header.contigs()
        self._annotator.guard(contigs).observe((one.chrom, one.pos, one.ref) for one in variants)

    def answer(self, questions: Sequence[Question]) -> list[Answer | Problem]:
        """Return the outcome for each question, a problem where its name means nothing here."""
        try:
            found = [FoundName(one, "") if isinstance(one, Variant) else self._annotator.lookup(one)
                     for _, one in questions]  # fmt: skip
            results = list(self._annotator.score([one.variant for one in found], joins=self._joins))
        except (SettingsError, BuildError) as error:
            if len(questions) > 1:  # until the question that it is about stands alone
                return [outcome for one in questions for outcome in self.answer([one])]
            return [Problem(questions[0].text, sentence(error))]
        return [
            Answer(asked.text, one.variant, one.note, list(objects(result.report, self._run)))
            for asked, one, result in zip(questions, found, results, strict=True)
        ]

    def lookup(self, answer: Answer) -> dict[str, Any]:
        """Return an answer with the names that SpliceAI-lookup's JSON has, as far as it has the same things.

        Rows with scores are under ``scores``; a variant that has none has an ``error`` in their place.
        """
        variant, provenance = answer.variant, self.provenance
        scored = [row for row in answer.rows if row["STATUS"] == Status.OK]
        found: dict[str, Any] = {
            "variant": str(variant), "asked": answer.text, "genomeVersion": _version(self.assembly),
            "chrom": variant.chrom, "pos": variant.pos, "ref": variant.ref, "alt": variant.alt,
            **self.delta_settings,
            "source": f"splicebert-vep {__version__}: {provenance.get(NAME, 'no splice-site model')}",
            "licence": provenance.get("SpliceModelLicence"), "citation": provenance.get("SpliceModelCitation"),
            "quality": provenance.get("SpliceModelQuality"), "note": answer.note, "disclaimer": DISCLAIMER,
            "status": answer.rows[0]["STATUS"], "scores": [_scores(row) for row in scored],
        }  # fmt: skip
        if not scored:
            found["error"] = self.why(answer.rows[0])
        return found

    @property
    def delta_settings(self) -> dict[str, Any]:
        """``distance`` and ``mask`` of the delta scores as SpliceAI-lookup names them; None without delta scores."""
        provenance = self.provenance
        mask = provenance.get("DeltaMask")
        distance = provenance.get("DeltaDistance")
        return {"distance": int(distance) if distance else None, "mask": mask and _MASKS.get(mask, mask)}

    def check_delta(self, query: Mapping[str, str]) -> None:
        """Raise HTTPException where ``distance`` or ``mask`` are asked for that this server does not compute."""
        for name, own in self.delta_settings.items():
            asked = query.get(name)
            if asked is not None and asked != str(own):
                option = "--delta-distance" if name == "distance" else f"--mask {'|'.join(MASKS)}"
                problem = f"This server computes with {name} {own}, not {shortened(asked)}"
                raise HTTPException(400, f"{problem}: leave it out, or start another server with {option}.")

    def says(self, row: Row, values: Values) -> str:
        """Say in a sentence what an allele does to a gene's transcript, or why nobody knows."""
        if values["STATUS"] != Status.OK:
            return self.why(values)
        if values.get(MAXIMUM) is None:
            unasked = MAXIMUM not in values
            return "" if unasked else "No delta scores: the window of the splice-site model does not hold the allele."
        text = reason(row)
        return text[0].upper() + text[1:]

    def picture(self, row: Row) -> str:
        """Return the address of a report's drawing of a transcript around an allele; empty where nothing is drawn."""
        svg = draw_cards([row], self._annotator.genes)[0].transcript
        return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}" if svg else ""

    def why(self, row: Values) -> str:
        """Say why an allele has no scores."""
        words = f"{row['STATUS']}: {row['REASON'] or 'no scores'}"
        if row["STATUS"] in (Status.REF_MISMATCH, Status.NO_CONTIG) and self.assembly:
            words += f"; positions here are those of {self.assembly}"
        return words


def _version(assembly: str | None) -> str | None:
    """Return 38 for GRCh38, as SpliceAI-lookup does; another assembly's name whole."""
    return assembly and assembly.removeprefix("GRCh")


def _scores(row: Values) -> dict[str, Value]:
    gene = {key: row[name] for name, key in _GENE_KEYS.items()}
    chosen = _PRIORITIES.get(str(row["TRANSCRIPT_CHOICE"]), "N")
    rest = {name: value for name, value in row.items() if name not in _NOT_SCORES | _GENE_KEYS.keys()}
    return {**gene, "t_priority": chosen, **rest}


# ---- the page ------------------------------------------------------------------------------------------------------

_TEMPLATE = Path(__file__).parent / "template"
_LEAST_SHOWN = 0.005  # printed as 0.01; the place of a smaller one means nothing
_EVENT_WORDS = {"AG": "acceptor gained", "AL": "acceptor lost", "DG": "donor gained", "DL": "donor lost"}


class Card(NamedTuple):
    """An allele in one gene, in words and figures.

    Args:
        unseen: the allele seems quiet only because the model hardly sees the site beside it.
        picture: address of a drawing of the transcript with its changed sites; empty where nothing is drawn.
        deltas: event in words, score, position on the contig, p(REF) and p(ALT) where it is the largest loss or gain.
        scores: name, value and meaning of those beside the delta scores.
        rest: every value there is, in the same way.
    """

    title: str
    gene: str
    place: str
    about: list[tuple[str, str]]
    verdict: str
    disturbed: bool
    unseen: bool
    picture: str
    deltas: list[tuple[str, str, str, str]]
    scores: list[tuple[str, str, str]]
    rest: list[tuple[str, str, str]]


def _card(answer: Answer, values: Values, desk: Desk, *, drawn: bool = False) -> Card:
    described, texts = desk.descriptions, {name: format_value(value) for name, value in values.items()}
    fields = {name: escape_info(text) for name, text in texts.items() if text}
    variant = answer.variant
    row = Row(variant.chrom, variant.pos, ".", variant.ref, variant.alt, fields, "")
    scored = values["STATUS"] == Status.OK
    worst = values.get(MAXIMUM)
    names = {"HGVSC": "Name", "HGVSG": "Name on the chromosome", "HGVSR": "Predicted RNA",
             "EFFECT_PROTEIN": "Predicted protein", "TRANSCRIPT": "Transcript", "STRAND": "Strand"}  # fmt: skip
    return Card(
        title=name_of(row), gene=row.gene or "no gene", place=place_words(row),
        about=[(label, texts[name]) for name, label in names.items() if texts.get(name)],
        verdict=desk.says(row, values), disturbed=_number(worst) >= desk.threshold,
        unseen=scored and is_unseen(row), picture=desk.picture(row) if scored and drawn else "",
        deltas=list(_deltas(values, variant.pos)),
        scores=[(name, texts[name], described.get(name, "")) for name in _SHOWN if texts.get(name)],
        rest=[(name, text, described.get(name, "")) for name, text in texts.items() if text],
    )  # fmt: skip


def _deltas(values: Values, pos: int) -> Iterator[tuple[str, str, str, str]]:
    scores = {event: value for event in EVENTS if isinstance(value := values.get(f"DS_{event}"), float)}
    largest = {
        change: max(of, key=lambda event: scores[event])
        for change, letter in (("LOSS", "L"), ("GAIN", "G"))
        if (of := [event for event in scores if event.endswith(letter)])
    }
    for event, score in scores.items():
        offset = values.get(f"DP_{event}")
        change = "GAIN" if event.endswith("G") else "LOSS"
        before, after = values.get(f"{change}_P_REF"), values.get(f"{change}_P_ALT")
        p = ""
        if largest[change] == event and isinstance(before, float) and isinstance(after, float):
            p = f"{before:.2f} to {after:.2f}"
        at = f"{pos + offset:,}" if isinstance(offset, int) and score >= _LEAST_SHOWN else ""
        yield _EVENT_WORDS[event], f"{score:.2f}", at, p


class Pages:
    """The HTML of the look-up; every text of a visitor is escaped, and nothing is loaded from anywhere."""

    def __init__(self, desk: Desk, annotator: Annotator, most: int) -> None:
        environment = Environment(
            loader=FileSystemLoader(_TEMPLATE), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True,
        )  # fmt: skip
        style = (_TEMPLATE / "page.css").read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self.policy = (
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'self'; base-uri 'none'; "
            "frame-ancestors 'none'"
        )
        info, provenance = annotator.backend.info, desk.provenance
        self._page = partial(
            environment.get_template("page.html").render, style=Markup(style), version=__version__, most=most,
            assembly=desk.assembly, disclaimer=DISCLAIMER, threshold=desk.threshold,
            models=[
                words for words in (
                    f"{provenance[NAME]} ({provenance['SpliceModelLicence']}; {provenance['SpliceModelCitation']}): "
                    f"{provenance['SpliceModelQuality']}" if NAME in provenance else "",
                    f"{info.model}: {info.quality or 'quality not measured'}",
                ) if words
            ],
        )  # fmt: skip
        self._desk = desk

    def form(self) -> str:
        """Return the page without an answer."""
        return self._page(text="", answers=[], cards=[], problems=[], error="", pictures=False)

    def refusal(self, error: str, text: str = "") -> str:
        """Return the page with a sentence, and with what was asked, to be mended."""
        return self._page(text=text, answers=[], cards=[], problems=[], error=error, pictures=False)

    def answers(self, found: Sequence[Answer], problems: Sequence[Problem], text: str) -> str:
        """Return the page of answers, the largest DS_MAX first."""
        ordered = sorted(found, key=lambda answer: -answer.score)
        rows = []
        for number, answer in enumerate(ordered):
            by_score = sorted(answer.rows, key=lambda values: -_number(values.get(MAXIMUM)))
            cards = [_card(answer, values, self._desk, drawn=number < _CARDS) for values in by_score]
            rows.append((answer, by_score[0], cards))
        drawn = any(card.picture for *_, cards in rows for card in cards)
        return self._page(text=text, answers=rows, cards=rows[:_CARDS], problems=problems, error="", pictures=drawn)


def _number(value: Value) -> float:
    return value if isinstance(value, float) else -math.inf


# ---- the server ----------------------------------------------------------------------------------------------------


class Turns:
    """Let visitors at the model one at a time, in their order, and turn those away who are too many.

    Args:
        rate: requests that one address may make in a minute.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._lock = anyio.Lock()
        self._inside = 0
        self._busy, self._closed = threading.Lock(), False
        self._times: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address -> requests left, and when

    def admit(self, address: str) -> None:
        """Raise HTTPException (429) where an address asks too often."""
        now = time.monotonic()
        left, then = self._times.pop(address, (float(self._rate), now))
        left = min(self._rate, left + (now - then) * self._rate / 60)
        if len(self._times) >= _CLIENTS:
            self._times.popitem(last=False)
        self._times[address] = max(0.0, left - 1), now
        if left < 1:
            wait = math.ceil(60 / self._rate)
            problem = f"More than {self._rate} requests in a minute; send variants as one list, or wait."
            raise HTTPException(429, problem, headers={"Retry-After": str(wait)})

    @contextlib.contextmanager
    def visit(self) -> Iterator[None]:
        """Count a visitor who wants the model; HTTPException (503) where too many do."""
        if self._inside > _WAITING:
            problem = "Too many requests wait for the model; try again in some seconds."
            raise HTTPException(503, problem, headers={"Retry-After": "5"})
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def take(self, work: Callable[[], T]) -> T:
        """Return what some work gives, in a thread, once it is this visitor's turn."""
        async with self._lock:
            return await anyio.to_thread.run_sync(self._run, work)

    def _run(self, work: Callable[[], T]) -> T:
        with self._busy:
            if self._closed:
                raise HTTPException(503, "The server ends.")
            return work()

    def close(self) -> None:
        """Wait for the work in progress, which no cancelled request ends, and begin none any more."""
        with self._busy:
            self._closed = True


async def _body(request: Request) -> str:
    """Return the text that was sent; HTTPException (413) where it is too long."""
    kept, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > _DRAINED:
            break
        if size <= MOST_BYTES:
            kept.append(chunk)
    if size > MOST_BYTES:
        remedy = "send fewer variants, or annotate a file with 'splicebert-vep annotate'"
        raise HTTPException(413, f"The text is longer than {MOST_BYTES:,} bytes; {remedy}.")
    return b"".join(kept).decode("utf-8", "replace")


def _only(request: Request, *names: str) -> Mapping[str, str]:
    """Return the query by name; HTTPException where it has others, which would be left out in silence."""
    if unknown := [name for name in request.query_params if name not in names]:
        raise HTTPException(400, f"There is no parameter {shortened(unknown[0])}; there are {', '.join(names)}.")
    return request.query_params


def build_app(annotator: Annotator, joins: Joins, *, most: int, rate: int, hosts: Sequence[str] = ("*",)) -> Starlette:
    """Return the web application.

    Args:
        most: variants in one request.
        rate: requests that one address may make in a minute.
        hosts: names that the server answers to, so that no other site's name can be made to mean this machine.
    """
    desk, turns = Desk(annotator, joins), Turns(rate)
    pages = Pages(desk, annotator, most)
    headers = {
        "Content-Security-Policy": pages.policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin",
    }  # fmt: skip

    def html(text: str, status: int = 200) -> Response:
        return HTMLResponse(text, status, headers)

    def as_json(content: Any, status: int = 200) -> Response:
        return JSONResponse(content, status, headers)

    def admit(request: Request) -> None:
        turns.admit(request.client.host if request.client else "")

    async def answer(
        text: str, assembly: str, request: Request, *, alone: bool = False
    ) -> tuple[list[Answer], list[Problem]]:
        """Return answers and problems; HTTPException where a single one is a problem, or more are asked than may be."""
        desk.check_assembly(assembly.strip())
        questions, problems, header = read_text(text, most)
        if alone and len(questions) + len(problems) > 1:
            raise HTTPException(400, "/splice answers for one variant; /score takes a list.")
        if not questions and not problems:
            raise HTTPException(400, "No variant was given: write one as 17-43047641-A-C or as an HGVS name.")
        found: list[Answer] = []
        with turns.visit():
            await turns.take(partial(desk.check_build, header, questions))
            for first in range(0, len(questions), _TOGETHER):
                if await request.is_disconnected():
                    raise HTTPException(503, "The visitor has gone.")
                for one in await turns.take(partial(desk.answer, questions[first : first + _TOGETHER])):
                    (found.append if isinstance(one, Answer) else problems.append)(one)  # type: ignore[arg-type]
        if not found and len(problems) == 1:
            raise HTTPException(400, problems[0].error)
        return found, problems

    async def page(request: Request) -> Response:
        admit(request)
        if request.method == "POST":
            _only(request)
            sent = parse_qs(await _body(request), keep_blank_values=True, max_num_fields=10)
            text, assembly = (sent.get(name, [""])[0] for name in ("variant", "assembly"))
        else:
            query = _only(request, "variant", "assembly")
            text, assembly = query.get("variant", ""), query.get("assembly", "")
            if "variant" not in query:
                return html(pages.form())
        try:
            found, problems = await answer(text, assembly, request)
        except HTTPException as error:
            return HTMLResponse(
                pages.refusal(error.detail, text), error.status_code, {**headers, **(error.headers or {})}
            )
        except SpliceBertError as error:
            return html(pages.refusal(sentence(error), text), _status_of(error))
        return html(await turns.take(partial(pages.answers, found, problems, text)), 200 if found else 400)

    async def splice(request: Request) -> Response:
        admit(request)
        query = _only(request, "variant", "assembly", "hg", "distance", "mask")
        desk.check_delta(query)
        text = query.get("variant", "")
        found, _ = await answer(text, query.get("assembly") or query.get("hg", ""), request, alone=True)
        return as_json(desk.lookup(found[0]))

    async def score(request: Request) -> Response:
        admit(request)
        query = _only(request, "variant", "assembly")
        text = await _body(request) if request.method == "POST" else "\n".join(request.query_params.getlist("variant"))
        found, problems = await answer(text, query.get("assembly", ""), request)
        rows = [{"ASKED": one.text, **row} for one in found for row in one.rows]
        content = {
            "provenance": dict(desk.provenance), "assembly": desk.assembly, "rows": rows,
            "notes": list(dict.fromkeys(one.note for one in found if one.note)),
            "errors": [{"variant": one.text, "error": one.error} for one in problems],
        }  # fmt: skip
        return as_json(content, 200 if found else 400)

    def refuse(request: Request, detail: str, status: int, more: Mapping[str, str] | None = None) -> Response:
        told = {**headers, **(more or {})}
        if request.url.path == "/":
            return HTMLResponse(pages.refusal(detail), status, told)
        return JSONResponse({"error": detail, **_asked(request)}, status, told)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        words = {
            404: "There is no such page: see /, /splice and /score.",
            405: "/ and /score take GET and POST, /splice GET.",
        }
        return refuse(request, words.get(error.status_code, error.detail), error.status_code, error.headers)

    async def unusable(request: Request, error: Exception) -> Response:
        assert isinstance(error, SpliceBertError)
        return refuse(request, sentence(error), _status_of(error))

    async def faulty(request: Request, error: Exception) -> Response:
        log.warning("a request failed, which is a fault of splicebert-vep, please report it: %s", one_line(error))
        return refuse(request, "This is a fault of splicebert-vep; its log says more.", 500)

    app = Starlette(
        routes=[
            Route("/", page, methods=["GET", "POST"]), Route("/score", score, methods=["GET", "POST"]),
            Route("/splice", splice),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[*hosts], www_redirect=False)],
        exception_handlers={HTTPException: refused, SpliceBertError: unusable, Exception: faulty},
    )  # fmt: skip
    app.state.turns = turns
    return app


def _status_of(error: SpliceBertError) -> int:
    """Return 400 where the visitor can mend it, else 500."""
    return 400 if isinstance(error, SettingsError | BuildError | VcfError) else 500


def _asked(request: Request) -> dict[str, str]:
    asked = request.query_params.get("variant")
    return {"variant": shortened(asked)} if asked else {}


def is_local(host: str) -> bool:
    """Tell whether a name or address is this machine's own, which no other machine reaches."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; a port of 0 is any free one.

    Raises:
        SettingsError: the address is not this machine's, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        found = getattr(error, "strerror", None) or str(error)
        remedy = "give another --port, or --port 0 for any free one, or another --host"
        raise SettingsError(f"The server cannot listen on {host}, port {port}.", found=found, remedy=remedy) from error


def run(app: Starlette, where: socket.socket) -> None:
    """Serve until a signal ends it; the signal is raised again once every request is done or given up."""
    config = uvicorn.Config(
        app, log_config=None, log_level="critical", access_log=False, lifespan="off", server_header=False,
        timeout_graceful_shutdown=_STOPPING, limit_concurrency=200,
    )  # fmt: skip
    try:
        uvicorn.Server(config).run(sockets=[where])
    finally:
        app.state.turns.close()  # the caller closes the annotator
