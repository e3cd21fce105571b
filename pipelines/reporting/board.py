"""Choose the leaderboard's columns, and format its figures."""

from collections.abc import Mapping
from typing import Any

from pipelines.data.catalog import PUBLISHED
from pipelines.project.metric import METRICS, Metric
from pipelines.project.params import Params
from pipelines.reporting.tables import figure

COLUMNS = {  # after the columns of the metrics
    "num_params": "parameters",
    "seconds_per_epoch": "s / epoch",
    "peak_memory_mb": "peak MiB",
    "search_seconds": "search min",
    "num_trials": "trials",
    "num_seeds": "seeds",
}
LEAST_SHARES = {"peak_memory_mb": 0.5, "search_seconds": 0.0}  # of the models; columns that fewer have are left out
FIRST = ("auc", "logloss", "rmse")  # the order of metrics after the one that decides
DECIMALS = {
    f"{split}_{metric.name}": metric.decimals for split in ("test", "valid", "first") for metric in METRICS.values()
}
FORMATS = {  # of columns that are no metrics; published figures have four decimals
    "model": str,
    "num_params": "{:,}".format,
    "seconds_per_epoch": "{:.2f}".format,
    "peak_memory_mb": "{:,.0f}".format,
    "search_seconds": lambda seconds: f"{seconds / 60:.1f}",
    "num_trials": str,
    "num_seeds": str,
}


def columns(rows: list[dict[str, Any]], config: Params, all_metrics: bool = False) -> dict[str, str]:
    """Name the columns, the deciding metric first.

    With `all_metrics`, other metrics that all models have follow those of every epoch. The column of published figures
    is there if a row has one, and that of the peak memory if most models have it. The title of published figures has
    their K if the trials use another K.
    """
    decides = METRICS[config.training.metric]
    first = f"first_{decides.name}"
    ranked = [row for row in rows if not row["declined"]]
    tested = [METRICS[name] for name in dict.fromkeys((decides.name, *FIRST, *METRICS))]
    tested = [
        metric
        for metric in tested
        if metric == decides or metric.every_epoch or (all_metrics and has_all(ranked, metric))
    ]
    size, published = PUBLISHED["embed_dim"], f"published {decides.title}"
    if decides.name == "rmse" and config.tune.fixed.get("model.embed_dim") != size:
        published += f" (K = {size})"
    repeated = [row["num_searches"] for row in rows if "num_searches" in row]
    return {
        "model": "model",
        **{f"test_{metric.name}": f"test {metric.title}" for metric in tested},
        f"valid_{decides.name}": f"valid {decides.title}",
        **({first: f"untuned valid {decides.title}"} if share(rows, first) else {}),
        **({"searches": f"over {max(repeated)} searches"} if repeated else {}),
        **{key: title for key, title in COLUMNS.items() if share(rows, key) > LEAST_SHARES.get(key, -1)},
        **({"published": published} if share(rows, "published") else {}),
    }


def share(rows: list[dict[str, Any]], column: str) -> float:
    """Compute which share of the models have a figure."""
    models = [row for row in rows if "kind" not in row and not row["declined"]]
    return sum(row[column] is not None for row in models) / max(1, len(models))


def has_all(rows: list[dict[str, Any]], metric: Metric) -> bool:
    """Tell whether every row has a metric."""
    return all(row.get(f"test_{metric.name}_mean") is not None for row in rows)


def format_figure(row: dict[str, Any], column: str) -> str:
    """Format one figure of a row for the table."""
    if f"{column}_mean" in row:
        return figure(row[f"{column}_mean"], row[f"{column}_std"], DECIMALS.get(column, 4))
    value = row.get(column)  # a model that declines the data set lacks metrics
    if column == "model" and row["other_behaviour"]:
        return f"{value} †"
    if value is None or column not in FORMATS:
        return figure(value, decimals=DECIMALS.get(column, 4))
    return FORMATS[column](value)


def standing_cells(row: Mapping[str, Any]) -> list[str]:
    """Format a model's rank and improvability over data sets, each with its interval."""
    rank, share = row["rank_interval"], row["improvability_interval"]
    return [
        row["model"],
        f"{row['rank']:.2f}",
        " … ".join(f"{bound:.1f}" for bound in rank),
        f"{100 * row['improvability']:.1f} %",
        " … ".join(f"{100 * bound:.1f}" for bound in share) + " %",
    ]


def columns_that_fit(rows: list[dict[str, Any]], shown: dict[str, str], width: int) -> dict[str, str]:
    """Leave out the last columns that a terminal of this width would cut."""
    shown = dict(shown)
    cells = {column: [title, *(format_figure(row, column) for row in rows)] for column, title in shown.items()}
    widths = {column: 2 + max(map(len, texts)) for column, texts in cells.items()}
    while sum(widths[column] for column in shown) + len(shown) > width and len(shown) > 2:
        shown.popitem()
    return shown
