"""Find the best factorization model for a data frame, and score other rows with it.

The functions do what the commands `describe`, `fit`, `bundle` and `predict` do, by the same code; docs/own-data.md
explains both.
"""

import hashlib
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Fit", "Model", "fit", "load"]


def fit(
    rows: Any,
    label: str = "",
    *,
    time_budget: str = "10m",
    models: Sequence[str] | None = None,
    metric: str = "auc",
    num_seeds: int = 3,
    num_trials: int | None = None,
    sample: int | None = None,
    name: str = "rows",
    folder: str | Path | None = None,
    **described: Any,
) -> "Fit":
    """Find the best model for a data frame within a time budget.

    rows: a frame of Polars or pandas, or what `polars.DataFrame` takes. The frame is only read.
    label: a column with two values, or a comparison such as `rating >= 4`; empty: guessed.
    time_budget: of all models together, such as 90s, 10m or 2h. The final runs are trained to their end.
    models: names; None: a choice of families. metric: decides searches and ranks.
    num_seeds: final runs of each model. num_trials: at most, of each search. sample: training rows of a trial.
    name: of the data set. folder: where data and results go; None: runs/NAME-DIGITS, of these arguments and rows.
    described: other keys of datasets/NAME.yaml, such as `split="order"`. Without `fields`, they are guessed.

    The same call goes on where one before was interrupted. Raises ValueError for wrong input.
    """
    from pipelines.fit import MODELS
    from pipelines.fit import fit as search
    from pipelines.project.files import file_digest, write_text

    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"name {name!r}: write letters, digits, _ and -")
    chosen = None if models is None else list(models)
    parent = Path(folder).parent if folder else Path("runs")
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".rows-") as scratch:
        file = Path(scratch, "rows.parquet")
        table_of(rows).write_parquet(file)
        text = describe(file, name, label, described)
        call = repr([text, file_digest(file), chosen or MODELS, metric, num_seeds, sample])
        digits = hashlib.sha256(call.encode()).hexdigest()[:8]
        root = Path(folder) if folder else parent / f"{name}-{digits}"
        write_text(root / "datasets" / f"{name}.yaml", text)
        file.replace(root / file.name)
    best = search(name, root, time_budget, chosen, metric, num_seeds, num_trials, sample)
    return Fit(name, root, best)


def load(folder: str | Path) -> "Model":
    """Read a bundle, as `save` and `factorbench bundle` write it."""
    return Model(Path(folder))


class Fit:
    """Hold what `fit` found: the leaderboard, and the models that can be kept."""

    def __init__(self, dataset: str, folder: Path, best: str) -> None:
        self.dataset, self.folder, self.best = dataset, folder, best  # no ensemble: that can't be kept
        self.leaderboard = board(folder)
        self.kept: dict[str, Model] = {}

    def __repr__(self) -> str:
        return f"Fit of {self.dataset} in {self.folder}: {self.best} is best"

    def model(self, name: str = "") -> "Model":
        """Keep the best final run of a model; without a name, of the best model."""
        from pipelines import bundle
        from pipelines.project.cli import one_of
        from pipelines.project.params import load_params
        from pipelines.project.paths import Paths

        chosen = one_of("model", name or self.best, load_params(self.folder / "params.yaml").models)
        if chosen not in self.kept:
            bundle.main(chosen, self.dataset, self.folder / "params.yaml")
            self.kept[chosen] = load(Paths(self.folder).bundle(self.dataset, chosen))
        return self.kept[chosen]

    def predict(self, rows: Any) -> "pl.Series":
        """Compute the probability of each row with the best model."""
        return self.model().predict(rows)

    def save(self, folder: str | Path) -> None:
        """Write the best model as a bundle."""
        self.model().save(folder)


class Model:
    """Score rows with a bundle; `about` is what bundle.json says."""

    def __init__(self, folder: Path) -> None:
        from pipelines.evaluation.bundles import read_bundle

        self.folder = folder
        self.about, self.module = read_bundle(folder)

    def __repr__(self) -> str:
        return f"Model({self.about.model!r} on {self.about.dataset!r} in {str(self.folder)!r})"

    def predict(self, rows: Any) -> "pl.Series":
        """Compute the probability of the label +1 of each row; rows need the fields' columns, not the label's."""
        import polars as pl

        from pipelines.data.tables import as_text, without
        from pipelines.predict import SCORE, score, with_sides

        table = without(as_text(table_of(rows)).lazy(), self.about.layout.missing)
        with_sides(table, self.about, self.folder, "the frame")  # says what the frame lacks
        scored = score(table, self.about, self.module, self.folder)
        return pl.concat([pl.Series(SCORE, [], dtype=pl.Float64), *(piece[SCORE] for piece in scored)])

    def save(self, folder: str | Path) -> None:
        """Copy the bundle."""
        from pipelines.evaluation.bundles import RECORD
        from pipelines.project.files import written_whole

        target = Path(folder)
        (target / RECORD).unlink(missing_ok=True)  # written last, so if it exists, all files exist
        for name in (*self.about.files, RECORD):
            with written_whole(target / name) as partial:
                shutil.copyfile(self.folder / name, partial)


def board(folder: Path) -> "pl.DataFrame":
    """Read the leaderboard of a folder: the best model first, and the deciding metric."""
    import polars as pl

    from pipelines.project.params import load_params
    from pipelines.reporting.board import columns

    rows = json.loads((folder / "results" / "leaderboard.json").read_text(encoding="utf-8"))
    table = pl.DataFrame(rows, infer_schema_length=None)
    shown = columns(rows, load_params(folder / "params.yaml"), all_metrics=True)
    names = [name for column in shown for name in (column, f"{column}_mean", f"{column}_std")]
    return table.select(name for name in names if name in table.columns)


def table_of(rows: Any) -> "pl.DataFrame":
    """Turn a data frame into one of Polars. Raises ValueError for anything else."""
    import polars as pl

    try:
        table = rows.collect() if isinstance(rows, pl.LazyFrame) else pl.DataFrame(rows)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise ValueError(f"rows are no data frame: {str(error).splitlines()[0]}") from error
    if objects := [name for name, kind in table.schema.items() if kind == pl.Object]:
        raise ValueError(f"column {objects[0]} holds Python objects: make them texts or numbers")
    return table.with_columns(pl.selectors.float().fill_nan(None))


def describe(file: Path, name: str, label: str, described: dict[str, Any]) -> str:
    """Write the YAML of a data set: a proposal, but for what is described."""
    from pipelines.data.findings import findings
    from pipelines.data.guessing import propose
    from pipelines.data.own import OwnDataset
    from pipelines.project.records import check, parse_yaml, yaml_text

    content = {"title": name, "label": label}
    table, notes = None, []
    if "fields" not in described:
        proposal, table = propose([file], name, label, file.parent)
        content, notes = parse_yaml(proposal.yaml()), proposal.notes
    content |= {**described, "format": "table", "files": [file.name]}
    dataset = check(OwnDataset, {**content, "name": name, "folder": file.parent}, "")
    if table is not None:
        print(*notes, *findings(table, dataset, seed=0), sep="\n", file=sys.stderr)
    return yaml_text(content)
