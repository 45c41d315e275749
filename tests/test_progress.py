"""How far a run is: per batch on a terminal, a line a minute in a log, and what a run that is ended says last."""

import pytest

from factories import FASTA, VCF
from splicebert_vep import Annotator, Settings, progress
from splicebert_vep.progress import ProgressLog, advance, listening, progress_bar


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    seconds = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds[0])
    return seconds


def test_a_log_has_a_line_a_minute_with_rate_and_place(clock, capsys):
    log = ProgressLog()
    for minute, done in ((0, 0), (0.5, 50), (1, 120), (1.5, 130), (2, 240)):
        clock[0] = 1000 + 60 * minute
        log("ALTs", done, 480, "chr17:43,000")
    log("files", 1, None)
    assert capsys.readouterr().err.splitlines() == [
        "splicebert-vep: ALTs: 120 of 480 (25%), up to chr17:43,000, 2.0/s, 3 min left",
        "splicebert-vep: ALTs: 240 of 480 (50%), up to chr17:43,000, 2.0/s, 2 min left",
    ]


@pytest.mark.parametrize(("ended", "told"), [(KeyboardInterrupt, True), (SystemExit, True), (ValueError, False)])
def test_a_run_that_a_signal_ends_says_how_far_it_got(ended, told, capsys, clock):
    with pytest.raises(ended), progress_bar() as shown:
        shown("ALTs", 7, 70, "c\x1bh:5")
        raise ended
    assert capsys.readouterr().err == (
        "splicebert-vep: stopped at ALTs: 7 of 70 (10%), up to c\\x1bh:5\n" if told else ""
    )


def test_a_run_moves_within_a_chunk_and_ends_at_all_alts(tmp_path):
    told = []
    settings = Settings(scores=("LLR",), batch_tokens=1024)  # two windows in a call
    with Annotator(FASTA, backend="null", settings=settings) as annotator:
        summary = annotator.annotate(VCF, tmp_path / "out.vcf", progress=lambda *words: told.append(words))
    assert summary.records < settings.chunk_records  # all is one chunk
    done = [one for _, one, _, _ in told]
    assert len(set(done)) > 3 and done == sorted(done) and done[-1] == summary.alleles
    last = [line.split("\t")[:2] for line in (tmp_path / "out.vcf").read_text().splitlines()][-1]
    assert told[-1] == ("alleles", summary.alleles, summary.alleles, f"{last[0]}:{int(last[1]):,}")
    assert {at for _, _, _, at in told[:-1]} == {""}  # nothing is written yet


def test_work_is_heard_within_the_block_alone():
    heard = []
    with listening(heard.append):
        advance(2)
    advance(3)
    assert heard == [2]
