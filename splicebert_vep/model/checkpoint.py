"""Read a model folder, in any of the three layouts that SpliceBERT weights come in, and prove it on the way.

===================  ==========================================================================================
layout               what tells it
===================  ==========================================================================================
``official``         config ``model_type`` bert; keys ``bert.*`` and ``cls.predictions.*``; 10 tokens
``splicebert-vep``   the same, and ``max_trained_length`` in the config: written by this project
``multimolecule``    config ``model_type`` splicebert; keys ``model.*`` (``splicebert.*`` in older files) and
                     ``lm_head.*``; an RNA vocabulary, of which ten rows are taken by name
===================  ==========================================================================================
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ..errors import ModelError
from ..files import reporting, sha256_of, whole_or_not
from .bert import (
    MULTIMOLECULE,
    VOCABULARY,
    BertConfig,
    Description,
    Encoder,
    SpliceBert,
    official_config,
    read_config,
    vocabulary_rows,
)

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names of a weights file; the first that exists is read. Safetensors comes first: it cannot carry code."""

# Our module or parameter -> its key in a file. {encoder}, {norm} and {head} are where the key dialects differ.
_NAMES = {
    "token_embeddings": "{encoder}.embeddings.word_embeddings",
    "position_embeddings": "{encoder}.embeddings.position_embeddings",
    "type_embeddings": "{encoder}.embeddings.token_type_embeddings",
    "embedding_norm": "{encoder}.embeddings.{norm}",
}
_HEAD_NAMES = {
    "head_dense": "{head}.transform.dense",
    "head_norm": "{head}.transform.{norm}",
}
_LAYER_NAMES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_out": "attention.output.dense",
    "attention_norm": "attention.output.{norm}",
    "feed_in": "intermediate.dense",
    "feed_out": "output.dense",
    "feed_norm": "output.{norm}",
}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Hold a proven model and where it came from.

    Args:
        model: in eval mode, fp32, on the CPU.
        weights_sha256: of the weights file as it lies on disk, lower-case hex.
        layout: ``official``, ``splicebert-vep`` or ``multimolecule``.
    """

    model: SpliceBert
    config: BertConfig
    weights_sha256: str
    weights_file: Path
    layout: str

    @property
    def max_window(self) -> int:
        """The longest window the model was trained for, in nucleotides."""
        return self.config.longest_window

    @property
    def fixed_window(self) -> int | None:
        """The only window length the model takes, in nucleotides; None when shorter ones are fine."""
        return self.max_window if self.config.fixed_length else None

    @property
    def parameters(self) -> int:
        """How many numbers the model has; the tied decoder counts once."""
        return sum(parameter.numel() for parameter in self.model.parameters())


def load_checkpoint(folder: Path) -> LoadedModel:
    """Load the model of a folder that holds ``config.json``, a weights file and ``vocab.txt``.

    ``vocab.txt`` may be missing where the order of tokens is fixed, that is in all but multimolecule's layout.

    Raises:
        ModelError: a file is missing or unreadable, the config describes another network or a fine-tuned model, or a
            weight is missing, unexpected, of another shape or type, or not finite.
    """
    described = read_config(folder / "config.json")
    config = described.config
    if described.task is not None:
        raise ModelError(
            "The folder holds a fine-tuned model, not a masked language model.",
            needed="a model that guesses hidden nucleotides, as SpliceBERT and what 'pretrain' writes do",
            found=f"a model of 'finetune {described.task}', which answers with other labels",
            where=str(folder),
            remedy="give the model that it began as",
        )
    rows = vocabulary_rows(folder / "vocab.txt", described)
    weights_file = find_weights(folder)
    weights = read_weights(weights_file)
    dialect = _dialect(weights, described.layout)
    taker = WeightTaker(weights, weights_file)
    state = taker.take(config, dialect, described.file_vocab_size) | taker.take_head(config, dialect, described)
    taker.finish()
    for name in ("token_embeddings.weight", "decoder_bias") if rows is not None else ():
        state[name] = state[name][rows]

    # Built without memory first: random initial values would cost time and stir the caller's random state.
    with torch.device("meta"):
        model = SpliceBert(config)
    model.to_empty(device="cpu").load_state_dict(state)
    return LoadedModel(model.eval(), config, sha256_of(weights_file), weights_file, described.layout)


def save_checkpoint(model: SpliceBert, folder: Path) -> None:
    """Write a model folder in the official layout, with safetensors and ``max_trained_length``.

    transformers' ``BertForMaskedLM.from_pretrained`` reads it too. The same weights give the same bytes.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    dialect = Dialect()
    names = dialect.names(model.config.num_hidden_layers) | dialect.head_names
    write_model(model, names | {"decoder_bias": dialect.decoder_biases[0]}, official_config(model.config), folder)


