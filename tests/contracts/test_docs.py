import re
from pathlib import Path

import pytest

from models.registry import about, list_models
from pipelines.fit import MODELS
from pipelines.reporting.pages import up_to_date

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
BOARDS = [ROOT / folder / "results" / "leaderboard.md" for folder in (".", "paper", "splits", "board")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_show_the_results_as_they_are(page):
    text = page.read_text(encoding="utf-8")
    assert up_to_date(text, page.parent) == text, "run: make docs"


def test_the_page_of_models_has_a_row_for_each():
    table = (ROOT / "docs" / "models.md").read_text(encoding="utf-8").partition("\n\n")[2].partition("\n\n")[0]
    rows = [line.split(" | ") for line in table.splitlines()[2:]]
    assert all(len(row) == 4 for row in rows)
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(names) == list_models()


def test_the_page_of_models_and_the_files_name_the_same_years():
    table = (ROOT / "docs" / "models.md").read_text(encoding="utf-8").partition("\n\n")[2].partition("\n\n")[0]
    for line in table.splitlines()[2:]:
        names, _, source, _ = line.split(" | ")
        for name in re.findall(r"`(\w+)`", names):
            year = about(name).year
            assert str(year or "–") in source, f"{name}: {source} and the first line of models/{name}.py differ"


def test_each_model_has_a_family():
    families = {about(name).family for name in list_models()}
    assert families == {
        "baseline", "trees", "linear", "factorization machine", "attention", "interaction-aware", "deep", "crosses",
    }, "give the class `family = …`, one of these"  # fmt: skip


def test_the_pages_bundle_a_model_that_a_fit_without_models_trains():
    bundled = [
        model for page in PAGES for model in re.findall(r"factorbench bundle --model (\w+)", page.read_text("utf-8"))
    ]
    assert bundled
    assert {*bundled} <= {*MODELS}


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: str(board.relative_to(ROOT)))
def test_no_committed_leaderboard_lacks_cells_or_ensembles(board):
    assert not re.findall(r"^.* failed: .*|^Not run yet: .*", board.read_text("utf-8"), re.MULTILINE)
