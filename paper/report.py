"""docs/reproduction.md: our figures beside the published ones, with verdicts by rule, from committed files alone."""

from itertools import product
from pathlib import Path

from audit import code, ffm, longer, sizes
from findings import Findings, not_run
from rq1 import rq1
from rq2 import rq2
from rq3 import rq3
from rq4 import rq4

from pipelines.cli import ParamsOption, run
from pipelines.files import write_text
from pipelines.tables import markdown_table


def main(params: ParamsOption = Path("params.yaml")) -> None:
    """Write ../docs/reproduction.md from the results beside params.yaml; names what is not run, with its command."""
    file = params.resolve().parent.parent / "docs" / "reproduction.md"
    write_text(file, page(params))
    print(f"{file} written")


def page(params: Path) -> str:
    """The whole page."""
    findings = Findings(params)
    chapters = [chapter(findings) for chapter in (rq1, rq2, rq3, rq4, code, sizes, longer, ffm, budget)]
    lines = [*head(findings), *(line for chapter in chapters for line in chapter)]  # the head counts what chapters note
    return "\n".join(lines).rstrip("\n") + "\n"


def head(findings: Findings) -> list[str]:
    """The sources, and how many statements hold."""
    cite = [f"- {source}" for source in findings.published["sources"].values()]
    summary = [
        (part, len(rows), *(sum(row[2] is holds for row in rows) for holds in (True, False, None)))
        for part, rows in findings.found.items()
    ]
    return [
        "# The IFM paper, reproduced and audited",
        "",
        "Each table and figure of the paper, with our figures beside its own. `cd paper && dvc repro` runs all"
        " that is not there yet and writes this page (`paper/report.py`); no figure in it is typed by hand. The"
        " published ones are in `paper/published.yaml`:",
        "",
        *cite,
        "",
        "A statement is open where a run is missing, or is behind but was still learning: best in its last epoch or,"
        " where two runs are compared, behind by no more than it gained in the second half of its epochs. How many of"
        " the paper's statements hold here, by the rules that each part gives:",
        "",
        *markdown_table(("part", "statements", "hold", "do not", "open"), summary),
        "",
        "## What is different here",
        "",
        *settings(findings),
        "",
    ]


def settings(findings: Findings) -> list[str]:
    """The sizes beside the paper's."""
    params, fixed = findings.params, findings.params.tune.fixed
    training = {f"training.{key}": value for key, value in params.training.model_dump().items()}
    rows = []
    for key, paper in findings.published["settings"].items():
        searched = "searched" if key.startswith("model.") or key == "training.batch_size" else training[key]
        rows.append((f"`{key}`", fixed.get(key, searched), paper["frappe"], paper["movielens"]))
    budget = f"{params.tune.num_trials or 'any number of'} trials"
    if params.tune.time_budget_s:
        budget += f" in {params.tune.time_budget_s:g} s"
    stopping = "" if params.tune.scheduler == "none" else f", those behind stopped by {params.tune.scheduler}"
    return [
        *markdown_table(("", "here", "paper, Frappe", "paper, MovieLens"), rows),
        "",
        f"Each model has the same search first: {budget} of at most"
        f" {params.tune.max_epochs or params.training.max_epochs} epochs{stopping}. Its best setting is trained"
        f" with {params.evaluate.num_seeds} seeds, each tested once, at its best validation epoch.",
        f"Embeddings and linear terms start from: {params.training.pretrained or 'random values'}; in ffm and"
        " afm_ffm all n vectors of a feature as its one.",
    ]


def budget(findings: Findings) -> list[str]:
    """Time by cell, from trials.csv, curves.csv and the experiments."""
    rows: list[tuple[str, str, str, int, float]] = []
    for dataset, model in product(findings.params.datasets, findings.params.models):
        for file, stage, run_column in (("trials", "search", "trial"), ("curves", "final runs", "seed")):
            table = findings.csv(f"{dataset}/{model}/{file}.csv") or []
            epochs = sum(row["epochs"] for row in table) if file == "trials" else len(table)
            runs = f"{len({row[run_column] for row in table})} {run_column}s"
            if table:
                seconds = sum(row["seconds"] or 0.0 for row in table)
                rows.append((f"{model} on {dataset}", stage, runs, epochs, seconds))
    for figure in dict.fromkeys(entry["figure"] for entry in findings.experiments.values()):
        for dataset, curves in findings.curves(figure).items():
            done = [row for curve in curves.values() for row in curve]
            epochs = sum(row.get("num_seeds", 1) for row in done)
            seconds = sum(row["seconds"] * row.get("num_seeds", 1) for row in done)
            rows.append((f"{figure} on {dataset}", "experiments", f"{len(curves)} curves", epochs, seconds))
    total = sum(row[-1] for row in rows) / 3600
    cells = ((*row[:4], f"{row[4] / max(row[3], 1):.2f}", f"{row[4] / 3600:.2f}") for row in rows)
    lines = ["## Budget", ""]
    if rows:
        lines += [*markdown_table(("cell", "stage", "runs", "epochs", "s / epoch", "hours"), cells), ""]
        lines += [f"In all {total:.1f} hours of one core, as measured; a search's seconds include validation.", ""]
    else:
        lines += [not_run("`cd paper && dvc repro`"), ""]
    return [
        *lines,
        "With a GPU: set `model.attention_dim` and `training.batch_size` under `tune.fixed` in `paper/params.yaml`"
        " to the paper's sizes above, leave `tune.max_epochs` out, raise `tune.num_trials`, add `movielens-nfm` to"
        " `datasets`, and run `cd paper && dvc repro`. Searches go on where they were cut off.",
        "",
    ]


if __name__ == "__main__":
    run(main)
