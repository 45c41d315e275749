"""AnnData holds the means of the Parquet. anndata wants another pandas than the recipes, so it is seldom installed."""

import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from factories import opened, some_genome, some_model, write_work
from splicebert_vep import embed
from splicebert_vep.errors import SettingsError
from splicebert_vep.tools.embed import check_outputs


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return write_work(tmp_path_factory.mktemp("anndata"), some_model(), some_genome())


def test_without_anndata_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(SettingsError, match=r"needs anndata(.|\n)*splicebert-vep\[anndata\]"):
        check_outputs(["o.h5ad"])


@pytest.mark.parametrize("layers", [[0, 3], "last"])
def test_it_holds_the_means_and_what_is_known_of_the_targets(work, tmp_path, layers):
    anndata = pytest.importorskip("anndata")
    bed = tmp_path / "r.bed"
    bed.write_text("c1\t480\t560\tmiddle\t0\t-\nc1\t500\t507\tunknown\t0\t+\nshort\t0\t40\t\t0\t+\n")
    with opened(work) as annotator:
        embeddings = embed(annotator, genes=["MINUS"], bed=str(bed), layers=layers, keep=24)
        embeddings.save(str(tmp_path / "o.h5ad"), str(tmp_path / "o.parquet"))
        embeddings.save(str(tmp_path / "again.h5ad"))
    data = anndata.read_h5ad(tmp_path / "o.h5ad")
    table = pq.read_table(tmp_path / "o.parquet")
    rows = table.to_pylist()
    for name in ("name", "contig", "start", "end", "strand", "gene", "length", "known"):
        missing = -1 if name in ("start", "end") else ""
        assert data.obs[name].tolist() == [missing if row[name] is None else row[name] for row in rows]
    names = ["layer_0", "layer_3"] if layers != "last" else ["layer_3"]
    wanted = {name: [[np.nan] * 32 if row[name] is None else row[name] for row in rows] for name in names}
    assert data.X.dtype == np.float32
    assert np.array_equal(data.X, np.array(wanted["layer_3"], np.float32), equal_nan=True)
    assert sorted(data.layers) == (names if len(names) > 1 else [])
    for name in data.layers:
        assert np.array_equal(data.layers[name], np.array(wanted[name], np.float32), equal_nan=True)
    assert np.isnan(data.X[2]).all() and np.isnan(data.X).sum() == 32
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert {key: str(value) for key, value in data.uns["splicebert_vep"].items()} == metadata
    assert (tmp_path / "o.h5ad").read_bytes() == (tmp_path / "again.h5ad").read_bytes()


def test_alleles_without_windows_are_in_it_too(work, tmp_path):
    anndata = pytest.importorskip("anndata")
    base = some_genome()[399]
    vcf = tmp_path / "in.vcf"
    head = "##fileformat=VCFv4.2\n##contig=<ID=c1,length=1200>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    vcf.write_text(f"{head}c1\t400\t.\t{base}\t*,{'CGTA'['ACGT'.index(base)]}\t.\t.\t.\n")
    with opened(work) as annotator:
        embed(annotator, vcf=str(vcf)).save(str(tmp_path / "o.h5ad"))
    data = anndata.read_h5ad(tmp_path / "o.h5ad")
    assert data.obs["status"].tolist() == ["SPANNING_DELETION", "OK", "OK"]
    assert data.obs["side"].tolist() == ["", "REF", "ALT"]
    assert np.isnan(data.X[0]).all() and np.isfinite(data.X[1:]).all()
