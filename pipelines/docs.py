"""Put results into the pages that show them, so that nothing there is typed by hand.

What stands between `<!-- include FILE -->` and `<!-- /include -->` is replaced by FILE, its headings a level lower and
without its title.
"""

import re
from pathlib import Path

from pipelines.cli import run
from pipelines.files import write_text

INCLUDE = re.compile(r"(<!-- include (\S+) -->\n).*?(<!-- /include -->)", re.DOTALL)


def main() -> None:
    """Bring README.md and docs/ up to date with the results they show."""
    for page in [Path("README.md"), *sorted(Path("docs").glob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        if (updated := up_to_date(text, page.parent)) != text:
            write_text(page, updated)
            print(f"{page} updated")


def up_to_date(text: str, folder: Path) -> str:
    """A page with what it includes read again; FILE is relative to `folder`. Raises OSError if it is not there."""
    return INCLUDE.sub(lambda match: match[1] + included(folder / match[2]) + match[3], text)


def included(file: Path) -> str:
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(f"#{line}" if line.startswith("#") else line for line in lines if not line.startswith("# "))


if __name__ == "__main__":
    run(main)
