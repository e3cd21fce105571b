"""Retrain the best setting of a model with several seeds, and test each run once."""

from pathlib import Path

from pipelines.data.catalog import get_dataset
from pipelines.evaluation.results import Best, check_metric, read_best
from pipelines.project import code
from pipelines.project.cli import DatasetOption, ModelOption, ParamsOption, run
from pipelines.project.files import noted_failure, write_text
from pipelines.project.params import load_params
from pipelines.project.paths import Paths
from pipelines.project.records import write_record


def main(model: ModelOption, dataset: DatasetOption, params: ParamsOption = Path("params.yaml")) -> None:
    """Retrain the best setting with several seeds, and test each run once.

    `evaluate.num_seeds` runs train in parallel, for each of
    `tune.num_searches`. Each is tested at its best validation epoch. Finished
    runs are not trained again.

    Writes metrics.json, curves.csv and resamples.csv in
    results/DATASET/MODEL/; with `evaluate.keep`, also the runs' predictions in
    predictions/DATASET/MODEL/.
    """
    config, paths = load_params(params), Paths(params.parent)
    from pipelines.data.rows import load_rows
    from pipelines.evaluation import final_runs
    from pipelines.evaluation.predictions import copy_predictions
    from pipelines.training.cell import check_groups, load_cell

    cell, folder = load_cell(model, dataset, config, paths), paths.results(dataset, model)
    best, runs, others = read_best(folder, model, dataset), [], []
    if isinstance(best, Best):
        check_metric(best, config.training.metric)
        described = get_dataset(dataset, paths.root)
        test_rows = load_rows(paths.processed(dataset), "test", described.group_place)
        check_groups(described, config.training.metric, "test", test_rows)
        with noted_failure(paths.study(dataset, model)):
            settings = [best.setting, *(other.setting for other in best.other_searches or ())]
            runs, *others = (
                final_runs.run_seeds(cell, test_rows, setting, config, paths.study(dataset, model))
                for setting in settings
            )
            code.check()
        if config.evaluate.keep:
            files = final_runs.run_files(cell, best.setting, config, paths.study(dataset, model)).values()
            copy_predictions(map(final_runs.kept_of, files), paths.predictions(dataset, model))
    write_text(folder / "curves.csv", final_runs.curves(runs).write_csv())
    write_text(folder / "resamples.csv", final_runs.resamples(runs).write_csv())
    write_record(folder / "metrics.json", final_runs.summary(runs, config.training.metric, others))
    print(f"{model} on {dataset}: {final_runs.headline(runs, config.training.metric)}")


if __name__ == "__main__":
    run(main)
