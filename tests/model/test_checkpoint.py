"""Every layout of a model folder loads to the same network, and every damage is refused by name."""

from __future__ import annotations

import copy
import json
import random
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import splicebert_vep_spec as spec
from splicebert_vep.errors import ModelError
from splicebert_vep.files import sha256_of
from splicebert_vep.model.bert import VOCABULARY, BertOutput
from splicebert_vep.model.checkpoint import LoadedModel, load_checkpoint
from splicebert_vep.model.registry import resolve_model

State = dict[str, torch.Tensor]

SIZES = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32,
    "max_position_embeddings": 34, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
}  # fmt: skip
BERT = {**SIZES, "architectures": ["BertForMaskedLM"], "model_type": "bert", "vocab_size": 10}
BERT["position_embedding_type"] = "absolute"

# The vocabulary and the keys of multimolecule's published folders, written down as facts.
RNA = ["<pad>", "<cls>", "<eos>", "<unk>", "<mask>", "<null>", *"ACGUNRYSWKMBDHV.X*-I"]
NEWER_RNA = ["<pad>", "<cls>", "<eos>", "<unk>", "<mask>", "<null>", *"ACGUNRYSWKMBDHVIX|.*-?"]
ROW_OF = {"[PAD]": "<pad>", "[UNK]": "<unk>", "[CLS]": "<cls>", "[SEP]": "<eos>", "[MASK]": "<mask>", "T": "U"}
RNA_HEAD = {"act": None, "bias": True, "layer_norm_eps": 1e-12, "transform": "nonlinear", "transform_act": "gelu"}
MULTIMOLECULE = {
    **SIZES, "architectures": ["SpliceBertForPreTraining"], "attention_dropout": 0.1, "hidden_dropout": 0.1,
    "lm_head": {**RNA_HEAD, "dropout": 0.0, "hidden_size": 16, "output_name": None},
    "model_type": "splicebert", "position_embedding_type": "absolute",
}  # fmt: skip
TOKENS = torch.tensor([[2, 6, 7, 8, 9, 5, 4, 6, 1, 9, 0, 3], [2, 9, 9, 8, 8, 7, 7, 6, 6, 5, 4, 3]])


def official_state() -> State:
    """Return random weights under the keys of transformers, with the copies that files of 2022 had."""
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(**{key: value for key, value in BERT.items() if key != "architectures"})
    state: State = transformers.BertForMaskedLM(config).state_dict()
    generator = torch.Generator().manual_seed(7)
    state = {key: torch.randn(value.shape, generator=generator) * 0.4 for key, value in state.items()}
    state["bert.embeddings.position_ids"] = torch.arange(34).unsqueeze(0)
    state["cls.predictions.decoder.weight"] = state["bert.embeddings.word_embeddings.weight"].clone()
    state["cls.predictions.decoder.bias"] = state["cls.predictions.bias"].clone()
    return state


def multimolecule_state(vocabulary: list[str], encoder: str = "model") -> State:
    """Return the same weights as multimolecule's library saves them."""
    rows = [vocabulary.index(ROW_OF.get(token, token)) for token in VOCABULARY]
    state = {}
    for key, value in official_state().items():
        if key in ("bert.embeddings.position_ids", "cls.predictions.decoder.bias", "cls.predictions.decoder.weight"):
            continue
        if key in ("bert.embeddings.word_embeddings.weight", "cls.predictions.bias"):
            larger = torch.full((len(vocabulary), *value.shape[1:]), 9.0)
            larger[rows] = value
            value = larger
        key = re.sub("^bert", encoder, key).replace("cls.predictions", "lm_head").replace("LayerNorm", "layer_norm")
        state[key] = value
    return state


