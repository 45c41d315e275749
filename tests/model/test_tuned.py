"""Folders of fine-tuned models: other programs read them rightly, and nothing takes one for what it is not."""

import json
import shutil

import numpy as np
import pytest
import torch

from factories import tiny_model
from splicebert_vep.errors import BackendError, ModelError, SettingsError
from splicebert_vep.model.checkpoint import load_checkpoint
from splicebert_vep.model.classifier import Classifier, FineTuned, load_classifier, save_classifier
from splicebert_vep.model.tuned import SPLICE_LABELS as LABELS
from splicebert_vep.model.tuned import SPLICE_SITES as TASK
from splicebert_vep.model.tuned import BranchpointModel, SequenceModel, SpliceSiteModel, of_one_length, sequence_tokens
from splicebert_vep.train.finetune import begin


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def tuned(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    return saved(base, folder)


def saved(base, folder, task=TASK, labels=LABELS, pooled=False, window=60, head="linear"):
    model, digest = begin(str(base), len(labels), head=head, seed=3, pooled=pooled)
    save_classifier(model, FineTuned(task, labels, window, pooled, "base", digest, head), folder)
    return folder


def tokens(rows=4, width=60):
    found = np.random.default_rng(1).integers(5, 10, (rows, width + 2), dtype=np.uint8)
    found[:, 0], found[:, -1] = 2, 3
    return found


def test_transformers_reads_the_folder_and_gives_the_same_logits(tuned):
    transformers = pytest.importorskip("transformers")
    theirs, info = transformers.BertForTokenClassification.from_pretrained(tuned, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert theirs.config.id2label == dict(enumerate(LABELS)) and theirs.config.label2id["donor"] == 2
    batch = torch.from_numpy(tokens().astype(np.int64))
    with torch.inference_mode():
        wanted = theirs.eval()(batch).logits[:, 1:-1]
        got = load_classifier(tuned).model(batch)
    assert (wanted - got).abs().max() < 1e-4
    softmax = torch.softmax(wanted.double(), dim=-1).numpy()
    assert SpliceSiteModel.open(tuned, "cpu").probabilities(tokens()) == pytest.approx(softmax, abs=1e-4)


def test_a_pooled_folder_does_not_call_itself_what_transformers_computes_otherwise(base, tmp_path):
    """BertForSequenceClassification reads [CLS] through a pooler; ours is the mean over the nucleotides."""
    folder = saved(base, tmp_path, "sequence", ("a", "b"), pooled=True)
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["BertModel"]
    loaded = load_classifier(folder, "sequence")
    batch = torch.from_numpy(tokens().astype(np.int64))
    with torch.inference_mode():
        hidden = load_checkpoint(base).model.encode(batch).hidden
        wanted = torch.stack([row[1:-1].sum(dim=0) / 60 for row in hidden]) @ loaded.model.classifier.weight.T
        wanted = wanted + loaded.model.classifier.bias
        assert (loaded.model(batch) - wanted).abs().max() < 1e-5


@pytest.mark.parametrize("command", [["score", "chr17-43047641-A-C", "-R", "GRCh38.fa"], ["models", "info"]])
def test_a_fine_tuned_folder_is_no_model_of_annotate(tuned, run, command, tmp_path):
    (tmp_path / "GRCh38.fa").write_text(">17\n" + "ACGT" * 500 + "\n")
    words = [str(tmp_path / word) if word == "GRCh38.fa" else word for word in command]
    code, out, err = run(*words, *([str(tuned)] if command[0] == "models" else ["--model", str(tuned)]))
    assert code == 3 and not out
    assert "fine-tuned" in err and "finetune splice-sites" in err and "masked language model" in err
    assert "Traceback" not in err and str(tuned) in err


def test_a_fine_tuned_folder_is_no_start_of_another_fine_tuning(tuned):
    with pytest.raises(ModelError, match="fine-tuned model, not a masked language model"):
        begin(str(tuned), 3, head="linear", seed=1)


def test_what_is_no_fine_tuned_folder_is_told(base, tuned, tmp_path):
    with pytest.raises(ModelError, match="does not hold a fine-tuned model"):
        SpliceSiteModel.open(base, "cpu")
    with pytest.raises(ModelError, match="finetune branchpoints"):
        BranchpointModel.open(tuned, "cpu")
    other = saved(base, tmp_path / "order", labels=("neither", "donor", "acceptor"))
    with pytest.raises(ModelError, match="other labels than its task"):
        SpliceSiteModel.open(other, "cpu")
    config = json.loads((tuned / "config.json").read_text())
    for change in ({"fine_tuned": "x"}, {"id2label": ["a"]}, {"fine_tuned": {**config["fine_tuned"], "window": 61}}):
        for name in ("model.safetensors", "vocab.txt"):
            (tmp_path / name).write_bytes((tuned / name).read_bytes())
        (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(ModelError, match="does not hold a fine-tuned model"):
            load_classifier(tmp_path)


@pytest.mark.parametrize("key", ["layer_norm_eps", "num_attention_heads", "window", "label"])
def test_the_digest_covers_all_that_changes_an_answer(tuned, tmp_path, key):
    folder = shutil.copytree(tuned, tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    if key == "window":
        config["fine_tuned"]["window"] = 40
    elif key == "label":
        config["fine_tuned"]["task"], config["id2label"] = "sequence", {"0": "a", "1": "b", "2": "c"}
    else:
        config[key] = {"layer_norm_eps": 0.5, "num_attention_heads": 2}[key]
    (folder / "config.json").write_text(json.dumps(config))
    one, two = load_classifier(tuned), load_classifier(folder)
    assert one.weights_sha256 == two.weights_sha256
    assert one.architecture != two.architecture and one.digest != two.digest
    assert load_classifier(tuned).digest == one.digest


def test_positions_may_be_read_only_and_of_any_integer_type(tuned):
    model = SpliceSiteModel.open(tuned, "cpu")
    wanted = model.probabilities(tokens(1))[:, 4:7]
    at = np.broadcast_to(np.arange(5, 8, dtype=np.int32), (1, 3))
    assert model.probabilities(tokens(1), at) == pytest.approx(wanted, abs=1e-6)


def test_answers_that_are_not_finite_are_a_failure_of_the_model(base, tmp_path):
    model = SpliceSiteModel.open(saved(base, tmp_path), "cpu")
    assert isinstance(model._model, Classifier)
    with torch.no_grad():
        model._model.classifier.bias[1] = float("inf")
    with pytest.raises(BackendError, match="splice-sites model returned values that are not finite"):
        model.probabilities(tokens())


@pytest.mark.parametrize("head", ["linear", "convolution"])
def test_an_official_folder_can_be_the_start(tmp_path, head):
    folder = saved(tiny_model(tmp_path / "base", trained=None), tmp_path / "tuned", head=head)
    assert SpliceSiteModel.open(folder, "cpu").window == 60


def test_a_head_begins_alike_whatever_was_drawn_before(base):
    for head in ("linear", "convolution"):
        torch.manual_seed(5)
        one, _ = begin(str(base), 3, head=head, seed=1)
        after = torch.rand(1)
        two, _ = begin(str(base), 3, head=head, seed=1)
        assert all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())
        torch.manual_seed(5)
        assert torch.equal(after, torch.rand(1))  # and the caller's random numbers are as they would have been


def test_sequences_of_one_length_go_together_and_none_is_padded():
    tokens = [sequence_tokens(text, 60) for text in ("ACGT", "AC", "GGGT", "TT", "NNNN", "A")]
    found = [(rows.tolist(), windows.tolist()) for rows, windows in of_one_length(tokens, 12)]
    assert [rows for rows, _ in found] == [[5], [1, 3], [0, 2], [4]]
    assert found[1][1] == [[2, 6, 7, 3], [2, 9, 9, 3]]


@pytest.mark.parametrize(
    ("wrong", "said"), [("ACGU", "write U as T"), ("", "empty"), ("A" * 61, "61 nt"), ("AC GT", "' ' at position 3")]
)
def test_a_sequence_that_cannot_be_read_is_named(base, tmp_path, wrong, said):
    model = SequenceModel.open(saved(base, tmp_path, "sequence", ("a", "b"), pooled=True), "cpu")
    with pytest.raises(SettingsError, match=said) as told:
        model.probabilities(["ACGT", wrong])
    assert told.value.where == "sequence 2"


def test_classes_are_no_values_and_values_are_no_classes(base, tmp_path):
    model = SequenceModel.open(saved(base, tmp_path / "classes", "sequence", ("a", "b"), pooled=True), "cpu")
    assert model.probabilities([]).shape == (0, 2)
    with pytest.raises(SettingsError, match="classes"):
        model.values(["ACGT"])
    model = SequenceModel.open(str(saved(base, tmp_path / "values", "sequence", ("value",), pooled=True)), "cpu")
    with pytest.raises(SettingsError, match="no classes"):
        model.probabilities(["ACGT"])
