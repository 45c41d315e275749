"""The page in a real browser, from file://: nothing goes wrong, nothing is fetched, headings sort, the form filters."""

import shutil

import pytest

from factories import EXAMPLES, SPLICEAI_FIELDS, scored, scored_info, write_scored

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium not installed")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

RECORDS = [
    "2 10 rs1 A C " + scored(-8.5, KL_SS=0.5, SYMBOL="ABC"),
    "10 9 rs2 A C " + scored(-12, KL_SS="2e-05", SYMBOL="XYZ", SITE_HIT="donor", REGION="intron", SITE_OFFSET="+2"),
    "2 9 rs3 AT A " + scored(-7.25, KL_SS=None, LLR=None, SYMBOL="ABC", SpliceAI_DS_MAX=0.8),
    "2 8 rs4 A <DEL> " + scored_info(STATUS="SYMBOLIC"),
]
BY_KL_CTX = ["2-9-AT-A", "2-10-A-C", "10-9-A-C", "2-8-A-<DEL>"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser, run, tmp_path):
    """Open the page of a hand-written file; what goes wrong and what is asked for is in ``page.trouble``."""
    source = write_scored(tmp_path / "in.vcf", RECORDS, fields=SPLICEAI_FIELDS)
    yield from opened(browser, run, tmp_path, source, "--by", "KL_CTX")


