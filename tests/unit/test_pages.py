import jinja2
import pytest

from pipelines.reporting.pages import nested, render, up_to_date


@pytest.fixture
def fill(tmp_path):
    """Return a function that renders a template given as text."""

    def call(text, **values):
        (tmp_path / "page.md.j2").write_text(text)
        return render(tmp_path / "page.md.j2", **values)

    return call


def test_lines_of_loops_and_conditions_leave_no_gaps(fill):
    text = "{% set x = 1 %}\n\n# T\n{% for n in [1, 2] %}\n\n{{ n }}\n\n{% if n == 1 %}\none\n{% endif %}\n{% endfor %}"
    assert fill(text) == "# T\n\n1\n\none\n\n2\n"


def test_a_name_that_nobody_gives_is_an_error_not_a_gap(fill):
    with pytest.raises(jinja2.UndefinedError, match="'rmse' is undefined"):
        fill("RMSE {{ rmse }}")
    with pytest.raises(jinja2.UndefinedError, match="no attribute 'std'"):
        fill("± {{ cell.std }}", cell={"mean": 1})


def test_templates_can_show_tables_and_figures_and_nothing_is_escaped(fill):
    text = "{{ table(['a', 'b'], rows) }}\n\n{{ figure(0.12345, 0.01) }} {{ figure(none) }}"
    assert fill(text, rows=[("x < y", 1)]) == "| a | b |\n| --- | --- |\n| x < y | 1 |\n\n0.1235 ± 0.0100 –\n"


def test_a_template_includes_others_of_its_folder(fill, tmp_path):
    (tmp_path / "part.md.j2").write_text("part {{ n }}")
    assert fill('{% include "part.md.j2" %}', n=3) == "part 3\n"


def test_a_page_in_a_page_has_lower_headings_and_no_title():
    assert nested("# Title\n\n## Part\n\ntext # 1\n", 2) == "\n#### Part\n\ntext # 1\n"


def test_a_file_is_included_with_its_headings_a_level_lower(tmp_path):
    (tmp_path / "table.md").write_text("# Title\n\n## Part\n\n| a |\n")
    page = "before\n<!-- include table.md -->\nold\n<!-- /include -->\nafter <!-- include x -->\n"
    expected = page.replace("old\n", "\n### Part\n\n| a |\n")
    assert up_to_date(page, tmp_path) == expected
    assert up_to_date(expected, tmp_path) == expected


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.md"):
        up_to_date("<!-- include gone.md -->\n<!-- /include -->", tmp_path)


def test_a_page_includes_what_stands_below_one_heading(tmp_path):
    (tmp_path / "board.md").write_text("# Board\n\n## frappe\n\na\n\n## All data sets\n\nb\n", "utf-8")
    page = "<!-- include board.md#{} -->\n<!-- /include -->"
    assert up_to_date(page.format("frappe"), tmp_path) == "<!-- include board.md#frappe -->\n\na\n\n<!-- /include -->"
    assert "\nb\n" in up_to_date(page.format("all-data-sets"), tmp_path)
    with pytest.raises(ValueError, match="no heading 'lastfm': Board, frappe, All data sets"):
        up_to_date(page.format("lastfm"), tmp_path)