def write_model(model: Encoder, names: Mapping[str, str], config: Mapping[str, object], folder: Path) -> None:
    """Write ``config.json``, ``model.safetensors`` and ``vocab.txt``; names are the keys of the model's parameters.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    weights = {name: value.detach().cpu().float().contiguous() for name, value in model.state_dict().items()}
    state = {names[name]: value for name, value in weights.items()}
    with reporting(folder):
        folder.mkdir(parents=True, exist_ok=True)
    files = {
        WEIGHT_FILES[0]: save(state, metadata={"format": "pt"}),
        "config.json": (json.dumps(config, indent=1) + "\n").encode(),
        "vocab.txt": ("\n".join(VOCABULARY) + "\n").encode(),
    }
    for name, data in files.items():
        with whole_or_not(folder / name) as temporary:
            temporary.write_bytes(data)


def find_weights(folder: Path) -> Path:
    """Return the weights file of a model folder.

    Raises:
        ModelError: there is none.
    """
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    raise ModelError(
        "The model folder has no weights.",
        needed=" or ".join(WEIGHT_FILES),
        found=", ".join(sorted(path.name for path in folder.iterdir())) or "an empty folder",
        where=str(folder),
        remedy="give the folder that holds config.json and the weights, or pull the model again",
    )


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file spells the keys of its weights; the default is the official way."""

    encoder: str = "bert"
    norm: str = "LayerNorm"
    head: str = "cls.predictions"

    def names(self, num_hidden_layers: int) -> dict[str, str]:
        """Map every parameter of ``Encoder`` to its key in the file."""
        modules = dict(_NAMES)
        for i in range(num_hidden_layers):
            for ours, theirs in _LAYER_NAMES.items():
                modules[f"layers.{i}.{ours}"] = f"{{encoder}}.encoder.layer.{i}.{theirs}"
        return self._keys(modules)

    @property
    def head_names(self) -> dict[str, str]:
        """Map every parameter of the masked-language-model head, but for ``decoder_bias``, which has two keys."""
        return self._keys(_HEAD_NAMES)

    def _keys(self, modules: Mapping[str, str]) -> dict[str, str]:
        names = {}
        for ours, theirs in modules.items():
            key = theirs.format(encoder=self.encoder, norm=self.norm, head=self.head)
            names[f"{ours}.weight"] = f"{key}.weight"
            if not ours.endswith("_embeddings"):
                names[f"{ours}.bias"] = f"{key}.bias"
        return names

    @property
    def decoder_biases(self) -> tuple[str, str]:
        """The two keys of the decoder's bias; old files carry both."""
        return f"{self.head}.bias", f"{self.head}.decoder.bias"

    @property
    def decoder_weight(self) -> str:
        """The key of the decoder's weight, which many files leave out since it is the token embeddings again."""
        return f"{self.head}.decoder.weight"

    @property
    def position_ids(self) -> str:
        """The key of 0, 1, 2, ..., which files of transformers before 4.31 carry."""
        return f"{self.encoder}.embeddings.position_ids"


