"""Train the runs behind Figures 2 to 6 and the audit.

Each run changes one thing in one model. Runs are compared on validation rows; no test row is read. Run it in this
folder: `python experiment.py NAME`.
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from entries import Defaults, Experiment, load_experiments

from pipelines.data.catalog import get_dataset
from pipelines.project.cli import ParamsOption, one_of, run
from pipelines.project.files import write_json, write_text, written_whole
from pipelines.project.params import Params, load_params
from pipelines.project.paths import Paths
from pipelines.project.records import read_record
from pipelines.reporting.tables import markdown_table


def start_setting(start: str, dataset: str, paths: Paths) -> dict[str, Any]:
    """Read a setting from a best.json, or the paper's from `../behaviour/spaces/MODEL.json`.

    Raises ValueError if the file is missing or has no setting.
    """
    file = paths.root / start
    if not file.exists():
        paper = f"../behaviour/spaces/{file.parent.name}.json"
        raise ValueError(f"no {file}: run the search first, or start from {paper}")
    content = read_record(file, dict[str, Any], f"git checkout {file}, or the search again")
    if "paper" in content:
        return content["paper"].get(get_dataset(dataset).family) or content["paper"]["any other"]
    if "setting" not in content:
        raise ValueError(f"{file} has no setting: {content.get('declined', 'it is no best.json')}")
    return content["setting"]


def setting_of(experiment: Experiment, defaults: Defaults, paths: Paths) -> dict[str, Any]:
    """Combine an experiment's start setting, the defaults and its own keys; later ones win."""
    from models.registry import hyperparameters  # torch takes seconds to import
    from search_spaces.shared import get_space

    shared = start_setting(experiment.start, experiment.dataset, paths) | defaults.set
    known, space = hyperparameters(experiment.model), get_space(experiment.model)
    fitting = {
        key: value
        for key, value in shared.items()
        if (key in space or not key.startswith("training.l2_") if key.startswith("training.") else key[6:] in known)
    }
    epochs = {
        "training.max_epochs": experiment.max_epochs,
        "training.patience": experiment.patience or experiment.max_epochs,
    }
    setting = fitting | epochs | experiment.set
    return (
        setting | {"training.pretrained": None} if setting.get("training.pretrained") == experiment.model else setting
    )


def load(model: str, dataset: str, config: Params, paths: Paths) -> Any:
    """Load the cell of a model that starts from random embeddings."""
    from pipelines.training.cell import load_cell

    training = config.training.model_copy(update={"pretrained": None})
    return load_cell(model, dataset, config.model_copy(update={"training": training}), paths)


def pretrain_setting(setting: dict[str, Any], config: Params) -> dict[str, Any]:
    """Return the setting of the FM whose embeddings a run starts from.

    It is `pretrain` of params.yaml with the run's embed_dim, batch size and epochs, because the FM of the stage
    `pretrain` has another size. Empty if the run's setting has no `training.pretrained`.
    """
    if setting.get("training.pretrained") is None:
        return {}
    own = {f"{part}.{key}": value for part, values in config.pretrain for key, value in values.items()}
    shared = ("model.embed_dim", "training.batch_size", "training.max_epochs", "training.patience")
    return own | {key: setting[key] for key in shared}


def pretrained(cell: Any, setting: dict[str, Any], config: Params, paths: Paths) -> Any:
    """Make a cell start from the FM of `pretrain_setting`.

    The FM is trained unless an earlier experiment has trained it. Returns `cell` itself if it starts from no FM.
    """
    from pipelines.training.cell import fingerprint
    from pipelines.training.start import load_weights

    first = pretrain_setting(setting, config)
    if not first:
        return cell
    fm = load("fm", cell.dataset, config, paths)
    name = fingerprint(fm, {}, first)
    file = paths.study(cell.dataset, "fm") / f"experiment-{name}.pt"
    if not file.exists():
        import torch

        model, _ = fm.train(first, fm.seed("pretrain"))
        with written_whole(file) as partial:
            torch.save(model.state_dict(), partial)
    return dataclasses.replace(cell, pretrained=load_weights(file), digests={**cell.digests, "pretrained": name})


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help="Entries of experiments.yaml, or single runs: ENTRY/X.")
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="Show all runs and estimate their minutes.")] = False,
    params: ParamsOption = Path("params.yaml"),
) -> None:
    """Train one or more experiments of experiments.yaml.

    Writes results/experiments/ENTRY/RUN.csv, one row for each epoch with means
    over the seeds, and RUN.json, the setting and what made it. RUN is the x of
    a grid, else `run`. Finished runs are not trained again.
    """
    config, paths = load_params(params), Paths(params.parent)
    defaults, experiments = load_experiments(paths.root / "experiments.yaml")
    if not (names or show_list):
        raise ValueError("name an experiment of experiments.yaml; --list shows them all")
    entries = {name.partition("/")[0] for name in experiments}
    for name in names or []:
        one_of("experiment", name, experiments if "/" in name else entries)
    from pipelines.training.process import prepare_process

    prepare_process(1)  # one thread: seconds are for one core, and two experiments can run side by side
    if show_list:
        print(*plan(config, defaults, experiments, paths), sep="\n")
    for name in [each for name in names or [] for each in experiments if name in (each, each.partition("/")[0])]:
        table, origin = train(experiments[name], config, defaults, paths)
        folder = paths.root / "results" / "experiments"
        write_text(folder / f"{name}.csv", table.write_csv())
        write_json(folder / f"{name}.json", origin)
        best = table.row(by_predicate=pl.col("valid_rmse") == pl.col("valid_rmse").min(), named=True)
        print(f"{name}: valid rmse {best['valid_rmse']:.4f} in epoch {best['epoch']} of {table.height}", flush=True)