def write(folder: Path, config: object, state: State, vocabulary=None, pickled: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if vocabulary is not None:
        (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    if pickled:
        torch.save(state, folder / "pytorch_model.bin")
    else:
        save_file(state, folder / "model.safetensors")
    return folder


@torch.inference_mode()
def logits(loaded: LoadedModel) -> torch.Tensor:
    output: BertOutput = loaded.model(TOKENS)
    return output.logits


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    """What transformers itself makes of the official weights."""
    transformers = pytest.importorskip("transformers")
    # Without position_ids, which newer transformers report as unexpected.
    state = {key: value for key, value in official_state().items() if not key.endswith("position_ids")}
    folder = write(tmp_path_factory.mktemp("official"), BERT, state)
    model = transformers.BertForMaskedLM(transformers.BertConfig.from_pretrained(folder)).eval()
    model.load_state_dict(state)
    with torch.inference_mode():
        output: torch.Tensor = model(TOKENS).logits
    return output


def without(state: State, *keys: str) -> State:
    return {key: value for key, value in state.items() if key not in keys}


DECODER = "cls.predictions.decoder.weight"
BIASES = ("cls.predictions.bias", "cls.predictions.decoder.bias")


@pytest.mark.parametrize("pickled", [True, False], ids=["bin", "safetensors"])
@pytest.mark.parametrize(
    "left_out",
    [(), ("bert.embeddings.position_ids",), (DECODER,), (BIASES[0],), (BIASES[1], DECODER)],
    ids=["everything twice", "no position_ids", "no decoder weight", "decoder.bias only", "bias only"],
)
def test_official_folder(tmp_path: Path, wanted: torch.Tensor, left_out: tuple[str, ...], pickled: bool) -> None:
    state = without(official_state(), *left_out)
    loaded = load_checkpoint(write(tmp_path, BERT, state, list(VOCABULARY), pickled))
    assert loaded.layout == "official"
    assert loaded.weights_sha256 == sha256_of(loaded.weights_file)
    assert not loaded.model.training
    assert {value.dtype for value in loaded.model.state_dict().values()} == {torch.float32}
    torch.testing.assert_close(logits(loaded), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("encoder", ["model", "splicebert"])
@pytest.mark.parametrize("vocabulary", [RNA, NEWER_RNA], ids=["26", "28"])
def test_multimolecule_folder(tmp_path: Path, wanted: torch.Tensor, vocabulary: list[str], encoder: str) -> None:
    config = {**MULTIMOLECULE, "vocab_size": len(vocabulary)}
    loaded = load_checkpoint(write(tmp_path, config, multimolecule_state(vocabulary, encoder), vocabulary, False))
    assert loaded.layout == "multimolecule"
    assert loaded.config.vocab_size == 10
    torch.testing.assert_close(logits(loaded), wanted, rtol=0, atol=1e-5)


def test_multimolecule_folder_with_a_stored_decoder_and_no_head_settings(tmp_path: Path, wanted: torch.Tensor) -> None:
    state = multimolecule_state(RNA)
    state["lm_head.decoder.weight"] = state["model.embeddings.word_embeddings.weight"].clone()
    state["lm_head.decoder.bias"] = state["lm_head.bias"].clone()
    config = {**MULTIMOLECULE, "vocab_size": 26, "lm_head": None}
    torch.testing.assert_close(logits(load_checkpoint(write(tmp_path, config, state, RNA))), wanted, rtol=0, atol=1e-5)


def test_another_order_of_tokens_is_another_architecture(tmp_path: Path) -> None:
    """The same file with A and C exchanged in vocab.txt gives other scores, which a store must not mix up."""
    config, swapped = {**MULTIMOLECULE, "vocab_size": 26}, [*RNA[:6], "C", "A", *RNA[8:]]
    folders = [write(tmp_path / word[6], config, multimolecule_state(RNA), word, False) for word in (RNA, swapped)]
    one, two = map(load_checkpoint, folders)
    assert one.weights_sha256 == two.weights_sha256 and one.architecture != two.architecture
    assert load_checkpoint(resolve_model("splicebert-mini")).architecture == BUNDLED_ARCHITECTURE


BUNDLED_ARCHITECTURE = "6x128 heads=8 ff=512 positions=1026 eps=1e-05"  # stores of earlier versions have it


def test_our_folder(tmp_path: Path, wanted: torch.Tensor) -> None:
    loaded = load_checkpoint(write(tmp_path, {**BERT, "max_trained_length": 20}, official_state(), None, False))
    assert (loaded.layout, loaded.max_window, loaded.fixed_window) == ("splicebert-vep", 20, None)
    torch.testing.assert_close(logits(loaded), wanted, rtol=0, atol=1e-5)


def test_bundled_folder() -> None:
    loaded = load_checkpoint(resolve_model("splicebert-mini"))
    assert (loaded.layout, loaded.max_window, loaded.fixed_window) == ("splicebert-vep", 1024, None)
    assert loaded.parameters == 1_339_530


@pytest.mark.parametrize(("positions", "window", "fixed"), [(1026, 1024, None), (512, 510, 510)])
def test_windows_of_the_official_models(tmp_path: Path, positions: int, window: int, fixed: int | None) -> None:
    state = without(official_state(), "bert.embeddings.position_ids")
    state["bert.embeddings.position_embeddings.weight"] = torch.zeros(positions, 16)
    loaded = load_checkpoint(write(tmp_path, {**BERT, "max_position_embeddings": positions}, state))
    assert (loaded.max_window, loaded.fixed_window) == (window, fixed)


def test_safetensors_is_preferred(tmp_path: Path) -> None:
    write(tmp_path, BERT, official_state(), pickled=False)
    (tmp_path / "pytorch_model.bin").write_bytes(b"never read")
    assert load_checkpoint(tmp_path).weights_file.name == "model.safetensors"


def test_loading_leaves_the_random_state_alone(tmp_path: Path) -> None:
    write(tmp_path, BERT, official_state())
    before = torch.get_rng_state()
    load_checkpoint(tmp_path)
    assert torch.equal(before, torch.get_rng_state())


def test_loading_does_not_import_the_compiler() -> None:
    """torch._dynamo takes a second to import and fails where there is no temporary folder."""
    code = (
        "import sys; from splicebert_vep.model.checkpoint import *; from splicebert_vep.model.registry import *;"
        "from splicebert_vep.model.tuned import SpliceSiteModel; load_checkpoint(resolve_model('splicebert-mini'));"
        "SpliceSiteModel.open(device='cpu'); sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_vocabulary_is_that_of_the_spec() -> None:
    ids = [spec.PAD, spec.UNK, spec.CLS, spec.SEP, spec.MASK, spec.N, spec.A, spec.C, spec.G, spec.T]
    assert [VOCABULARY[i] for i in ids] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"NACGT"]


def refused(folder: Path, word: str) -> None:
    with pytest.raises(ModelError, match=re.escape(word)):
        load_checkpoint(folder)


QUERY = "bert.encoder.layer.0.attention.self.query.weight"
POSITION_IDS = "bert.embeddings.position_ids"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"model_type": "roberta"}, "roberta"),
        ({"hidden_act": "gelu_new"}, "hidden_act"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"is_decoder": True}, "is_decoder"),
        ({"add_cross_attention": True}, "add_cross_attention"),
        ({"vocab_size": 11}, "vocab_size"),
        ({"hidden_size": None}, "hidden_size"),
        ({"hidden_size": 10**4000}, "hidden_size"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"num_attention_heads": 3}, "num_attention_heads"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps"),
        ({"max_trained_length": 33}, "max_trained_length"),
        ({"max_trained_length": "all"}, "max_trained_length"),
        ({"max_position_embeddings": 2}, "max_position_embeddings"),
        ({"max_position_embeddings": 40}, "position_embeddings.weight"),
        ({"intermediate_size": 64}, "intermediate.dense.weight"),
        ({"num_hidden_layers": 1}, "bert.encoder.layer.1"),
        ({"num_hidden_layers": 3}, "bert.encoder.layer.2.attention.self.query.weight"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_config_of_another_network(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    refused(write(tmp_path, {**BERT, **change}, official_state()), word)


@pytest.mark.parametrize(
    ("key", "value"),
    [("transform", None), ("transform_act", "relu"), ("act", "gelu"), ("bias", False), ("layer_norm_eps", 1e-5)],
)
def test_multimolecule_head_of_another_kind(tmp_path: Path, key: str, value: object) -> None:
    config = {**MULTIMOLECULE, "vocab_size": 26, "lm_head": {**RNA_HEAD, key: value}}
    refused(write(tmp_path, config, multimolecule_state(RNA), RNA), f"lm_head.{key}")


def edited(key: str, value: torch.Tensor | None) -> State:
    """Return the weights with one replaced, added, or, for None, left out."""
    state = official_state()
    return {**state, key: value} if value is not None else without(state, key)


STATE = official_state()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (QUERY, None),
        (QUERY, STATE[QUERY][:8]),
        (QUERY, STATE[QUERY].half()),
        (QUERY, torch.full((16, 16), float("nan")).triu()),
        (QUERY, torch.full((16, 16), float("inf")).triu()),
        ("bert.pooler.dense.weight", torch.zeros(16, 16)),
        (BIASES[1], STATE[BIASES[1]] + 0.5),
        (DECODER, STATE[DECODER] + 0.5),
        (POSITION_IDS, STATE[POSITION_IDS].flip(1)),
    ],
    ids=["missing", "shape", "type", "NaN", "infinite", "extra", "two biases", "not tied", "order of positions"],
)
def test_weights_that_do_not_fit(tmp_path: Path, key: str, value: torch.Tensor | None) -> None:
    refused(write(tmp_path, BERT, edited(key, value)), key)


