"""Find the best model for a data set within a time budget."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.project.cli import DatasetOption, run
from pipelines.project.metric import METRICS, known
from pipelines.project.records import yaml_text

MODELS = ["lr", "fm", "deepfm", "nfm", "dcn", "ifm"]  # a family each
LEAST_SECONDS = 10  # of a search
SEARCH_SHARE = 0.6  # of the budget; the final runs have the rest
MAX_EPOCHS = 30  # of a run
UNITS = {"s": 1, "m": 60, "h": 3600}


def main(
    dataset: DatasetOption,
    time_budget: Annotated[str, typer.Option(help="For all models together: 90s, 10m or 2h.")] = "10m",
    models: Annotated[str, typer.Option(help="Models, separated by commas; all: every model.")] = ",".join(MODELS),
    metric: Annotated[str, typer.Option(help=f"{', '.join(METRICS)}: decides searches and ranks.")] = "auc",
    num_seeds: Annotated[int, typer.Option(help="Final runs of each model.")] = 3,
    num_trials: Annotated[int | None, typer.Option(help="Trials of each search, if the time allows so many.")] = None,
    sample: Annotated[
        int | None, typer.Option(help="Training rows of a trial, drawn from a large log; the final runs have all.")
    ] = None,
) -> None:
    """Prepare a data set, search the hyperparameters of several models, and rank them.

    All models have the same share of the time budget. Everything is in runs/DATASET; running the command again goes on.
    """
    seconds = seconds_of(time_budget)
    from models.registry import get_model, list_models, why_declined
    from pipelines.data.catalog import get_dataset
    from pipelines.data.rows import load_schema
    from pipelines.project.files import write_text
    from pipelines.project.paths import Paths
    from pipelines.training.cell import require_group

    chosen = list_models() if models == "all" else [name.strip() for name in models.split(",")]
    for name in chosen:
        get_model(name)
    paths = Paths(Path("runs") / dataset)
    described = get_dataset(dataset, paths.root)
    require_group(described, known(metric))
    fields = described.fields
    suited = [name for name in chosen if not why_declined(name, tuple(fields))]
    each = seconds * SEARCH_SHARE / max(1, len(suited))
    if not suited or each < LEAST_SECONDS:
        raise ValueError(f"--time-budget {time_budget} leaves {each:.0f} s for each of {len(suited)} models: give more")
    params = paths.root / "params.yaml"
    tune = {"num_trials": num_trials, "time_budget_s": round(each, 1), "max_rows": sample}
    write_text(params, params_text(dataset, suited, metric, num_seeds, tune, {}))
    stage("download", params, dataset=dataset)
    stage("prepare", params, dataset=dataset)
    num_rows = load_schema(paths.processed(dataset))["num_rows"]["train"]
    batch_size = next(size for size in (128, 256, 512, 1024, 2048, 4096) if size >= num_rows / 100 or size == 4096)
    write_text(params, params_text(dataset, suited, metric, num_seeds, tune, {"training.batch_size": batch_size}))
    if sample and sample < num_rows:
        print(f"searches train on {sample:,} of {num_rows:,} rows, drawn; the final runs train on all", flush=True)
    share = seconds * (1 - SEARCH_SHARE) / len(suited)
    print(forecast(epoch_seconds(dataset, params, paths), each, share, num_seeds, os.cpu_count() or 1), flush=True)
    failed = fit_all(dataset, suited, params)
    if len(failed) == len(suited):
        raise ValueError(f"all models failed, the first with: {next(iter(failed.values()))}")
    report(dataset, [name for name in suited if name not in failed], failed, params, num_seeds)


def forecast(epoch: float, search: float, share: float, num_seeds: int, at_once: int) -> str:
    """Say how long the data takes, from the seconds of an epoch of fm.

    `share` is what the budget leaves for the final runs of a model, which run to their end even if they take longer.
    """
    most = MAX_EPOCHS * epoch * -(-num_seeds // at_once)
    text = f"an epoch of fm takes {epoch:.1f} s; each search has {search:.0f} s; "
    text += f"the final runs of fm take up to {most:.0f} s ({num_seeds} seeds, {MAX_EPOCHS} epochs)"
    if most > share:
        text += (
            f", more than the {share:.0f} s that the budget leaves them: lower --num-seeds, or expect to wait longer"
        )
    return text


def seconds_of(text: str) -> float:
    """Read a duration such as 90s, 10m or 2h. Raises ValueError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip())
    if not found or not float(found[1]):
        raise ValueError(f"--time-budget {text}: write a number and s, m or h, such as 10m")
    return float(found[1]) * UNITS[found[2]]


