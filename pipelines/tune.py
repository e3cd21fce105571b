"""Search the hyperparameters of one model on one data set."""

from pathlib import Path

from pipelines.data.catalog import get_dataset
from pipelines.evaluation.results import Best, Declined
from pipelines.project.cli import DatasetOption, ModelOption, ParamsOption, run
from pipelines.project.files import write_text
from pipelines.project.metric import METRICS
from pipelines.project.params import load_params
from pipelines.project.paths import Paths
from pipelines.project.records import write_record


def main(model: ModelOption, dataset: DatasetOption, params: ParamsOption = Path("params.yaml")) -> None:
    """Search the hyperparameters of one model on one data set.

    An interrupted search continues where it stopped.

    Writes best.json and trials.csv in results/DATASET/MODEL/.
    """
    config, paths = load_params(params), Paths(params.parent)
    from models.registry import why_declined
    from pipelines.search import tuner
    from pipelines.search.journal import finished_trials, trials_table
    from pipelines.training.cell import load_cell

    cell, folder = load_cell(model, dataset, config, paths), paths.results(dataset, model)
    if reason := why_declined(model, cell.schema["fields"]):
        write_text(folder / "trials.csv", "")
        write_record(folder / "best.json", Declined(model=model, dataset=dataset, declined=reason))
        print(f"{model} declines {dataset}: {reason}")
        return
    origin = cell.made_by()
    study = tuner.search(cell, get_dataset(dataset).family, config, paths.study(dataset, model))
    metric, trial = METRICS[config.training.metric], study.best_trial
    best = Best.model_validate(
        {
            "model": model,
            "dataset": dataset,
            "setting": {**tuner.fixed_setting(model, config), **trial.params},
            f"valid_{metric.name}": metric.score(study.best_value),
            "metric": metric.name,
            "trial": trial.number,
            "num_trials": len(finished_trials(study)),
            "budget": {"num_trials": config.tune.num_trials, "time_budget_s": config.tune.time_budget_s},
            "seeds": {"root": config.seed},
            "study": study.study_name,
            "made_by": origin,
        }
    )
    write_text(folder / "trials.csv", trials_table(study, metric).write_csv())
    write_record(folder / "best.json", best)
    print(f"{model} on {dataset}: best valid {metric.name} {best.valid:.4f} in trial {best.trial}")


if __name__ == "__main__":
    run(main)
