"""What a model expects of a splice site while a stretch of its window is hidden, against the whole window.

One window for a site, the same for every stretch, with the site in its middle: so the stretches of a site compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from splicebert_vep.contract import GuardedBackend
from splicebert_vep.errors import BackendError, SettingsError
from splicebert_vep.scoring.likelihood import log_p
from splicebert_vep.sequence.tokens import Tokens, encode, letters, reverse_complement, with_special
from splicebert_vep.sequence.windows import Index, Mask
from splicebert_vep_spec import MASK, A, N

from .aim import Site

if TYPE_CHECKING:
    from splicebert_vep.annotator import Annotator
    from splicebert_vep.genome.reference import Reference

Floats = NDArray[np.float64]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

_Ask = Callable[[Tokens], Floats]  # framed windows (B, W + 2) to a number each, (B,)
_SITE = 2  # nt
_CLASS = {"acceptor": 1, "donor": 2}  # of a splice-site model's answer; 0 is neither


class SpliceModel(Protocol):
    """A model fine-tuned to tell splice sites, as ``SpliceSiteModel`` is."""

    @property
    def name(self) -> str:
        """Name, for provenance."""

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights."""

    @property
    def quality(self) -> str:
        """How good it was measured to be; empty when nothing is known."""

    @property
    def window(self) -> int:
        """Nucleotides that it sees at once."""

    def probabilities(self, tokens: Tokens, positions: Index | None) -> Floats:
        """Return p of neither, acceptor and donor, (N, P, 3), at token positions (N, P) of windows (N, W + 2)."""


@dataclass(frozen=True, slots=True, eq=False)
class Hidden:
    """What a model expects of one site.

    Args:
        site: which.
        bases: its two intronic nucleotides, 5' to 3'.
        log_p: sum over them of ln p, each masked, in the whole window; nats.
        head: p of the site's kind at the exon's nucleotide beside it, in the whole window; None without such a model.
        window: genomic start and end of the window, 0-based half-open; the smaller of the two with a splice-site model.
        unknown: nucleotides of the window that are not A, C, G or T.
        there: (T,) which stretches lie wholly in the window.
        log_p_hidden: (T,) the same sum with the stretch hidden; NaN where not ``there``.
        head_hidden: (T,) the same p with the stretch hidden; None without such a model.
    """

    site: Site
    bases: str
    log_p: float
    head: float | None
    window: tuple[int, int]
    unknown: int
    there: Mask
    log_p_hidden: Floats
    head_hidden: Floats | None


def hide(
    site: Site, start: Index, length: Index, annotator: Annotator, splice_model: SpliceModel | None = None,
    progress: Callable[[int], None] | None = None,
) -> Hidden:  # fmt: skip
    """Run a site's window with each of T stretches hidden in turn.

    Args:
        start: (T,) genomic start of the stretches, 0-based.
        length: (T,) nt.
        splice_model: gives ``head``.
        progress: called with the number of windows that are done.

    Raises:
        SettingsError: a nucleotide of the site is not known, or its contig is shorter than a model's window.
        BackendError: a model failed.
    """
    model = _Window(site, annotator.settings.window.width, annotator.reference)
    info = annotator.backend.info
    if info.fixed_window is not None:
        model.check_width(info.fixed_window, info.model)
    narrow, classes = model, None
    if splice_model is not None:
        classes = _Window(site, splice_model.window, annotator.reference)
        classes.check_width(splice_model.window, splice_model.name)
        narrow = min(model, classes, key=lambda window: len(window.tokens))
    there = np.asarray((start >= narrow.start) & (start + length <= narrow.start + len(narrow.tokens)))
    batch_tokens = annotator.settings.batch_tokens or info.batch_tokens

    def run(window: _Window, tokens: Tokens, ask: _Ask) -> tuple[float, Floats]:
        """Return the answer for the window as it is, and (T,) those with each stretch hidden, NaN where not there."""
        answers = np.concatenate(
            [
                _answer(ask, batch, site, progress)
                for batch in window.batches(tokens, start[there], length[there], batch_tokens)
            ]
        )
        hidden = np.full(len(start), np.nan)
        hidden[there] = answers[1:]
        return float(answers[0]), hidden

    masked = model.tokens.copy()
    masked[model.site] = MASK
    log_p_whole, log_p_hidden = run(model, masked, _log_p_of(model, annotator.backend))
    head, head_hidden = None, None
    if classes is not None and splice_model is not None:
        head, head_hidden = run(classes, classes.tokens, _p_of(classes, site, splice_model))
    if progress:
        progress(int((~there).sum()) * (1 if classes is None else 2))  # which nothing is run for
    return Hidden(
        site=site,
        bases=letters(model.tokens[model.site]),
        log_p=log_p_whole,
        head=head,
        window=(narrow.start, narrow.start + len(narrow.tokens)),
        unknown=int((model.tokens == N).sum()),
        there=there,
        log_p_hidden=log_p_hidden,
        head_hidden=head_hidden,
    )


