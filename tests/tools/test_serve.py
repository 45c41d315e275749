"""The look-up server: what visitors may ask, and what they are told; most of it without a socket."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import pytest

from factories import COMMAND, FASTA, NULL, hear_interrupts
from splicebert_vep import Annotator

testclient = pytest.importorskip("starlette.testclient")
from splicebert_vep.tools.serve import app as serve  # noqa: E402

HERE = "http://127.0.0.1"
DONOR = "17-43047641-A-C"  # c.5467+2T>G of BRCA1
ROWS = "17\t43047641\trs9\tA\tC,G\t.\t.\t.\n17\t43045803\t.\tC\tT\t.\t.\t.\n"


@pytest.fixture(scope="module")
def annotator():
    with Annotator(FASTA, "grch38", backend="null") as opened:
        yield opened


@pytest.fixture
def build(annotator):
    """Return clients of applications with limits."""
    with annotator.open_joins([]) as joins:

        def client(*, most=20, rate=10_000):
            app = serve.build_app(annotator, joins, most=most, rate=rate, hosts=("127.0.0.1",))
            return testclient.TestClient(app, base_url=HERE)

        yield client


@pytest.fixture
def client(build):
    return build()


def splice(client, **query):
    found = client.get("/splice", params=query)
    return found.status_code, found.json()


@pytest.mark.parametrize("variant", [DONOR, "NM_007294.4:c.5467+2T>G", "NC_000017.11:g.43047641A>C"])
def test_splice_answers_in_the_layout_of_spliceai_lookup(client, annotator, variant):
    code, found = splice(client, variant=variant, hg="38", distance=50, mask="0")
    assert (code, found["asked"], found["genomeVersion"]) == (200, variant, "38")
    assert [found[name] for name in ("pos", "ref", "alt", "distance", "mask", "status")] == [
        43047641, "A", "C", 50, "0", "OK",
    ]  # fmt: skip
    [scores] = found["scores"]
    assert (scores["g_name"], scores["t_id"], scores["t_priority"], scores["t_strand"]) == (
        "BRCA1", "ENST00000357654.9", "MS", "-",
    )  # fmt: skip
    result = annotator.score(DONOR)
    for name in ("DS_AG", "DS_AL", "DS_DG", "DS_DL", "DP_AG", "DP_DL", "DS_MAX", "KL_SS"):
        assert scores[name] == result[name], name
    assert "error" not in found


def test_score_has_the_rows_of_the_table_and_tells_what_it_could_not_read(client, annotator):
    found = client.post("/score", content=f"{DONOR}, 17:43,045,803:C:T\nrs12\nBRCA1:c.5467+2T>G\n").json()
    assert [row["ASKED"] for row in found["rows"]] == [DONOR, "17:43,045,803:C:T", "BRCA1:c.5467+2T>G"]
    table = annotator.score_frame([DONOR])
    assert {name: values[0] for name, values in table.items()}.items() <= found["rows"][0].items()
    assert found["provenance"]["Model"] == "null"
    assert [one["variant"] for one in found["errors"]] == ["rs12"]
    assert "dbSNP" in found["errors"][0]["error"]
    assert "ENST00000357654.9" in found["notes"][0]  # a symbol leaves the transcript open


@pytest.mark.parametrize(
    "text",
    [
        ROWS,
        f"##fileformat=VCFv4.2\n##contig=<ID=17,length=83257441>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n{ROWS}",
        ROWS.replace("\t", "  ").replace("\n", "\r\n"),  # as it is copied from a page
        "17\t43047641\trs9\tA\tC,G\n17\t43045803\t.\tC\tT",
    ],
)
def test_a_pasted_vcf_is_read_with_or_without_its_header(client, text):
    found = client.post("/score", content=text).json()
    assert [row["ASKED"] for row in found["rows"]] == [f"{DONOR} (rs9)", "17-43047641-A-G (rs9)", "17-43045803-C-T"]
    assert found["errors"] == []


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"variant": DONOR, "assembly": "hg19"}, "said to be of GRCh37, and this server has GRCh38"),
        ({"variant": DONOR, "hg": "37"}, "GRCh37"),
        ({"variant": DONOR, "assembly": "x"}, "No assembly"),
        ({"variant": "NC_000017.10:g.41199658A>C"}, "another genome assembly"),
        ({"variant": "nonsense"}, "could not be read"),
        ({"variant": "17\t43047641\t.\tA\t."}, "no ALT"),
        ({"variant": "BRCA1:c.99999A>G"}, "no position"),
        ({}, "No variant"),
        ({"variant": DONOR, "distance": "500"}, "distance 50, not 500"),
        ({"variant": DONOR, "mask": "1"}, "mask 0, not 1"),
        ({"variant": DONOR, "bc": "basic"}, "no parameter bc"),
        ({"variant": f"{DONOR},{DONOR}"}, "one variant"),
    ],
)
def test_what_cannot_be_answered_is_told_in_a_sentence(client, query, told):
    code, found = splice(client, **query)
    assert code == 400
    assert told in found["error"]
    assert "\n" not in found["error"]
    assert str(FASTA) not in found["error"]


def test_another_reference_base_is_told_with_the_assembly(client):
    code, found = splice(client, variant="17-43047641-G-C")
    assert (code, found["status"], found["scores"]) == (200, "REF_MISMATCH", [])
    assert "FASTA A" in found["error"]
    assert "GRCh38" in found["error"]


@pytest.mark.parametrize("head", ["", "##contig=<ID=17,length=81195210>\n"])  # the length of GRCh37's
def test_a_list_of_another_build_is_refused_whole(client, annotator, head):
    bases = annotator.reference.fetch("chr17", 43_047_600, 43_047_630).decode()
    other = {"A": "C", "C": "G", "G": "T", "T": "A"}
    lines = [f"17\t{43_047_601 + i}\t.\t{base if head else other[base]}\tN" for i, base in enumerate(bases)]
    client = testclient.TestClient(client.app, base_url=HERE)
    found = client.post("/score", content=head + "\n".join(lines[:20]))
    assert found.status_code == 400
    assert "different genome builds" in found.json()["error"]


def test_the_page_escapes_whatever_is_typed_and_loads_nothing(client):
    text = f"{DONOR}\n<script>alert(1)</script>\n17\t43045803\t<b>x\tC\tT"
    for page in (client.post("/", data={"variant": text}), client.get("/", params={"variant": text})):
        assert page.status_code == 200
        assert "<script" not in page.text
        assert "<b>x" not in page.text
        assert "&lt;b&gt;x" in page.text
        assert not re.search(r"(?:src|href)=\"(?!data:|/\?|#)", page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"  # a visitor's variants


def test_the_page_shows_the_answer_and_mends_a_question(client):
    page = client.post("/", data={"variant": "NM_007294.4:c.5467+2T>G", "assembly": "GRCh38"}).text
    assert all(words in page for words in ("BRCA1", "intron 22/22, +2", "donor lost", f"/?variant=chr{DONOR}"))
    assert page.count('<img src="data:image/svg+xml') == 1  # the report's picture of the transcript
    wrong = client.post("/", data={"variant": DONOR, "assembly": "GRCh37"})
    assert (wrong.status_code, DONOR in wrong.text, "this server has GRCh38" in wrong.text) == (400, True, True)
    listed = client.post("/", data={"variant": f"17-43047641-G-C\n{DONOR}"}).text  # without scores is last
    assert listed.index(f'href="#card-1">{DONOR}') < listed.index('href="#card-2">17-43047641-G-C')


def test_too_much_is_refused(build):
    client = build(most=2)
    for text in (ROWS, "x\n" * 400_000, "17\t43047641\t.\tA\t" + ",".join("C" * 200_000)):
        found = client.post("/score", content=text)
        assert (found.status_code, "At most 2 " in found.json()["error"]) == (413, True)
    for text in ("1" + " " * 900_000 + "x", "x" + " p." * 200_000 + " x", "A" * 900_000):  # a pattern's worst cases
        assert client.post("/score", content=text).status_code == 400
    found = client.post("/", data={"variant": "A" * 10_000_000})
    assert (found.status_code, "1,000,000 bytes" in found.text) == (413, True)
    assert client.get("/nothing").json() == {"error": "There is no such page: see /, /splice and /score."}
    assert client.get("/", headers={"host": "elsewhere.example"}).status_code == 400


def test_who_asks_too_often_waits(build):
    client = build(rate=2)
    codes = [splice(client, variant=DONOR)[0] for _ in range(3)]
    assert codes == [200, 200, 429]
    refused = client.get("/")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "30")


def test_two_visitors_take_turns_and_a_crowd_is_turned_away(build, monkeypatch):
    go, whole = threading.Event(), serve.Desk.answer

    def slowly(self, questions):
        assert go.wait(60)
        return whole(self, questions)

    monkeypatch.setattr(serve.Desk, "answer", slowly)
    monkeypatch.setattr(serve, "_WAITING", 1)
    with build() as client, ThreadPoolExecutor(3) as visitors:
        crowd = {visitors.submit(client.get, "/splice", params={"variant": DONOR}) for _ in range(3)}
        [refused], rest = wait(crowd, 60, FIRST_COMPLETED)
        assert client.get("/").status_code == 200  # the page does not wait
        go.set()
        assert refused.result().status_code == 503
        assert "Too many requests" in refused.result().json()["error"]
        assert [one.result().status_code for one in rest] == [200, 200]


def test_a_fault_is_told_without_a_traceback(annotator, monkeypatch, caplog):
    def broken(self, questions):
        raise RuntimeError("secret")

    monkeypatch.setattr(serve.Desk, "answer", broken)
    with annotator.open_joins([]) as joins:
        app = serve.build_app(annotator, joins, most=20, rate=100)
        client = testclient.TestClient(app, base_url=HERE, raise_server_exceptions=False)
        code, found = splice(client, variant=DONOR)
    assert code == 500
    assert "secret" not in found["error"]
    assert "secret" in caplog.text


def test_the_command_serves_until_ctrl_c(tmp_path):
    command = [*COMMAND, "serve", *NULL, "--port", "0", "--store", str(tmp_path / "scores.sqlite")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=hear_interrupts) as process:
        try:
            shown = ""
            while "serving" not in shown:
                shown = process.stderr.readline()
                assert shown, "it ended before it served"
            url = re.search(r"http://\S+", shown)[0]
            with urllib.request.urlopen(f"{url}splice?variant={DONOR}", timeout=60) as answer:
                assert answer.status == 200
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read()
            assert process.wait(60) == 130
            assert "Traceback" not in rest
        finally:
            process.kill()


def test_the_model_is_not_closed_under_a_request_that_a_signal_ends(annotator, monkeypatch):
    began, done = threading.Event(), threading.Event()

    def slowly(self, questions):
        began.set()
        time.sleep(2)
        done.set()
        return []

    def visit(url):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{url}/splice?variant={DONOR}", timeout=60)

    def interrupt():
        assert began.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    monkeypatch.setattr(serve.Desk, "answer", slowly)
    monkeypatch.setattr(serve, "_STOPPING", 0)
    with annotator.open_joins([]) as joins, serve.listen("127.0.0.1", 0) as where, ThreadPoolExecutor(2) as others:
        app = serve.build_app(annotator, joins, most=20, rate=100)
        others.submit(visit, f"{HERE}:{where.getsockname()[1]}")
        others.submit(interrupt)
        try:
            with pytest.raises(KeyboardInterrupt):
                serve.run(app, where)
        finally:
            signal.signal(signal.SIGINT, before)
        assert done.is_set()


def test_without_the_extra_the_command_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette", None)
    code, _, err = run("serve", *NULL)
    assert (code, "splicebert-vep[serve]" in err) == (3, True)


def test_a_port_that_is_taken_is_told(run):
    with serve.listen("127.0.0.1", 0) as taken:
        code, _, err = run("serve", *NULL, "--port", taken.getsockname()[1])
    assert (code, "cannot listen" in err, "--port 0" in err) == (3, True, True)
