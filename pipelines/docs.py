"""Copy results into the pages that show them."""

from pathlib import Path

from pipelines import audit
from pipelines.project.cli import run
from pipelines.project.files import write_text
from pipelines.reporting.pages import up_to_date


def main() -> None:
    """Write docs/audit.md, and copy current results into README.md and docs/*.md."""
    audit.main()
    for page in [Path("README.md"), *sorted(Path("docs").glob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        if (updated := up_to_date(text, page.parent)) != text:
            write_text(page, updated)
            print(f"{page} updated")


if __name__ == "__main__":
    run(main)
