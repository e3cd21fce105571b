"""Find the best model for a data set within a time budget."""

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines import ensemble, evaluate, tune
from pipelines.project.cli import DatasetOption, run
from pipelines.project.metric import METRICS, known
from pipelines.project.records import yaml_text
from pipelines.search.fit_models import fit_all
from pipelines.search.time_budget import (
    SEARCH_SHARE,
    START_SECONDS,
    Plan,
    Run,
    forecast,
    plan,
    run_like,
    seconds_of,
    start_seconds,
)

TREES = ["catboost"] if find_spec("catboost") else []  # a package of its own
MODELS = ["lr", "ffm", "nfm", "ifm", "finalmlp", *TREES]  # a family each: the best of it on the board of record
EMBED_DIM = 16
MOST_WEIGHTS = 50_000_000  # of ffm where it is not asked for: one set of embeddings for each field
LEAST_SECONDS = 5  # of a search
MAX_EPOCHS = 30  # of a run


def main(
    dataset: DatasetOption,
    time_budget: Annotated[str, typer.Option(help="For all models together: 90s, 10m or 2h.")] = "10m",
    models: Annotated[
        str, typer.Option(help=f"Models, separated by commas; all: every model; without it {', '.join(MODELS)}.")
    ] = "",
    metric: Annotated[str, typer.Option(help=f"{', '.join(METRICS)}: decides searches and ranks.")] = "auc",
    num_seeds: Annotated[int, typer.Option(help="Final runs of each model, if the time allows so many.")] = 3,
    num_trials: Annotated[int | None, typer.Option(help="Trials of each search, if the time allows so many.")] = None,
    sample: Annotated[
        int | None, typer.Option(help="Training rows of a trial, drawn from a large log; the final runs have all.")
    ] = None,
) -> None:
    """Prepare a data set, search the hyperparameters of several models, and rank them.

    The searches of all models have the same share of the time budget; the time that is left decides how many final
    runs there are. Everything is in runs/DATASET; running the command again goes on.
    """
    from models.registry import list_models

    chosen = list_models() if models == "all" else [name.strip() for name in models.split(",")]
    root = Path("runs") / dataset
    best = fit(dataset, root, time_budget, chosen if models else None, metric, num_seeds, num_trials, sample)
    print("next:")
    print(f"  factorbench bundle --model {best} --dataset {dataset} --params {root}/params.yaml")
    print(f"  factorbench predict NEW_ROWS.csv --bundle {root}/bundles/{dataset}/{best} --out scores.csv")


def fit(
    dataset: str,
    root: Path,
    time_budget: str,
    models: Sequence[str] | None,
    metric: str,
    num_seeds: int,
    num_trials: int | None,
    sample: int | None,
) -> str:
    """Search and train models, print what came out, and return the best one's name.

    `root` is the folder of params.yaml, data and results. The data set is described in it or above. Without `models`,
    they are MODELS, as far as they suit the data.
    Raises ValueError for an unknown model or metric, a budget that is too small, and data that can't be prepared.
    """
    seconds, start = seconds_of(time_budget), time.monotonic()
    from models.registry import get_model, why_declined
    from pipelines.data.catalog import get_dataset
    from pipelines.data.own import OwnDataset
    from pipelines.data.prepared import prepare
    from pipelines.download import download
    from pipelines.project.files import write_text
    from pipelines.project.params import load_params
    from pipelines.project.paths import Paths
    from pipelines.search.pace import epoch_of_fm
    from pipelines.training.cell import require_group

    chosen = MODELS if models is None else models
    for name in chosen:
        get_model(name)
    paths = Paths(root)
    described = get_dataset(dataset, root)
    require_group(described, known(metric))
    fields = described.fields
    lists = isinstance(described, OwnDataset) and any(field.kind == "list" for field in described.fields.values())
    declined = {name: why for name in chosen if (why := why_declined(name, tuple(fields), lists))}
    suited = [name for name in chosen if name not in declined]
    starts = 2 * START_SECONDS * len(suited)
    each = max(0, seconds - starts) * SEARCH_SHARE / max(1, len(suited))
    if not suited:
        raise ValueError(f"none of {', '.join(chosen)} suits {dataset}: {declined[chosen[0]]}")
    if each < LEAST_SECONDS:
        enough = math.ceil(starts + len(suited) * LEAST_SECONDS / SEARCH_SHARE)
        raise ValueError(
            f"a time budget of {time_budget} is too little for {len(suited)} models: give {enough}s or more"
        )
    params, fixed = root / "params.yaml", {}
    limits = {"num_trials": num_trials, "time_budget_s": round(each, 1), "max_rows": sample}

    for name, why in declined.items():
        print(f"{name} is left out: {why}", flush=True)

    def write_params(seeds: int, models: list[str] = suited) -> None:
        write_text(params, params_text(dataset, models, metric, seeds, limits, fixed))

    write_params(num_seeds)
    download(described, params)
    schema = prepare(described, load_params(params), paths)
    num_rows = schema["num_rows"]["train"]
    if models is None and "ffm" in suited and is_heavy(schema):
        suited.remove("ffm")
        print("ffm is left out: it would have too many weights", flush=True)
    batch_size = next(size for size in (128, 256, 512, 1024, 2048, 4096) if size >= num_rows / 100 or size == 4096)
    fixed["training.batch_size"] = batch_size
    write_params(num_seeds)
    if sample and sample < num_rows:
        print(f"searches train on {sample:,} of {num_rows:,} rows, drawn; the final runs train on all", flush=True)
    epoch = epoch_of_fm(dataset, params, paths)
    left = seconds - (time.monotonic() - start) - starts - len(suited) * each
    print(forecast(epoch, each, len(suited), left, seconds), flush=True)

    def plan_final_runs(done: list[str], searches: list[float]) -> Plan:
        """Write which models have how many final runs. The searches took so many seconds."""
        scale = max(1.0, num_rows / (sample or num_rows))
        runs = {
            name: Run(scale * run.least, scale * run.most)
            for name, run in runs_best_first(dataset, done, paths).items()
        }
        left = seconds - (time.monotonic() - start)
        found = plan(runs, left, start_seconds(searches, each), num_seeds, os.cpu_count() or 1)
        for name in [name for name in runs if name not in found.models]:
            print(f"no time is left for the final runs of {name}, {runs[name].least:.0f} s or more each", flush=True)
        if found.num_seeds < num_seeds:
            print(
                f"the time that is left allows {found.num_seeds} final runs of each model, not {num_seeds}", flush=True
            )
        write_params(found.num_seeds, [name for name in suited if name in found.models or name not in done])
        return found

    stages = {"tune": tune.main, "evaluate": evaluate.main, "ensemble": ensemble.main}
    failed = fit_all(dataset, suited, params, stages, plan_final_runs)
    if failed.keys() >= {*load_params(params).models}:
        raise ValueError(f"all models failed, the first with: {next(iter(failed.values()))}")
    best = report(failed, params)
    print(f"fitting took {time.monotonic() - start:.0f} s of {time_budget}")
    return best


