"""Render Markdown pages from templates, and include pages in other pages."""

import re
from pathlib import Path
from typing import Any

from pipelines.reporting.tables import figure, markdown_table

TEMPLATES = Path(__file__).with_name("templates")
INCLUDE = re.compile(r"(<!-- include (\S+) -->\n).*?(<!-- /include -->)", re.DOTALL)


def render(template: Path, **values: Any) -> str:
    """Render a Jinja2 template, which may include other templates of its folder.

    Templates call `table` (`markdown_table`) and `figure`. Consecutive blank lines become one, so that loops and
    conditions may have their own lines. Raises jinja2.UndefinedError for a name that is not in `values`.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # takes time to import

    environment = Environment(
        loader=FileSystemLoader(template.parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"table": markdown_table, "figure": figure}
    text = environment.get_template(template.name).render(values)
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n") + "\n"


def html(template: Path, **values: Any) -> str:
    """Render a Jinja2 template of an HTML page. What comes from data is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # takes time to import

    environment = Environment(
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(values)


def up_to_date(page: str, folder: Path) -> str:
    """Update the files that a page includes.

    They stand between `<!-- include FILE -->` and `<!-- /include -->`. FILE is relative to `folder`. Raises OSError for
    a missing FILE.
    """
    return INCLUDE.sub(lambda match: match[1] + nested((folder / match[2]).read_text("utf-8")) + match[3], page)


def nested(page: str, levels: int = 1) -> str:
    """Remove a page's title, and lower its headings by `levels`."""
    lines = (line for line in page.splitlines(keepends=True) if not line.startswith("# "))
    return "".join("#" * levels + line if line.startswith("#") else line for line in lines)
