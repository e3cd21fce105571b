"""Look at the page of all results in a real browser.

`make check-report` keeps the screenshots, and also loads a page of 45 models and four data sets.
"""

import json
import os
import shutil
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from models.registry import list_models
from pipelines.project.files import write_json
from pipelines.project.paths import Paths
from pipelines.report import main
from results import with_spread, write_cell, write_runs, write_trials

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no browser")]

SHOTS = os.environ.get("REPORT_SHOTS")  # the folder of screenshots, relative to the repository
HOSTILE = "<script>document.title = 'taken'</script>"
FIELDS = {"user": 50, "item": 40, "city": 7}
LOG = "title: {title}\nformat: table\nfiles: [log.csv]\nlabel: click\nfields: {{user: category, item: category}}\n"
CONTRAST = """() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const found = numbers(getComputedStyle(element).backgroundColor);
      if (found.length < 4 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const poor = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, style = getComputedStyle(element);
    if (!walker.currentNode.data.trim() || !element.getClientRects().length) continue;
    if (element.closest("script, style, [data-chart$='x/pairs']")) continue; // its texts stand on coloured cells
    const ink = numbers(element.closest("svg") ? style.fill : style.color);
    const [a, b] = [light(ink), light(ground(element))].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if ((a + 0.05) / (b + 0.05) < (large ? 3 : 4.5)) poor.push(walker.currentNode.data.trim() + " " + style.color);
  }
  return poor;
}"""


def card(name):
    rows = {"train": 600, "valid": 200, "test": 100, "total": 900}
    known = {"known": 0, "rows": 10}
    figures = {"rmse": 0.2, "auc": 0.99, "logloss": 0.1}
    pairs = {"user-item": 2.0, "user-city": 0.0, "item-city": 0.5}
    return {
        **{"dataset": name, "split": "random", "field_dims": FIELDS, "num_rows": rows, "num_positives": rows},
        "known_pairs": {"fields": ["user", "item"], "positives": known, "negatives": known},
        "raw_files": [],
        "planted": {"strengths": pairs, "reachable": {"best": figures, "without_rows": {**figures, "rmse": 0.25}}},
    }


def write_results(root, datasets, models, num_epochs=1, num_trials=8):
    """Fill a results folder through the records of the stages, and make the page."""
    paths, rng = Paths(root), np.random.default_rng(1)
    (root / "datasets").mkdir()
    for dataset in datasets:
        title = HOSTILE if dataset == "x" else dataset
        (root / "datasets" / f"{dataset}.yaml").write_text(LOG.format(title=json.dumps(title)))
        write_json(paths.card(dataset), card(dataset))
        moved = rng.normal(0, 0.001, 200)
        for place, model in enumerate(models):
            folder, rmse = paths.results(dataset, model), 0.3 + place / 100
            seeds = with_spread(rmse, 0.002, 5)
            pairs = {"user-item": 1.0, "user-city": 0.1, "item-city": 0.2}
            setting = {"model.kind": HOSTILE, "training.learning_rate": 0.1}
            figures = [{"test_rmse": value} for value in seeds]
            write_cell(folder, figures, num_params=1000 * 10 ** (place % 5), interactions=pairs, setting=setting)
            trials = [("COMPLETE", 2, num_epochs + 2, rmse + 0.01 * (number % 5)) for number in range(num_trials)]
            write_trials(folder, *trials, ("PRUNED", 1, 1, 0.9))
            write_runs(folder, [(value + moved).tolist() for value in seeds], num_epochs=num_epochs)
    params = {"seed": 1, "datasets": datasets, "models": models, "tune": {"num_trials": num_trials}}
    (root / "params.yaml").write_text(json.dumps(params))
    main(root / "params.yaml")
    return paths.report


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("report"), ["x", "y", "z"], ["lr", "fm", "dcnv2"], num_epochs=3)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield launched
        launched.close()


class Reader:
    """Read a page, and note what it fetches and what it writes to the console."""

    def __init__(self, browser, file, width=1280, scheme="light"):
        self.complaints = []
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
        self.page = context.new_page()
        self.page.set_default_timeout(120_000)  # a busy machine is slow to draw
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.note(request.url))
        self.page.goto(file.as_uri())

    def note(self, url):
        if not url.startswith(("file:", "data:")):
            self.complaints.append(url)

    def view(self, name):
        """Go to a part of the page, and wait until it is drawn."""
        self.page.evaluate("(name) => { location.hash = name; }", name)
        self.page.wait_for_selector(f"[id='{name}']")
        self.page.wait_for_function(
            "![...document.querySelectorAll('.view:not([hidden]) .chart')].some((each) => each.clientWidth && "
            "!each.querySelector('svg'))"
        )
        return self.page

    def shown(self):
        """List the models of the board that is seen, in order."""
        rows = "[...document.querySelectorAll('.view:not([hidden]) tr[data-model]:not([hidden])')]"
        return self.page.evaluate(f"{rows}.map((row) => row.dataset.model)")

    def shoot(self, name):
        if SHOTS:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


@pytest.fixture(scope="module")
def desk(browser, file):
    """Open the page once. Tests leave its filters as they were."""
    reader = Reader(browser, file)
    yield reader
    assert reader.complaints == []


