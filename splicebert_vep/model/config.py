"""Read what a model folder says of itself: ``config.json`` and ``vocab.txt``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from splicebert_vep.errors import ModelError
from splicebert_vep.model.bert import BertConfig

VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "N", "A", "C", "G", "T")

OFFICIAL, OURS, MULTIMOLECULE = "official", "splicebert-vep", "multimolecule"

# What multimolecule's RNA vocabulary calls the tokens it does not call as we do.
_RNA_NAMES = {"[PAD]": "<pad>", "[UNK]": "<unk>", "[CLS]": "<cls>", "[SEP]": "<eos>", "[MASK]": "<mask>", "T": "U"}


@dataclass(frozen=True, slots=True)
class Description:
    """Hold what the config says.

    Args:
        config: of the network we build.
        file_vocab_size: how large the vocabulary of the file is.
        task: of ``finetune``, where the folder holds a fine-tuned model; else None.
    """

    config: BertConfig
    layout: str
    file_vocab_size: int
    task: str | None = None


def read_config(file: Path) -> Description:
    """Read a ``config.json`` and check every setting that changes what the network computes.

    Raises:
        ModelError: not there, not JSON, or the config of another architecture.
    """
    raw = read_json(file)
    layout = _layout(raw, file)

    def expect(section: Mapping[str, object], key: str, wanted: object, default: object, where: str = "") -> None:
        if (value := section.get(key, default)) != wanted:
            raise _config_error(where + key, json.dumps(wanted), value, file)

    def number(key: str) -> int:
        value = raw.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise _config_error(key, "a whole number above 0", value, file)
        return value

    expect(raw, "hidden_act", "gelu", None)
    expect(raw, "position_embedding_type", "absolute", "absolute")  # transformers 5 no longer writes it
    expect(raw, "is_decoder", False, False)
    expect(raw, "add_cross_attention", False, False)
    eps = raw.get("layer_norm_eps")
    if not isinstance(eps, float) or not 0 < eps < 1:
        raise _config_error("layer_norm_eps", "a number between 0 and 1", eps, file)

    vocab_size = number("vocab_size")
    if layout != MULTIMOLECULE:
        expect(raw, "vocab_size", len(VOCABULARY), None)
    else:
        # Their head has an epsilon of its own, 1e-12 unless said otherwise; ours is that of the whole network.
        given = raw.get("lm_head")
        head = given if isinstance(given, dict) else {}
        expect(head, "transform", "nonlinear", "nonlinear", "lm_head.")
        expect(head, "transform_act", "gelu", "gelu", "lm_head.")
        expect(head, "act", None, None, "lm_head.")
        expect(head, "bias", True, True, "lm_head.")
        expect(head, "layer_norm_eps", eps, 1e-12, "lm_head.")

    positions = number("max_position_embeddings")
    trained = number("max_trained_length") if raw.get("max_trained_length") is not None else None
    longest = positions - 2  # [CLS] and [SEP] take a position each
    if longest < 1 or (trained is not None and trained > longest):
        key = "max_trained_length" if trained is not None else "max_position_embeddings"
        raise _config_error(key, f"room for [CLS] and [SEP] in {positions} positions", raw[key], file)
    size, heads = number("hidden_size"), number("num_attention_heads")
    if size % heads:
        raise _config_error("num_attention_heads", f"a divisor of hidden_size, {size}", heads, file)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=size,
        num_hidden_layers=number("num_hidden_layers"),
        num_attention_heads=heads,
        intermediate_size=number("intermediate_size"),
        max_position_embeddings=positions,
        type_vocab_size=number("type_vocab_size"),
        layer_norm_eps=eps,
        max_trained_length=trained,
    )
    section = raw.get("fine_tuned")
    task = str(section.get("task", "unknown")) if isinstance(section, dict) else None
    return Description(config, layout, vocab_size, task)


def official_config(config: BertConfig) -> dict[str, object]:
    """Return the ``config.json`` of a network in the official layout, with ``max_trained_length``."""
    return {
        "architectures": ["BertForMaskedLM"],
        "attention_probs_dropout_prob": 0.0,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": config.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": config.intermediate_size,
        "layer_norm_eps": config.layer_norm_eps,
        "max_position_embeddings": config.max_position_embeddings,
        "max_trained_length": config.max_trained_length,
        "model_type": "bert",
        "num_attention_heads": config.num_attention_heads,
        "num_hidden_layers": config.num_hidden_layers,
        "pad_token_id": VOCABULARY.index("[PAD]"),
        "position_embedding_type": "absolute",
        "type_vocab_size": config.type_vocab_size,
        "vocab_size": config.vocab_size,
    }


def vocabulary_rows(file: Path, described: Description) -> list[int] | None:
    """Return the row of each of the ten tokens in the file's embeddings; None when the rows are the tokens.

    Raises:
        ModelError: ``vocab.txt`` names other tokens, or is missing where it is needed.
    """
    if not file.is_file():
        if described.layout != MULTIMOLECULE:
            return None
        raise ModelError(
            "The vocabulary is missing.",
            needed="vocab.txt, to know which row of the embeddings is which token",
            found="nothing",
            where=str(file),
            remedy="copy vocab.txt into the folder, or pull the model again",
        )
    tokens = [token.strip() for token in file.read_text(encoding="utf-8", errors="replace").rstrip().split("\n")]

    def error(needed: str, found: str) -> ModelError:
        remedy = "put back the vocab.txt that came with the weights"
        problem = "The vocabulary is not that of SpliceBERT."
        return ModelError(problem, needed=needed, found=found, where=str(file), remedy=remedy)

    if described.layout != MULTIMOLECULE:
        if tuple(tokens) != VOCABULARY:
            raise error(" ".join(VOCABULARY), " ".join(tokens[:30]))
        return None
    if len(tokens) != described.file_vocab_size:
        raise error(f"{described.file_vocab_size} tokens, as config.json has it", f"{len(tokens)} tokens")
    wanted = [_RNA_NAMES.get(token, token) for token in VOCABULARY]
    if absent := [token for token in wanted if tokens.count(token) != 1]:
        raise error(f"{' '.join(wanted)}, once each", f"{' '.join(absent)} missing or doubled")
    return [tokens.index(token) for token in wanted]


def read_json(file: Path) -> dict[str, object]:
    remedy = "give the folder that holds config.json and the weights"
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            "The model's config cannot be read.",
            needed="config.json in the model folder",
            found=error.strerror or type(error).__name__,
            where=str(file),
            remedy=remedy,
        ) from error
    except ValueError as error:
        raise ModelError(
            "The model's config is not JSON.", needed="a JSON object", found=str(error), where=str(file), remedy=remedy
        ) from error
    if not isinstance(raw, dict):
        found = type(raw).__name__
        raise ModelError("The model's config is not an object.", needed="{...}", found=found, where=str(file))
    return raw


def _layout(raw: Mapping[str, object], file: Path) -> str:
    kind = raw.get("model_type")
    if kind == "splicebert":
        return MULTIMOLECULE
    if kind == "bert":
        return OFFICIAL if raw.get("max_trained_length") is None else OURS
    raise _config_error("model_type", "bert or splicebert", kind, file)


def _config_error(key: str, needed: str, found: object, file: Path) -> ModelError:
    return ModelError(
        f"The config does not describe a SpliceBERT: {key}.",
        needed=f"{key}: {needed}",
        found="nothing" if found is None else json.dumps(found),
        where=str(file),
        remedy="use a folder of SpliceBERT, of multimolecule's SpliceBERT, or one trained by this program",
    )
