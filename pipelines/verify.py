"""Run a submission again, and mark it verified if it reaches the same."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.data.catalog import get_dataset
from pipelines.evaluation.submissions import Figures, Submission, mark_verified, read_submission
from pipelines.project import code
from pipelines.project.cli import ParamsOption, run
from pipelines.project.metric import METRICS
from pipelines.project.params import load_params
from pipelines.project.paths import Paths

TOLERANCE = 1e-3  # relative, between a run and its repetition on another machine


def main(
    file: Annotated[Path, typer.Argument(help="A submission, such as results/submissions/NAME.json.")],
    params: ParamsOption = Path("params.yaml"),
) -> None:
    """Run a submission again, and mark it verified if it reaches the same.

    Trains the setting with each of its seeds, and tests each run once. The
    model's file must be in models/, and its data set prepared.

    Writes what the runs reached into FILE.
    """
    submission, config, paths = read_submission(file), load_params(params), Paths(params.parent)
    if submission.dataset not in config.datasets:
        raise ValueError(f"{file}: {params} has no data set {submission.dataset}; it has: {', '.join(config.datasets)}")
    from pipelines.data.rows import load_rows  # torch takes seconds to import
    from pipelines.evaluation.final_runs import final_seed
    from pipelines.project.settings import resolve
    from pipelines.training.cell import load_cell
    from pipelines.training.metrics import compute_metrics
    from pipelines.training.predicting import predict
    from pipelines.training.process import prepare_process
    from pipelines.training.start import num_params

    prepare_process()
    cell = load_cell(submission.model, submission.dataset, config, paths)
    group = get_dataset(submission.dataset, paths.root).group_place
    test_rows, found = load_rows(paths.processed(submission.dataset), "test", group), {}
    loss = resolve(submission.setting, cell.training)[1].loss
    for seed, figures in submission.seeds.items():
        model, _ = cell.train(submission.setting, final_seed(cell, int(seed)))
        if (number := num_params(model)) != submission.num_params:
            raise ValueError(f"{file}: num_params is {submission.num_params}, and the model has {number}")
        names = [name.removeprefix("test_") for name in figures]
        logits = predict(model, test_rows)
        reached = compute_metrics(logits, test_rows.labels, loss, names, test_rows.groups).named("test")
        check(file, submission, seed, reached)
        found[seed] = reached
        print(f"seed {seed}: the same, within {TOLERANCE:.1%}", flush=True)
    code.check()
    mark_verified(file, submission, found, cell.made_by())
    print(f"{file}: verified; `python -m pipelines.report` shows it")


def check(file: Path, submission: Submission, seed: str, reached: Figures) -> None:
    """Raise ValueError for a metric of a seed that a rerun does not reach."""
    for name, value in submission.seeds[seed].items():
        if abs(reached[name] - value) > TOLERANCE * abs(value):
            metric = METRICS[name.removeprefix("test_")]
            raise ValueError(
                f"{file}: not verified: seed {seed} has {name} {metric.format(value)}, and reached "
                f"{metric.format(reached[name])} when run again"
            )


if __name__ == "__main__":
    run(main)
