from pathlib import Path

import pytest

from pipelines.reporting.pages import up_to_date

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_show_the_results_as_they_are(page):
    text = page.read_text(encoding="utf-8")
    assert up_to_date(text, page.parent) == text, "run: make docs"