def is_heavy(schema: Mapping[str, Any]) -> bool:
    """Tell whether ffm would have more than MOST_WEIGHTS weights on prepared data."""
    return schema["num_features"] * len(schema["fields"]) * EMBED_DIM > MOST_WEIGHTS


def runs_best_first(dataset: str, models: Sequence[str], paths: Any) -> dict[str, Run]:
    """Estimate a final run of each model; the model with the best trial comes first."""
    from pipelines.evaluation.results import Best, read_best
    from pipelines.project.records import command, read_csv

    found = []
    for model in models:
        folder = paths.results(dataset, model)
        best = read_best(folder, model, dataset)
        if not isinstance(best, Best):  # it declined the data
            found.append((math.inf, model, Run(0.0, 0.0)))
            continue
        trials = read_csv(folder / "trials.csv", command("tune", model, dataset))
        (trial,) = trials.filter(trials["trial"] == best.trial).to_dicts()
        found.append((METRICS[best.metric].score(best.valid), model, run_like(trial, MAX_EPOCHS)))
    return {model: run for _, model, run in sorted(found)}


def params_text(
    dataset: str, models: list[str], metric: str, num_seeds: int, limits: dict[str, Any], fixed: dict[str, Any]
) -> str:
    """Write params.yaml for these models."""
    from models.registry import hyperparameters

    sizes = {"model.embed_dim": EMBED_DIM, "model.attention_dim": EMBED_DIM}
    known = {f"model.{key}" for name in models for key in hyperparameters(name)}
    content: dict[str, Any] = {
        "seed": 2019,
        "datasets": [dataset],
        "models": models,
        "training": {"loss": "cross_entropy", "metric": metric, "max_epochs": MAX_EPOCHS, "patience": 3},
        "tune": {
            "recipes": ["paper", "ctr"],
            "sampler": "auto",
            **({} if limits.get("num_trials") else {"scheduler": "asha", "grace_epochs": MAX_EPOCHS // 3}),
            **{key: value for key, value in limits.items() if value is not None},
            "fixed": {
                key: value for key, value in (sizes | fixed).items() if key in known or key.startswith("training")
            },
        },
        "evaluate": {"num_seeds": num_seeds, "keep": True},
    }
    return "# Written by `factorbench fit`.\n" + yaml_text(content)


def report(failed: dict[str, str], params: Path) -> str:
    """Print the leaderboard and which models differ. Returns the best model."""
    from pipelines import leaderboard, significance
    from pipelines import report as page
    from pipelines.project.params import load_params

    num_seeds = load_params(params).evaluate.num_seeds
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
    return next(row["model"] for row in rows if "kind" not in row)  # no ensemble can be a bundle


if __name__ == "__main__":
    run(main)
