"""Show all results on one page that needs no network."""

import time
import webbrowser
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import typer

from pipelines.data.card import read_card
from pipelines.data.catalog import get_dataset
from pipelines.evaluation.board import rank, read_mixtures, read_row, search_seconds, why_missing
from pipelines.evaluation.comparisons import compare, read_tested
from pipelines.evaluation.published import published
from pipelines.evaluation.ranks import rank_models, standings
from pipelines.evaluation.results import Best, command, read_best, read_summary
from pipelines.evaluation.submissions import read_submissions
from pipelines.project.cli import ParamsOption, run
from pipelines.project.files import write_text
from pipelines.project.metric import METRICS, Metric
from pipelines.project.params import Params, load_params
from pipelines.project.paths import Paths
from pipelines.project.records import Missing, read_csv
from pipelines.reporting import specs
from pipelines.reporting.board import columns, standing_cells
from pipelines.reporting.page_boards import (
    board_columns,
    bounds,
    equal_to_best,
    headline,
    negatives,
    so_far,
    submitted_row,
    table_row,
    with_bars,
)
from pipelines.reporting.page_charts import COSTS, charts
from pipelines.reporting.page_trials import KNOWN, curve_rows, ended, space_of, trial_rows
from pipelines.reporting.pages import TEMPLATES, html
from pipelines.reporting.specs_of_models import rank_chart
from pipelines.reporting.tables import short

WATCH_SECONDS = 10
PARTS = {  # of the view of a data set
    "differences": "Differences",
    "cost": "Cost",
    "learning": "Learning",
    "search": "Search",
    "models": "Models",
    "data": "Data",
    "origin": "Origin",
}
MIXED = {"default": "paper's setting", "seeds": "ensemble", "models": "ensemble"}  # families of rows that are no model


def main(
    params: ParamsOption = Path("params.yaml"),
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Write the page anew every 10 s, until Ctrl-C.")] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Also write the first board's intervals here, as SVG or PNG.")
    ] = None,
) -> None:
    """Write one page with the boards, charts, models and data.

    It needs no network. Results that are missing are left out, and named.

    Writes results/report.html.
    """
    config, paths = load_params(params), Paths(params.parent)
    if picture and picture.suffix not in (".svg", ".png"):
        raise ValueError(f"--picture {picture}: its name must end with .svg or .png")
    while True:
        boards = [board(dataset, config, paths) for dataset in config.datasets]
        write_text(paths.report, page(boards, config, WATCH_SECONDS if watch else None))
        print(f"{paths.report} written", flush=True)
        if picture:
            draw(boards[0], picture)
            print(f"{picture} written", flush=True)
        if show:
            webbrowser.open(paths.report.resolve().as_uri())
            show = False
        if not watch:
            return
        time.sleep(WATCH_SECONDS)


def page(boards: Sequence[dict[str, Any]], config: Params, refresh: int | None = None) -> str:
    """Render the page. A browser loads it again after `refresh` seconds."""
    import vl_convert  # takes time to import

    from models.registry import about  # torch takes seconds to import

    metric = METRICS[config.training.metric]
    over_all = across(boards, config.models, metric)
    drawn = {**over_all["charts"], **{key: spec for each in boards for key, spec in each["charts"].items()}}
    return html(
        TEMPLATES / "report.html.j2",
        boards=boards,
        over_all=over_all,
        models={name: about(name) for name in config.models},
        colours=specs.colours(config.models),
        metric=metric,
        metrics=METRICS,
        parts=PARTS,
        costs=COSTS,
        short=short,
        params=config.model_dump(mode="json", exclude={"datasets", "models"}),
        describe={key: spec["description"] for key, spec in drawn.items()},
        charts=specs.compact(drawn),
        vega=vl_convert.javascript_bundle(None),  # type: ignore[arg-type]  # None: Vega alone
        refresh=refresh,
    )


def draw(board: dict[str, Any], file: Path) -> None:
    """Write the intervals of a board as a picture, for pages that show no charts."""
    import vl_convert

    spec = board["charts"].get(f"{board['name']}/intervals")
    if spec is None:
        raise ValueError(f"{file} not written: no two models of {board['name']} can be compared yet")
    spec = {**spec, "width": 620, "background": "white", "title": f"{board['entry'].title or board['name']}"}
    if file.suffix == ".png":
        file.write_bytes(vl_convert.vegalite_to_png(spec, scale=2))
    else:
        write_text(file, vl_convert.vegalite_to_svg(spec))


