"""Attention weights equal those of transformers, between the right nucleotides, on either strand."""

import h5py
import numpy as np
import pytest
import torch

from factories import GENES, LENGTH, WIDTH, ids_of, opened, some_genome, some_model, theirs, write_work
from oracle import revcomp
from splicebert_vep import embed
from splicebert_vep.errors import BackendError, PluginError, SettingsError
from splicebert_vep.model.backend import TorchBackend
from splicebert_vep.plugins import GuardedBackend, Origin
from splicebert_vep_spec import BackendOptions
from splicebert_vep_spec.testing import BackendConformance

HEADS, LAYERS = 4, 3


@pytest.fixture(scope="module")
def model():
    model = some_model()
    model.set_attn_implementation("eager")
    return model


@pytest.fixture(scope="module")
def genome():
    return some_genome()


@pytest.fixture(scope="module")
def work(tmp_path_factory, model, genome):
    return write_work(tmp_path_factory.mktemp("attention"), model, genome, GENES)


@pytest.fixture(scope="module")
def annotator(work):
    with opened(work, batch_tokens=3 * (WIDTH + 2)) as annotator:
        yield annotator


def weights(model, sequence):
    """Attention weights between the nucleotides of one window, (layers, heads, nt, nt), by transformers."""
    with torch.no_grad():
        attentions = model(ids_of(sequence), output_attentions=True).attentions
    return torch.stack(attentions)[:, 0, :, 1:-1, 1:-1].numpy()


# A stretch of n nucleotides has (60 - n) // 2 before it, unless the contig ends.
REGIONS = [
    ("c1", 300, 340, "+", 290),
    ("c1", 300, 341, "-", 1200 - 341 - 9),  # on the other strand it is [859, 900)
    ("c1", 490, 515, "-", 1200 - 515 - 17),  # with N in it
    ("c1", 0, 60, "+", 0),
    ("c1", 1180, 1200, "+", 1140),
    ("short", 0, 40, "-", 0),
]


@pytest.mark.parametrize(("contig", "start", "end", "strand", "window"), REGIONS)
def test_weights_equal_transformers(annotator, model, genome, contig, start, end, strand, window):
    [found] = embed(annotator, regions=[f"{contig}:{start + 1}-{end}"], strand=strand, layers="all", attention=True)
    bases = genome if contig == "c1" else genome[:40]
    along = bases if strand == "+" else revcomp(bases)
    first = start if strand == "+" else len(bases) - end
    seen = along[window : window + WIDTH]
    part = slice(first - window, first - window + end - start)
    wanted = weights(model, seen)[:, :, part, part]
    assert found.attention.shape == wanted.shape == (LAYERS, HEADS, end - start, end - start)
    assert found.attention.dtype == np.float32
    assert np.abs(found.attention - wanted).max() < 1e-4
    assert np.abs(found.values - theirs(model, seen)[part]).max() < 1e-4  # of the same window
    assert found.sequence == along[first : first + end - start]


def test_chosen_layers_in_their_order_and_without_layer_0(annotator, model, genome):
    embeddings = embed(annotator, regions=["c1:1-60"], strand="+", layers=[3, 0, 1], attention=True)
    assert embeddings.attention == (3, 1)
    [found] = embeddings
    assert np.abs(found.attention - weights(model, genome[:60])[[2, 0]]).max() < 1e-4
    assert found.values.shape[1] == 3


def test_nobody_gets_weights_who_did_not_ask(annotator, monkeypatch):
    monkeypatch.setattr(annotator.backend, "attention", None)
    [found] = embed(annotator, regions=["c1:1-60"], strand="+")
    assert found.attention is None


def test_the_file_holds_what_the_api_gives(annotator, work, tmp_path):
    bed = tmp_path / "r.bed"
    bed.write_text("c1\t300\t340\ta\t0\t-\nshort\t0\t40\tb\t0\t+\nc1\t7\t8\tone\t0\t+\n")
    embeddings = embed(annotator, bed=str(bed), layers=[1, 3], attention=True)
    embeddings.save(str(tmp_path / "o.h5"), str(tmp_path / "o.parquet"))
    with h5py.File(tmp_path / "o.h5") as file:
        assert file["attention_layer"].asstr()[:].tolist() == ["1", "3"]
        assert file.attrs["Attention"] == "1,3"
        assert file.attrs["Keep"] == "60"
        assert sorted(file["attention"]) == ["0", "1", "2"]
        for number, one in enumerate(embeddings):
            assert (file[f"attention/{number}"][:] == one.attention).all()
            at = slice(*file["target/offset"][number : number + 2])
            assert (file["embedding"][at] == one.values).all()
            assert (file["position"][at] == one.position).all()


