"""Which models of a data set differ: tests of each pair, over seeds and over test rows.

The metric of `training` decides. Two things make a difference uncertain: the seed of a run, and which rows happen to be
in the test split. A pair differs only if it would with other seeds (Welch's t test on the seeds' figures) and with
other rows (the bootstrap's standard error, on the same resamples of the test rows for both models): the larger p of the
two counts, corrected by Holm's method for all pairs of the data set.
"""

import json
import math
import statistics
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipelines.catalog import get_dataset
from pipelines.cli import ParamsOption, run
from pipelines.files import write_json, write_text
from pipelines.metric import METRICS, Metric
from pipelines.params import load_params
from pipelines.paths import Paths
from pipelines.reporting.pages import TEMPLATES, render
from pipelines.reporting.tables import figure

LEVEL = 0.05
Cells = dict[
    str, tuple[list[float], np.ndarray]
]  # by model: test metric `[seeds]`, and on resamples `[resamples]`, mean


def main(params: ParamsOption = Path("params.yaml")) -> None:
    """Test which models differ in the test metric, on each data set.

    Writes results/significance.json, .md and .svg. A model that `evaluate` has not tested on resamples is left out.
    """
    config, paths = load_params(params), Paths(params.parent)
    for dataset in config.datasets:
        get_dataset(dataset)
    metric = METRICS[config.training.metric]
    results = {dataset: compare(paths, dataset, config.models, metric) for dataset in config.datasets}
    from pipelines.reporting import charts  # matplotlib takes time to import

    write_json(paths.significance.with_suffix(".json"), results)
    chart = charts.interval_chart(results, metric)
    title = f"Test {metric.title} of each model, and which models differ"
    charts.save(chart, paths.significance.with_suffix(".svg"), title)
    write_text(paths.significance.with_suffix(".md"), markdown(results, metric))
    for dataset, result in results.items():
        print(f"{dataset}: {sum(pair['differ'] for pair in result['pairs'])} of {len(result['pairs'])} pairs differ")


def compare(paths: Paths, dataset: str, models: Sequence[str], metric: Metric) -> dict[str, Any]:
    """All about one data set: models, best first, pairs, groups that do not differ, and why models are left out."""
    cells: Cells = {}
    left_out: dict[str, str] = {}
    for model in models:
        read = read_cell(paths, dataset, model, metric)
        if isinstance(read, str):
            left_out[model] = read
        else:
            cells[model] = read
    if len({len(resampled) for _, resampled in cells.values()}) > 1:
        raise ValueError(f"the models of {dataset} have different numbers of resamples: run pipelines.evaluate again")
    ranked = sorted(cells, key=lambda model: metric.score(statistics.fmean(cells[model][0])))
    pairs = compare_pairs({model: cells[model] for model in ranked})
    return {
        "models": [
            {
                "model": model,
                f"test_{metric.name}_mean": statistics.fmean(cells[model][0]),
                f"test_{metric.name}_std": statistics.stdev(cells[model][0]),
                "interval": interval(cells[model][1]),
            }
            for model in ranked
        ],
        "pairs": pairs,
        "groups": groups(ranked, pairs),
        "left_out": left_out,
    }


def read_cell(paths: Paths, dataset: str, model: str, metric: Metric) -> tuple[list[float], np.ndarray] | str:
    """Read the test metric of each seed, and on each resample their mean; or why the cell can't be compared."""
    folder = paths.results(dataset, model)
    if not (folder / "metrics.json").exists():
        return "not evaluated yet"
    metrics, best = (json.loads((folder / name).read_text(encoding="utf-8")) for name in ("metrics.json", "best.json"))
    seeds = metrics.get("seeds")
    if not seeds:
        return "it declines the data set"
    if best["metric"] != metric.name:
        return f"searched and evaluated with training.metric {best['metric']}"
    if len(seeds) < 2:
        return "one seed says nothing of the spread over seeds"
    if not (folder / "resamples.csv").exists():
        return "evaluated without resamples of the test rows"
    table = pl.read_csv(folder / "resamples.csv").drop("resample")
    return [figures[f"test_{metric.name}"] for figures in seeds.values()], table.to_numpy().mean(axis=1)


def compare_pairs(cells: Cells) -> list[dict[str, Any]]:
    """A record a pair: mean difference (the first is no worse), its 95 % interval over test rows, and p values."""
    pairs = []
    for a, b in combinations(cells, 2):
        difference = statistics.fmean(cells[a][0]) - statistics.fmean(cells[b][0])
        resampled = cells[a][1] - cells[b][1]
        p_seeds = welch(cells[a][0], cells[b][0])
        error = float(resampled.std(ddof=1))
        p_rows = math.erfc(abs(difference) / error / math.sqrt(2)) if error else float(difference == 0)
        pairs.append(
            {
                "models": [a, b],
                "difference": difference,
                "interval": interval(resampled),
                "p_seeds": p_seeds,
                "p_rows": p_rows,
            }
        )
    corrected = holm([max(pair["p_seeds"], pair["p_rows"]) for pair in pairs])
    return [{**pair, "p": p, "differ": p < LEVEL} for pair, p in zip(pairs, corrected, strict=True)]


def welch(a: Sequence[float], b: Sequence[float]) -> float:
    """Compute the two-sided p of Welch's t test: that samples with means so far apart have the same expectation.

    Samples without spread, of which it says nothing: 1 where they are equal, else 0.
    """
    from scipy.stats import ttest_ind  # takes time to import

    if len({*a}) == len({*b}) == 1:
        return float(a[0] == b[0])
    result: Any = ttest_ind(a, b, equal_var=False)
    return float(result.pvalue)


def holm(ps: Sequence[float]) -> list[float]:
    """The p values corrected for their number n: the least times n, the next times n − 1, …, never falling."""
    corrected, highest = [1.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[place]))
        corrected[place] = highest
    return corrected


def interval(resampled: np.ndarray) -> list[float]:
    """From the 2.5 % to the 97.5 % quantile."""
    return [float(bound) for bound in np.quantile(resampled, [0.025, 0.975])]


def groups(ranked: Sequence[str], pairs: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The longest runs of neighbours in the ranking of which no two differ, of two models or more."""
    differ = {frozenset(pair["models"]) for pair in pairs if pair["differ"]}
    found: list[list[str]] = []
    for start in range(len(ranked)):
        group: list[str] = []
        for model in ranked[start:]:
            if any(frozenset((model, other)) in differ for other in group):
                break
            group.append(model)
        if len(group) > 1 and not (found and set(group) <= set(found[-1])):
            found.append(group)
    return found


def markdown(results: dict[str, dict[str, Any]], metric: Metric) -> str:
    """Write the page: for each data set a line a model, and a line a pair."""
    shown = {dataset: {**result, **tables(result, metric)} for dataset, result in results.items()}
    return render(TEMPLATES / "significance.md.j2", results=shown, level=LEVEL, metric=metric)


def tables(result: dict[str, Any], metric: Metric) -> dict[str, list[tuple[str, ...]]]:
    """Show models and pairs as the rows of their tables."""
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
                figure(*(entry[f"test_{metric.name}_{part}"] for part in ("mean", "std"))),
                "{:.4f} … {:.4f}".format(*entry["interval"]),
                ", ".join(same[entry["model"]]) or "–",
            )
            for entry in result["models"]
        ],
        "pairs": [
            (
                " − ".join(pair["models"]),
                f"{pair['difference']:+.4f}",
                "{:+.4f} … {:+.4f}".format(*pair["interval"]),
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
