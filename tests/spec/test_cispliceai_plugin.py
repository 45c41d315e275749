"""CI-SpliceAI as a splice-site model: the numbers of its authors' program, which runs the network in TensorFlow."""

import hashlib
import os
import subprocess
import sys
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from factories import FASTA, ROOT
from splicebert_vep import Annotator
from splicebert_vep.errors import SettingsError
from splicebert_vep_spec import BackendOptions, Refused

SITES = "AG", "AL", "DG", "DL"
#: BRCA1, of cispliceai 1.2.2 with tensorflow-cpu 2.15.1, cis-vcf -d 50: DS and DP of acceptor and donor gain and loss.
PUBLISHED = {
    "17-43047629-T-A": ((0.00044, 0.00008, 0.03309, 0.00011), {"DG": 14}),
    # Their DG is .00033, at the second of two T, since VCF deletes the first; where the second goes it is .00006.
    "17-43063328-CT-C": ((0.00003, 0.89818, 0.00006, 0.955), {"AL": 45, "DL": 5}),
    "17-43063330-T-TA": ((0.00001, 0.85532, 0.00013, 0.90859), {"AL": 43, "DL": 3}),
    "17-43090941-TA-T": ((0.00004, 0.00028, 0.00045, 0.99934), {"DL": 3}),
    "17-43091443-GAA-TAT": ((0.0001, 0.00001, 0.00002, 0.07293), {"DL": -8}),
    "17-43092937-TTTGAA-AAAAGAAT": ((0.0002, 0.00062, 0.02017, 0.00002), {"DG": 8}),
    "17-43104868-A-G": ((0.00318, 0.00001, 0.16293, 0.0), {"DG": 0}),
    "17-43104967-A-C": ((0.02168, 0.63651, 0.00008, 0.00237), {"AG": 48, "AL": -11}),
}


def test_delta_scores_equal_those_of_the_authors_program(cispliceai):
    asked = {"splice_model": "cispliceai", "delta_distance": 50, "backend": "null"}
    with Annotator(FASTA, scores="delta", **asked) as annotator:
        found = {str(result.variant): result for result in annotator.score(PUBLISHED)}
        assert annotator.run.provenance["SpliceModel"] == "CI-SpliceAI 1.2.2"
        assert annotator.run.provenance["SpliceModelLicence"] == "CC BY 4.0"
    for variant, (scores, places) in PUBLISHED.items():
        result = found[variant]
        assert [result[f"DS_{site}"] for site in SITES] == pytest.approx(scores, abs=1e-4), variant
        assert {site: result[f"DP_{site}"] for site in places} == places, variant
        assert result["DS_MAX"] == pytest.approx(max(scores), abs=1e-4)


def test_weights_are_those_of_the_authors_package(cispliceai, monkeypatch):
    """Read their graph anew: it gives the same bytes, and has the digest that provenance names."""
    package = find_spec("cispliceai")
    if package is None or find_spec("google.protobuf") is None or metadata.version("cispliceai") != "1.2.2":
        pytest.skip("the package cispliceai 1.2.2, or protobuf, is not installed")
    monkeypatch.syspath_prepend(str(ROOT / "plugin_spec" / "cispliceai"))
    convert, network = import_module("convert"), import_module("splicebert_vep_cispliceai.network")
    content = (Path(package.origin).parent / "data" / "CI-SpliceAI.pb").read_bytes()
    assert hashlib.sha256(content).hexdigest() == network.SOURCE_SHA256
    shipped, found = load(network.WEIGHTS.read_bytes()), convert.weights_of(content)
    assert shipped.keys() == found.keys()
    assert all(np.array_equal(shipped[name], found[name]) for name in found)
    # By the architecture: stem, head, five skips and 32 convolutions, each behind a norm of one scale and one shift.
    units = sum(2 * (32 * 32 * width + 32 + 64) for width in (11, 21, 41) for _ in range(8 if width == 11 else 4))
    assert sum(array.size for array in found.values()) == 5 * (4 * 32 + 32 + 32 * 3 + 3 + 5 * (32 * 32 + 32) + units)
    assert {"tensorflow", "keras", "cispliceai"}.isdisjoint(sys.modules)


def test_registering_it_imports_no_torch(cispliceai):
    """The module of the entry point is imported for every ``--help``."""
    code = "import splicebert_vep_cispliceai, sys; assert 'torch' not in sys.modules"
    home = Path(import_module("splicebert_vep_cispliceai").__file__).parents[1]
    path = os.pathsep.join([str(home), *sys.path])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_file_of_weights_is_refused(cispliceai, monkeypatch, tmp_path, damage):
    network = import_module("splicebert_vep_cispliceai.network")
    other = tmp_path / "weights.safetensors"
    if damage == "changed":
        content = bytearray(network.WEIGHTS.read_bytes())
        content[-1] ^= 1
        other.write_bytes(content)
    monkeypatch.setattr(network, "WEIGHTS", other)
    with pytest.raises(Refused, match="Install splicebert-vep-cispliceai again"):
        network.CiSpliceAi.open(BackendOptions("cispliceai", "cpu"))


def test_it_looks_as_far_as_spliceai(cispliceai):
    variant = "17-43090941-TA-T"
    with Annotator(FASTA, scores="delta", splice_model="cispliceai", delta_distance=5000, backend="null") as annotator:
        assert annotator.score(variant)["DS_DL"] == pytest.approx(0.99934, abs=1e-4)


def test_it_is_the_default_where_it_is_installed_and_looks_200_nt_far(cispliceai):
    with Annotator(FASTA, scores="delta") as annotator:
        told = annotator.run.provenance
    assert (told["SpliceModel"], told["DeltaDistance"], told["DeltaOutside"]) == ("CI-SpliceAI 1.2.2", "200", "N")


def test_a_model_of_windows_does_not_look_that_far():
    with pytest.raises(SettingsError, match="cispliceai"):
        Annotator(FASTA, scores="delta", delta_distance=500, splice_model="splicebert-mini-splice-sites")
