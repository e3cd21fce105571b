"""Encode a data set, draw negatives and split the rows."""

from pathlib import Path

from pipelines.data.catalog import get_dataset
from pipelines.data.prepared import prepare
from pipelines.project.cli import DatasetOption, ParamsOption, run
from pipelines.project.params import load_params
from pipelines.project.paths import Paths


def main(dataset: DatasetOption, params: ParamsOption = Path("params.yaml")) -> None:
    """Encode a data set, draw negatives and split the rows.

    Writes data/processed/DATASET. A data set that comes with negatives and
    splits keeps them.
    """
    schema = prepare(get_dataset(dataset, params.parent), load_params(params), Paths(params.parent))
    rows = schema["num_rows"]
    print(
        f"{dataset}: {rows['train']:,} train, {rows['valid']:,} valid and {rows['test']:,} test rows "
        f"of {schema['num_features']:,} features in {Paths(params.parent).processed(dataset)}"
    )


if __name__ == "__main__":
    run(main)
