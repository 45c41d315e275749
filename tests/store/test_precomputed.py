"""Precomputed files read back: exactly what was scored, or refused."""

import gzip
from itertools import groupby

import pytest

from factories import FASTA, NULL, TWO_GENES, body, opening, records, text_of, write_tiny
from splicebert_vep import Annotator, Settings
from splicebert_vep.errors import StoreError, VcfError
from splicebert_vep.genome.places import Places
from splicebert_vep.genome.reference import Reference
from splicebert_vep.precomputed import read_precomputed
from splicebert_vep.sequence.windows import WindowShape
from splicebert_vep.store.store import ScoreStore
from splicebert_vep.tools.saturate import Saturation, saturate
from splicebert_vep_spec import Allele


@pytest.fixture
def tiny(tmp_path):
    return write_tiny(tmp_path)


def changed(path, target, *replacements):
    """Write a copy of a file with other text in it."""
    text = text_of(path)
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    target.write_bytes(gzip.compress(text.encode()))
    return target


def filled(store, *files):
    """Import files in blocks of 100 alleles."""
    with ScoreStore(store) as opened:
        for file in files:
            found = read_precomputed(file)
            block = []
            for row in found.rows:
                block.append(row)
                if len(block) == 100:
                    opened.add(found.space, block, found.contigs)
                    block = []
            opened.add(found.space, block, found.contigs)
    return store


def variants_of(path):
    rows = [(row[0], int(row[1]), row[3], row[4]) for row in body(path)]
    return [key for key, _ in groupby(rows)]


def shown(opened, variants):
    """Everything that adapters get of the variants, without what nobody asked for."""
    ids = [field.id for field in opened.plan.fields]
    return [
        [(one.context, one.status, one.reason, {name: one.values.get(name) for name in ids}) for one in result.contexts]
        for result in opened.score(variants)
    ]


@pytest.mark.parametrize("scores", [(), ("LLR",), ("KL_SS", "N_SITES", "KL_MAX_POS")], ids=",".join)
@pytest.mark.parametrize("shape", [WindowShape(41, 5)])
def test_a_store_filled_from_it_answers_exactly_what_scoring_gives(tmp_path, tiny, scores, shape):
    """Two protein-coding genes on both strands, so flat output chooses by KL_CTX, asked for or not; N_CONTEXT too."""
    fasta, gtf = tmp_path / "tiny.fa", tmp_path / "tiny.gtf"
    out, store = tmp_path / "out.vcf.gz", tmp_path / "s.sqlite"
    how = opening(reference=str(fasta), annotation=str(gtf), window=41, flank=5, scores=scores)
    saturate(str(out), Saturation(Places(regions=("c1:95-130",)), how, indels=True))
    variants = variants_of(out)
    filled(store, out)
    settings = Settings(window=shape, scores=scores or None)
    with Annotator(fasta, gtf, backend="null", settings=settings) as plain:
        expected = shown(plain, variants)
    with Annotator(fasta, gtf, backend="null", settings=settings, store=store) as remembering:
        remembering.remembered._scoring = None  # would fail when asked
        assert shown(remembering, variants) == expected
        assert remembering.remembered.scored == 0 and remembering.remembered.recalled == len(variants)
    words = {status for found in expected for _, status, *_ in found}
    assert words == ({"OK", "N_CONTEXT"} | ({"NOT_APPLICABLE"} if scores == ("LLR",) else set()))
    assert {context.gene_id for found in expected for context, *_ in found} == {"A", "B b,%"}


def test_a_store_filled_from_it_serves_annotate(run, tmp_path):
    out, store = tmp_path / "out.vcf.gz", tmp_path / "s.sqlite"
    assert run("saturate", "--region", TWO_GENES, "--indels", *NULL, "-O", out)[0] == 0
    assert run("annotate", out, *NULL, "-O", tmp_path / "plain.vcf")[0] == 0
    code, _, err = run("store", "import", store, out)
    assert code == 0, err
    code, _, err = run("annotate", out, *NULL, "--store", store, "-O", tmp_path / "stored.vcf")
    assert code == 0 and f"{len(variants_of(out))} alleles known, 0 scored" in err
    assert records((tmp_path / "stored.vcf").read_text()) == records((tmp_path / "plain.vcf").read_text())