def opened(browser, run, tmp_path, source, *arguments):
    target = tmp_path / "page.html"
    code, _, err = run("report", source, "-o", target, *arguments)
    assert code == 0, err
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.trouble, page.asked = [], []
    page.on("console", lambda message: page.trouble.append(message.text))
    page.on("pageerror", lambda error: page.trouble.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(target.as_uri())
    yield page
    assert page.trouble == []
    assert [url for url in page.asked if not url.startswith("data:")] == [target.as_uri()]
    page.close()


def names(page):
    return page.eval_on_selector_all("#table tbody tr:not([hidden]) th", "all => all.map(one => one.dataset.text)")


def click(page, heading):
    page.get_by_role("button", name=heading, exact=True).click()


def sorted_by(page):
    return page.eval_on_selector_all(
        "#table th[aria-sort]", "all => all.map(o => [o.innerText.split('\\n')[0], o.ariaSort])"
    )


def test_headings_sort_numbers_as_numbers_with_the_missing_last(page):
    assert names(page) == BY_KL_CTX
    click(page, "KL_CTX")
    assert names(page) == ["10-9-A-C", "2-10-A-C", "2-9-AT-A", "2-8-A-<DEL>"]
    assert [state for _, state in sorted_by(page)] == ["ascending"]
    click(page, "KL_SS")  # 0.5 and 2e-05; the highest first
    assert names(page)[:2] == ["2-10-A-C", "10-9-A-C"]
    click(page, "KL_SS")
    assert names(page)[:2] == ["10-9-A-C", "2-10-A-C"]
    click(page, "Variant")  # contig 2 before 10, position 9 before 10
    assert names(page) == ["2-8-A-<DEL>", "2-9-AT-A", "2-10-A-C", "10-9-A-C"]


def test_headings_sort_from_the_keyboard(page):
    page.get_by_role("button", name="Variant", exact=True).focus()
    page.keyboard.press("Enter")
    assert names(page)[0] == "2-8-A-<DEL>"
    page.keyboard.press("Space")
    assert names(page)[0] == "10-9-A-C"


def test_the_form_filters(page):
    def choose(name, value):
        page.locator(f"#filters select[name={name}]").select_option(value)
        return names(page)

    assert choose("gene", "XYZ") == ["10-9-A-C"]
    assert page.locator("#count").inner_text() == "1 of 4 rows shown"
    choose("gene", "")
    assert choose("hit", "1") == ["10-9-A-C"]
    choose("hit", "")
    assert choose("type", "other") == ["2-9-AT-A", "2-8-A-<DEL>"]
    choose("type", "")
    assert choose("status", "SYMBOLIC") == ["2-8-A-<DEL>"]
    choose("status", "")
    assert choose("place", "splice-site dinucleotide") == ["10-9-A-C"]
    assert choose("place", "") == BY_KL_CTX
    page.get_by_role("button", name="Show all").click()
    page.get_by_text("4 of 4 rows shown").wait_for()
    page.locator("#filters [name=text]").fill("abc rs1")
    assert names(page) == ["2-10-A-C"]
    page.locator("#filters [name=text]").fill("")
    page.locator("#filters [name=least]").fill("-8.5")  # a missing score is not at least anything
    assert names(page) == ["2-9-AT-A", "2-10-A-C"]
    page.locator("#filters [name=most]").fill("-8")
    assert names(page) == ["2-10-A-C"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_a_printed_page_says_what_was_left_out_and_how_it_is_sorted(page):
    order = page.locator("#order")
    assert order.inner_text() == "Sorted by KL_CTX (higher = more disturbed)."
    click(page, "KL_SS")
    assert order.inner_text() == "Sorted by KL_SS, descending."
    page.locator("#filters select[name=gene]").select_option("XYZ")
    page.emulate_media(media="print")
    assert page.locator("#count").is_visible()
    assert page.locator("#count").inner_text() == "1 of 4 rows shown"


def test_a_score_where_negative_is_more_disturbed_sorts_upwards_first(browser, run, tmp_path):
    source = write_scored(tmp_path / "in.vcf", RECORDS, fields=SPLICEAI_FIELDS)
    for page in opened(browser, run, tmp_path, source, "--by", "LLR"):
        click(page, "Variant")
        click(page, "LLR")
        assert sorted_by(page) == [["LLR", "ascending"]]


def test_a_link_to_a_row_that_the_filter_hides_shows_it(page):
    page.locator("#filters [name=text]").fill("abc")
    assert "10-9-A-C" not in names(page)
    page.evaluate("location.hash = '#v-10-9-A-C-XYZ'")
    page.locator("[id='v-10-9-A-C-XYZ']").wait_for(state="visible")  # a string to wait for breaks the page's policy
    assert names(page) == BY_KL_CTX


def test_a_hundred_variants_print_on_four_pages_and_the_chosen_cards(browser, run, tmp_path):
    words = "Acceptor_of_exon_16_lost_(.95_to_.05):_exon_16_skipped_(88_nt)&_frameshift&_stop_after_7_codons&_decay"
    records = [f"2 {i} rs{i} A C " + scored(-i, EFFECT_TEXT=words, DS_MAX=0.5) for i in range(1, 101)]
    source = write_scored(tmp_path / "in.vcf", records, fields={"EFFECT_TEXT": "String", "DS_MAX": "Float"})
    for page in opened(browser, run, tmp_path, source):
        assert 1 < page.pdf(prefer_css_page_size=True).count(b"/Type /Page\n") <= 4
        page.locator("#card-2 input").check()
        page.emulate_media(media="print")
        shown = [page.locator(f"#card-{number}").is_visible() for number in (1, 2, 3)]
        assert shown == [False, True, False]


@pytest.mark.parametrize("width", [1280, 390])
def test_a_page_is_accessible_and_fits_its_screen(browser, run, tmp_path, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    source = write_scored(tmp_path / "in.vcf", RECORDS, fields=SPLICEAI_FIELDS)
    assert run("report", source, "-R", EXAMPLES / "brca1.fa.gz", "--cards", "0", "-o", tmp_path / "page.html")[0] == 0
    context = browser.new_context(viewport={"width": width, "height": 844}, bypass_csp=True)
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert axe.Axe().run(page).response["violations"] == []
    context.close()


def test_without_script_the_table_is_there_and_no_dead_form(browser, run, tmp_path):
    source = write_scored(tmp_path / "in.vcf", RECORDS, fields=SPLICEAI_FIELDS)
    assert run("report", source, "-o", tmp_path / "page.html")[0] == 0
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    assert page.locator("#table tbody tr").count() == 4
    assert not page.locator("#filters").is_visible()
    context.close()


def test_pictures_load_and_print(browser, run, tmp_path):
    arguments = ("-R", EXAMPLES / "brca1.fa.gz", "--by", "KL_SS", "--cards", "2")
    for page in opened(browser, run, tmp_path, EXAMPLES / "brca1.expected.vcf", *arguments):
        widths = page.eval_on_selector_all("img", "all => all.map(one => one.complete && one.naturalWidth)")
        assert len(widths) == 5 and all(width > 400 for width in widths)  # two of each card, and the boxes
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        page.emulate_media(media="print")
        assert not page.locator("#filters").is_visible()
        printed = page.pdf(prefer_css_page_size=True)
        assert printed.startswith(b"%PDF")