def test_missing_decoder_bias(tmp_path: Path) -> None:
    refused(write(tmp_path, BERT, without(official_state(), *BIASES)), BIASES[0])


def test_vocabulary_in_another_order(tmp_path: Path) -> None:
    refused(write(tmp_path, BERT, official_state(), [*VOCABULARY[:6], *"ATGC"]), "A T G C")


@pytest.mark.parametrize(
    ("vocabulary", "word"),
    [(None, "vocab.txt"), (RNA[:-1], "25 tokens"), (["T" if token == "U" else token for token in RNA], "U missing")],
    ids=["none", "short", "DNA"],
)
def test_vocabulary_of_multimolecule(tmp_path: Path, vocabulary: list[str] | None, word: str) -> None:
    refused(write(tmp_path, {**MULTIMOLECULE, "vocab_size": 26}, multimolecule_state(RNA), vocabulary), word)


HUGE = 2 * 10**9


@pytest.mark.parametrize(
    "change",
    [{"num_hidden_layers": 10**8}, {"hidden_size": HUGE}, {"max_position_embeddings": HUGE}, {"type_vocab_size": HUGE},
     {"intermediate_size": HUGE}, {"num_hidden_layers": HUGE, "intermediate_size": 1}],
    ids=str,
)  # fmt: skip
def test_a_network_that_the_file_cannot_hold_is_refused_before_it_is_built(tmp_path: Path, change: object) -> None:
    refused(write(tmp_path, {**BERT, **change}, official_state()), "larger network than the weights file")


