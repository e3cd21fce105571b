"""Measure how near samplers come to the best of many trained settings.

Makes a table for each model on Frappe first: settings are drawn at random, trained once, and kept in
search_quality/MODEL.jsonl. Then searches are replayed in the tables: a sampler draws a setting, and the nearest setting
of the table that the search has not had yet answers for it. Writes search_quality.json and search_quality.md. An
interrupted run continues where it stopped. Needs the prepared Frappe (`dvc repro prepare@frappe`).
"""

import itertools
import json
import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, NamedTuple

import numpy as np
import optuna
import typer
from bench_peers import machine
from inputs import FOLDER
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial
from report import ROOT, write

from pipelines.project.params import Params, TuneParams
from pipelines.project.paths import Paths
from pipelines.project.seeds import seed_for
from pipelines.search.sampling import make_sampler
from pipelines.search.scheduling import METRIC, scheduler
from pipelines.search.trial import trial_seed
from pipelines.training.cell import Cell, load_cell
from pipelines.training.process import prepare_process
from search_spaces.shared import PAPER, Space, get_space, known_settings

MODELS = ("fm", "deepfm", "dcnv2", "ifm")
NUM_SETTINGS = 200  # of a table, beside the known ones
FIXED = {  # so that a training takes seconds
    "model.embed_dim": 32,
    "model.attention_dim": 16,
    "model.hidden_dims": "[100]",
    "training.batch_size": 4096,
}
OWN = {"dcnv2": {"model.embed_dim": 10}}  # as published for it; 32 costs several times as much
TRAINING = {"max_epochs": 15, "patience": 3}
THIRD = TRAINING["max_epochs"] // 3
SEED = 2019
TABLES = ROOT / "search_quality"
SAMPLERS = {  # by title, as params.yaml has them
    "random": {"sampler": "random"},
    "tpe, 10 random": {"sampler": "tpe", "random_trials": 10},
    "tpe, 4 random": {"sampler": "tpe", "random_trials": 4},
    "gp, 4 random": {"sampler": "gp", "random_trials": 4},
}
SCHEDULERS = {  # by title: name, and the epochs in which no trial is stopped
    "none": ("none", None),
    "asha": ("asha", None),
    "asha from a third": ("asha", THIRD),
}
STARTS = {"nothing": [], "paper": [PAPER], "paper, movielens": [PAPER, "movielens"]}  # the known settings that go first
BUDGETS = (10, 20, 40)  # trials; with asha, the epochs of so many
NUM_REPLAYS, FEWEST_REPLAYS = 200, 20  # of each way; fewer are not shown
Record = dict[str, Any]  # of a table: name, setting, valid_rmse of each epoch, seconds


def space_of(model: str) -> tuple[Space, dict[str, Any]]:
    """Return the space that is searched, and the fixed values that the model has."""
    space, fixed = get_space(model), FIXED | OWN.get(model, {})
    return {key: value for key, value in space.items() if key not in fixed}, {
        key: value for key, value in fixed.items() if key in space
    }