def params_text(
    dataset: str, models: list[str], metric: str, num_seeds: int, tune: dict[str, Any], fixed: dict[str, Any]
) -> str:
    """Write params.yaml for these models."""
    from models.registry import hyperparameters

    sizes = {"model.embed_dim": 16, "model.attention_dim": 16}
    known = {f"model.{key}" for name in models for key in hyperparameters(name)}
    content: dict[str, Any] = {
        "seed": 2019,
        "datasets": [dataset],
        "models": models,
        "training": {"loss": "cross_entropy", "metric": metric, "max_epochs": MAX_EPOCHS, "patience": 3},
        "tune": {
            "sampler": "auto",
            **{key: value for key, value in tune.items() if value is not None},
            "fixed": {
                key: value for key, value in (sizes | fixed).items() if key in known or key.startswith("training")
            },
        },
        "evaluate": {"num_seeds": num_seeds, "keep": True},
    }
    return "# Written by `factorbench fit`.\n" + yaml_text(content)


def stage(name: str, params: Path, environment: Mapping[str, str] = os.environ, *flags: str, **options: str) -> str:
    """Run a stage with options, and return its last line. Raises ValueError with the stage's error."""
    command = [sys.executable, "-m", f"pipelines.{name}", "--params", str(params), *flags]
    command += [word for key, value in options.items() for word in (f"--{key}", value)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"{name} ended with code {done.returncode}"]
        raise ValueError(lines[-1].removeprefix("error: "))
    return (done.stdout.strip().splitlines() or [""])[-1]


def epoch_seconds(dataset: str, params: Path, paths: Any) -> float:
    """Time one epoch of fm."""
    from pipelines.project.params import load_params
    from pipelines.search.tuner import fixed_setting
    from pipelines.training.cell import load_cell
    from pipelines.training.process import prepare_process

    prepare_process(1)
    config = load_params(params)
    (epoch,) = load_cell("fm", dataset, config, paths).train(
        {**fixed_setting("fm", config), "training.max_epochs": 1}, seed=0
    )[1]
    return epoch.seconds


def fit_all(dataset: str, models: list[str], params: Path) -> dict[str, str]:
    """Search and train every model, and show how far each is. Returns why models failed."""
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    from pipelines.project.cluster import environment_of_cluster

    state, start, console = dict.fromkeys(models, "waits"), time.monotonic(), Console(stderr=True)

    def table() -> Table:
        shown = Table("model", "", title=f"{dataset}: {time.monotonic() - start:.0f} s", title_justify="left")
        for model, words in state.items():
            shown.add_row(model, words)
        return shown

    failed: dict[str, str] = {}
    with (
        environment_of_cluster() as environment,
        Live(get_renderable=table, console=console, refresh_per_second=2),
    ):

        def run_stage(name: str, model: str) -> str:
            return stage(name, params, environment, dataset=dataset, model=model).partition(": ")[2]

        for model in models:
            try:
                state[model] = "is searched"
                found = run_stage("tune", model)
                state[model] = f"{found}; final runs"
                state[model] = f"{found}; {run_stage('evaluate', model)}"
            except ValueError as error:
                failed[model] = str(error)
                state[model] = f"failed: {error}"
            if not console.is_terminal:
                console.print(f"{model}: {state[model]}", highlight=False, soft_wrap=True)
        if len(failed) < len(models):
            try:
                stage("ensemble", params, environment, "--default", dataset=dataset)
            except ValueError as error:
                console.print(f"no ensemble: {error}", highlight=False, soft_wrap=True)
    return failed


def report(dataset: str, models: list[str], failed: dict[str, str], params: Path, num_seeds: int) -> None:
    """Print the leaderboard, which models differ, and what to do next."""
    from pipelines import leaderboard, significance
    from pipelines import report as page

    leaderboard.main(params, so_far=bool(failed), all_metrics=True)
    if num_seeds > 1:
        significance.main(params)
        if num_seeds < 5:
            print(f"with {num_seeds} seeds, small differences stay hidden: --num-seeds 5 shows more")
    else:
        print("one seed does not show which models differ: run again with --num-seeds 5")
    for model, why in failed.items():
        print(f"{model} failed: {why}")
    page.main(params)
    rows = json.loads((params.parent / "results" / "leaderboard.json").read_text(encoding="utf-8"))
    best = next(row["model"] for row in rows if "kind" not in row)  # no ensemble can be a bundle
    print("next:")
    print(f"  factorbench bundle --model {best} --dataset {dataset} --params {params}")
    print(f"  factorbench predict NEW_ROWS.csv --bundle {params.parent}/bundles/{dataset}/{best} --out scores.csv")


if __name__ == "__main__":
    run(main)
