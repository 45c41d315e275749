"""Read a model folder, in any of the three layouts that SpliceBERT weights come in, and prove it on the way.

===================  ==========================================================================================
layout               how it is recognised
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
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ..errors import ModelError, visible
from ..files import reporting, sha256_of, whole_or_not
from .bert import (
    MULTIMOLECULE,
    VOCABULARY,
    BertConfig,
    Encoder,
    SpliceBert,
    official_config,
    read_config,
    vocabulary_rows,
)

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names of a weights file; the first that exists is read. Safetensors comes first: it cannot carry code."""

# Our module -> its key in a file; the words in braces differ between dialects, or are the layer.
_KEYS = {
    "token_embeddings": "{encoder}.embeddings.word_embeddings",
    "position_embeddings": "{encoder}.embeddings.position_embeddings",
    "type_embeddings": "{encoder}.embeddings.token_type_embeddings",
    "embedding_norm": "{encoder}.embeddings.{norm}",
    "query": "{layer}.attention.self.query",
    "key": "{layer}.attention.self.key",
    "value": "{layer}.attention.self.value",
    "attention_out": "{layer}.attention.output.dense",
    "attention_norm": "{layer}.attention.output.{norm}",
    "feed_in": "{layer}.intermediate.dense",
    "feed_out": "{layer}.output.dense",
    "feed_norm": "{layer}.output.{norm}",
    "head_dense": "{head}.transform.dense",
    "head_norm": "{head}.transform.{norm}",
}
_SPARE_BYTES = 1 << 24  # so much larger than four times its file a network may be
# Errors of torch and of its unpickler for bytes that are cut, flipped or hostile.
DAMAGED = (
    OSError, EOFError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, AssertionError,
    ArithmeticError, ImportError, MemoryError, struct.error, pickle.UnpicklingError, SafetensorError,
    zipfile.BadZipFile,
)  # fmt: skip
_OWN = ("head.", "classifier.")  # parameters of a fine-tuned head, whose keys are their names


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A proven model and where it came from.

    Args:
        model: in eval mode, fp32, on the CPU.
        weights_sha256: of the weights file as it lies on disk, lower-case hex.
        layout: ``official``, ``splicebert-vep`` or ``multimolecule``.
        rows: of the file's tokens, the ten that are used, in our order; None where they are the same.
    """

    model: SpliceBert
    config: BertConfig
    weights_sha256: str
    weights_file: Path
    layout: str
    rows: list[int] | None = None

    @property
    def architecture(self) -> str:
        """The settings that change an answer and that the weights' digest does not cover."""
        rows = f" vocabulary={','.join(map(str, self.rows))}" if self.rows is not None else ""
        return self.config.architecture + rows

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
        """Number of weights; the tied decoder counts once."""
        return sum(parameter.numel() for parameter in self.model.parameters())


def load_checkpoint(folder: Path) -> LoadedModel:
    """Load the model of a folder that holds ``config.json``, a weights file and ``vocab.txt``.

    ``vocab.txt`` may be missing where the order of tokens is fixed, that is in all but multimolecule's layout.

    Raises:
        ModelError: a file is missing or unreadable, the config describes another network or a fine-tuned model, or a
            weight is missing, unexpected, of another shape or type, or not finite.
    """
    described = read_config(folder / "config.json")
    if described.task is not None:
        problem = "The folder holds a fine-tuned model, not a masked language model."
        found, remedy = f"a model of 'finetune {described.task}'", "give the model that it began as"
        raise ModelError(problem, found=found, where=str(folder), remedy=remedy)
    rows = vocabulary_rows(folder / "vocab.txt", described)
    file = find_weights(folder)
    dialect = Dialect()
    if described.layout == MULTIMOLECULE:
        dialect = Dialect("model", "layer_norm", "lm_head")
    config = described.config
    model = load_weights(file, config, lambda: SpliceBert(config), dialect, described.file_vocab_size, rows)
    return LoadedModel(model, config, sha256_of(file), file, described.layout, rows)


