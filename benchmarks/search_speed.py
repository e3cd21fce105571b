"""Compare a search with loops over the same settings by other packages.

factorbench's search draws the settings at random, and the others get the same in the same order. Writes
search_speed.json and search_speed.md beside this file. An interrupted run continues where it stopped. Needs the
prepared Frappe, the packages' environments (`make bench-search`) and an idle machine.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from bench_peers import machine, run_side
from inputs import FOLDER, write_inputs
from report import TITLES, number, write
from schedulers import tune_apart
from trainings import Result, measure_missing

OWN = "factorbench"
SIDES = {"fm": (OWN, "fuxictr", "torchfm"), "deepfm": (OWN, "fuxictr", "torchfm"), "ifm": (OWN, "plain")}
TRIALS, EMBED_DIM, ATTENTION_DIM, BATCH_SIZE = 20, 32, 32, 1024
PROCESSES = os.cpu_count() or 1  # trials at once, of one thread each
TIMEOUT = 3600  # seconds after which a loop fails
TYPICAL_SECONDS = 140.0  # of a search, to estimate the total time
# What is not searched, because a package has it not or has but one value: what is left is the learning rate, L2, and
# deepfm's dropout of the network and ifm's of products.
FIXED: dict[str, dict[str, Any]] = {
    "fm": {"model.dropout": 0.0},
    "deepfm": {"model.dropout": 0.0, "model.hidden_dims": "[100]"},
    "ifm": {
        "model.attention_dim": ATTENTION_DIM,
        "model.temperature": 10.0,
        "model.field_embed_dim": 26,
        "training.l2_field": 0.0,
    },
}
DROPOUT = {"deepfm": "model.mlp_dropout", "ifm": "model.dropout"}


@dataclass(frozen=True)
class Search:
    """Name one measurement: a search of a model by a side."""

    model: str
    side: str
    trials: int
    epochs: int

    def __str__(self) -> str:
        return f"{self.model} {self.side} {self.trials} trials of {self.epochs} epochs"


def measure(search: Search, kept: Mapping[Search, Result]) -> Result:
    """Run a search, and return the seconds of its command and its trials."""
    if search.side == OWN:
        return own_search(search)
    drawn = next(
        r["settings"] for s, r in kept.items() if (s.model, s.side, s.epochs) == (search.model, OWN, search.epochs)
    )
    settings = FOLDER / "settings.json"
    settings.write_text(json.dumps(drawn[: search.trials]), "utf-8")
    options = {
        "model": search.model,
        "data": FOLDER / "frappe",
        "batch-size": BATCH_SIZE,
        "embed-dim": EMBED_DIM,
        "attention-dim": ATTENTION_DIM,
        "epochs": search.epochs,
        "processes": PROCESSES,
        "threads": 1,
        "settings": settings,
    }
    start = time.perf_counter()
    result = run_side(search.side, options, TIMEOUT)
    return result | {"process_seconds": time.perf_counter() - start}


def own_search(search: Search) -> Result:
    """Run the stage `tune` with random settings. Raises ValueError if a trial fails."""
    params: dict[str, Any] = {"seed": 1, "datasets": ["frappe"], "models": [search.model]}
    params["training"] = {"max_epochs": search.epochs, "patience": search.epochs, "metric": "auc"}
    fixed = {"model.embed_dim": EMBED_DIM, "training.batch_size": BATCH_SIZE, **FIXED[search.model]}
    params["tune"] = {"num_trials": search.trials, "sampler": "random", "fixed": fixed}
    seconds, trials = tune_apart(search.model, params)
    if set(trials["state"]) != {"complete"}:
        raise ValueError(f"{search}: not all trials are complete")
    return {
        "process_seconds": seconds,
        "trials": [{"seconds": trial["seconds"], "valid_auc": trial["valid"]} for trial in trials.to_dicts()],
        "settings": [setting(search.model, trial) for trial in trials.to_dicts()],
    }


def setting(model: str, trial: dict[str, Any]) -> dict[str, float]:
    """Return a trial's setting in the names of `sides.loop`.

    The packages take the mean loss of a batch, and factorbench the sum, so L2 is divided by the batch's rows.
    """
    return {
        "learning_rate": trial["training.learning_rate"],
        "l2": trial["training.l2"] / BATCH_SIZE,
        "dropout": trial[DROPOUT[model]] if model in DROPOUT else 0.0,
    }


def in_trainings(result: Result) -> float:
    """Return the seconds in which trials ran, as if all processes had been busy."""
    return sum(trial["seconds"] for trial in result["trials"]) / PROCESSES


def seconds_of_all(search: Search, result: Result) -> float:
    """Return the seconds of a search with all trials.

    Scales the trainings where fewer trials ran, but not the rest.
    """
    return result["process_seconds"] + in_trainings(result) * (TRIALS / search.trials - 1)


def values(measured: Mapping[Search, Result], epochs: int) -> dict[str, Any]:
    """Build the table's rows, and compare all searches together."""
    rows, totals, scaled = [], {OWN: 0.0, "others": 0.0}, False
    for model in SIDES:
        found = {s.side: (s, r, seconds_of_all(s, r)) for s, r in measured.items() if s.model == model}
        own = found[OWN][2] if OWN in found else None
        for side, (search, result, seconds) in found.items():
            mark = "*" if search.trials < TRIALS else ""
            scaled = scaled or bool(mark)
            trainings = in_trainings(result) * TRIALS / search.trials
            figures = [
                f"{seconds:.0f}",
                f"{trainings:.0f}",
                number(seconds - trainings),
                f"{3600 * TRIALS / seconds:,.0f}",
            ]
            best = max(trial["valid_auc"] for trial in result["trials"])
            times = f"{seconds / own:.1f}×" if own and side != OWN else ""
            rows.append([model, TITLES[side] + mark, *figures, f"{best:.4f}", times])
        if own and len(found) > 1:
            totals[OWN] += own
            totals["others"] += min(seconds for side, (_, _, seconds) in found.items() if side != OWN)
    return {
        "rows": rows,
        "trials": TRIALS,
        "epochs": epochs,
        "at_once": PROCESSES,
        "sizes": {"embed_dim": EMBED_DIM, "attention_dim": ATTENTION_DIM, "batch_size": BATCH_SIZE},
        "few": min((s.trials for s in measured), default=TRIALS) if scaled else None,
        "gain": totals["others"] / totals[OWN] if totals[OWN] else None,
        "versions": {TITLES[s.side]: r["versions"] for s, r in measured.items() if "versions" in r},
    }


def main(
    fresh: Annotated[bool, typer.Option("--fresh", help="measure again what is measured already")] = False,
    model: Annotated[list[str] | None, typer.Option(help="model to search; repeatable")] = None,
    epochs: Annotated[int, typer.Option(help="epochs of a trial")] = 3,
    trials: Annotated[int, typer.Option(help="trials of the other packages; their trainings are scaled")] = TRIALS,
) -> None:
    """Measure what is missing, and write the table."""
    wanted = [
        Search(name, side, TRIALS if side == OWN else trials, epochs) for name in model or SIDES for side in SIDES[name]
    ]
    write_inputs("frappe")
    measured = measure_missing("search_speed", wanted, fresh, measure, figure_of, TYPICAL_SECONDS)
    records = [asdict(search) | result for search, result in measured.items()]
    others = [result for search, result in measured.items() if search.side != OWN]  # Ray's time can't be told apart
    write("search_speed", machine() | {"threads": 1}, records, others, **values(measured, epochs))


def figure_of(result: Result) -> str:
    return f"{result['process_seconds']:.0f} s, {in_trainings(result):.0f} s of them in trainings"


if __name__ == "__main__":
    typer.run(main)