def train(
    experiment: Experiment, config: Params, defaults: Defaults, paths: Paths
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Train an experiment with each seed, and return its table and its origin.

    The table has one row for each epoch that all seeds reached: means over the seeds of seconds, train_loss and
    validation metrics, and the standard deviation of the RMSE (n − 1; null for one seed). The origin is the setting
    and what made it.
    """
    from pipelines.training.cell import fingerprint

    setting = setting_of(experiment, defaults, paths)
    cell = pretrained(load(experiment.model, experiment.dataset, config, paths), setting, config, paths)
    folder = paths.study(cell.dataset, cell.model) / f"experiment-{fingerprint(cell, {}, setting)}"
    files = [folder / f"seed-{seed}.json" for seed in range(experiment.num_seeds)]
    for seed, file in enumerate(files):
        if not file.exists():
            _, epochs = cell.train(setting, cell.seed("experiment", seed))
            write_json(file, {"epochs": [epoch.row() for epoch in epochs], "made_by": cell.made_by().model_dump()})
    runs = [read_record(file, dict[str, Any], f"rm {file}, then the experiment again") for file in files]
    origin = {"setting": setting, "made_by": runs[0]["made_by"]}
    return mean_by_epoch([run["epochs"] for run in runs]), origin


def mean_by_epoch(runs: list[list[dict[str, Any]]]) -> pl.DataFrame:
    """Average the rows of several runs by epoch."""
    rows = pl.DataFrame([row for run in runs for row in run])
    spread = pl.col("valid_rmse").std().alias("valid_rmse_std")
    means = rows.group_by("epoch", maintain_order=True).agg(pl.all().mean(), spread, pl.len().alias("num_seeds"))
    return means.filter(pl.col("num_seeds") == len(runs))


def plan(config: Params, defaults: Defaults, experiments: dict[str, Experiment], paths: Paths) -> list[str]:
    """Make a table of the experiments with the minutes of one core that each takes.

    Estimates minutes from one epoch of each model and data set, trained now and measured in processor time. Runs that
    several experiments share are counted once.
    """
    cells, seconds, settled, rows = {}, {}, set(), []
    for name, experiment in experiments.items():
        setting = setting_of(experiment, defaults, paths)
        place = (experiment.model, experiment.dataset)
        if place not in cells:
            cells[place] = load(*place, config, paths)
            start = time.process_time()
            cells[place].train(setting | {"training.pretrained": None, "training.max_epochs": 1}, seed=0)
            seconds[place] = time.process_time() - start
        wanted = {(*place, json.dumps(setting, sort_keys=True), seed) for seed in range(experiment.num_seeds)}
        new, settled = wanted - settled, settled | wanted
        minutes = len(new) * experiment.max_epochs * seconds[place] / 60
        rows.append((name, *place, experiment.max_epochs, experiment.num_seeds, seconds[place], minutes))
    head = ("experiment", "model", "data set", "epochs", "seeds", "s / epoch", "minutes")
    shown = ([*row[:5], f"{row[5]:.2f}", f"{row[6]:.1f}"] for row in rows)
    return [markdown_table(head, shown), "", f"{sum(row[6] for row in rows):.0f} minutes of one core in all"]


if __name__ == "__main__":
    run(main)
