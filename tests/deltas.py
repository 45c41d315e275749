"""Delta scores for tests: a model whose answers can be worked out by hand, and the definition on plain strings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from splicebert_vep.errors import BackendError
from splicebert_vep.model.bert import BertConfig
from splicebert_vep.model.classifier import CONVOLUTION, LINEAR, Classifier, FineTuned, save_classifier
from splicebert_vep.model.tuned import SPLICE_LABELS as LABELS
from splicebert_vep.model.tuned import SPLICE_SITES as TASK

LETTERS = "....." + "NACGT"  # of token ids
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")
EVENTS = {"DS_AG": (0, 1), "DS_AL": (0, -1), "DS_DG": (1, 1), "DS_DL": (1, -1)}  # column, and gain or loss


def mixed(window: str, at: int) -> tuple[float, float]:
    """p(acceptor) and p(donor) from seven bases and the place in the window, so that no misalignment goes unseen."""
    around = [LETTERS.index(base) for base in (f"NNN{window}NNN")[at : at + 7]]
    acceptor = sum(weight * one for weight, one in zip((3, 7, 1, 9, 4, 2, 8), around, strict=True)) + 31 * at
    donor = sum(weight * one for weight, one in zip((5, 2, 9, 1, 6, 3, 7), around, strict=True)) + 17 * at
    return acceptor % 97 / 200, donor % 89 / 200


def spelled(window: str, at: int) -> tuple[float, float]:
    """A donor is the base before GTAAGT, an acceptor that after TTTCAG: .9 there, .01 elsewhere."""
    return (
        0.9 if window[max(0, at - 6) : at] == "TTTCAG" else 0.01,
        0.9 if window[at + 1 : at + 7] == "GTAAGT" else 0.01,
    )


class StandIn:
    """A splice-site model of one of these rules.

    Args:
        rule: of a window and a place in it.
        fails_on: bases; a window that holds them makes it fail.
    """

    name, weights_sha256, quality = "stand-in", "5" * 64, ""

    def __init__(self, rule=mixed, *, window=510, batch_tokens=2048, fails_on=None):
        self.rule, self.window, self.batch_tokens, self.fails_on = rule, window, batch_tokens, fails_on
        self.calls = []

    def probabilities(self, tokens, positions=None):
        assert tokens.shape[1] == self.window + 2
        self.calls.append(len(tokens))
        texts = ["".join(LETTERS[token] for token in row[1:-1]) for row in tokens]
        if self.fails_on and any(self.fails_on in text for text in texts):
            raise BackendError("out of memory")
        p = np.zeros((*positions.shape, 3))
        for row, text in enumerate(texts):
            for column, token in enumerate(positions[row]):
                p[row, column, 1:] = self.rule(text, int(token) - 1)
        p[:, :, 0] = 1 - p[:, :, 1:].sum(axis=2)
        return p


def plain(genome, pos, ref, alt, strand, *, rule=mixed, distance=50, width=510, sites=None):
    """Delta scores of a record as bcftools norm writes it, base by base on strings; None where no window fits.

    Args:
        pos: 1-based.
        sites: 0-based positions of annotated acceptors and donors, for masked scores.
    """
    anchor = 0 if len(ref) == len(alt) or ref[0] != alt[0] else 1
    first, old, new = pos - 1 + anchor, ref[anchor:], alt[anchor:]
    last, grown = first + len(old), len(new) - len(old)
    assert genome[first:last] == old
    flank = max(100, distance + 1)

    def fits(at):
        return (
            at >= 0
            and at - grown >= 0
            and at + width <= len(genome)
            and at - grown + width <= len(genome)
            and first - flank >= at
            and last <= at + width
            and first + len(new) + flank <= at + width
        )

    wanted = first - (width - max(len(old), len(new))) // 2
    possible = [at for at in range(len(genome)) if fits(at)]
    if not possible or last + flank > len(genome) or set(genome[first - flank : last + flank]) - set("ACGT"):
        return None
    start = min(possible, key=lambda at: abs(at - wanted))
    changed = genome[:first] + new + genome[last:]

    def read(text, window_start, position):
        window = text[window_start : window_start + width]
        at = position - window_start
        if strand == "-":
            window, at = window[::-1].translate(COMPLEMENT), width - 1 - at
        return rule(window, at)

    before, after = [], []
    for place in range(pos - 1 - distance, pos + distance):
        if place < first:
            before.append(read(genome, start, place))
            after.append(read(changed, start, place))
        elif place < last and grown:  # deleted
            before.append(read(genome, start, place))
            after.append((0.0, 0.0))
        elif place < last:
            before.append(read(genome, start, place))
            after.append(read(changed, start, place))
        else:  # the same place in the window on both sides
            before.append(read(genome, start - grown, place))
            after.append(read(changed, start, place + grown))
        if place == first - 1 and grown:
            inserted = [read(changed, start, first + k) for k in range(len(new))]
            after[-1] = tuple(max(column) for column in zip(after[-1], *inserted, strict=True))
    found = {}
    for event, (column, sign) in EVENTS.items():
        sizes = [sign * (b[column] - a[column]) for a, b in zip(before, after, strict=True)]
        at = sizes.index(max(sizes))
        hidden = sites is not None and ((pos - 1 - distance + at in sites[column]) == (sign > 0))
        found[event] = 0.0 if hidden else max(0.0, sizes[at])
        found[event.replace("DS", "DP")] = at - distance
    found["DS_MAX"] = max(found[event] for event in EVENTS)
    return found


def write_model(folder: Path, seed: int, *, window: int = 510) -> Path:
    """Write a small splice-site model of random weights."""
    torch.manual_seed(seed)
    head = (LINEAR, CONVOLUTION)[seed % 2]
    model = Classifier(BertConfig(10, 16, 2, 2, 32, window + 2, 2, 1e-12, window), len(LABELS), head=head)
    with torch.no_grad():
        for layer in model.parameters():
            layer.normal_(0, 0.5 if head == LINEAR else 0.1)
    folder.mkdir(parents=True)
    save_classifier(model, FineTuned(TASK, LABELS, window, False, "random", "none", head), folder)
    return folder
