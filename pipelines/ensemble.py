"""Average the final runs of a data set, over seeds and over models."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.data.catalog import get_dataset
from pipelines.evaluation.results import Best, Mixture, Mixtures, check_metric, read_best, read_summary
from pipelines.project.cli import DatasetOption, ParamsOption, note, one_of, run
from pipelines.project.files import file_digest
from pipelines.project.metric import METRICS
from pipelines.project.params import Params, load_params
from pipelines.project.paths import Paths
from pipelines.project.records import Missing, command, read_record, write_record

TOLERANCE = 1e-4  # relative, between metrics.json and what the kept predictions reach


def main(
    dataset: DatasetOption,
    params: ParamsOption = Path("params.yaml"),
    default: Annotated[
        bool, typer.Option("--default", help="Also train the best model with the paper's setting.")
    ] = False,
) -> None:
    """Average the final runs of a data set, over seeds and over models.

    Needs the predictions that `evaluate` keeps with `evaluate.keep: true`.
    The runs of an ensemble over models are chosen on validation rows.
    Each mean is tested once. Nothing is trained without --default.

    Writes results/ensembles/DATASET.json, whose rows the leaderboard shows.
    The file stays as it is where runs that it is of have no predictions here.
    """
    config, paths = load_params(params), Paths(params.parent)
    one_of("data set", dataset, config.datasets)
    from pipelines.data.rows import load_rows  # torch takes seconds to import
    from pipelines.evaluation import ensembles
    from pipelines.training.metrics import after_epoch, defined

    metric, entry = METRICS[config.training.metric], get_dataset(dataset, paths.root)
    splits = {
        split: load_rows(paths.processed(dataset), split, entry.group_place) for split in ("valid", "test")
    }  # test rows are read for metrics alone
    rows = {
        split: (each.labels.double().numpy(), None if each.groups is None else each.groups.numpy())
        for split, each in splits.items()
    }
    members, left_out, trials = [], {}, {}
    for model in config.models:
        try:
            found, trials[model] = read_members(config, paths, dataset, model, rows["valid"])
            members += found
        except Missing as error:
            left_out[model] = str(error)
    if kept := of_same_runs(paths, dataset, metric.name, left_out):
        note(f"{paths.ensembles(dataset)} stays as it is: it has {', '.join(kept)}, of which there are no predictions")
        return
    if not members:
        reason = next(iter(left_out.values()), "no model has final runs")
        raise ValueError(f"no predictions of {dataset} ({reason}); set evaluate.keep to true in {params} before")
    test = splits["test"]
    metrics = {"valid": after_epoch(metric.name), "test": defined(test.labels, test.groups)}
    by_model = {model: [member for member in members if member.model == model] for model in trials}
    mixtures = [
        ensembles.mixture(f"{model}, mean of {len(runs)} seeds", "seeds", runs, rows, metrics, trials[model])
        for model, runs in by_model.items()
        if len({run.logits["valid"].tobytes() for run in runs}) > 1  # in closed form, all seeds are the same
    ]
    chosen = ensembles.greedy(ensembles.alike(members), rows["valid"][0], metric, rows["valid"][1])
    if (runs := len({member.name for member in chosen})) > 1:  # one alone has a row already
        mixtures.append(
            ensembles.mixture(f"ensemble of {runs} runs", "models", chosen, rows, metrics, sum(trials.values()))
        )
    if default:
        mixtures.append(train_default(config, paths, dataset, list(trials), test))
    record = Mixtures(
        dataset=dataset,
        metric=metric.name,
        mixtures=mixtures,
        of={model: file_digest(paths.results(dataset, model) / "metrics.json") for model in trials},
        left_out=left_out,
    )
    write_record(paths.ensembles(dataset), record)
    for each in mixtures:
        print(f"{dataset}: {each.name}: test {metric.title} {metric.format(each.test[metric.name])}")
    for reason in left_out.values():
        note(reason)


def read_members(config: Params, paths: Paths, dataset: str, model: str, valid: Any) -> tuple[list[Any], int]:
    """Read the final runs of a model, and count its trials.

    There are none where it declines the data set. Raises Missing where predictions are not kept, and ValueError for
    those of other runs than in metrics.json.
    """
    from pipelines.evaluation.ensembles import Member, mean_of
    from pipelines.evaluation.predictions import read_predictions
    from pipelines.project.settings import resolve

    folder, again = paths.results(dataset, model), command("evaluate", model, dataset)
    best, summary = read_best(folder, model, dataset), read_summary(folder, model, dataset)
    if not isinstance(best, Best):
        return [], 0
    check_metric(best, config.training.metric)
    metric, loss = METRICS[best.metric], resolve(best.setting, config.training)[1].loss
    members = []
    for seed, figures in summary.seeds.items():
        file = paths.predictions(dataset, model) / f"seed-{seed}.npz"
        logits = read_predictions(file, again)
        member = Member(model, int(seed), logits, loss, summary.num_params or 0, figures.seconds_per_epoch)
        expected = figures.figures()[f"valid_{metric.name}"]
        reached = metric.value(mean_of([member], "valid", *valid)) if len(logits["valid"]) == len(valid[0]) else 0
        if abs(reached - expected) > TOLERANCE * abs(expected):
            raise ValueError(f"{file} is of another run than {folder / 'metrics.json'}: run {again}")
        members.append(member)
    return members, best.num_trials


def of_same_runs(paths: Paths, dataset: str, metric: str, models: Iterable[str]) -> list[str]:
    """List which of these models the present ensembles have, with the final runs of today."""
    try:
        record = read_record(paths.ensembles(dataset), Mixtures, "")
    except ValueError:
        return []
    files = {model: paths.results(dataset, model) / "metrics.json" for model in models if model in record.of}
    if record.metric != metric:
        return []
    return [model for model, file in files.items() if file.exists() and file_digest(file) == record.of[model]]


def train_default(config: Params, paths: Paths, dataset: str, models: list[str], test_rows: Any) -> Mixture:
    """Train the best model on validation rows with the paper's setting.

    Each seed is tested once. Where the search chose this setting, its final runs are taken.
    """
    from pipelines.evaluation import final_runs
    from pipelines.project.settings import resolve
    from pipelines.search.spaces import fixed_setting
    from pipelines.training.cell import load_cell
    from search_spaces.shared import paper_setting

    metric = METRICS[config.training.metric]
    valid = {
        model: read_summary(paths.results(dataset, model), model, dataset).mean(f"valid_{metric.name}")
        for model in models
    }
    model = min(
        (model for model in models if valid[model] is not None), key=lambda name: metric.score(valid[name] or 0)
    )
    setting = {**paper_setting(model, get_dataset(dataset, paths.root).family), **fixed_setting(model, config)}
    best = read_best(paths.results(dataset, model), model, dataset)
    if isinstance(best, Best) and resolve(best.setting, config.training) == resolve(setting, config.training):
        setting = best.setting  # the search found nothing better: its final runs are these
    runs = final_runs.run_seeds(
        load_cell(model, dataset, config, paths), test_rows, setting, config, paths.study(dataset, model)
    )
    found = final_runs.summary(runs, metric.name)
    means = {name: found.mean(name) for name in runs[0].test}
    return Mixture(
        name=f"{model}, paper's setting",
        kind="default",
        members={f"{model} {seed}": 1 for seed in found.seeds},
        valid={metric.name: found.mean(f"valid_{metric.name}") or 0.0},
        test={name.removeprefix("test_"): value for name, value in means.items() if value is not None},
        spread={name.removeprefix("test_"): std for name in means if (std := found.std(name)) is not None},
        num_params=found.num_params or 0,
        seconds_per_epoch=found.mean("seconds_per_epoch") or 0.0,
        num_trials=1,
    )


if __name__ == "__main__":
    run(main)
