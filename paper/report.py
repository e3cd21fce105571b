"""Write docs/reproduction.md from committed files: published figures, ours and verdicts."""

from pathlib import Path

from chapters.audit import code, ffm, longer, sizes
from chapters.findings import Findings
from chapters.origin import origin
from chapters.overview import budget, overview
from chapters.rq1 import rq1
from chapters.rq2 import rq2
from chapters.rq3 import rq3
from chapters.rq4 import rq4

from pipelines.project.cli import ParamsOption, run
from pipelines.project.files import write_text
from pipelines.reporting.pages import render

TEMPLATE = Path(__file__).parent / "templates" / "reproduction.md.j2"


def main(params: ParamsOption = Path("params.yaml")) -> None:
    """Write ../docs/reproduction.md from the results.

    Missing results are named with the command that makes them.
    """
    file = params.resolve().parent.parent / "docs" / "reproduction.md"
    write_text(file, page(params))
    print(f"{file} written")


def page(params: Path) -> str:
    """Render the whole page."""
    findings = Findings(params)
    chapters = {
        chapter.__name__: chapter(findings)
        for chapter in (rq1, rq2, rq3, rq4, code, sizes, longer, ffm, budget, origin)
    }
    return render(TEMPLATE, overview=overview(findings), **chapters)  # after the chapters: it counts their statements


if __name__ == "__main__":
    run(main)