def test_the_model_s_numbers_come_through_bit_by_bit(tmp_path):
    """Scored in the same batches, what is read is the model's float64, on both strands."""
    out, store = tmp_path / "out.vcf.gz", tmp_path / "s.sqlite"
    how = opening(backend="torch", device="cpu")
    saturate(str(out), Saturation(Places(regions=(TWO_GENES,)), how))
    filled(store, out)
    with how.open() as annotator:
        alleles = [Allele(chrom, pos - 1, ref, alt) for chrom, pos, ref, alt in variants_of(out)]
        expected = annotator.scoring.outcomes(alleles)
        with ScoreStore(store) as opened:
            assert opened.spaces() == [annotator.space]
            assert dict(opened.spaces()[0].provenance) == dict(annotator.run.provenance)
        with how.open(store=str(store)) as remembering:
            assert remembering.remembered.recall(alleles) == expected
    assert len(alleles) == 30 and all(one.status == "OK" for outcome in expected for one in outcome)


def test_reading_gives_space_contigs_and_all_genes_of_an_allele(tmp_path):
    out = tmp_path / "out.vcf.gz"
    saturate(str(out), Saturation(Places(regions=(TWO_GENES,)), opening()))
    found = read_precomputed(out)
    with Reference(FASTA) as reference:
        assert found.contigs == {reference.md5("chr17"): "chr17"}
    rows = list(found.rows)
    assert len(rows) == 30 and all(len(scores) == 2 for _, scores in rows)
    assert len({key for key, _ in rows}) == 30
    assert found.space.columns[-1:] == ("N_FRAC",)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    out = tmp_path_factory.mktemp("small") / "out.vcf.gz"
    saturate(str(out), Saturation(Places(regions=(TWO_GENES,)), opening()))
    return out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('Flank="100"', 'Flank="90"', "The provenance does not fit its digest"),
        ('Precision="fp32"', 'Precision="fp16"', "The provenance does not fit its digest"),
        ('ScoreVersion="2",', "", "without ScoreVersion"),
        ("##SpliceBERT_columns=[", "##SpliceBERT_columns=x[", "cannot be read"),
        ("##SpliceBERT_columns=", "##Other=", "without the header lines of 'saturate'"),
        ("##INFO=<ID=SpliceBERT_LLR", "##bcftools_viewVersion=1\n##INFO=<ID=SpliceBERT_LLR", "single precision"),
    ],
)
def test_a_header_that_was_changed_is_refused(small, tmp_path, old, new, message):
    with pytest.raises(StoreError, match="(?s)" + message):
        read_precomputed(changed(small, tmp_path / "x.vcf.gz", (old, new)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",md5=", ",M5=", "has no MD5"),
        ("STATUS=OK", "STATUS=FINE", "STATUS of NOT_APPLICABLE, N_CONTEXT, OK or FAILED"),
        ("NGENES=2", "NGENES=3", "as many as NGENES says"),
        ("KL_CTX=", "KL_CTX=nan;X=", "a number as SpliceBERT_KL_CTX"),
        ("N_FRAC=0.0", "N_FRAC=0", "single precision"),
    ],
)
def test_a_record_that_was_changed_is_refused(small, tmp_path, old, new, message):
    found = read_precomputed(changed(small, tmp_path / "x.vcf.gz", (old, new)))
    with pytest.raises(StoreError, match=message) as error:
        list(found.rows)
    assert f"x.vcf.gz:{len(text_of(small).splitlines()) - 60 + 1}" in str(error.value)


def test_a_file_without_some_genes_or_cut_off_is_refused(small, tmp_path):
    text = text_of(small)
    last = text.splitlines()[-1]
    (tmp_path / "x.vcf.gz").write_bytes(gzip.compress(text.replace(f"{last}\n", "").encode()))
    with pytest.raises(StoreError, match="one record for each gene"):
        list(read_precomputed(tmp_path / "x.vcf.gz").rows)
    (tmp_path / "y.vcf.gz").write_bytes(small.read_bytes()[:-100])
    with pytest.raises(VcfError, match="cut off"):
        list(read_precomputed(tmp_path / "y.vcf.gz").rows)


def test_another_vcf_is_no_precomputed_file(run, small, tmp_path):
    assert run("annotate", small, *NULL, "-O", tmp_path / "x.vcf")[0] == 0
    text = (tmp_path / "x.vcf").read_text()
    (tmp_path / "x.vcf").write_text("".join(f"{line}\n" for line in text.splitlines() if "_columns" not in line))
    with pytest.raises(StoreError, match="no precomputed scores"):
        read_precomputed(tmp_path / "x.vcf")
    assert run("annotate", small, *NULL, "-O", tmp_path / "x.bcf")[0] == 0
    with pytest.raises(StoreError, match="single precision"):
        read_precomputed(tmp_path / "x.bcf")
