"""Test which models of a data set differ."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.data.card import read_card
from pipelines.data.catalog import get_dataset
from pipelines.evaluation.comparisons import LEVEL, compare
from pipelines.project.cli import ParamsOption, run
from pipelines.project.files import write_json, write_text
from pipelines.project.metric import METRICS, Metric
from pipelines.project.params import load_params
from pipelines.project.paths import Paths
from pipelines.reporting.pages import TEMPLATES, render
from pipelines.reporting.tables import figure


def main(params: ParamsOption = Path("params.yaml")) -> None:
    """Test on each data set which models differ in the test metric.

    Writes results/significance.json, significance.md and significance.svg.
    Models without results on resamples (resamples.csv) are left out.
    """
    config, paths = load_params(params), Paths(params.parent)
    for dataset in config.datasets:
        get_dataset(dataset, paths.root)
    metric = METRICS[config.training.metric]
    results = {dataset: compare(paths, dataset, config.models, metric) for dataset in config.datasets}
    from pipelines.reporting import charts  # matplotlib takes time to import

    write_json(paths.significance.with_suffix(".json"), results)
    chart = charts.interval_chart(results, metric)
    title = f"Test {metric.title} of each model, and which models differ"
    charts.save(chart, paths.significance.with_suffix(".svg"), title)
    cards = {dataset: read_card(paths, dataset) for dataset in config.datasets}
    notes = {dataset: card.notes for dataset, card in cards.items() if card}
    write_text(paths.significance.with_suffix(".md"), markdown(results, metric, notes))
    for dataset, result in results.items():
        print(f"{dataset}: {sum(pair['differ'] for pair in result['pairs'])} of {len(result['pairs'])} pairs differ")


def markdown(results: dict[str, dict[str, Any]], metric: Metric, notes: Mapping[str, list[str]]) -> str:
    """Render the page with two tables for each data set: its models and its pairs. `notes` are on the data."""
    shown = {dataset: {**result, **tables(result, metric)} for dataset, result in results.items()}
    return render(TEMPLATES / "significance.md.j2", results=shown, level=LEVEL, metric=metric, notes=notes)


def tables(result: dict[str, Any], metric: Metric) -> dict[str, list[tuple[str, ...]]]:
    """Format the models and the pairs as table rows."""
    same: dict[str, list[str]] = {entry["model"]: [] for entry in result["models"]}
    for pair in result["pairs"]:
        if not pair["differ"]:
            a, b = pair["models"]
            same[a].append(b)
            same[b].append(a)
    return {
        "models": [
            (
                entry["model"],
                figure(entry[f"test_{metric.name}_mean"], entry[f"test_{metric.name}_std"], metric.decimals),
                " … ".join(map(metric.format, entry["interval"])),
                ", ".join(same[entry["model"]]) or "–",
            )
            for entry in result["models"]
        ],
        "pairs": [
            (
                " − ".join(pair["models"]),
                metric.format(pair["difference"], sign="+"),
                " … ".join(metric.format(bound, sign="+") for bound in pair["interval"]),
                *(shown_p(pair[name]) for name in ("p_seeds", "p_rows", "p")),
                "yes" if pair["differ"] else "no",
            )
            for pair in result["pairs"]
        ],
    }


def shown_p(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


if __name__ == "__main__":
    run(main)
