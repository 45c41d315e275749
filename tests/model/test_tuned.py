"""Folders of fine-tuned models: other programs read them rightly, and nothing takes one for what it is not."""

import json
import shutil

import numpy as np
import pytest
import torch

from factories import SPELLED, letters_of, tiny_model, write_model
from splicebert_vep.errors import BackendError, ModelError, SettingsError
from splicebert_vep.model.checkpoint import load_checkpoint
from splicebert_vep.model.classifier import Classifier, FineTuned, load_classifier, save_classifier
from splicebert_vep.model.registry import resolve_splice_model
from splicebert_vep.model.tuned import SPLICE_LABELS as LABELS
from splicebert_vep.model.tuned import SPLICE_SITES as TASK
from splicebert_vep.model.tuned import (
    BranchpointModel,
    SequenceModel,
    SpliceSiteModel,
    WindowSpliceModel,
    of_one_length,
    sequence_tokens,
)
from splicebert_vep.train.finetune import begin
from splicebert_vep_spec import A, BackendOptions, Edit, T
from splicebert_vep_spec.testing import SpliceModelConformance


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


# A splice-site model of windows. The answers of this one depend on the base, its neighbours and its place in a window.


WINDOW = 301


def answer(window: str, at: int, place: int = 1) -> tuple[float, float]:
    around = [SPELLED[5:].index(base) for base in f"N{window}N"[at : at + 3]]
    code = around[0] + 5 * around[1] + 25 * around[2] + 125 * place * at
    return (1 + np.sin(code)) / 4, (1 + np.cos(code)) / 4


class Windows:
    """Stand in for the network; it remembers how many windows each call had."""

    name, window, quality, digest, device = "windows", WINDOW, "", "5" * 64, torch.device("cpu")

    def __init__(self, place=1, batch_tokens=4096):
        self.place, self.batch_tokens, self.calls = place, batch_tokens, []

    def probabilities(self, tokens, positions):
        assert tokens.shape[1] == WINDOW + 2
        self.calls.append(len(tokens))
        found = np.zeros((*positions.shape, 3))
        for row, read in enumerate(positions.tolist()):
            text = letters_of(tokens[row, 1:-1])
            found[row, :, 1:] = [answer(text, at - 1, self.place) for at in read]
        return found


class TestWindowSpliceModel(SpliceModelConformance):
    model = WindowSpliceModel(Windows(), "BSD-3-Clause")
    array = staticmethod(np.array)


def some_tokens(length, seed=3):
    return np.random.default_rng(seed).integers(A, T + 1, length).astype(np.uint8)


def test_a_base_and_its_counterpart_stand_at_one_place_of_windows_around_the_edit():
    tokens = some_tokens(1200)
    text = letters_of(tokens)
    edits = [
        Edit(600, 600 + gone, tuple(some_tokens(put, put)), left, right)
        for gone, put, left, right in (
            (1, 1, 50, 50), (0, 1, 51, 51), (0, 12, 60, 51), (1, 0, 51, 51), (40, 0, 51, 60), (7, 2, 51, 51)
        )
    ]  # fmt: skip
    model = WindowSpliceModel(Windows(), "BSD-3-Clause")
    for edit, (ref, alt) in zip(edits, model.alternatives(tokens, edits), strict=True):
        changed = text[: edit.start] + letters_of(edit.bases) + text[edit.end :]
        grown = len(edit.bases) - (edit.end - edit.start)
        first = edit.start - (WINDOW - max(edit.end - edit.start, len(edit.bases))) // 2  # of the window
        wanted = [
            answer(text[start : start + WINDOW], at - start)
            for at in range(edit.start - edit.left, edit.end + edit.right)
            for start in [first if at < edit.end else first - grown]
        ]
        assert ref == pytest.approx(np.array(wanted), abs=1e-12)
        wanted = [
            answer(changed[first : first + WINDOW], at - first)
            for at in range(edit.start - edit.left, edit.end + grown + edit.right)
        ]
        assert alt == pytest.approx(np.array(wanted), abs=1e-12)
    assert model.alternatives(tokens, []) == []


@pytest.mark.parametrize("length", [2 * WINDOW, 2 * WINDOW + 1, 2 * WINDOW + 150, 1500])
def test_along_a_sequence_every_answer_is_read_far_from_the_ends_of_its_window(length):
    tokens = some_tokens(length)
    model = WindowSpliceModel(Windows(place=0, batch_tokens=1), "BSD-3-Clause")
    text = letters_of(tokens)
    wanted = np.array([answer(text, at, 0) for at in range(WINDOW, length - WINDOW)]).reshape(-1, 2)
    assert model.along(tokens) == pytest.approx(wanted, abs=1e-12)


def test_windows_that_are_the_same_run_once_in_calls_that_suit():
    tokens = some_tokens(1200)
    edits = [Edit(600, 601, (alt,), 50, 50) for alt in range(A, T + 1) if alt != tokens[600]] * 2
    for tokens_in_call, calls in ((4096, [4]), (2 * (WINDOW + 2), [2, 2])):  # one REF and three ALTs
        windows = Windows(batch_tokens=tokens_in_call)
        WindowSpliceModel(windows, "BSD-3-Clause").alternatives(tokens, edits)
        assert windows.calls == calls


def test_operating_points_are_of_the_bundled_model_alone(tmp_path):
    """Of 76 harmful and 67 harmless variants: the shares are those of whole variants, and fall with the threshold."""
    bundled = WindowSpliceModel.open(BackendOptions("splicebert-mini-splice-sites", "cpu", 1)).info.operating_points
    shares = {one.threshold: (one.harmful, one.harmless) for one in bundled}
    assert list(shares)[0] == 0.2 and shares[0.1] > shares[0.2] > shares[0.5]
    counts = [share * of for pair in shares.values() for share, of in zip(pair, (76, 67), strict=True)]
    assert counts == pytest.approx([round(count) for count in counts])
    folder = tmp_path / "copy"
    shutil.copytree(resolve_splice_model("splicebert-mini-splice-sites"), folder)
    assert WindowSpliceModel.open(BackendOptions(str(folder), "cpu", 1)).info.operating_points == ()


@pytest.mark.parametrize(
    ("gone", "put", "side", "takes"),
    [
        (1, 1, 100, True),  # 150 nt before it in the window, 50 of them before the first answer
        (1, 1, 101, False),
        (0, 99, 51, True),  # 101 before, 50 of them before the first answer
        (0, 100, 51, False),
        (100, 0, 51, False),
        (99, 99, 50, True),
    ],
)
def test_an_answer_needs_fifty_nt_on_both_sides(gone, put, side, takes):
    model = WindowSpliceModel(Windows(), "BSD-3-Clause")
    assert model.takes(Edit(600, 600 + gone, (A,) * put, side, side)) == takes
    assert model.farthest == 100


def test_a_folder_with_narrow_windows_is_refused_and_another_has_no_stated_licence(tmp_path):
    with pytest.raises(ModelError, match="301 nt"):
        WindowSpliceModel.open(BackendOptions(str(write_model(tmp_path / "narrow", 2, window=300)), "cpu"))
    model = WindowSpliceModel.open(BackendOptions(str(write_model(tmp_path / "wide", 2, window=301)), "cpu"))
    assert (model.info.model, model.info.licence, model.reach) == ("wide", "not stated", 301)
    bundled = WindowSpliceModel.open(BackendOptions(WindowSpliceModel.name, "cpu"))
    assert (bundled.info.model, bundled.info.licence) == (WindowSpliceModel.name, "BSD-3-Clause")
    assert bundled.info.quality


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
