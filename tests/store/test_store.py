"""The score store: what goes in comes out, nothing else does, and no other value ever takes its place."""

import multiprocessing
import os
import sqlite3
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories import NAMES, NULL, OTHER, SPACE, VCF, key, read_until_all, row, write_all
from splicebert_vep.errors import OutputError, StoreError
from splicebert_vep.provenance import Space
from splicebert_vep.store import store as connection
from splicebert_vep.store.store import AlleleKey, ScoreStore


@pytest.fixture
def store(tmp_path):
    with ScoreStore(tmp_path / "scores.sqlite") as opened:
        yield opened


def test_what_goes_in_comes_out_bit_for_bit(store):
    rows = [row(0.1 + 0.2, -1e-300), row(None, 5.0, gene="G2")]
    rows.append(row(None, None, gene="G3", status="N_CONTEXT", reason="non-ACGT within 100 nt of the span"))
    assert store.add(SPACE, [(key(), rows)], NAMES) == 3
    assert [sorted(found) for found in store.find(SPACE, [key()])] == [rows]


def test_a_key_is_contig_position_change_and_space(store):
    store.add(SPACE, [(key(), [row(1.0, 2.0)])], NAMES)
    near = [key(start=101), key(ref="G"), key(alt="T"), key(md5="1" * 32), key(ref="AC", alt=""), key(ref="", alt="C")]
    assert store.find(SPACE, near) == [[]] * len(near)
    assert store.find(OTHER, [key()]) == [[]]


def test_rows_come_back_in_the_order_asked_for_over_contigs_and_blocks(store):
    keys = [key(start=n, md5=md5) for n in range(700) for md5 in NAMES]
    store.add(SPACE, [(k, [row(float(k.start), float(int(k.md5[0])))]) for k in keys], NAMES)
    asked = keys[::-1] + [key(start=9999)] + keys[5:6]
    found = store.find(SPACE, asked)
    assert [one[0].values if one else None for one in found] == [
        (float(k.start), float(int(k.md5[0]))) if k.start < 700 else None for k in asked
    ]


def test_storing_again_changes_nothing(store):
    store.add(SPACE, [(key(), [row(1.0, 2.0)])], NAMES)
    assert store.add(SPACE, [(key(), [row(1.0 + 9e-5, 2.0)])], NAMES) == 0
    assert store.find(SPACE, [key()]) == [[row(1.0, 2.0)]]


@pytest.mark.parametrize(
    "another", [row(1.001, 2.0), row(None, 2.0), row(1.0, 2.0, status="N_CONTEXT")], ids=["value", "missing", "status"]
)
def test_another_value_is_an_error_that_stores_nothing(store, another):
    store.add(SPACE, [(key(), [row(1.0, 2.0)])], NAMES)
    with pytest.raises(StoreError, match="another value") as error:
        store.add(SPACE, [(key(start=5), [row(3.0, 3.0)]), (key(), [another])], NAMES)
    assert "chr1:101 A>C in G1" in str(error.value)
    assert store.find(SPACE, [key(start=5), key()]) == [[], [row(1.0, 2.0)]]


def test_a_row_has_a_value_for_every_column(store):
    with pytest.raises(ValueError, match="columns"):
        store.add(SPACE, [(key(), [row(1.0)])], NAMES)
    assert store.find(SPACE, [key()]) == [[]]


def test_half_precision_is_compared_less_closely():
    assert SPACE.tolerance == 1e-4
    assert Space("s", "a", (), {"Precision": "fp16"}).tolerance > 0.01


def test_an_error_on_the_way_stores_nothing(store, monkeypatch):
    def fails(_):
        raise RuntimeError("stopped")

    monkeypatch.setattr(store, "_made_gene", fails)
    with pytest.raises(RuntimeError):
        store.add(SPACE, [(key(), [row(1.0, 2.0)])], NAMES)
    monkeypatch.undo()
    assert store.spaces() == []
    assert store.add(SPACE, [(key(), [row(1.0, 2.0)])], NAMES) == 1


@settings(deadline=None)
@given(
    st.dictionaries(
        st.tuples(
            st.sampled_from(sorted(NAMES)), st.integers(0, 50), st.sampled_from("ACGT"), st.text("ACGT", max_size=3)
        ),
        st.lists(st.one_of(st.none(), st.floats(-10, 10)), min_size=2, max_size=2),
        max_size=40,
    )
)
def test_any_set_of_alleles_is_found_again(tmp_path_factory, content):
    with ScoreStore(tmp_path_factory.mktemp("store") / "s.sqlite") as opened:
        rows = {AlleleKey(*k): [row(*values)] for k, values in content.items()}
        opened.add(SPACE, rows.items(), NAMES)
        assert opened.find(SPACE, list(rows)) == list(rows.values())
        assert {k: [scores] for _, k, scores in opened.rows(SPACE)} == rows
        assert opened.count(SPACE) == len(rows) or not rows


