"""A second, independent and deliberately naive way to every score, through transformers and string operations.

It shares no code with the package: plain Python strings, one window at a time, loops over bases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from transformers import BertConfig, BertForMaskedLM

VOCAB = "NACGT"  # ids 5..9
COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A", "N": "N"}


def load_transformers(folder) -> BertForMaskedLM:
    return BertForMaskedLM.from_pretrained(folder, dtype=torch.float32).eval()


def random_transformers(hidden=32, layers=2, heads=4, positions=256, seed=3) -> BertForMaskedLM:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=10, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=4 * hidden, max_position_embeddings=positions, type_vocab_size=2,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.2,
    )  # fmt: skip
    return BertForMaskedLM(config).eval()


def revcomp(sequence: str) -> str:
    return "".join(COMPLEMENT[base] for base in reversed(sequence))


def run(model, sequence: str, masked: tuple[int, ...] = ()):
    ids = [2] + [4 if i in masked else 5 + VOCAB.index(base) for i, base in enumerate(sequence)] + [3]
    with torch.no_grad():
        out = model(torch.tensor([ids]), output_hidden_states=True)
    return out.logits[0, 1:-1].double().numpy(), out.hidden_states[-1][0, 1:-1].double().numpy()


def log_p(logits: np.ndarray) -> np.ndarray:
    four = logits[:, 6:10]
    return four - np.log(np.exp(four - four.max(1, keepdims=True)).sum(1, keepdims=True)) - four.max(1, keepdims=True)


@dataclass
class Oracle:
    """Scores of one allele; ``start`` 0-based, ``ref``/``alt`` the trimmed span, sites genomic 0-based positions."""

    model: BertForMaskedLM
    genome: str
    width: int
    flank: int

    def turned(self) -> Oracle:
        return Oracle(self.model, revcomp(self.genome), self.width, self.flank)

    def mirrored(self, site: range | None) -> range | None:
        return site and range(len(self.genome) - site.stop, len(self.genome) - site.start)

    def at_three_prime(self, start: int, ref: str, alt: str) -> tuple[int, str, str]:
        """Return a change of length, moved right as far as it goes, as the other strand has it."""
        if not (ref and alt):
            moving = ref or alt
            while self.genome[start + len(ref)] == moving[0]:
                start, moving = start + 1, moving[1:] + moving[0]
            ref, alt = (moving, "") if ref else ("", moving)
        return len(self.genome) - start - len(ref), revcomp(ref), revcomp(alt)

    def score(self, start, ref, alt, strand, donor=None, acceptor=None, window_start=None) -> dict[str, float]:
        width, flank, shift = self.width, self.flank, len(ref) - len(alt)
        if shift and strand == "+" and window_start is None:
            return self.turned().score(
                *self.at_three_prime(start, ref, alt), "-", *map(self.mirrored, (donor, acceptor))
            )
        if window_start is None:
            window_start = start - (width - max(len(ref), len(alt))) // 2
        left = start - window_start
        ref_window = self.genome[window_start : window_start + width]
        changed = self.genome[window_start:start] + alt + self.genome[start + len(ref) : window_start + 2 * width]
        alt_window = changed[:width]
        right_window = self.genome[window_start + shift : window_start + shift + width]
        outputs = {}
        for name, window in (("ref", ref_window), ("alt", alt_window), ("right", right_window)):
            logits, hidden = run(self.model, window if strand == "+" else revcomp(window))
            if strand == "-":  # back to genomic order; bases are still the transcript's
                logits, hidden = logits[::-1], hidden[::-1]
            outputs[name] = (log_p(logits), hidden)

        def own(window: str, index: int) -> int:
            base = window[index] if strand == "+" else COMPLEMENT[window[index]]
            return "ACGT".index(base)

        def kl(ref_name: str, index: int) -> float:
            p, q = outputs["alt"][0][index], outputs[ref_name][0][index]
            return float((np.exp(p) * (p - q)).sum())

        scores: dict[str, float] = {}
        by_distance, cosines, squares = [], [], []
        pll = 0.0
        for d in range(1, flank + 1):
            low, high = left - d, left + len(alt) - 1 + d
            by_distance.append((kl("ref", low) + kl("right", high)) / 2)
            for name, index, window in (("ref", low, ref_window), ("right", high, right_window)):
                a, b = outputs[name][1][index], outputs["alt"][1][index]
                cosines.append(1 - a @ b / math.sqrt((a @ a) * (b @ b)))
                squares.append(((a - b) ** 2).sum())
                pll += outputs["alt"][0][index][own(alt_window, index)] - outputs[name][0][index][own(window, index)]
        pll += sum(outputs["alt"][0][left + i][own(alt_window, left + i)] for i in range(len(alt)))
        pll -= sum(outputs["ref"][0][left + i][own(ref_window, left + i)] for i in range(len(ref)))
        scores["PLLR"] = pll
        scores["KL_CTX"] = sum(math.log(max(value, 1e-6)) for value in by_distance) / flank
        scores["EMB_COS"] = float(np.mean(cosines))
        scores["EMB_L2"] = math.sqrt(np.mean(squares))
        parts = []
        for name, site in (("KL_DONOR", donor), ("KL_ACCEPTOR", acceptor)):
            values = []
            for position in site or ():
                if position < start:
                    index, reference = position - window_start, "ref"
                elif position >= start + len(ref):
                    index, reference = position - window_start - shift, "right"
                elif shift == 0:
                    index, reference = position - window_start, "ref"
                else:
                    continue
                if 0 <= index < width:
                    values.append(kl(reference, index))
            if values:
                scores[name] = float(np.mean(values))
                parts.append(scores[name])
        if parts:
            scores["KL_SS"], scores["N_SITES"] = sum(parts), len(parts)
        if shift == 0:
            differing = [left + i for i in range(len(ref)) if ref[i] != alt[i]]
            facing = differing if strand == "+" else [width - 1 - i for i in differing]
            logits, _ = run(self.model, ref_window if strand == "+" else revcomp(ref_window), tuple(facing))
            masked = log_p(logits)
            scores["LLR"] = sum(
                masked[at][own(alt_window, i)] - masked[at][own(ref_window, i)]
                for at, i in zip(facing, differing, strict=True)
            )
            if len(ref) == 1:
                p = np.exp(logits[facing[0]] - logits[facing[0]].max())
                p /= p.sum()
                scores["DELTA_P"] = p[6 + own(alt_window, left)] - p[6 + own(ref_window, left)]
        return scores
