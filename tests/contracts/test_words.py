"""Check that the first sentence of every docstring is short."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_WORDS = 15
CODE = re.compile(r"`[^`]*`")
ABBREVIATION = re.compile(r"\b(et al|e\.g|i\.e|cf|vs|Eq|Eqs|Fig|Sec|No)\.")
SENTENCE = re.compile(r"""(.*?[.:;!?]["')\]]*)(\s|$)""")


def first_sentence(docstring):
    """Return the first sentence, up to a colon, or the first paragraph. Code becomes one word."""
    paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
    plain = ABBREVIATION.sub(lambda match: match[0].replace(".", ""), CODE.sub("CODE", paragraph))
    found = SENTENCE.match(plain)
    return found[1] if found else plain


def docstrings(file):
    """Yield the line and text of each docstring of a file."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                yield node.body[0].lineno, text


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("Read `a.b`. Raises OSError.", "Read CODE."),
        ("Sum 1.5 of a.b and\n.csv files. More.", "Sum 1.5 of a.b and .csv files."),
        ("Train FTRL (McMahan et al. 2013), e.g. once. More.", "Train FTRL (McMahan et al 2013), eg once."),
        ("Read a file: one line. More.", "Read a file:"),
        ("Read a file\n\nMore.", "Read a file"),
    ],
)
def test_sentences_end_where_readers_see_the_end(docstring, sentence):
    assert first_sentence(docstring) == sentence


def test_first_sentences_are_short():
    listed = ["git", "ls-files", "-z", "--", "*.py"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]
    assert files
    firsts = [(f"{file}:{line}", first_sentence(text)) for file in files for line, text in docstrings(ROOT / file)]
    long = [f"{place}: {words} words" for place, text in firsts if (words := len(text.split())) > MOST_WORDS]
    open_ended = [
        f"{place}: no full stop" for place, text in firsts if not text.rstrip("\"')]").endswith((".", ":", ";"))
    ]
    assert not long + open_ended, "\n" + "\n".join(long + open_ended)