def board(dataset: str, config: Params, paths: Paths) -> dict[str, Any]:
    """Gather what the page shows of one data set."""
    from models.registry import about  # torch takes seconds to import

    card, metric, entry = read_card(paths, dataset), METRICS[config.training.metric], get_dataset(dataset, paths.root)
    num_random, figures = config.tune.num_random, published(entry, card)
    rows, missing, begun = [], {}, []
    for model in config.models:
        try:
            rows.append(read_row(paths, dataset, model, config.training, figures.get(metric.name, {})))
        except Missing:
            trials = unfinished(paths, dataset, model, metric, num_random)
            begun += trials
            missing[model] = why_missing(paths, dataset, model) or so_far(trials, metric)
    rows.sort(key=lambda row: rank(row, metric))
    result = compare(paths, dataset, config.models, metric)
    tested = [row for row in rows if row[f"test_{metric.name}_mean"] is not None]
    cells = {row["model"]: cell(paths, dataset, row["model"], metric, num_random) for row in tested}
    shown = board_columns(columns(rows, config), figures, [row["model"] for row in tested], card, metric)
    listed = [table_row(row, shown, about(row["model"]), figures, card, metric) for row in tested]
    sent = [each for each in read_submissions(paths, dataset) if each.values(metric.name)]
    listed += [submitted_row(each, shown, metric) for each in sent]
    mixed, outdated = read_mixtures(paths, dataset, metric.name)
    listed += [
        table_row(row, shown, SimpleNamespace(family=MIXED[row["kind"]], year=None), {}, card, metric) for row in mixed
    ]
    return {
        "name": dataset,
        "entry": entry,
        "card": card,
        "headline": headline(dataset, tested, result, metric),
        "negatives": negatives(entry, config),
        "bounds": bounds(card),
        "columns": shown,
        "rows": with_bars(sorted(listed, key=lambda row: metric.score(row["value"]))),
        "equal": equal_to_best(result),
        "mixed": [row["model"] for row in mixed],
        "untested": result["left_out"],
        "ended": ended(cells),
        "figures": figures,
        "declined": {row["model"]: row["declined"] for row in rows if row["declined"]},
        "missing": missing | ({"ensembles": outdated} if outdated else {}),
        "cells": cells,
        "outdated": [row["model"] for row in tested if row["other_behaviour"]],
        "tested": read_tested(paths, dataset, [row["model"] for row in tested], metric)[0],
        "means": {row["model"]: row[f"test_{metric.name}_mean"] for row in tested},
        "charts": {
            f"{dataset}/{name}": spec
            for name, spec in charts(tested, result, cells, begun, config.models, card, metric).items()
        },
    }


def across(boards: Sequence[dict[str, Any]], models: Sequence[str], metric: Metric) -> dict[str, Any]:
    """Rank the models over all data sets."""
    scores = {
        each["name"]: {model: metric.score(each["means"][model]) for model in models if model in each["means"]}
        for each in boards
    }
    result = rank_models(scores)
    found: dict[str, specs.Spec] = {}
    if "ranks" in result:
        found["ranks"] = rank_chart(result, models)
    tested = [model for model in models if any(model in each["means"] for each in boards)]
    ranked = standings({each["name"]: each["tested"] for each in boards}, metric)
    standing = {row["model"]: standing_cells(row)[1:] for row in ranked}
    tested.sort(key=lambda model: [*standing, model].index(model))
    best = {each["name"]: min(each["means"].values(), key=metric.score, default=None) for each in boards}
    table = {model: [(each["means"].get(model), best[each["name"]]) for each in boards] for model in tested}
    return {**result, "table": table, "standings": standing, "charts": found}


def cell(paths: Paths, dataset: str, model: str, metric: Metric, num_random: float) -> dict[str, Any]:
    """Read the search and the final runs of a model: setting, seeds, curves and trials."""
    from pipelines.evaluation.importances import setting_importances  # Optuna takes time to import

    folder = paths.results(dataset, model)
    best, summary = read_best(folder, model, dataset), read_summary(folder, model, dataset)
    setting = best.setting if isinstance(best, Best) else {}
    trials = read_csv(folder / "trials.csv", command("tune", model, dataset))
    curves = read_csv(folder / "curves.csv", command("evaluate", model, dataset))
    space = space_of(model)
    return {
        "setting": setting,
        "best": best,
        "seeds": summary.values(f"test_{metric.name}"),
        "made_by": summary.made_by,
        "search_seconds": search_seconds(trials.to_dicts()),
        "final_seconds": float(curves["seconds"].sum()) if "seconds" in curves.columns else 0.0,
        "space": space,
        "paper": {key: each for key, each in trials.row(0, named=True).items() if key not in KNOWN}
        if len(trials)
        else {},
        "trials": trial_rows(model, trials, space, metric, num_random),
        "importances": setting_importances(trials, space, metric),
        "interactions": summary.interactions or {},
        "curve": curve_rows(model, curves, metric),
    }


def unfinished(paths: Paths, dataset: str, model: str, metric: Metric, num_random: float) -> list[dict[str, Any]]:
    """List the trials that are over of a search that runs or was interrupted; none without a search."""
    journal = paths.study(dataset, model) / "journal.log"
    if not journal.exists():
        return []
    from optuna import get_all_study_summaries, load_study  # takes a second to import

    from pipelines.search.journal import finished_trials, read_journal, trials_table

    storage = read_journal(journal)
    begun = [summary for summary in get_all_study_summaries(storage) if summary.datetime_start]
    if not begun:
        return []
    last = max(begun, key=lambda summary: summary.datetime_start or datetime.min)
    trials = finished_trials(load_study(study_name=last.study_name, storage=storage))
    return trial_rows(model, trials_table(trials, metric), space_of(model), metric, num_random) if trials else []


if __name__ == "__main__":
    run(main)
