"""Scores move between stores bit for bit, as Parquet or from store to store; what does not fit is refused."""

import json
import math
import random
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factories import NAMES, NULL, OTHER, SPACE, VCF, key, row
from splicebert_vep.errors import OutputError, StoreError
from splicebert_vep.store.exchange import export_space, import_scores, merge_store
from splicebert_vep.store.store import ScoreStore


@pytest.fixture
def store(tmp_path):
    with ScoreStore(tmp_path / "scores.sqlite") as opened:
        yield opened


def test_export_and_import_keep_every_bit(tmp_path, store):
    rows = [
        (key(start=n), [row(math.pi * n, None), row(None, None, gene="G2", status="N_CONTEXT", reason="why")])
        for n in range(50)
    ]
    store.add(SPACE, rows, NAMES)
    assert export_space(store, SPACE, tmp_path / "s.parquet") == 100
    with ScoreStore(tmp_path / "new.sqlite") as new:
        assert import_scores(new, tmp_path / "s.parquet") == 100
        assert new.spaces() == [SPACE] and new.spaces()[0].provenance == SPACE.provenance
        assert import_scores(new, tmp_path / "s.parquet") == 0
        assert list(new.rows(SPACE)) == list(store.rows(SPACE))


def test_scores_made_otherwise_are_not_merged_by_import(tmp_path, store):
    store.add(SPACE, [(key(), [row(1.0, 2.0)])], NAMES)
    export_space(store, SPACE, tmp_path / "s.parquet")
    with ScoreStore(tmp_path / "other.sqlite") as other:
        other.add(OTHER, [(key(), [row(5.0)])], NAMES)
        with pytest.raises(StoreError, match="made otherwise"):
            import_scores(other, tmp_path / "s.parquet")
        assert other.spaces() == [OTHER]
        assert import_scores(other, tmp_path / "s.parquet", beside=True) == 1
        assert other.find(OTHER, [key()]) == [[row(5.0)]]
        assert other.find(SPACE, [key()]) == [[row(1.0, 2.0)]]


def test_stores_are_merged_space_by_space_and_pruned(tmp_path, store):
    store.add(SPACE, [(key(), [row(1.0, 2.0)])], NAMES)
    with ScoreStore(tmp_path / "other.sqlite") as other:
        other.add(SPACE, [(key(), [row(1.0, 2.0)]), (key(start=7), [row(7.0, 7.0)])], NAMES)
        other.add(OTHER, [(key(), [row(5.0)])], NAMES)
        assert merge_store(store, other) == 2
    assert store.count(SPACE) == 2 and store.count(OTHER) == 1
    assert store.remove([SPACE]) == 2
    assert store.spaces() == [OTHER]
    assert store.find(SPACE, [key()]) == [[]] and store.find(OTHER, [key()]) == [[row(5.0)]]
    assert store.check() == []


@pytest.mark.parametrize("damage", ["text", "cut", "foreign", "missing"])
def test_a_file_that_is_no_export_is_refused(tmp_path, store, damage):
    store.add(SPACE, [(key(), [row(1.0, 2.0)])], NAMES)
    path = tmp_path / "x.parquet"
    export_space(store, SPACE, path)
    if damage == "text":
        path.write_bytes(b"PAR1 nothing")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "foreign":
        pq.write_table(pa.table({"a": [1]}), path)
    else:
        path.unlink()
    with ScoreStore(tmp_path / "new.sqlite") as new:
        with pytest.raises(StoreError, match="Parquet"):
            import_scores(new, path)
        assert new.spaces() == []


def test_an_export_does_not_replace_the_store(run, tmp_path):
    path = tmp_path / "s.sqlite"
    with ScoreStore(path) as opened:
        opened.add(SPACE, [(key(), [row(1.0, 2.0)])], NAMES)
    code, _, err = run("store", "export", path, "-O", path)
    assert code == 3 and "would replace" in err
    with ScoreStore(path) as opened:
        assert opened.count(SPACE) == 1