def _answer(ask: _Ask, batch: Tokens, site: Site, progress: Callable[[int], None] | None) -> Floats:
    """Return a model's answers for windows (B, W)."""
    try:
        found = ask(with_special(batch))
    except RuntimeError as error:
        raise BackendError(
            "The model failed.",
            found=" ".join(str(error).split()),
            remedy="a smaller --batch-tokens needs less room",
        ) from error
    if not np.isfinite(found).all():
        raise BackendError(
            "The model answered with numbers that are not finite.", where=f"{site.kind}, {site.contig}:{site.edge + 1}"
        )
    if progress:
        progress(len(batch))
    return found


def _log_p_of(window: _Window, backend: GuardedBackend) -> _Ask:
    """Return what tells the sum of ln p of the site's own two nucleotides."""
    own = window.tokens[window.site].astype(np.int64) - A

    def ask(tokens: Tokens) -> Floats:
        positions = np.tile(window.site + 1, (len(tokens), 1))  # past [CLS]
        logp: Floats = log_p(backend.forward(tokens, positions).logits).cpu().numpy()  # (B, 2, 4)
        return np.asarray(logp[:, [0, 1], own].sum(axis=1))

    return ask


def _p_of(window: _Window, site: Site, model: SpliceModel) -> _Ask:
    """Return what tells a splice-site model's p of the site at the exon's nucleotide beside it."""

    def ask(tokens: Tokens) -> Floats:
        positions = np.full((len(tokens), 1), window.edge + 1, dtype=np.int64)  # past [CLS]
        return model.probabilities(tokens, positions)[:, 0, _CLASS[site.kind]]

    return ask


class _Window:
    """A site's window, 5' to 3' of the transcript.

    ``(W - 2) // 2`` nucleotides come before the site; at a contig's end the window moves until it lies on the contig.

    Args:
        site: in its middle.
        width: W; all of a contig that is shorter.
        reference: where the bases are.
    """

    def __init__(self, site: Site, width: int, reference: Reference) -> None:
        self._minus = site.strand == "-"
        contig = reference.lengths[site.contig]
        size, intron = min(width, contig), site.dinucleotide
        if min(site.footprint.start, contig - site.footprint.end) < 0:
            raise SettingsError(
                "The splice site reaches beyond its contig.",
                needed=f"two intronic nucleotides on {site.contig} of {contig:,} nt",
                found=f"{site.kind} at {site.edge + 1:,}",
                where=f"{site.contig}:{site.edge + 1}",
            )
        first = contig - intron.end if self._minus else intron.start  # on the strand
        on_strand = min(max(first - (size - _SITE) // 2, 0), contig - size)
        self.start = contig - on_strand - size if self._minus else on_strand
        bases = reference.fetch(site.contig, self.start, self.start + size)
        if b"U" in bases:  # the model would read it as N, and its answer would look right
            raise SettingsError(
                "A sequence is written as RNA.", needed="T in place of U", found="U", where=site.contig,
                remedy="write U as T, e.g. seqkit seq --rna2dna in.fa",
            )  # fmt: skip
        tokens = encode(bases)
        self.tokens = reverse_complement(tokens) if self._minus else tokens  # (W,)
        self.site = np.arange(_SITE) + first - on_strand  # where the two nucleotides are
        self.edge = int(self.site[0]) - 1 if site.kind == "donor" else int(self.site[1]) + 1
        if (self.tokens[[*self.site, self.edge]] == N).any():
            raise SettingsError(
                "A nucleotide of the splice site is not known.",
                needed="A, C, G or T in the FASTA at the two intronic nucleotides and the exon's beside them",
                found=reference.fetch(site.contig, site.footprint.start, site.footprint.end).decode("ascii"),
                where=f"{site.kind}, {site.contig}:{site.footprint.start + 1}-{site.footprint.end}",
            )
        self._contig = site.contig

    def check_width(self, width: int, model: str) -> None:
        """Raise SettingsError when the contig holds no window of the only length that a model takes."""
        if len(self.tokens) < width:
            raise SettingsError(
                f"Model {model} takes windows of one length only, and the contig is shorter.",
                needed=f"at least {width} nt",
                found=f"{self._contig} of {len(self.tokens)} nt",
                remedy="choose a model that takes shorter windows, or give the sequence with what surrounds it",
            )

    def batches(self, tokens: Tokens, start: Index, length: Index, batch_tokens: int) -> Iterator[Tokens]:
        """Yield windows (B, W): first ``tokens`` as they are, then with each genomic stretch hidden."""
        along = np.arange(len(tokens))
        low = start - self.start
        if self._minus:
            low = len(tokens) - low - length
        low, high = np.concatenate([[0], low]), np.concatenate([[0], low + length])  # of the first nothing is hidden
        rows = max(1, batch_tokens // (len(tokens) + 2))
        for first in range(0, len(low), rows):
            part = slice(first, first + rows)
            hidden = (along >= low[part, None]) & (along < high[part, None])  # (B, W)
            yield np.where(hidden, np.uint8(MASK), tokens)
