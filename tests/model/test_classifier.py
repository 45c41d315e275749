"""The convolution head against a plain second implementation, and its folder."""

import json

import numpy as np
import pytest
import torch
from scipy.special import erf

from splicebert_vep.errors import ModelError
from splicebert_vep.model.bert import BertConfig
from splicebert_vep.model.classifier import CONVOLUTION, Classifier, FineTuned, load_classifier, save_classifier

CONFIG = BertConfig(
    vocab_size=10, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
    max_position_embeddings=42, type_vocab_size=2, layer_norm_eps=1e-5, max_trained_length=40,
)  # fmt: skip
ABOUT = FineTuned("splice-sites", ("neither", "acceptor", "donor"), 40, False, "random", "none", CONVOLUTION)


def model(pooled=False):
    torch.manual_seed(3)
    return Classifier(CONFIG, 3, head=CONVOLUTION, pooled=pooled).eval()


def tokens(width=40):
    bases = np.random.default_rng(5).integers(6, 10, size=(2, width))
    return torch.from_numpy(np.hstack([np.full((2, 1), 2), bases, np.full((2, 1), 3)]))


def gelu(x):
    return x * 0.5 * (1 + erf(x / np.sqrt(2)))


def convolved(x, layer):
    """Sum over the kernel, nucleotide by nucleotide; nothing lies beyond the window. x is (W, C)."""
    weight, bias, step = layer.weight.detach().numpy(), layer.bias.detach().numpy(), layer.dilation[0]
    out = np.zeros_like(x)
    for at in range(len(x)):
        for k in range(11):
            source = at + (k - 5) * step
            if 0 <= source < len(x):
                out[at] += weight[:, :, k] @ x[source]
        out[at] += bias
    return out


def plainly(network, one):
    """Logits (W, 3) of one window (W + 2,)."""
    with torch.inference_mode():
        hidden = network.encode(one[None]).hidden[0, 1:-1].numpy()  # [CLS] and [SEP] are no nucleotides
    head = network.head
    x = hidden @ head.inlet.weight.detach().numpy().T + head.inlet.bias.detach().numpy()
    for first, second in zip(head.first, head.second, strict=True):
        x = x + convolved(gelu(convolved(gelu(x), first)), second)
    return x @ network.classifier.weight.detach().numpy().T + network.classifier.bias.detach().numpy()


def test_equals_a_plain_second_implementation():
    network, windows = model(), tokens()
    with torch.inference_mode():
        found = network(windows).numpy()
    for window, logits in zip(windows, found, strict=True):
        assert np.abs(logits - plainly(network, window)).max() < 1e-4


def test_positions_are_token_indices():
    network, windows = model(), tokens()
    with torch.inference_mode():
        every, some = network(windows), network(windows, torch.tensor([[1, 40, 7], [3, 3, 2]]))
    assert torch.equal(some[0], every[0, [0, 39, 6]])
    assert torch.equal(some[1], every[1, [2, 2, 1]])


def test_one_answer_per_window_is_the_mean_over_its_nucleotides():
    network, windows = model(pooled=True), tokens()
    each = model()
    each.load_state_dict(network.state_dict())
    with torch.inference_mode():
        assert torch.allclose(network(windows), each(windows).mean(dim=1), atol=1e-5)  # the last layer is linear


def test_a_nucleotide_sees_a_hundred_on_either_side():
    torch.manual_seed(0)
    head = model().head
    hidden = torch.randn(1, 400, 16)
    other = hidden.clone()
    other[0, 200] += 1.0
    with torch.inference_mode():
        changed = (head(hidden) != head(other)).any(dim=-1)[0].nonzero().flatten()
    assert (int(changed.min()), int(changed.max())) == (100, 300)


def test_a_saved_model_comes_back_as_it_was(tmp_path):
    network, windows = model(), tokens()
    save_classifier(network, ABOUT, tmp_path)
    loaded = load_classifier(tmp_path, "splice-sites")
    assert loaded.about == ABOUT
    with torch.inference_mode():
        assert torch.equal(loaded.model(windows), network(windows))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("head", "transformer"),
        ("window", 41),
        ("window", "40"),
        ("foot", 1),
        ("task", 3),
        ("pooled", "x"),
        ("base", ["a"]),
    ],
)
def test_a_config_that_does_not_hold_is_refused(tmp_path, key, value):
    save_classifier(model(), ABOUT, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["fine_tuned"][key] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="does not hold a fine-tuned model"):
        load_classifier(tmp_path)


@pytest.mark.parametrize("labels", [{"0": 1}, {"0": ["a"]}, 7, "abc", {}])
def test_labels_that_are_no_names_are_refused(tmp_path, labels):
    save_classifier(model(), ABOUT, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"id2label": labels}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="does not hold a fine-tuned model"):
        load_classifier(tmp_path)


def test_a_model_of_another_task_is_refused(tmp_path):
    save_classifier(model(), ABOUT, tmp_path)
    with pytest.raises(ModelError, match="finetune branchpoints"):
        load_classifier(tmp_path, "branchpoints")