def settings(model: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the names and settings of a table: known ones, then random ones, each drawn with its own seed."""
    space, _ = space_of(model)
    for name, known in known_settings(model, "frappe", ["movielens"]).items():
        yield name, {key: known[key] for key in space}
    for number in range(NUM_SETTINGS):
        seed = seed_for(SEED, "search quality", model, number)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        yield str(number), study.ask(space).params


def read_table(model: str) -> list[Record]:
    """Read what is trained so far: known settings, then random ones as they were drawn."""
    records = read_lines(TABLES / f"{model}.jsonl")
    return sorted(records, key=lambda record: int(record["name"]) if record["name"].isdigit() else -1)


def read_lines(path: Path) -> list[Record]:
    """Read a JSON-lines file, without a last line that was cut off."""
    lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def train(setting: dict[str, Any]) -> Record:
    """Train one setting. A setting that diverges has no epochs, but an error."""
    (cell,) = CELL
    start, curve = time.process_time(), []
    try:
        cell.train(setting, trial_seed(cell, setting), lambda epoch: curve.append(round(epoch.valid["rmse"], 6)))
    except (FloatingPointError, ValueError) as error:
        return {"valid_rmse": [], "seconds": round(time.process_time() - start, 2), "error": str(error)}
    return {"valid_rmse": curve, "seconds": round(time.process_time() - start, 2)}


CELL: list[Cell] = []  # of this process


def load(model: str) -> None:
    """Load what a process trains, or nothing for replays; one thread each."""
    prepare_process(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if model:
        params = {
            "seed": SEED,
            "datasets": ["frappe"],
            "models": [model],
            "training": TRAINING,
            "tune": {"num_trials": 1},
        }
        CELL[:] = [load_cell(model, "frappe", Params.model_validate(params), Paths(ROOT.parent))]


def processes(at_once: int, model: str = "") -> ProcessPoolExecutor:
    """Start processes that train a model's settings, or replay searches."""
    return ProcessPoolExecutor(at_once, get_context("spawn"), load, (model,))


def make_table(model: str, at_once: int) -> None:
    """Train the settings that are missing in a model's table."""
    path, done = TABLES / f"{model}.jsonl", read_table(model)
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in done), "utf-8")
    names, fixed = {record["name"] for record in done}, space_of(model)[1]
    todo = {name: setting for name, setting in settings(model) if name not in names}
    if not todo:
        return
    with processes(at_once, model) as pool:
        running = {pool.submit(train, {**fixed, **setting}): name for name, setting in todo.items()}
        for left, future in zip(range(len(todo) - 1, -1, -1), as_completed(running), strict=True):
            name, found = running[future], future.result()
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"name": name, "setting": todo[name], **found}) + "\n")
            epochs, best = len(found["valid_rmse"]), min(found["valid_rmse"], default=None)
            print(f"{model} {name}: {best}, {epochs} epochs, {found['seconds']} s; {left} left", flush=True)


class Variant(NamedTuple):
    """Name a way to search a model's table."""

    model: str
    sampler: str
    scheduler: str
    start: str


class Table:
    """Hold the settings of a model that were all trained, and find the nearest one."""

    def __init__(self, model: str, records: list[Record]) -> None:
        self.records, self.space = records, space_of(model)[0]
        self.places = np.array([self.place(record["setting"]) for record in records])
        self.best = min(min(record["valid_rmse"], default=math.inf) for record in records)
        self.mean_epochs = sum(len(record["valid_rmse"]) for record in records) / len(records)

    def place(self, setting: dict[str, Any]) -> list[float]:
        """Map a setting to a point: ranges to [0, 1], and each choice to a dimension of its own."""
        place = []
        for key, distribution in self.space.items():
            if isinstance(distribution, CategoricalDistribution):
                place += [math.sqrt(0.5) * (setting[key] == choice) for choice in distribution.choices]
            else:
                scale = math.log if distribution.log else float
                low, high = scale(distribution.low), scale(distribution.high)
                place.append((scale(setting[key]) - low) / (high - low))
        return place

    def nearest(self, setting: dict[str, Any], used: set[int]) -> int:
        """Find the place of the nearest setting that is not in `used`."""
        distances = ((self.places - self.place(setting)) ** 2).sum(axis=1)
        distances[list(used)] = math.inf
        return int(distances.argmin())


Reached = list[tuple[float, int]]  # at each budget: the best validation RMSE of complete trials, and all trials


