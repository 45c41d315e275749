"""Scores worked out by hand on tiny outputs."""

import math

import pytest
import torch

from splicebert_vep.scoring.scorers import (
    DivergenceScorer,
    EmbeddingScorer,
    LikelihoodScorer,
    context_score,
    divergence,
)
from splicebert_vep_spec import AlignedBatch, MaskedSite, Side

FLANK = 2
COLUMNS = 2 * FLANK + 4 + 1


def logits_of(*probabilities: tuple[float, float, float, float]) -> torch.Tensor:
    """(1, P, 10) float32 whose softmax over A, C, G, T is what is given; the rest of the vocabulary is wild."""
    out = torch.full((1, len(probabilities), 10), 30.0)
    out[0, :, 6:] = torch.tensor(probabilities).log()
    return out


EVEN = (0.25, 0.25, 0.25, 0.25)
SKEW = (0.5, 0.25, 0.125, 0.125)
KL_SKEW = 0.5 * math.log(2) + 0.25 * math.log(1) + 2 * 0.125 * math.log(0.5)


def batch(alt, *, donor=(), acceptor=(), tokens=None, hidden=None, masked=None, snv=True) -> AlignedBatch:
    ref = logits_of(*[EVEN] * COLUMNS)
    tokens = torch.tensor([tokens or [6] * COLUMNS], dtype=torch.uint8)
    flank_and_span = torch.tensor([[True] * 4 + [False] * 4 + [True]])

    def at(columns) -> torch.Tensor:
        mask = torch.zeros(1, COLUMNS, dtype=torch.bool)
        mask[0, list(columns)] = True
        return mask

    hidden_ref, hidden_alt = hidden or (None, None)
    return AlignedBatch(
        flank=FLANK, ref=Side(tokens, ref, hidden_ref), alt=Side(tokens, logits_of(*alt), hidden_alt),
        paired=flank_and_span, donor=at(donor), acceptor=at(acceptor), in_ref=flank_and_span, in_alt=flank_and_span,
        snv=torch.tensor([snv]), masked=masked,
    )  # fmt: skip


def divergence_scores(b: AlignedBatch) -> dict[str, float]:
    fields = frozenset(field.id for field in DivergenceScorer.fields)
    return {name: float(value[0]) for name, value in DivergenceScorer().score(b, fields).items()}


def test_kl_is_of_alt_from_ref_over_four_letters():
    alt = [SKEW] + [EVEN] * (COLUMNS - 1)
    kl = divergence(batch(alt))
    assert kl.dtype == torch.float64
    assert float(kl[0, 0]) == pytest.approx(KL_SKEW, abs=1e-7)
    assert float(kl[0, 1]) == pytest.approx(0, abs=1e-7)


def test_kl_ctx_is_the_published_mean_log_with_its_floor():
    flanks = torch.tensor([[0.2, 1e-9, 0.4, 0.0]], dtype=torch.float64)  # -1 -2 +1 +2
    expected = (math.log(0.3) + math.log(1e-6)) / 2
    assert float(context_score(flanks, 2)[0]) == pytest.approx(expected, abs=1e-12)


def test_sites_missing_stay_missing():
    found = divergence_scores(batch([EVEN] * COLUMNS))
    assert all(math.isnan(found[field]) for field in ("KL_DONOR", "KL_ACCEPTOR", "KL_SS", "N_SITES"))


def test_one_site_and_half_a_site():
    alt = [EVEN] * 4 + [SKEW] + [EVEN] * 4
    one = divergence_scores(batch(alt, donor=(4, 5)))
    assert one["KL_DONOR"] == pytest.approx(KL_SKEW / 2, abs=1e-7)
    assert one["KL_SS"] == one["KL_DONOR"]
    assert one["N_SITES"] == 1
    half = divergence_scores(batch(alt, donor=(4,), acceptor=(6, 7)))
    assert half["KL_DONOR"] == pytest.approx(KL_SKEW, abs=1e-7)
    assert half["KL_SS"] == pytest.approx(KL_SKEW, abs=1e-7)
    assert half["N_SITES"] == 2