def test_two_processes_read_while_one_writes(tmp_path):
    path = tmp_path / "s.sqlite"
    ScoreStore(path).close()
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=read_until_all, args=(path, 60, results)) for _ in range(2)]
    processes.append(context.Process(target=write_all, args=(path, 60)))
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert [results.get(timeout=5) for _ in range(2)] == [59, 59]


def test_a_foreign_file_is_refused_and_left_alone(tmp_path):
    text = tmp_path / "text.sqlite"
    text.write_text("##fileformat=VCFv4.2\n" * 20)
    with pytest.raises(StoreError, match="no score store"):
        ScoreStore(text)
    assert text.read_text().startswith("##fileformat")
    foreign = tmp_path / "foreign.sqlite"
    other = sqlite3.connect(foreign)
    other.execute("CREATE TABLE t (a)")
    other.commit()
    other.close()
    before = foreign.read_bytes()
    for writing in (True, False):
        with pytest.raises(StoreError, match="no score store"):
            ScoreStore(foreign, writing=writing)
    assert foreign.read_bytes()[100:] == before[100:]  # its header may say that it was opened
    with pytest.raises(StoreError, match="folder"):
        ScoreStore(tmp_path)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "s.sqlite"
    with ScoreStore(path) as opened:
        opened.add(SPACE, [(key(start=n), [row(float(n), 0.0)]) for n in range(2000)], NAMES)
    whole = path.read_bytes()
    for size in (50, 5000, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(StoreError, match="damaged or cut off") as error:
            ScoreStore(path)
        assert "remedy" in str(error.value)


def test_a_damaged_page_is_told(tmp_path):
    path = tmp_path / "s.sqlite"
    with ScoreStore(path) as opened:
        opened.add(SPACE, [(key(start=n), [row(float(n), 0.0)]) for n in range(5000)], NAMES)
    data = bytearray(path.read_bytes())
    data[-60000:-40000] = bytes(20000)
    path.write_bytes(data)
    with ScoreStore(path, writing=False) as opened:
        with pytest.raises(StoreError, match="damaged"):
            opened.find(SPACE, [key(start=n) for n in range(5000)])
        try:
            assert opened.check()
        except StoreError as error:
            assert "damaged" in str(error)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE scores SET data = zeroblob(16)",
        "UPDATE scores SET start = 101",
        "UPDATE genes SET name = 'G2'",
        "UPDATE contigs SET space = 3 - space",
        f"UPDATE contigs SET md5 = '{'0' * 31}1'",
        "UPDATE spaces SET score_digest = 'x'",
    ],
)
def test_rows_belong_to_their_allele_gene_and_space(tmp_path, change):
    twin, keys = replace(SPACE, score_digest="x"), [key(), key(start=101), key(md5="0" * 31 + "1")]
    with ScoreStore(tmp_path / "s.sqlite") as opened:
        opened.add(SPACE, [(key(), [row(1.0, 2.0)])], NAMES)
        if "3 - space" in change:
            opened.add(twin, [(key(md5="1" * 32), [row(3.0, 4.0)])], NAMES)
        opened.select(change)
    with ScoreStore(tmp_path / "s.sqlite") as opened, pytest.raises(StoreError, match="damaged"):
        for space in (SPACE, twin):
            opened.find(space, keys)