def replay(table: Table, variant: Variant, number: int) -> Reached:
    """Search a table, and return what is reached at each budget.

    With asha, trials go on until the epochs are spent that the budget's trials have on average.
    """
    seed = seed_for(SEED, "replay", variant.model, variant.start, number)  # the same first draws for all samplers
    study = optuna.create_study(sampler=make_sampler(TuneParams(num_trials=1, **SAMPLERS[variant.sampler]), seed))
    stopped, kept, used, found = set[str](), set[str](), set[int](), Reached()
    name, grace = SCHEDULERS[variant.scheduler]
    asked, most = scheduler(name, TRAINING["max_epochs"], stopped, kept, grace), len(table.records)
    asked.set_search_properties(METRIC, "min")
    known = [place for place, record in enumerate(table.records) if record["name"] in STARTS[variant.start]]
    epochs, best = 0, math.inf
    while len(found) < len(BUDGETS) and len(used) < most:
        trial = study.ask(table.space) if len(used) >= len(known) else None
        place = known[len(used)] if trial is None else table.nearest(trial.params, used)
        used.add(place)
        if trial is None:
            kept.add(str(place))
        else:
            study.tell(trial, state=TrialState.FAIL)  # the setting of the table takes its place
        record = table.records[place]
        values = run(asked, str(place), record["valid_rmse"], stopped)
        state = TrialState.PRUNED if str(place) in stopped else TrialState.COMPLETE if values else TrialState.FAIL
        study.add_trial(
            create_trial(
                state=state,
                params=record["setting"],
                distributions=table.space,
                value=min(values) if state is TrialState.COMPLETE else None,
                intermediate_values=dict(enumerate(np.minimum.accumulate(values).tolist(), 1)) if values else {},
            )
        )
        epochs += len(values)
        if state is TrialState.COMPLETE:
            best = min(best, *values)
        spent = len(used) if variant.scheduler == "none" else epochs / table.mean_epochs
        found += [(best, len(used))] * (sum(budget <= spent for budget in BUDGETS) - len(found))
    return found + [(best, len(used))] * (len(BUDGETS) - len(found))


def run(asked: Any, name: str, curve: list[float], stopped: set[str]) -> list[float]:
    """Report a curve's epochs to a scheduler, and return those until it stops the trial."""
    controller, trial = SimpleNamespace(get_live_trials=list), SimpleNamespace(trial_id=name)
    asked.on_trial_add(controller, trial)
    result: dict[str, Any] = {}
    for epoch in range(1, len(curve) + 1):
        result = {METRIC: min(curve[:epoch]), "epoch": epoch}
        asked.on_trial_result(controller, trial, result)
        if name in stopped:
            return curve[:epoch]
    if result:
        asked.on_trial_complete(controller, trial, result)
    return curve


def replay_all(models: list[str], replays: int, at_once: int) -> dict[Variant, list[Reached]]:
    """Replay what is missing, and return what all replays reach."""
    path = FOLDER / "search_quality.jsonl"
    FOLDER.mkdir(exist_ok=True)
    kept: dict[Any, Reached] = {}
    for record in read_lines(path):
        kept[Variant(*record["variant"]), record["replay"], record["settings"]] = record["reached"]
    found: dict[Variant, list[Reached]] = {}
    with processes(at_once) as pool:
        ways = itertools.product(models, SAMPLERS, SCHEDULERS, STARTS)
        for model, *rest in sorted(ways, key=lambda way: way[1].startswith("gp") and way[2] != "none"):  # slowest last
            variant, records = Variant(model, *rest), read_table(model)
            if len(records) < NUM_SETTINGS:
                continue
            table, start = Table(model, records), time.monotonic()
            todo = [number for number in range(replays) if (variant, number, len(records)) not in kept]
            for number, reached in zip(todo, pool.map(partial(replay, table, variant), todo), strict=True):
                kept[variant, number, len(records)] = reached
                record = {"variant": variant, "replay": number, "settings": len(records), "reached": reached}
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
            done = [reached for (of, _, settings), reached in kept.items() if (of, settings) == (variant, len(records))]
            if len(done) >= FEWEST_REPLAYS:
                found[variant] = done
                medians = ", ".join(f"{value - table.best:.4f}" for value in np.median(done, axis=0)[:, 0])
                print(f"{', '.join(variant)}: {medians} ({time.monotonic() - start:.0f} s)", flush=True)
    return found