def test_many_small_targets_have_room_for_their_headers(annotator, tmp_path):
    bed = tmp_path / "r.bed"
    bed.write_text("".join(f"c1\t{at}\t{at + 1}\tn{at}\t0\t+\n" for at in range(300)))
    embed(annotator, bed=str(bed), attention=True).save(str(tmp_path / "o.h5"))
    with h5py.File(tmp_path / "o.h5") as file:
        assert len(file["attention"]) == 300


def test_a_longer_stretch_is_refused_and_told_what_to_do(annotator):
    message = r"one window(.|\n)*at most 60 nt(.|\n)*61 nt(.|\n)*c1:301-361(.|\n)*shorter regions"
    with pytest.raises(SettingsError, match=message):
        embed(annotator, regions=["c1:301-361"], strand="+", attention=True)
    with pytest.raises(SettingsError, match=r"at most 24 nt"):
        embed(annotator, regions=["c1:301-330"], strand="+", attention=True, keep=24)
    assert len(embed(annotator, regions=["c1:301-324"], strand="+", attention=True, keep=24)) == 1


def test_layer_0_alone_attends_to_nothing(annotator):
    with pytest.raises(SettingsError, match=r"attend to nothing(.|\n)*1 to 3"):
        embed(annotator, regions=["c1:1-60"], strand="+", layers=[0], attention=True)


def test_a_backend_without_attention_says_so(work):
    with opened(work, backend="null") as annotator, pytest.raises(SettingsError, match="shows no attention weights"):
        embed(annotator, regions=["c1:1-60"], strand="+", attention=True)


def test_weights_that_are_not_finite_end_the_run(annotator, monkeypatch):
    nan = torch.full((1, 1, HEADS, WIDTH, WIDTH + 2), torch.nan)
    monkeypatch.setattr(annotator.backend, "attention", lambda *_: nan)
    with pytest.raises(BackendError, match=r"not finite(.|\n)*c1:1-60"):
        list(embed(annotator, regions=["c1:1-60"], strand="+", attention=True))


def broken(change):
    """A backend class whose attention weights are changed."""

    class Broken(TorchBackend):
        def attention(self, tokens, positions, layers):
            return change(super().attention(tokens, positions, layers))

    return Broken


@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda w: w[..., 1:], "needed .layers, N, heads, P, W"), (lambda w: w * 1.01, "sum to 1"), (lambda w: w, None)],
)
def test_conformance_finds_wrong_weights(change, message):
    class Subject(BackendConformance):
        backend = broken(change)
        array = staticmethod(np.array)
        options = BackendOptions("splicebert-mini", "cpu")

    check = Subject().test_attention_weights_of_a_token_sum_to_one
    if message is None:
        check()
    else:
        with pytest.raises(AssertionError, match=message):
            check()


def test_weights_of_another_shape_name_the_plugin():
    backend = GuardedBackend(
        broken(lambda w: w[0]).open(BackendOptions("splicebert-mini", "cpu")),
        Origin("mine", "register_backends", "backend", "broken"),
    )
    with pytest.raises(PluginError, match=r"mine broke the contract(.|\n)*\(1, 1, 8, 2, 62\)"):
        backend.attention(np.full((1, 62), 6, np.uint8), np.array([[1, 2]]), (6,))


def test_the_command(run, work, tmp_path, model, genome):
    common = ["-R", work / "c.fa", "--model", work / "model", "--window", WIDTH, "--device", "cpu", "--strand", "-"]
    out = tmp_path / "o.h5"
    code, _, err = run("embed", "--region", "c1:301-340", *common, "--attention", "-o", out)
    assert code == 0, err
    with h5py.File(out) as file:
        first = LENGTH - 340
        seen = revcomp(genome)[first - 10 : first + 50]
        assert np.abs(file["attention/0"][:] - weights(model, seen)[[2]][:, :, 10:50, 10:50]).max() < 1e-4
    code, _, err = run("embed", "--region", "c1:301-340", *common, "--attention", "-o", tmp_path / "o.parquet")
    assert (code, "HDF5 only" in err) == (3, True), err
    code, _, err = run("embed", "--region", "c1:301-400", *common, "--attention", "-o", tmp_path / "x.h5")
    assert (code, "Attention is within one window" in err) == (3, True), err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.h5"]
