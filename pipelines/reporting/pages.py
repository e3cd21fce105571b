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

    They stand between `<!-- include FILE -->` and `<!-- /include -->`. FILE is relative to `folder`. FILE#HEADING is
    what stands below a heading, which is written in lower case, with hyphens for blanks. Raises OSError for a missing
    FILE, and ValueError for a missing heading.
    """

    def included(match: re.Match[str]) -> str:
        name, _, heading = match[2].partition("#")
        text = (folder / name).read_text("utf-8")
        return match[1] + nested(section(text, heading) if heading else text) + match[3]

    return INCLUDE.sub(included, page)


def section(page: str, heading: str) -> str:
    """Take what stands below a heading, up to the next one. Raises ValueError for a missing heading."""
    parts = re.split(r"^(#+ .*)\n", page, flags=re.MULTILINE)
    for title, text in zip(parts[1::2], parts[2::2], strict=True):
        if title.lstrip("# ").lower().replace(" ", "-") == heading:
            return text
    raise ValueError(f"no heading {heading!r}: {', '.join(title.lstrip('# ') for title in parts[1::2])}")


def nested(page: str, levels: int = 1) -> str:
    """Remove a page's title, and lower its headings by `levels`."""
    lines = (line for line in page.splitlines(keepends=True) if not line.startswith("# "))
    return "".join("#" * levels + line if line.startswith("#") else line for line in lines)
