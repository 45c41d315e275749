"""CI-SpliceAI (Strauch et al. 2022, 10.1371/journal.pone.0269159) as a splice-site model of splicebert-vep.

The network is computed in torch. Its weights are read from the frozen TensorFlow graph in the installed package
``cispliceai``, which is never imported: that would import TensorFlow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from splicebert_vep.model.backend import choose_device
from splicebert_vep.model.reach import Convolution, ResidualSpliceModel, ResidualStack, scale_and_shift
from splicebert_vep_spec import BackendOptions, OperatingPoint, Refused, SpliceModel, SpliceModelInfo, hookimpl

WEIGHTS_OF = "1.2.2"
#: SHA-256 of ``data/CI-SpliceAI.pb`` of that version: five networks whose answers are averaged.
SHA256 = "34330c2fd844f73cbf2f8acef85f519cabc4350016e6f19ac2b935aa53b43d06"
NETWORKS, CHANNELS = 5, 32
#: Kernel width and dilation of the two convolutions of each of 16 residual units; a skip connection after every fourth.
UNITS = [(11, 1)] * 4 + [(11, 4)] * 4 + [(21, 10)] * 4 + [(41, 25)] * 4
CITATION = "Strauch et al. 2022, PLOS ONE, 10.1371/journal.pone.0269159"
QUALITY = (
    "Measured: AUROC .992 on 280 variants with RNA evidence, indels among them (SpliceAI .981, distance to the exon "
    "alone .895). Its networks were trained on all chromosomes."
)
#: Of ``evaluate`` on the half of these variants that was for development, within 200 nt.
_LABELLED = "143 variants with RNA evidence, 76 of them harmful"
OPERATING_POINTS = tuple(
    OperatingPoint(threshold, harmful / 76, harmless / 67, _LABELLED)
    for threshold, harmful, harmless in ((0.2, 76, 5), (0.1, 76, 10), (0.5, 69, 1))
)


class CiSpliceAi(ResidualSpliceModel):
    """p(acceptor) and p(donor) by CI-SpliceAI, from 5,000 nt on each side; weights CC BY 4.0."""

    name, version = "cispliceai", "1"
    distance, sees_gene_only = 200, True

    @classmethod
    def open(cls, options: BackendOptions) -> CiSpliceAi:
        """Read the weights of the installed package.

        Raises:
            Refused: the package, or this version of it, is not installed.
        """
        file = weights_file()
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest != SHA256:
            raise Refused(f"{file} is not the file of cispliceai {WEIGHTS_OF}. Install it again: {_INSTALL}")
        device = choose_device(options.device)
        info = SpliceModelInfo(
            f"CI-SpliceAI {WEIGHTS_OF}", digest, "CC BY 4.0", CITATION, QUALITY, device.type, OPERATING_POINTS
        )
        return cls(info, list(stacks_of(content)), device, options.threads)


_INSTALL = f"pip install cispliceai=={WEIGHTS_OF}"


def weights_file() -> Path:
    """Return the frozen graph of the installed package, without importing the package.

    Raises:
        Refused: the package, or this version of it, is not installed.
    """
    found = find_spec("cispliceai")
    installed = next((one.version for one in metadata.distributions(name="cispliceai")), None)
    if found is None or found.origin is None or installed != WEIGHTS_OF:
        raise Refused(f"Needed is the package cispliceai {WEIGHTS_OF}, found {installed or 'none'}: {_INSTALL}")
    return Path(found.origin).with_name("data") / "CI-SpliceAI.pb"


def stacks_of(content: bytes) -> Iterator[ResidualStack]:
    """Yield the networks of a frozen graph.

    In the order of its nodes a network has 39 convolutions (stem, first skip; eight of units and a skip, four times;
    head), each with its bias, and 32 batch norms.
    """
    nodes = list(_graph(content).node)
    by_name = {node.name: node for node in nodes}
    users: dict[str, list[Any]] = {}
    for node in nodes:
        for source in node.input:
            users.setdefault(source, []).append(node)

    def constant(name: str) -> np.ndarray:
        node = by_name[name]
        while node.op in ("Identity", "ExpandDims"):
            node = by_name[node.input[0]]
        return _tensor(node.attr["value"].tensor)

    def user(node: Any, op: str, ending: str = "") -> Any:
        return next(one for one in users[node.name] if one.op == op and one.name.endswith(ending))

    def norm(root: Any) -> tuple[np.ndarray, np.ndarray]:
        """Follow Rsqrt(variance + epsilon) to gamma, mean and beta."""
        variance, epsilon = by_name[root.input[0]].input
        scale = user(root, "Mul")
        mean = user(scale, "Mul", "mul_2")
        beta = user(mean, "Sub")
        parts = {
            "variance": constant(variance), "gamma": constant(scale.input[1]),
            "mean": constant(mean.input[0]), "beta": constant(beta.input[0]),
        }  # fmt: skip
        return scale_and_shift(parts, float(constant(epsilon)))

    def of(op: str) -> Iterator[Any]:
        return (node for node in nodes if node.op == op)

    kernels = [np.squeeze(constant(node.input[1]), axis=()) for node in of("Conv2D")]
    kernels = [kernel.reshape(kernel.shape[-3:]).transpose(2, 1, 0).copy() for kernel in kernels]  # (out, in, width)
    biases = [constant(node.input[1]).copy() for node in of("BiasAdd")]
    layers = iter(zip(kernels, biases, strict=True))
    norms = map(norm, of("Rsqrt"))
    for _ in range(NETWORKS):
        stem, *skips = (Convolution(*next(layers)) for _ in range(2))
        units = []
        for number, (width, dilation) in enumerate(UNITS, 1):
            first, second = (Convolution(*next(layers), dilation) for _ in range(2))
            assert first.kernel.shape == second.kernel.shape == (CHANNELS, CHANNELS, width)
            units.append((first, second))
            if number % 4 == 0:
                skips.append(Convolution(*next(layers)))
        yield ResidualStack(stem, list(islice(norms, 2 * len(UNITS))), units, skips, Convolution(*next(layers)))


def _tensor(proto: Any) -> np.ndarray:
    shape = [dim.size for dim in proto.tensor_shape.dim]
    flat = np.frombuffer(proto.tensor_content, "<f4") if proto.tensor_content else np.array(proto.float_val, "<f4")
    return flat.reshape(shape) if flat.size == np.prod(shape) else np.broadcast_to(flat, shape)


def _graph(content: bytes) -> Any:
    """Parse a GraphDef; the few messages of it that hold the weights are declared here (tensorflow/core/framework)."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="graph_subset.proto", package="graph", syntax="proto3")

    def message(name: str, fields: Mapping[str, tuple[int, Any]], repeated: Sequence[str] = ()) -> Any:
        made = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            one = made.field.add(name=field, number=number)
            one.label = kinds.LABEL_REPEATED if field in repeated else kinds.LABEL_OPTIONAL
            one.type = kinds.TYPE_MESSAGE if isinstance(kind, str) else kind
            if isinstance(kind, str):
                one.type_name = f".graph.{kind}"
        return made

    message("Dim", {"size": (1, kinds.TYPE_INT64)})
    message("Shape", {"dim": (2, "Dim")}, ["dim"])
    message(
        "Tensor",
        {"tensor_shape": (2, "Shape"), "tensor_content": (4, kinds.TYPE_BYTES), "float_val": (5, kinds.TYPE_FLOAT)},
        ["float_val"],
    )
    message("Value", {"tensor": (8, "Tensor")})
    text = kinds.TYPE_STRING
    node = message(
        "Node", {"name": (1, text), "op": (2, text), "input": (3, text), "attr": (5, "Node.AttrEntry")},
        ["input", "attr"],
    )  # fmt: skip
    entry = node.nested_type.add(name="AttrEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=kinds.LABEL_OPTIONAL, type=text)
    entry.field.add(
        name="value", number=2, label=kinds.LABEL_OPTIONAL, type=kinds.TYPE_MESSAGE, type_name=".graph.Value"
    )
    message("Graph", {"node": (1, "Node")}, ["node"])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    graph = message_factory.GetMessageClass(pool.FindMessageTypeByName("graph.Graph"))()
    graph.ParseFromString(content)
    return graph


@hookimpl
def register_splice_models() -> Sequence[type[SpliceModel]]:
    return [CiSpliceAi]
