"""Train the runs behind the paper's Figures 2 to 6 and the audit: each a model with one thing changed.

They are compared by validation rows; no test row is read. Run it in this folder: `python experiment.py NAME`.
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
import yaml
from pydantic import Field, PositiveInt, ValidationError

from pipelines.catalog import get_dataset
from pipelines.cli import ParamsOption, one_of, run
from pipelines.files import file_digest, write_json, write_text, written_whole
from pipelines.params import Params, Schema, explain, load_params
from pipelines.paths import Paths
from pipelines.reporting.tables import markdown_table
from search_spaces.shared import paper_setting


class Defaults(Schema):
    """What all experiments share, unless one says otherwise."""

    set: dict[str, Any] = Field(default={})  # keys model.* and training.*; a model leaves out defaults that it lacks
    max_epochs: PositiveInt
    patience: PositiveInt | None = None  # null: no early stopping
    num_seeds: PositiveInt = 1


class Experiment(Defaults):
    """One entry of experiments.yaml, with the defaults put in; `set` has its own keys alone."""

    figure: str
    label: str
    x: float | None = None  # its place on the figure's axis, where that is not the epoch
    model: str
    dataset: str
    start: str  # whence the rest of the setting: a best.json that a search has written, or a search space's PAPER


def load_experiments(path: Path) -> tuple[Defaults, dict[str, Experiment]]:
    """The defaults and the experiments by name. Raises ValueError that names file and key; OSError."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        defaults = Defaults.model_validate(content["defaults"])
    except ValidationError as error:
        raise ValueError(f"{path}: defaults.{explain(error, Defaults)}") from error
    shared, experiments = defaults.model_dump(exclude={"set"}), {}
    for name, entry in content["experiments"].items():
        try:
            experiments[name] = Experiment.model_validate(shared | entry)
        except ValidationError as error:
            raise ValueError(f"{path}: experiments.{name}.{explain(error, Experiment)}") from error
    return defaults, experiments


def start_setting(start: str, dataset: str, paths: Paths) -> dict[str, Any]:
    """The setting in a best.json or, for `../search_spaces/MODEL.py`, the paper's. Raises ValueError for neither."""
    file = paths.root / start
    if file.suffix == ".py":
        return paper_setting(file.stem, get_dataset(dataset).family)
    if not file.exists():
        raise ValueError(f"no {file}: run the search first, or start from ../search_spaces/{file.parent.name}.py")
    best = json.loads(file.read_text(encoding="utf-8"))
    if "setting" not in best:
        raise ValueError(f"{file} has no setting: {best.get('declined', 'it is no best.json')}")
    return best["setting"]


def setting_of(experiment: Experiment, defaults: Defaults, paths: Paths) -> dict[str, Any]:
    """Where the experiment starts, the defaults on top of it, and what it sets on top of both."""
    from models.registry import hyperparameters  # torch takes seconds to import

    shared = start_setting(experiment.start, experiment.dataset, paths) | defaults.set
    known = hyperparameters(experiment.model)
    fitting = {key: value for key, value in shared.items() if key.startswith("training.") or key[6:] in known}
    epochs = {
        "training.max_epochs": experiment.max_epochs,
        "training.patience": experiment.patience or experiment.max_epochs,
    }
    setting = fitting | epochs | experiment.set
    return (
        setting | {"training.pretrained": None} if setting.get("training.pretrained") == experiment.model else setting
    )


def load(model: str, dataset: str, config: Params, paths: Paths) -> Any:
    """The cell of a model, which starts from random embeddings."""
    from pipelines.cell import load_cell

    training = config.training.model_copy(update={"pretrained": None})
    return load_cell(model, dataset, config.model_copy(update={"training": training}), paths)


def pretrain_setting(setting: dict[str, Any], config: Params) -> dict[str, Any]:
    """The setting of the FM whose embeddings a run starts from; empty where the run's has no `training.pretrained`.

    That of `pretrain` in params.yaml, with the sizes and the epochs of the experiments: the FM that the stage
    `pretrain` has written is of another size.
    """
    if setting.get("training.pretrained") is None:
        return {}
    own = {f"{part}.{key}": value for part, values in config.pretrain for key, value in values.items()}
    shared = ("model.embed_dim", "training.batch_size", "training.max_epochs", "training.patience")
    return own | {key: setting[key] for key in shared}


