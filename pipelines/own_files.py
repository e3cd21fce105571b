"""List users' own files, which may be anywhere, for DVC."""

from pathlib import Path

from pipelines.data.catalog import get_dataset
from pipelines.data.own import OwnDataset
from pipelines.project.cli import ParamsOption, run
from pipelines.project.files import file_digest, write_json
from pipelines.project.params import load_params
from pipelines.project.paths import Paths


def main(params: ParamsOption = Path("params.yaml")) -> None:
    """List the own files of each data set, with their digests.

    A stage of DVC can't depend on the files that datasets/NAME.yaml names. It
    depends on these lists instead. A data set whose files can't be found is
    listed with the reason. Of other data sets, the list is empty.

    Writes data/own/DATASET.json.
    """
    paths = Paths(params.parent)
    for dataset in load_params(params).datasets:
        write_json(paths.own_files(dataset), list_files(dataset, params.parent))


def list_files(dataset: str, root: Path) -> dict[str, str]:
    """Map a data set's own files to their digests.

    Where they can't be found, `failed` says why.
    """
    try:
        described = get_dataset(dataset, root)
        files = described.own_files() if isinstance(described, OwnDataset) else []
    except ValueError as error:
        return {"failed": str(error)}
    return {str(file): file_digest(file) for file in files}


if __name__ == "__main__":
    run(main)