def test_the_board_sorts_by_pointer_and_by_keyboard(desk):
    page = desk.view("y")
    board = page.locator("#y")
    head = board.get_by_role("columnheader", name="parameters")
    assert desk.shown() == ["lr", "fm", "dcnv2"]
    head.get_by_role("button").click()
    assert (desk.shown(), head.get_attribute("aria-sort")) == (["lr", "fm", "dcnv2"], "ascending")
    head.get_by_role("button").press("Enter")
    assert (desk.shown(), head.get_attribute("aria-sort")) == (["dcnv2", "fm", "lr"], "descending")
    board.get_by_role("columnheader", name="model").get_by_role("button").press("Space")
    assert desk.shown() == ["dcnv2", "fm", "lr"]
    board.locator("tr[data-model] a").first.press("Enter")
    sync_api.expect(board.locator("details[open] summary")).to_contain_text("dcnv2")


@pytest.mark.parametrize(
    ("field", "value", "left"),
    [
        ("name", "fm, lr", ["lr", "fm"]),
        ("family", "crosses", ["dcnv2"]),
        ("year", "2013", ["lr", "dcnv2"]),
        ("size", "10000", ["lr", "fm"]),
    ],
)
def test_filters_leave_models_out_of_the_board_and_of_its_charts(desk, field, value, left):
    view = desk.view("x").locator("#x")
    control = view.locator(f"[data-filter={field}]")
    control.fill(value) if field == "name" else control.select_option(value)
    assert desk.shown() == left
    assert view.get_by_role("status").inner_text() == f"{len(left)} of 3 models"
    names = view.locator("[data-chart='x/intervals'] .role-axis-label text")
    sync_api.expect(names.filter(has_text="dcnv2")).to_have_count(int("dcnv2" in left))
    sync_api.expect(names.filter(has_text="lr")).to_have_count(int("lr" in left))
    desk.shoot(f"filtered by {field}")
    control.fill("") if field == "name" else control.select_option("")
    sync_api.expect(names.filter(has_text="fm")).to_have_count(1)


def test_a_pointer_shows_figures_and_setting(desk):
    page = desk.view("x/cost")
    page.locator("[data-chart='x/pareto-search'] .mark-symbol path").first.hover()
    tip = page.locator("#vg-tooltip-element.visible")
    sync_api.expect(tip).to_contain_text("kind=<script>")
    sync_api.expect(tip).to_contain_text("lr")


def test_texts_of_data_are_shown_as_texts(desk):
    page = desk.view("x/model/fm")
    assert page.title() == "factorbench"
    assert page.locator("#x h2").inner_text() == HOSTILE
    assert HOSTILE in page.locator("#x details[open] table").first.inner_text()


def test_a_screen_reader_finds_headings_names_and_table_heads(desk):
    page = desk.view("x")
    headings = "[...document.querySelectorAll('h1, h2, h3')].filter((each) => each.offsetParent)"
    outline = page.evaluate(f"{headings}.map((each) => +each.tagName[1])")
    assert outline[:2] == [1, 2]
    assert all(later - earlier <= 1 for earlier, later in pairwise(outline))
    named = "[...document.querySelectorAll('input, select, [role=img], [role=region], nav')]"
    assert page.evaluate(f"{named}.filter((each) => !each.ariaLabel && !each.labels?.length).length") == 0
    assert page.evaluate("[...document.querySelectorAll('thead th')].every((each) => each.scope === 'col')")
    assert page.evaluate("[...document.querySelectorAll('tbody th')].every((each) => each.scope === 'row')")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (380, "dark")])
def test_each_view_fits_its_width_is_drawn_and_can_be_read(browser, file, width, scheme):
    reader = Reader(browser, file, width, scheme)
    for view in ("x", "/", "x/model/fm"):
        page = reader.view(view)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("Math.max(...[...document.querySelectorAll('tr')].map((row) => row.clientHeight))") < 120
        assert page.evaluate("[...document.querySelectorAll('caption')].every((each) => each.clientWidth < innerWidth)")
        assert page.evaluate(CONTRAST) == []
        reader.shoot(f"{view.replace('/', ' ').strip() or 'all data sets'} {width} {scheme}")
    assert page.locator("details[open] svg").count() == 3  # its curve, its pairs, and what was planted
    assert reader.complaints == []


def test_on_paper_there_are_no_controls_and_nothing_is_wider(browser, file):
    reader = Reader(browser, file, width=1040)
    page = reader.view("x")
    page.emulate_media(media="print")
    assert not page.locator("#x [role=status]").is_visible()
    assert page.locator("#x h2").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 1040
    if SHOTS:
        page.pdf(path=Path(SHOTS) / "x.pdf", prefer_css_page_size=True)
    assert reader.complaints == []


@pytest.mark.skipif(not SHOTS, reason="make check-report")
def test_a_page_of_all_models_and_four_data_sets_is_small_and_quick(browser, tmp_path):
    file = write_results(tmp_path, ["x", "y", "z", "v"], list_models(), num_epochs=30, num_trials=20)
    size, start = file.stat().st_size / 1e6, time.perf_counter()
    reader = Reader(browser, file)
    page = reader.page
    ready = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd") / 1000
    page.wait_for_selector(".view:not([hidden])[data-drawn=all]")
    drawn = time.perf_counter() - start
    first = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000
    print(f"{size:.2f} MB; seconds to first paint {first:.2f}, ready {ready:.2f}, all charts drawn {drawn:.2f}")
    reader.shoot("large")
    assert size < 6
    assert max(first, ready) < 2
    assert reader.complaints == []