def save_checkpoint(model: SpliceBert, folder: Path) -> None:
    """Write a model folder in the official layout, with safetensors and ``max_trained_length``.

    transformers' ``BertForMaskedLM.from_pretrained`` reads it too. The same weights give the same bytes.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    write_model(model, official_config(model.config), folder)


def write_model(model: Encoder, config: Mapping[str, object], folder: Path) -> None:
    """Write ``config.json``, ``model.safetensors`` and ``vocab.txt``.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    dialect = Dialect()
    state = {dialect.key(name): value.detach().cpu().float().contiguous() for name, value in model.state_dict().items()}
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
    found = ", ".join(sorted(path.name for path in folder.iterdir())) or "an empty folder"
    raise ModelError(
        "The model folder has no weights.", needed=" or ".join(WEIGHT_FILES), found=found, where=str(folder)
    )


@dataclass(frozen=True, slots=True)
class Dialect:
    """The spelling of the keys in a weights file; the default is the official one."""

    encoder: str = "bert"
    norm: str = "LayerNorm"
    head: str = "cls.predictions"

    def key(self, name: str) -> str:
        """Return the key of one of our parameters."""
        if name.startswith(_OWN):
            return name
        if name == "decoder_bias":
            return f"{self.head}.bias"
        *layer, module, kind = name.split(".")  # "layers", number, module, "weight" or "bias"
        prefix = f"{self.encoder}.encoder.layer.{layer[1]}" if layer else ""
        key = _KEYS[module].format(layer=prefix, encoder=self.encoder, norm=self.norm, head=self.head)
        return f"{key}.{kind}"


AnyEncoder = TypeVar("AnyEncoder", bound=Encoder)


def load_weights(
    file: Path, config: BertConfig, build: Callable[[], AnyEncoder], dialect: Dialect, vocabulary: int,
    rows: list[int] | None = None,
) -> AnyEncoder:  # fmt: skip
    """Build a network and give it the weights of a file, each of which is checked; it is in eval mode, on the CPU.

    Args:
        config: of the network; it is refused before it is built where the file cannot hold its weights.
        build: makes the network; its random weights are replaced, and the caller's random state is left as it was.
        vocabulary: number of tokens that the file has embeddings for.
        rows: of the file's tokens, those that the network has, in its order; None where they are the same.

    Raises:
        ModelError: see ``load_checkpoint``.
    """
    weights = _WeightsFile(file, dialect)
    weights.check_room(config)
    with torch.random.fork_rng(devices=[]):
        model = build().cpu()
    state = {}
    for name, value in model.state_dict().items():
        by_token = name in ("token_embeddings.weight", "decoder_bias")
        shape = (vocabulary if by_token else value.shape[0], *value.shape[1:])
        state[name] = weights.take(weights.key(name), shape)
    weights.finish(state)
    for name in ("token_embeddings.weight", "decoder_bias") if rows is not None else ():
        state[name] = state[name][rows]
    model.load_state_dict(state)
    return model.eval()