def summaries(found: dict[Variant, list[Reached]]) -> list[Record]:
    """Summarize each variant's regrets at each budget, and count its trials."""
    records = []
    for variant, values in found.items():
        table = Table(variant.model, read_table(variant.model))
        regrets = np.array(values)[:, :, 0] - table.best
        records.append(
            {
                **variant._asdict(),
                "replays": len(values),
                "median": [round(value, 5) for value in np.median(regrets, axis=0).tolist()],
                "worst_tenth": [round(value, 5) for value in np.quantile(regrets, 0.9, axis=0).tolist()],
                "mean": [round(value, 5) for value in regrets.mean(axis=0).tolist()],
                "trials": [round(value) for value in np.array(values)[:, :, 1].mean(axis=0).tolist()],
            }
        )
    return records


def values(records: list[Record]) -> dict[str, Any]:
    """Build the tables of the page: for each model samplers and schedulers, and starts."""
    sections = []
    for model in dict.fromkeys(record["model"] for record in records):
        table, mine = Table(model, read_table(model)), [record for record in records if record["model"] == model]
        alone = {r["name"]: min(r["valid_rmse"]) - table.best for r in table.records if not r["name"].isdigit()}
        sections.append(
            {
                "model": model,
                "settings": len(table.records),
                "best": table.best,
                "epochs": table.mean_epochs,
                "seconds": sum(record["seconds"] for record in table.records) / len(table.records),
                "alone": alone,
                "own": OWN.get(model, {}),
                "places": {epochs: places_of_best(table.records, epochs) for epochs in (1, THIRD)},
                "samplers": [
                    [r["sampler"], r["scheduler"], *cells(r), " / ".join(map(str, r["trials"])), r["replays"]]
                    for r in mine
                    if r["start"] == PAPER
                ],
                "starts": [
                    [r["sampler"], r["start"], *cells(r), r["replays"]]
                    for r in mine
                    if r["scheduler"] == "none" and r["start"] != PAPER
                ],
            }
        )
    return {
        "sections": sections,
        "budgets": BUDGETS,
        "third": THIRD,
        "training": TRAINING,
        "fixed": FIXED,
        "ratios": ratios(records),
    }


def places_of_best(records: list[Record], epochs: int, most: int = 5) -> list[int]:
    """Rank the best settings of a table by what they reach in their first epochs."""
    curves = sorted((record["valid_rmse"] for record in records if record["valid_rmse"]), key=min)
    return [1 + sum(min(other[:epochs]) < min(curve[:epochs]) for other in curves) for curve in curves[:most]]


def cells(record: Record) -> list[str]:
    """Format median and 90 % quantile of the regret at each budget."""
    return [f"{m:.4f} ({q:.4f})" for m, q in zip(record["median"], record["worst_tenth"], strict=True)]


def ratios(records: list[Record]) -> list[list[str]]:
    """Divide each way's mean regret by that of BASE, and average over the models.

    Ways that a model lacks are left out.
    """
    by_way: dict[tuple[str, str, str], list[np.ndarray]] = {}
    base = {r["model"]: np.array(r["mean"]) for r in records if (r["sampler"], r["scheduler"], r["start"]) == BASE}
    for record in records:
        way = (record["sampler"], record["scheduler"], record["start"])
        if record["model"] in base:
            by_way.setdefault(way, []).append(np.array(record["mean"]) / np.maximum(base[record["model"]], 1e-5))
    return [
        [*way, *(f"{value:.2f}" for value in np.mean(found, axis=0))]
        for way, found in by_way.items()
        if len(found) == len(base)
    ]


BASE = ("random", "none", PAPER)


def main(
    models: Annotated[str, typer.Option(help="models, separated by commas")] = ",".join(MODELS),
    tables: Annotated[bool, typer.Option(help="train what is missing in the tables")] = True,
    replays: Annotated[int, typer.Option(help="searches to replay, each way; 0: only write the page")] = NUM_REPLAYS,
    at_once: Annotated[int, typer.Option(help="processes, one thread each")] = os.cpu_count() or 1,
) -> None:
    """Train what is missing in the tables, and replay searches in those that are whole."""
    for model in models.split(",") if tables else ():
        make_table(model, at_once)
    records = summaries(replay_all(models.split(","), replays, at_once))
    write("search_quality", machine(), records, [], **values(records))


if __name__ == "__main__":
    typer.run(main)