def test_the_commands_of_a_store(run, tmp_path):
    """Parts that two machines scored come together, and annotate scores nothing more."""
    stores = [tmp_path / name for name in ("a.sqlite", "b.sqlite", "all.sqlite")]
    for store, region in zip(stores, ("chr17:1-43047640", "chr17:43047641"), strict=False):
        words = ["annotate", VCF, *NULL, "--region", region, "--store", store, "-O", tmp_path / "x.vcf"]
        assert run(*words)[0] == 0
        assert run("store", "export", store, "-O", store.with_suffix(".parquet"))[0] == 0
    parts = [store.with_suffix(".parquet") for store in stores[:2]]
    code, _, err = run("store", "import", stores[2], *parts)
    assert code == 0 and err.count("new rows") == 2
    assert " 0 new rows" in run("store", "merge", stores[2], stores[0])[2]
    code, out, _ = run("store", "info", stores[2], "--json")
    [space] = json.loads(out)["spaces"]
    assert space["rows"] == sum(pq.read_metadata(part).num_rows for part in parts) and space["contigs"] == ["chr17"]
    assert "rows" in run("store", "info", stores[2])[1]
    code, _, err = run("store", "verify", stores[2], *NULL)
    assert code == 0 and ", 0 beyond" in err
    code, _, err = run("store", "verify", stores[2], *NULL, "--window", "400")
    assert code == 3 and "store info" in err
    code, _, err = run("store", "prune", stores[2], "--space", "2")
    assert code == 3 and "--space 1" in err
    assert run("store", "prune", stores[2], "--space", "1")[0] == 0
    assert json.loads(run("store", "info", stores[2], "--json")[1])["spaces"] == []
    assert run("store", "export", stores[2], "-O", tmp_path / "none.parquet")[0] == 0  # a part without genes
    assert " 0 new rows" in run("store", "import", stores[0], tmp_path / "none.parquet")[2]
    assert run("store", "export", stores[2], "--space", "1", "-O", tmp_path / "none.parquet")[0] == 3
    code, _, err = run("store", "import", stores[2], VCF)  # scores travel as Parquet only
    assert code == 3 and "Parquet" in err


def test_verify_finds_another_value(run, tmp_path):
    store = tmp_path / "s.sqlite"
    assert run("annotate", VCF, *NULL, "--store", store, "-O", tmp_path / "x.vcf")[0] == 0
    with ScoreStore(store) as opened, ScoreStore(tmp_path / "other.sqlite") as other:
        [space] = opened.spaces()
        rows = [(k, [one._replace(values=(one.values[0], 99.0, *one.values[2:]))]) for _, k, one in opened.rows(space)]
        other.add(space, rows[:3], opened.contigs(space))
    code, _, err = run("store", "verify", tmp_path / "other.sqlite", *NULL)
    assert code == 1 and "apart" in err


def contents(opened):
    return {
        space: {(k, scores.gene): scores for _, k, scores in opened.rows(space)}
        for space in opened.spaces()
        if opened.count(space)
    }


@pytest.mark.parametrize("kind", ["export", "store"])
def test_a_flipped_bit_is_an_error_or_changes_no_value(tmp_path, kind):
    """Whichever bit it is, with gene ids and numbers of spaces that are one bit apart."""
    with ScoreStore(tmp_path / "whole.sqlite") as opened:
        for digest in "tuv":
            other = replace(OTHER, score_digest=digest * 64)
            opened.add(other, [(key(start=n), [row(9.0, gene="ENSG00000010")]) for n in range(30)], NAMES)
        rows = [(key(start=n), [row(n / 7, -n / 3, gene=f"ENSG0000001{i}") for i in range(4)]) for n in range(30)]
        opened.add(SPACE, rows, NAMES)
        export_space(opened, SPACE, tmp_path / "whole.parquet")
        written = contents(opened)
    whole = (tmp_path / f"whole.{'parquet' if kind == 'export' else 'sqlite'}").read_bytes()
    chance, errors = random.Random(20), 0
    for number in range(200):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        flipped = tmp_path / f"{number}.flipped"
        flipped.write_bytes(data)
        try:
            with ScoreStore(flipped if kind == "store" else tmp_path / f"{number}.sqlite") as opened:
                if kind == "export":
                    import_scores(opened, flipped)
                    assert contents(opened) == {SPACE: written[SPACE]}
                for k, found in zip(dict(rows), opened.find(SPACE, list(dict(rows))), strict=True):
                    assert found == [] or found == [written[SPACE][k, s.gene] for s in found], number
                for space, found in contents(opened).items():
                    assert found.items() <= written[space].items()
                opened.check()
                opened.sample(SPACE, list(opened.contigs(SPACE)), 5, chance)
                opened.add(SPACE, rows, NAMES)
        except (StoreError, OutputError):
            errors += 1
    assert errors > (100 if kind == "export" else 5)