class _WeightsFile:
    """The weights of a file; each is taken out once, and any left over at the end are unexpected."""

    def __init__(self, file: Path, dialect: Dialect) -> None:
        self._file = file
        self._left = read_weights(file)
        if dialect.encoder == "model" and any(key.startswith("splicebert.") for key in self._left):
            dialect = Dialect("splicebert", dialect.norm, dialect.head)  # multimolecule up to 0.0.5 named it so
        self._dialect = dialect

    def check_room(self, config: BertConfig) -> None:
        """Refuse a network that is far larger than the file before memory and time go into it.

        A network up to four times as large as the file is built, so that the first weight that does not fit is named.
        """
        size, tensors = self._file.stat().st_size, len(self._left)
        if 4 * config.encoder_weights > 4 * size + _SPARE_BYTES or config.num_hidden_layers > tensors:
            problem = "The config describes a larger network than the weights file can hold"
            asked = f"{config.encoder_weights:,} weights in {config.num_hidden_layers:,} layers"
            raise self._error(problem, f"at most {size:,} bytes in {tensors} tensors", asked)

    def key(self, name: str) -> str:
        key = self._dialect.key(name)
        other = f"{self._dialect.head}.decoder.bias"
        return other if name == "decoder_bias" and key not in self._left and other in self._left else key

    def take(self, key: str, shape: tuple[int, ...]) -> Tensor:
        if key not in self._left:
            raise self._error("A weight is missing", f"{key} of shape {shape}", self._names())
        value = self._left.pop(key)
        if tuple(value.shape) != shape:
            raise self._error(f"The weight {key} has another shape", str(shape), str(tuple(value.shape)))
        if value.dtype is not torch.float32 or value.layout is not torch.strided or value.is_meta:
            found = "no data" if value.is_meta else f"{value.dtype}, {value.layout}"
            raise self._error(f"The weight {key} has another type", "torch.float32", found)
        if bad := int((~torch.isfinite(value)).sum()):
            raise self._error(f"The weight {key} is not finite", "numbers", f"{bad} of {value.numel()} infinite or NaN")
        return value

    def finish(self, state: Mapping[str, Tensor]) -> None:
        """Check the copies that old files carry, and refuse any other weight that was not taken.

        Old files say the decoder's weight and bias twice, and transformers before 4.31 wrote 0, 1, 2, ... as positions.
        """
        if "decoder_bias" in state:
            self._drop_copy(f"{self._dialect.head}.decoder.bias", "decoder_bias", state)
            self._drop_copy(f"{self._dialect.head}.decoder.weight", "token_embeddings.weight", state)
        positions = len(state["position_embeddings.weight"])
        ids = f"{self._dialect.encoder}.embeddings.position_ids"
        if ids in self._left and self._left.pop(ids).flatten().tolist() != list(range(positions)):
            raise self._error(
                f"The weight {ids} is not 0, 1, 2, ...", f"0 to {positions - 1} in order", "another order"
            )
        if self._left:
            raise self._error("The weights hold unexpected keys", "no other keys", self._names())

    def _drop_copy(self, key: str, name: str, state: Mapping[str, Tensor]) -> None:
        if key in self._left:
            copy = self.take(key, tuple(state[name].shape))
            if not torch.equal(copy, state[name]):
                largest = f"a difference of up to {float((copy - state[name]).abs().max()):.3g}"
                raise self._error(f"The decoder is not tied: {key}", f"the same as {self._dialect.key(name)}", largest)

    def _names(self) -> str:
        names = sorted(map(visible, self._left))
        return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "no other keys"

    def _error(self, problem: str, needed: str, found: str) -> ModelError:
        remedy = "check that config.json and the weights belong together, or pull the model again"
        return ModelError(f"{problem}.", needed=needed, found=found, where=str(self._file), remedy=remedy)


def _check_unpacked(file: Path) -> None:
    """See that a zip of torch's, which stores tensors as they are, is no larger in memory than on disk.

    Raises:
        ValueError, BadZipFile: its entries are compressed or overlap, or it is no whole zip.
    """
    with file.open("rb") as handle:
        if handle.read(4) != b"PK\x03\x04":
            return  # the older form: one pickle, and tensors as they are
        with zipfile.ZipFile(handle) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    if size > file.stat().st_size:
        raise ValueError(f"entries of {size:,} bytes, compressed or overlapping, where torch compresses none")


def read_weights(file: Path) -> dict[str, Tensor]:
    """Read tensors by name; a pickle that holds anything else is refused.

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        _check_unpacked(file)
        loaded: dict[str, Tensor] = torch.load(file, weights_only=True, map_location="cpu")
    except DAMAGED as error:
        # Only torch's first line: it goes on to recommend loading with code execution.
        reason = visible(f"{type(error).__name__}: {(str(error).splitlines() or ['no reason given'])[0]}")
        remedy = "pull or copy the file again; a pickle with more than tensors in it is refused"
        raise ModelError("The weights cannot be read.", found=reason, where=str(file), remedy=remedy) from error
    named = isinstance(loaded, dict) and all(isinstance(key, str) for key in loaded)
    if not named or not all(isinstance(value, Tensor) for value in loaded.values()):
        problem, needed = "The weights file is not a state dictionary.", "tensors by name"
        raise ModelError(problem, needed=needed, found=type(loaded).__name__, where=str(file))
    return loaded
