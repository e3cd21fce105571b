"""Say what searches with fewer trials would have found, from the records of their trials."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markdown import Markdown

from pipelines.evaluation.results import Best, check_metric, read_best
from pipelines.project.cli import ParamsOption, note, run
from pipelines.project.metric import METRICS, Metric
from pipelines.project.params import load_params
from pipelines.project.paths import Paths
from pipelines.project.records import Missing, command, damaged, read_csv
from pipelines.reporting.tables import console, markdown_table


def main(
    trials: Annotated[int, typer.Option(min=1, help="Trials of each search, known settings included.")],
    params: ParamsOption = Path("params.yaml"),
) -> None:
    """Say what searches with fewer trials would have found.

    Reads trials.csv of each search, and trains nothing. All figures are of
    validation rows. A search that stopped trials early would have stopped
    others with fewer trials, so its row is only near the truth.
    """
    config, paths = load_params(params), Paths(params.parent)
    metric, screen = METRICS[config.training.metric], console()
    for dataset in config.datasets:
        rows = []
        for model in config.models:
            try:
                best = read_best(paths.results(dataset, model), model, dataset)
                if isinstance(best, Best):
                    check_metric(best, metric.name)
                    rows.append({"model": model, **replayed(paths, dataset, model, trials, metric)})
            except Missing as error:
                note(str(error))
        shown = table(rows, trials, metric)
        screen.print(Markdown(f"## {dataset}\n\n{shown}" if rows else f"## {dataset}\n\nNo search has ended."))


def replayed(paths: Paths, dataset: str, model: str, trials: int, metric: Metric) -> dict[str, Any]:
    """Find the best of the first trials and of all.

    `fewer` is None where none of them is complete. Raises Missing and ValueError that name the search to run.
    """
    file, again = paths.results(dataset, model) / "trials.csv", command("tune", model, dataset)
    content = read_csv(file, again)
    if missing := {"trial", "state", "valid"} - {*content.columns}:
        raise damaged(file, f"it has no column {min(missing)}", again)
    ran = content.sort("trial").to_dicts()

    def best(some: list[dict[str, Any]]) -> float | None:
        return min((trial["valid"] for trial in some if trial["state"] == "complete"), key=metric.score, default=None)

    return {"fewer": best(ran[:trials]), "all": best(ran), "trials": len(ran)}


def table(rows: list[dict[str, Any]], trials: int, metric: Metric) -> str:
    """Format the rows, best first, with the rank that each model has after all trials."""
    for key in ("all", "fewer"):
        rows.sort(key=lambda row, key=key: (row[key] is None, metric.score(row[key] or 0.0)))
        for place, row in enumerate(rows, 1):
            row[f"rank by {key}"] = place
    cells = []
    for row in rows:
        both = (row["fewer"], row["all"])
        shown = ["–" if value is None else metric.format(value) for value in both]
        worse = "–" if None in both else metric.format(metric.score(both[0]) - metric.score(both[1]))
        cells.append([row["model"], *shown, worse, f"{row['rank by fewer']} → {row['rank by all']}", row["trials"]])
    after = f"valid {metric.title} after {trials}"
    return markdown_table(["model", after, "after all", "worse by", "rank", "trials"], cells)


if __name__ == "__main__":
    run(main)