def test_another_format_is_refused(tmp_path):
    path = tmp_path / "s.sqlite"
    with ScoreStore(path) as opened:
        opened.select("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="format 99"):
        ScoreStore(path)


def test_a_store_that_is_only_read_has_to_be_there(tmp_path):
    with pytest.raises(StoreError, match="not there"):
        ScoreStore(tmp_path / "none.sqlite", writing=False)
    with pytest.raises(OutputError, match="folder"):
        ScoreStore(tmp_path / "none" / "s.sqlite")


@pytest.mark.parametrize("kind", ["nfs4", "fuse.sshfs", "CIFS"])
def test_a_network_path_is_refused(tmp_path, monkeypatch, kind):
    (tmp_path / "a b" / "deep").mkdir(parents=True)
    mounts = ["/dev/sda / ext4 rw 0 0", f"server:/x {tmp_path}/a\\040b {kind} rw 0 0"]
    read = connection.Path.read_text
    monkeypatch.setattr(
        connection.Path,
        "read_text",
        lambda self, **how: "\n".join(mounts) if "mounts" in str(self) else read(self, **how),
    )
    with pytest.raises(StoreError, match="network"):
        ScoreStore(tmp_path / "a b" / "deep" / "s.sqlite")
    (tmp_path / "link").symlink_to(tmp_path / "a b")
    with pytest.raises(StoreError, match="network"):
        ScoreStore(tmp_path / "link" / "s.sqlite")
    mounts.append(f"/dev/sdb {tmp_path}/a\\040b/deep ext4 rw 0 0")  # a local disk mounted below it
    ScoreStore(tmp_path / "a b" / "deep" / "s.sqlite").close()


def test_where_the_system_lists_no_mounts_every_path_is_taken(tmp_path, monkeypatch):
    def missing(self, **_):
        raise FileNotFoundError

    monkeypatch.setattr(connection.Path, "read_text", missing)
    ScoreStore(tmp_path / "s.sqlite").close()


def test_a_full_disk_is_told_and_what_was_stored_stays(tmp_path):
    with ScoreStore(tmp_path / "s.sqlite") as opened:
        opened.add(SPACE, [(key(), [row(1.0, 2.0)])], NAMES)
        opened.select("PRAGMA max_page_count = 20")
        with pytest.raises(OutputError, match="disk is full|disk space"):
            opened.add(SPACE, [(key(start=1000 + n), [row(float(n), 0.0)]) for n in range(5000)], NAMES)
        assert opened.find(SPACE, [key(), key(start=1000)]) == [[row(1.0, 2.0)], []]


def test_a_prune_meanwhile_never_gives_scores_of_another_space(tmp_path):
    """A process that knows the space by its number must not meet rows of a space made after a prune."""
    with ScoreStore(tmp_path / "s.sqlite") as running, ScoreStore(tmp_path / "s.sqlite") as other:
        running.add(SPACE, [(key(), [row(7.0, 7.0)])], NAMES)
        assert running.find(SPACE, [key()]) == [[row(7.0, 7.0)]]
        other.remove([SPACE])
        other.add(OTHER, [(key(), [row(5.0)])], NAMES)
        assert running.find(SPACE, [key()]) == [[]]
        running.add(SPACE, [(key(start=5), [row(1.0, 1.0)])], NAMES)
        assert running.find(SPACE, [key(start=5), key()]) == [[row(1.0, 1.0)], []]
        assert other.find(OTHER, [key(), key(start=5)]) == [[row(5.0)], []]


def test_a_store_in_the_middle_of_a_checkpoint_is_whole(tmp_path):
    """A kill may leave a first page that counts pages which are still in the log only."""
    path = tmp_path / "s.sqlite"
    with ScoreStore(path) as opened:
        opened.add(SPACE, [(key(start=n), [row(float(n), 0.0)]) for n in range(2000)], NAMES)
        log = (tmp_path / "s.sqlite-wal").read_bytes()
        early = path.read_bytes()
        opened.select("PRAGMA wal_checkpoint(FULL)")
        whole = path.read_bytes()
    path.write_bytes(whole[:100] + early[100:])
    (tmp_path / "s.sqlite-wal").write_bytes(log)
    (tmp_path / "s.sqlite-shm").unlink(missing_ok=True)
    with ScoreStore(path) as opened:
        assert opened.count(SPACE) == 2000


@pytest.mark.parametrize("name", ["n" * 300, os.fsdecode(b"caf\xe9")], ids=["too long", "not UTF-8"])
def test_odd_names_of_files_end_in_no_traceback(run, tmp_path, name):
    """Every output of stores and cohorts: written under a name of any bytes, or an error with exit code 3 or 5."""
    good, odd, wrong = tmp_path / "good.sqlite", tmp_path / name, len(name) > 255
    annotate = ["annotate", VCF, *NULL, "-O", tmp_path / "x.vcf"]
    assert run(*annotate, "--store", good)[0] == 0
    for words, code in (
        ([*annotate, "--store", odd], 5),
        ([*annotate, "--summary", f"{odd}.json"], 5),
        (["store", "info", odd], 3),
        (["store", "export", good, "-O", f"{odd}.parquet"], 5),
        (["store", "import", tmp_path / "new.sqlite", f"{odd}.parquet"], 3),
        (["store", "merge", tmp_path / "new.sqlite", odd], 3),
        (["cohort", "run", VCF, *NULL, "-O", f"{odd}.cohort"], 5),
        (["cohort", "run", VCF, *NULL, "--store", good, "-O", f"{odd}.cohort"], 5),
        (["cohort", "diff", f"{odd}.cohort", f"{odd}.cohort", "-O", f"{odd}.tsv"], 5),  # places of outputs come first
    ):
        assert run(*words)[0] == (code if wrong else 0), words
    assert run("cohort", "run", odd, *NULL, "-O", tmp_path / "out")[0] == 3  # no manifest
