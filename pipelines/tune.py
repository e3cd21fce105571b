"""Search the hyperparameters of one model on one data set."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.data.catalog import get_dataset
from pipelines.evaluation.results import Best, Declined
from pipelines.project import code
from pipelines.project.cli import DatasetOption, ModelOption, ParamsOption, run
from pipelines.project.files import noted_failure, write_text
from pipelines.project.metric import METRICS
from pipelines.project.params import load_params
from pipelines.project.paths import Paths
from pipelines.project.records import command, write_record


def main(
    model: ModelOption,
    dataset: DatasetOption,
    params: ParamsOption = Path("params.yaml"),
    retry: Annotated[bool, typer.Option("--retry", help="Run failed trials again first.")] = False,
) -> None:
    """Search the hyperparameters of one model on one data set.

    An interrupted search continues where it stopped. A trial that failed, but
    not for its setting, runs again when params, machine or versions change.

    Writes best.json and trials.csv in results/DATASET/MODEL/.
    """
    config, paths = load_params(params), Paths(params.parent)
    from models.registry import why_declined
    from pipelines.search import spaces, tuner
    from pipelines.search.journal import best_of, counted_trials, reasons_of_surroundings, trials_table
    from pipelines.training.cell import load_cell

    cell, folder = load_cell(model, dataset, config, paths), paths.results(dataset, model)
    if reason := why_declined(model, cell.schema["fields"], bool(cell.train_rows.bags)):
        write_text(folder / "trials.csv", "")
        write_record(folder / "best.json", Declined(model=model, dataset=dataset, declined=reason))
        print(f"{model} declines {dataset}: {reason}")
        return
    origin = cell.made_by()
    with noted_failure(paths.study(dataset, model)):
        family = get_dataset(dataset, paths.root).family
        studies = [
            tuner.search(cell, family, config, paths.study(dataset, model), retry, number)
            for number in range(config.tune.num_searches)
        ]
        code.check()
    metric, fixed = METRICS[config.training.metric], spaces.fixed_setting(model, config)
    study, trials = studies[0], counted_trials(studies[0], config.tune)
    trial, score = best_of(trials)
    others = []
    for other in studies[1:]:
        found, reached = best_of(counted_trials(other, config.tune))
        setting = {**fixed, **found.params}
        others.append(
            {"setting": setting, "valid": metric.score(reached), "trial": found.number, "study": other.study_name}
        )
    best = Best.model_validate(
        {
            "model": model,
            "dataset": dataset,
            "setting": {**fixed, **trial.params},
            f"valid_{metric.name}": metric.score(score),
            "metric": metric.name,
            "trial": trial.number,
            "num_trials": len(trials),
            "budget": {"num_trials": config.tune.num_trials, "time_budget_s": config.tune.time_budget_s},
            "seeds": {"root": config.seed},
            "study": study.study_name,
            "other_searches": others or None,
            "made_by": origin,
        }
    )
    write_text(folder / "trials.csv", trials_table(trials, metric).write_csv())
    write_record(folder / "best.json", best)
    print(f"{model} on {dataset}: best valid {metric.name} {metric.format(best.valid)} in trial {best.trial}")
    if others:
        reached = ", ".join(metric.format(other["valid"]) for other in others)
        print(f"{model} on {dataset}: other searches found {reached}")
    if failed := reasons_of_surroundings(trials):
        again = f"run {command('tune', model, dataset)} --retry to try failed trials again"
        what = f"{len(failed)} trials failed for another reason than their setting, the first with: {failed[0]}"
        print(f"{what}; {again}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
