"""Encode a data set, draw negatives and split the rows."""

from pathlib import Path

from pipelines.data.card import read_card
from pipelines.data.catalog import get_dataset
from pipelines.data.prepared import prepare
from pipelines.project.cli import DatasetOption, ParamsOption, run
from pipelines.project.params import load_params
from pipelines.project.paths import Paths


def main(dataset: DatasetOption, params: ParamsOption = Path("params.yaml")) -> None:
    """Encode a data set, draw negatives and split the rows.

    Writes data/processed/DATASET and results/DATASET/card.json. A data set
    that comes with negatives and splits keeps them.
    """
    paths = Paths(params.parent)
    schema = prepare(get_dataset(dataset, params.parent), load_params(params), paths)
    rows = schema["num_rows"]
    print(
        f"{dataset}: {rows['train']:,} train, {rows['valid']:,} valid and {rows['test']:,} test rows "
        f"of {schema['num_features']:,} features in {paths.processed(dataset)}"
    )
    card = read_card(paths, dataset)
    assert card
    pairs = card.known_pairs
    for name, found in (("positives", pairs.positives), ("negatives", pairs.negatives)):
        print(f"{found.known:,} of {found.rows:,} test {name} have the {pairs.pair} of a training positive")
    if card.counting:
        print(card.counting)


if __name__ == "__main__":
    run(main)
