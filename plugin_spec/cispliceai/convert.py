"""Make ``weights.safetensors`` from the frozen TensorFlow graph that the authors of CI-SpliceAI publish.

    pip install cispliceai==1.2.2 'protobuf>=4' && python convert.py splicebert_vep_cispliceai/weights.safetensors

Maintainers run it; the plugin reads what it made, so that its users need neither package. The package ``cispliceai`` is
never imported: that would import TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from safetensors.numpy import save
from splicebert_vep_cispliceai.network import CHANNELS, CITATION, NETWORKS, SOURCE_SHA256, UNITS

from splicebert_vep.model.reach import scale_and_shift

ABOUT = {
    "title": "CI-SpliceAI",
    "creators": "Yaron Strauch, Jenny Lord, Mahesan Niranjan, Diana Baralle",
    "citation": CITATION,
    "source": "cispliceai/data/CI-SpliceAI.pb of https://pypi.org/project/cispliceai/1.2.2",
    "source_sha256": SOURCE_SHA256,
    "licence": "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
    "changes": "taken out of the TensorFlow graph; each batch norm is written as a scale and a shift",
}


def main() -> None:
    """Write the file that the command line names."""
    found = find_spec("cispliceai")
    if found is None or found.origin is None:
        sys.exit("needed is the package cispliceai 1.2.2")
    content = (Path(found.origin).parent / "data" / "CI-SpliceAI.pb").read_bytes()
    if hashlib.sha256(content).hexdigest() != SOURCE_SHA256:
        sys.exit(f"{found.origin} is not of cispliceai 1.2.2")
    made = safetensors_of(content)
    Path(sys.argv[1]).write_bytes(made)
    print(hashlib.sha256(made).hexdigest())


def safetensors_of(content: bytes) -> bytes:
    """Return the file of a frozen graph's weights; the same graph gives the same bytes."""
    return save(weights_of(content), {"about": json.dumps(ABOUT)})  # one key: safetensors writes several in any order


def weights_of(content: bytes) -> dict[str, np.ndarray]:
    """Return the weights of a frozen graph by name, each with the networks along its first axis.

    In the order of the graph's nodes a network has 39 convolutions (stem, first skip; eight of units and a skip, four
    times; head), each with its bias, and 32 batch norms.
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
    networks = []
    for _ in range(NETWORKS):
        weights: dict[str, np.ndarray] = {}

        def convolution(name: str, into: dict[str, np.ndarray] = weights) -> None:
            into[f"{name}.kernel"], into[f"{name}.bias"] = next(layers)

        convolution("stem")
        convolution("skip0")
        for number, (width, _) in enumerate(UNITS):
            for name in (f"unit{number}.0", f"unit{number}.1"):
                weights[f"{name}.scale"], weights[f"{name}.shift"] = next(norms)
                convolution(name)
                assert weights[f"{name}.kernel"].shape == (CHANNELS, CHANNELS, width)
            if number % 4 == 3:
                convolution(f"skip{number // 4 + 1}")
        convolution("head")
        networks.append(weights)
    assert next(layers, None) is None and next(norms, None) is None
    return {name: np.stack([weights[name] for weights in networks]) for name in networks[0]}


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


if __name__ == "__main__":
    main()
