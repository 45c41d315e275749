"""Figures of fine-tuning, held to plain second implementations."""

import numpy as np
import pytest

from splicebert_vep.train.labels import UNLABELLED
from splicebert_vep.train.metrics import class_figures, site_figures, value_figures

NAMES = ("neither", "acceptor", "donor")


def average_precision(truth, p):
    """Sum over thresholds of precision times the gain in recall."""
    found, before = 0.0, 0
    for threshold in sorted(set(p), reverse=True):
        called = [t for t, value in zip(truth, p, strict=True) if value >= threshold]
        found += sum(called) / len(called) * (sum(called) - before) / sum(truth)
        before = sum(called)
    return found


def matthews(truth, called):
    pairs = list(zip(truth, called, strict=True))
    tp, fp, fn, tn = (sum(pair == wanted for pair in pairs) for wanted in ((1, 1), (0, 1), (1, 0), (0, 0)))
    under = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / under**0.5 if under else 0.0


@pytest.fixture
def answers():
    rng = np.random.default_rng(2)
    labels = rng.choice([0, 0, 0, 0, 1, 2, UNLABELLED], size=400).astype(np.uint8)
    p = rng.dirichlet([2, 1, 1], size=400) + 0.5 * (labels[:, None] == np.arange(3))
    p = np.round(p / p.sum(axis=1, keepdims=True), 2)  # with ties
    return p, labels


def test_site_figures_are_those_of_the_definitions(answers):
    p, labels = answers
    found = site_figures(p, labels, NAMES)
    assert [figure["label"] for figure in found] == ["acceptor", "donor"]
    kept = labels != UNLABELLED
    for number, figure in enumerate(found, start=1):
        truth, own = (labels[kept] == number).astype(int).tolist(), p[kept, number].tolist()
        assert figure["nucleotides"] == len(truth) and figure["sites"] == sum(truth)
        assert figure["auprc"] == pytest.approx(average_precision(truth, own))
        ranked = sorted(range(len(own)), key=lambda row: -own[row])
        assert figure["top_k"] == pytest.approx(sum(truth[row] for row in ranked[: sum(truth)]) / sum(truth))
        assert figure["mcc"] == pytest.approx(matthews(truth, [int(value >= 0.5) for value in own]))
        assert figure["expected"] == pytest.approx(sum(own))


def test_top_k_by_hand():
    p = np.array([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3], [0.9, 0.1], [0.5, 0.5]])
    (figure,) = site_figures(p, np.array([1, 0, 1, 0, UNLABELLED], dtype=np.uint8), ("no", "yes"))
    assert (figure["nucleotides"], figure["sites"], figure["top_k"]) == (4, 2, 0.5)  # of 0.9 and 0.8, one is a site
    assert figure["auprc"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_a_kind_that_is_not_there_has_no_figure(answers):
    p, labels = answers
    labels[labels == 2] = 0
    assert [figure["label"] for figure in site_figures(p, labels, NAMES)] == ["acceptor"]


def test_class_figures_are_those_of_the_definitions(answers):
    p, labels = answers
    p, truth = p[labels != UNLABELLED], labels[labels != UNLABELLED].astype(float)
    found = class_figures(p, truth, NAMES)
    assert [figure["label"] for figure in found] == list(NAMES)
    for number, figure in enumerate(found):
        own = (truth == number).astype(int).tolist()
        called = [int(max(range(3), key=lambda k: row[k]) == number) for row in p]
        assert (figure["sequences"], figure["members"]) == (len(truth), sum(own))
        assert figure["auprc"] == pytest.approx(average_precision(own, p[:, number].tolist()))
        assert figure["mcc"] == pytest.approx(matthews(own, called))


def test_value_figures_are_those_of_the_definitions():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(5)
    truth = np.round(rng.normal(size=200), 1)  # with ties
    predicted = np.round(truth + rng.normal(size=200), 1)
    found = value_figures(predicted, truth)
    assert found["spearman"] == pytest.approx(stats.spearmanr(predicted, truth).statistic)
    mean = sum(truth) / 200
    wrong, spread = sum((truth - predicted) ** 2), sum((truth - mean) ** 2)
    assert found["r2"] == pytest.approx(1 - wrong / spread) and found["sequences"] == 200
    assert value_figures(truth[::-1].copy() * 3, truth)["r2"] < 0
    constant = value_figures(np.full(200, 3.0), truth)
    assert constant["spearman"] == 0 and constant["r2"] < 0
    assert value_figures(predicted[:3], np.ones(3))["spearman"] is None