@pytest.mark.parametrize(
    ("skewed", "offset"),
    # columns: 0 is -1, 1 is -2, 2 is +1, 3 is +2; ties go to the smaller distance, then to the negative side
    [((0,), -1), ((1,), -2), ((2,), 1), ((3,), 2), ((0, 2), -1), ((1, 2), 1), ((1, 3), -2), ((0, 1, 2, 3), -1)],
)
def test_where_the_peak_is(skewed, offset):
    alt = [SKEW if i in skewed else EVEN for i in range(COLUMNS)]
    found = divergence_scores(batch(alt))
    assert found["KL_MAX_POS"] == offset
    assert found["KL_MAX"] == pytest.approx(KL_SKEW, abs=1e-7)


def test_pllr_sums_flanks_and_span_once():
    # the base is A everywhere: 5 columns count, of which ALT gives p = .5 in one
    found = LikelihoodScorer().score(batch([SKEW] + [EVEN] * 4 + [SKEW] * 3 + [EVEN]), frozenset({"PLLR"}))
    assert float(found["PLLR"][0]) == pytest.approx(math.log(2), abs=1e-7)


def test_masked_scores():
    site = MaskedSite(
        ref=torch.tensor([[6, 7], [6, 0]], dtype=torch.uint8),
        alt=torch.tensor([[7, 9], [8, 0]], dtype=torch.uint8),
        logits=torch.cat([logits_of(SKEW, SKEW), logits_of(SKEW, EVEN)]),
        valid=torch.tensor([[True, True], [False, False]]),
    )
    b = batch([EVEN] * COLUMNS, masked=site, snv=False)
    found = LikelihoodScorer().score(b, frozenset({"LLR", "DELTA_P"}))
    # ln(.25/.5) + ln(.125/.25)
    assert float(found["LLR"][0]) == pytest.approx(2 * math.log(0.5), abs=1e-7)
    assert math.isnan(float(found["LLR"][1]))
    assert torch.isnan(found["DELTA_P"]).all()


def test_delta_p_is_over_the_full_vocabulary():
    logits = torch.full((1, 1, 10), float("-inf"))
    logits[0, 0, 5:] = torch.tensor([0.5, 0.2, 0.1, 0.1, 0.1]).log()  # N takes half
    site = MaskedSite(torch.tensor([[6]]), torch.tensor([[7]]), logits, torch.tensor([[True]]))
    found = LikelihoodScorer().score(batch([EVEN] * COLUMNS, masked=site), frozenset({"DELTA_P"}))
    assert float(found["DELTA_P"][0]) == pytest.approx(0.1 - 0.2, abs=1e-7)


def test_embedding_scores():
    ref = torch.zeros(1, COLUMNS, 2)
    ref[..., 0] = 1.0
    alt = ref.clone()
    alt[0, 0] = torch.tensor([0.0, 2.0])  # orthogonal: 1 - cos = 1; squared distance 1 + 4
    alt[0, 8] = torch.tensor([9.0, 9.0])  # the span is not read
    found = EmbeddingScorer().score(batch([EVEN] * COLUMNS, hidden=(ref, alt)), frozenset({"EMB_COS", "EMB_L2"}))
    assert float(found["EMB_COS"][0]) == pytest.approx(1 / 4)
    assert float(found["EMB_L2"][0]) == pytest.approx(math.sqrt(5 / 4))


@pytest.mark.parametrize("scorer", [LikelihoodScorer(), DivergenceScorer(), EmbeddingScorer()])
def test_a_scorer_returns_what_was_asked(scorer):
    hidden = (torch.ones(1, COLUMNS, 2), torch.ones(1, COLUMNS, 2))
    site = MaskedSite(torch.tensor([[6]]), torch.tensor([[7]]), logits_of(SKEW), torch.tensor([[True]]))
    b = batch([EVEN] * COLUMNS, hidden=hidden, masked=site)
    for field in scorer.fields:
        found = scorer.score(b, frozenset({field.id}))
        assert list(found) == [field.id]
        assert found[field.id].shape == (1,)