@pytest.mark.parametrize("text", ["[" * 10**6, '{"a":' * 10**6, '{"hidden_size": ' + "9" * 5000 + "}", "\0", "\udcff"])
def test_a_hostile_config_is_refused(tmp_path: Path, text: str) -> None:
    write(tmp_path, BERT, official_state())
    (tmp_path / "config.json").write_text(text, errors="surrogateescape")
    refused(tmp_path, "config")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (7, STATE[QUERY]),
        (("a", None), STATE[QUERY]),
        (QUERY, STATE[QUERY].to_sparse()),
        (QUERY, STATE[QUERY].to(torch.complex64)),
        (QUERY, torch.empty((16, 16), device="meta")),
        ("\x1b[2Jx", torch.zeros(1)),
    ],
    ids=["number", "tuple", "sparse", "complex", "no data", "escape code"],
)
def test_odd_keys_and_tensors_are_refused(tmp_path: Path, key: Any, value: torch.Tensor) -> None:
    write(tmp_path, BERT, {**STATE, key: value})
    with pytest.raises(ModelError) as told:
        load_checkpoint(tmp_path)
    assert "\x1b" not in str(told.value)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_or_cut_pickle_never_ends_in_a_traceback(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    state = {key: value for key, value in STATE.items() if key == QUERY}
    file = write(tmp_path, BERT, state) / "pytorch_model.bin"
    if seed % 2:
        torch.save(state, file, _use_new_zipfile_serialization=False)
    data = bytearray(file.read_bytes())
    for at in rng.sample(range(min(len(data), 400)), 3):
        data[at] ^= 1 << rng.randrange(8)
    file.write_bytes(data[: len(data) if seed % 3 else rng.randrange(len(data))])
    with pytest.raises(ModelError):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("bomb", ["compressed", "overlapping"])
def test_a_pickle_that_unpacks_to_more_than_its_file_is_refused(tmp_path: Path, bomb: str) -> None:
    file = write(tmp_path, BERT, {QUERY: torch.zeros(1 << 20)}) / "pytorch_model.bin"
    method = zipfile.ZIP_DEFLATED if bomb == "compressed" else zipfile.ZIP_STORED
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
        if bomb == "overlapping":  # one piece of the file under two names
            [entry] = [entry for entry in archive.infolist() if entry.file_size > 1 << 20]
            archive.filelist.append(copy.copy(entry))
            archive.filelist[-1].filename = "archive/data/9"
    with pytest.raises(ModelError) as told:
        load_checkpoint(tmp_path)
    assert "where torch compresses none" in told.value.found


class Payload:
    """An object that no pickle of weights may bring along."""


@pytest.mark.parametrize("content", [b"", b"not a pickle", {"weight": Payload()}, [1, 2]])
def test_pickle_that_is_no_state_dictionary(tmp_path: Path, content: object) -> None:
    write(tmp_path, BERT, official_state())
    if isinstance(content, bytes):
        (tmp_path / "pytorch_model.bin").write_bytes(content)
    else:
        torch.save(content, tmp_path / "pytorch_model.bin")
    refused(tmp_path, "pytorch_model.bin")


def test_safetensors_cut_short(tmp_path: Path) -> None:
    file = write(tmp_path, BERT, official_state(), pickled=False) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    refused(tmp_path, "SafetensorError")


def test_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(BERT))
    refused(tmp_path, "has no weights")


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_config_that_cannot_be_read(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    refused(tmp_path, "config.json")


def test_a_decoder_of_its_own_beside_the_bundled_weights_is_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(resolve_model("splicebert-mini"), tmp_path / "model")
    state = load_file(folder / "model.safetensors")
    assert DECODER not in state  # tied, so the file holds the matrix once
    save_file({**state, DECODER: state["bert.embeddings.word_embeddings.weight"] + 1}, folder / "model.safetensors")
    refused(folder, DECODER)
