"""CI-SpliceAI's five networks, computed in torch from the authors' weights beside this file.

``weights.safetensors`` (CC BY 4.0, see WEIGHTS.md) holds the numbers of the frozen TensorFlow graph that the authors
publish; ``convert.py`` of this plugin's source made it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors.numpy import load

from splicebert_vep.model.backend import choose_device
from splicebert_vep.model.reach import Convolution, ResidualSpliceModel, ResidualStack, Weights
from splicebert_vep_spec import BackendOptions, OperatingPoint, Refused, SpliceModelInfo

WEIGHTS = Path(__file__).with_name("weights.safetensors")
#: SHA-256 of that file, and of the authors' file that it was made from, by which provenance and score stores name it.
SHA256 = "a1dc9532bfe647f2389dfd63b89e49c2d99448b944914e4bd1033acad2c735f8"
SOURCE_SHA256 = "34330c2fd844f73cbf2f8acef85f519cabc4350016e6f19ac2b935aa53b43d06"
NETWORKS, CHANNELS = 5, 32
#: Kernel width and dilation of the two convolutions of each of 16 residual units; a skip connection after every fourth.
UNITS = [(11, 1)] * 4 + [(11, 4)] * 4 + [(21, 10)] * 4 + [(41, 25)] * 4
SKIPS = 5
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
        """Read the weights.

        Raises:
            Refused: their file is damaged or gone.
        """
        stacks = read_stacks(WEIGHTS)
        device = choose_device(options.device)
        info = SpliceModelInfo(
            "CI-SpliceAI 1.2.2", SOURCE_SHA256, "CC BY 4.0", CITATION, QUALITY, device.type, OPERATING_POINTS
        )
        return cls(info, stacks, device, options.threads)


def read_stacks(path: Path) -> list[ResidualStack]:
    """Return the networks of the weights file.

    Raises:
        Refused: it is not the file that this plugin came with.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Refused(f"The weights {path} cannot be read ({error.strerror}). {_REMEDY}") from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise Refused(f"{path} is not the file that the plugin came with. {_REMEDY}")
    tensors = load(content)
    return [stack_of({name: tensor[number] for name, tensor in tensors.items()}) for number in range(NETWORKS)]


_REMEDY = "Install splicebert-vep-cispliceai again."


def stack_of(tensors: Mapping[str, Weights]) -> ResidualStack:
    """Return the network of weights by name: ``stem``, ``skip0``, ``unit0.0``, ..., ``head``."""

    def convolution(name: str, dilation: int = 1) -> Convolution:
        return Convolution(tensors[f"{name}.kernel"], tensors[f"{name}.bias"], dilation)

    names = [(f"unit{unit}.0", f"unit{unit}.1") for unit in range(len(UNITS))]
    return ResidualStack(
        convolution("stem"),
        [(tensors[f"{name}.scale"], tensors[f"{name}.shift"]) for pair in names for name in pair],
        [
            (convolution(first, dilation), convolution(second, dilation))
            for (first, second), (_, dilation) in zip(names, UNITS, strict=True)
        ],
        [convolution(f"skip{number}") for number in range(SKIPS)],
        convolution("head"),
    )
