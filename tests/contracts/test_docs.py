from pathlib import Path

import pytest

from pipelines.docs import up_to_date

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_show_the_results_as_they_are(page):
    text = page.read_text(encoding="utf-8")
    assert up_to_date(text, page.parent) == text, "run: make docs"


def test_a_file_is_included_with_its_headings_a_level_lower(tmp_path):
    (tmp_path / "table.md").write_text("# Title\n\n## Part\n\n| a |\n")
    page = "before\n<!-- include table.md -->\nold\n<!-- /include -->\nafter <!-- include x -->\n"
    expected = page.replace("old\n", "\n### Part\n\n| a |\n")
    assert up_to_date(page, tmp_path) == expected
    assert up_to_date(expected, tmp_path) == expected


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.md"):
        up_to_date("<!-- include gone.md -->\n<!-- /include -->", tmp_path)