class WeightTaker:
    """Take weights out of a file's dictionary one by one, so that whatever is left at the end is unexpected."""

    def __init__(self, weights: Mapping[str, Tensor], file: Path) -> None:
        self.left = dict(weights)
        self.file = file

    def take(self, config: BertConfig, dialect: Dialect, file_vocab_size: int) -> dict[str, Tensor]:
        """Return the state of an ``Encoder``, with a row of embeddings for every token of the file."""
        with torch.device("meta"):
            shapes = {name: tuple(value.shape) for name, value in Encoder(config).state_dict().items()}
        shapes["token_embeddings.weight"] = (file_vocab_size, config.hidden_size)
        state = {ours: self.pop(key, shapes[ours]) for ours, key in dialect.names(config.num_hidden_layers).items()}
        self._drop_position_ids(dialect.position_ids, config.max_position_embeddings)
        self._embeddings = state["token_embeddings.weight"]
        return state

    def take_head(self, config: BertConfig, dialect: Dialect, described: Description) -> dict[str, Tensor]:
        """Return what a ``SpliceBert`` has besides; the encoder is taken before."""
        size = config.hidden_size
        state = {
            ours: self.pop(key, (size, size) if ours == "head_dense.weight" else (size,))
            for ours, key in dialect.head_names.items()
        }
        biases = [self.pop(key, (described.file_vocab_size,)) for key in dialect.decoder_biases if key in self.left]
        if not biases:
            raise self._error("A weight is missing.", needed=" or ".join(dialect.decoder_biases), found="neither")
        state["decoder_bias"] = biases[0]
        if len(biases) == 2 and not torch.equal(biases[0], biases[1]):
            raise self._error(
                "The two copies of the decoder's bias differ.",
                needed=f"{dialect.decoder_biases[1]} equal to {dialect.decoder_biases[0]}",
                found=f"a difference of up to {_largest_difference(biases[0], biases[1])}",
            )
        if dialect.decoder_weight in self.left:
            decoder = self.pop(dialect.decoder_weight, (described.file_vocab_size, size))
            if not torch.equal(decoder, self._embeddings):
                raise self._error(
                    "The decoder is not tied to the token embeddings.",
                    needed=f"{dialect.decoder_weight} equal to {dialect.encoder}.embeddings.word_embeddings.weight",
                    found=f"a difference of up to {_largest_difference(decoder, self._embeddings)}",
                )
        return state

    def finish(self) -> None:
        """Refuse what nobody took."""
        if self.left:
            raise self._error(
                "The weights hold what this model does not have.", needed="no other keys", found=_some(self.left)
            )

    def pop(self, key: str, shape: tuple[int, ...]) -> Tensor:
        if key not in self.left:
            raise self._error("A weight is missing.", needed=f"{key} of shape {shape}", found=_some(self.left))
        value = self.left.pop(key)
        if tuple(value.shape) != shape:
            raise self._error(f"The weight {key} has another shape.", needed=str(shape), found=str(tuple(value.shape)))
        if value.dtype is not torch.float32:
            raise self._error(f"The weight {key} has another type.", needed="torch.float32", found=str(value.dtype))
        if not torch.isfinite(value).all():
            bad = int((~torch.isfinite(value)).sum())
            raise self._error(
                f"The weight {key} is not finite.", needed="numbers", found=f"{bad} of {value.numel()} infinite or NaN"
            )
        return value

    def _drop_position_ids(self, key: str, positions: int) -> None:
        value = self.left.pop(key, None)
        if value is not None and value.flatten().tolist() != list(range(positions)):
            raise self._error(
                f"The positions in {key} are not 0, 1, 2, ...",
                needed=f"0 to {positions - 1} in order",
                found=f"{value.numel()} values in another order",
            )

    def _error(self, problem: str, *, needed: str, found: str) -> ModelError:
        remedy = "check that config.json and the weights belong together, or pull the model again"
        return ModelError(problem, needed=needed, found=found, where=str(self.file), remedy=remedy)


def _largest_difference(a: Tensor, b: Tensor) -> str:
    return f"{float((a - b).abs().max()):.3g}"


def _some(keys: Iterable[str]) -> str:
    listed = sorted(keys)
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return (", ".join(listed[:5]) + more) or "no other keys"


def _dialect(weights: Mapping[str, Tensor], layout: str) -> Dialect:
    if layout != MULTIMOLECULE:
        return Dialect()
    older = any(key.startswith("splicebert.") for key in weights)  # releases up to 0.0.5 named the encoder so
    return Dialect(encoder="splicebert" if older else "model", norm="layer_norm", head="lm_head")


def read_weights(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        loaded = torch.load(file, weights_only=True, map_location="cpu")
    except (OSError, EOFError, RuntimeError, LookupError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        # Torch's own message goes on to recommend loading with code execution, which is not for users of ours.
        raise ModelError(
            "The weights cannot be read.",
            needed="a whole file of plain tensors",
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}",
            where=str(file),
            remedy="pull or copy the file again; a pickle with more than tensors in it is refused",
        ) from error
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ModelError(
            "The weights file is not a state dictionary.",
            needed="a dictionary of tensors by name",
            found=type(loaded).__name__,
            where=str(file),
            remedy="save the model's state_dict()",
        )
    return loaded