def pretrained(cell: Any, setting: dict[str, Any], config: Params, paths: Paths) -> Any:
    """The cell that starts from the FM that `pretrain_setting` tells of, which is trained if no experiment has done so;
    the cell itself where there is nothing to start from."""
    from pipelines.cell import load_weights
    from pipelines.study import fingerprint

    first = pretrain_setting(setting, config)
    if not first:
        return cell
    fm = load("fm", cell.dataset, config, paths)
    file = paths.study(cell.dataset, "fm") / f"experiment-{fingerprint(fm, {}, first)}.pt"
    if not file.exists():
        import torch

        model, epochs = fm.start(first, "pretrain")
        list(epochs)
        with written_whole(file) as partial:
            torch.save(model.state_dict(), partial)
    digests = {**cell.digests, "pretrained": file_digest(file)}
    return dataclasses.replace(cell, pretrained=load_weights(file), digests=digests)


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Experiments of experiments.yaml.")] = None,
    show_list: Annotated[bool, typer.Option("--list", help="Show all, with the minutes that they take.")] = False,
    params: ParamsOption = Path("params.yaml"),
) -> None:
    """Train one or more experiments of experiments.yaml; a run that an interrupted or another one has done is kept.

    Writes results/experiments/NAME.csv: a row an epoch, with means over the seeds.
    """
    config, paths = load_params(params), Paths(params.parent)
    defaults, experiments = load_experiments(paths.root / "experiments.yaml")
    if not (names or show_list):
        raise ValueError("name an experiment of experiments.yaml; --list shows them all")
    for name in names or []:
        one_of("experiment", name, experiments)
    import torch

    torch.set_num_threads(1)  # so that seconds are those of one core, and two experiments can run side by side
    if show_list:
        print(*plan(config, defaults, experiments, paths), sep="\n")
    for name in names or []:
        table = train(experiments[name], config, defaults, paths)
        write_text(paths.root / "results" / "experiments" / f"{name}.csv", table.write_csv())
        best = table.row(by_predicate=pl.col("valid_rmse") == pl.col("valid_rmse").min(), named=True)
        print(f"{name}: valid rmse {best['valid_rmse']:.4f} in epoch {best['epoch']} of {table.height}", flush=True)


def train(experiment: Experiment, config: Params, defaults: Defaults, paths: Paths) -> pl.DataFrame:
    """A row an epoch: seconds, train_loss and validation metrics, means over the seeds, and the standard deviation of
    the RMSE (n − 1; none with one seed). Epochs that not all seeds have reached are left out."""
    from pipelines.study import fingerprint

    setting = setting_of(experiment, defaults, paths)
    cell = pretrained(load(experiment.model, experiment.dataset, config, paths), setting, config, paths)
    folder = paths.study(cell.dataset, cell.model) / f"experiment-{fingerprint(cell, {}, setting)}"
    files = [folder / f"seed-{seed}.json" for seed in range(experiment.num_seeds)]
    for seed, file in enumerate(files):
        if not file.exists():
            _, epochs = cell.start(setting, "experiment", seed)
            write_json(file, [epoch.row() for epoch in epochs])
    return mean_by_epoch([json.loads(file.read_text(encoding="utf-8")) for file in files])


def mean_by_epoch(runs: list[list[dict[str, Any]]]) -> pl.DataFrame:
    """One table of several runs' rows."""
    rows = pl.DataFrame([row for run in runs for row in run])
    spread = pl.col("valid_rmse").std().alias("valid_rmse_std")
    means = rows.group_by("epoch", maintain_order=True).agg(pl.all().mean(), spread, pl.len().alias("num_seeds"))
    return means.filter(pl.col("num_seeds") == len(runs))


def plan(config: Params, defaults: Defaults, experiments: dict[str, Experiment], paths: Paths) -> list[str]:
    """A table of the experiments, and the minutes of one core that they take by one epoch a model and data set,
    measured now in processor time. What several share is counted once."""
    cells, seconds, settled, rows = {}, {}, set(), []
    for name, experiment in experiments.items():
        setting = setting_of(experiment, defaults, paths)
        place = (experiment.model, experiment.dataset)
        if place not in cells:
            cells[place] = load(*place, config, paths)
            _, epochs = cells[place].start(setting | {"training.pretrained": None}, "plan")
            start = time.process_time()
            next(epochs)
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
