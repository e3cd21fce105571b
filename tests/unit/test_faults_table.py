"""Check the table of faults, which `make faults` writes."""

import importlib.util
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest

SPEC = importlib.util.spec_from_file_location("faults_table", Path(__file__).parents[1] / "faults" / "table.py")
table = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(table)


def case(fault, name="test_one", inside=""):
    """Write a test as pytest's JUnit report does."""
    properties = f'<property name="fault" value="{fault}"/><property name="moments" value="20"/>'
    return (
        f'<testcase classname="tests.unit.test_x" name={quoteattr(name)} time="1.5">'
        f"<properties>{properties}</properties>{inside}</testcase>"
    )


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Return a function that makes the page; it returns text and exit code."""
    monkeypatch.setattr(table, "TABLE", tmp_path / "faults.md")

    def make(*cases):
        (tmp_path / "faults.xml").write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
        code = table.main([str(tmp_path / "faults.xml")])
        return (tmp_path / "faults.md").read_text(encoding="utf-8"), code

    return make


def test_each_fault_has_a_row_with_its_tests_and_what_came_of_them(page):
    text, code = page(*(case(fault, f"test_{fault}[3]") for fault in table.ROWS))
    assert code == 0
    for fault, (title, holds) in table.ROWS.items():
        assert f"| {title} | {holds} | `test_{fault}` | held, 20 random moments, 2 s |" in text


def test_a_fault_that_was_not_held_or_not_tried_fails_the_command(page):
    text, code = page(case("driver"), case("worker", inside="<failure/>"), case("dvc", inside="<skipped/>"))
    assert code == 1
    assert "| FAILED (1 of 1) |" in text
    assert text.count("| not tried |") == len(table.ROWS) - 2
