"""Score rows with a bundle."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.project.cli import note, run
from pipelines.project.files import written_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import polars as pl
    from torch import Tensor, nn

    from pipelines.evaluation.bundles import Bundle

PIECE = 1 << 16  # rows that are scored at a time
SCORE = "probability"


def main(
    rows: Annotated[str, typer.Argument(help="File with the columns of the fields; - for CSV from standard input.")],
    bundle: Annotated[Path, typer.Option(help="Folder that `factorbench bundle` wrote.")],
    out: Annotated[Path, typer.Option(help="File to write: .parquet, else CSV.")],
    keep: Annotated[str | None, typer.Option(help="Columns to copy, separated by commas; otherwise all.")] = None,
    prior: Annotated[
        float | None, typer.Option(help="Share of positives among the rows, where training had another.")
    ] = None,
) -> None:
    """Score rows with a bundle: the probability of the label +1.

    Reads what `prepare` reads, and encodes it the same way. Columns of your
    side tables that rows lack are joined by key. Rows keep their order.
    Values that training did not know are treated as rare ones, or left out
    where the data set has no feature for these.

    Where negatives were drawn, training rows have more positives than there
    are: --prior says how many there are, and corrects the probabilities.
    """
    import polars as pl  # and torch take seconds to import
    from polars.io.plugins import register_io_source

    from pipelines.data.columns import column_of
    from pipelines.data.fresh import sources_of
    from pipelines.data.own import OwnDataset
    from pipelines.data.tables import scan_fresh, store
    from pipelines.evaluation.bundles import read_bundle

    kept, model = read_bundle(bundle)
    if prior is not None:
        rates_of(kept, prior)  # says what is wrong with it before any row is read
    with tempfile.TemporaryDirectory(prefix="factorbench-") as scratch:
        file = Path(rows)
        if rows == "-":
            file = Path(scratch, "standard input.csv")
            with file.open("wb") as copy:
                shutil.copyfileobj(sys.stdin.buffer, copy)
        table, layout = scan_fresh(file, kept.layout)
        columns = table.collect_schema().names()
        known = with_sides(table, kept, bundle, file.name).collect_schema().names()
        needed = [
            column_of(f"column of field {field!r} in {file.name}", source, known)
            for field, source in sources_of(kept.fields, kept.fitted).items()
        ]
        copied = columns if keep is None else [column.strip() for column in keep.split(",") if column.strip()]
        for column in copied:
            column_of(f"column of --keep in {file.name}", column, columns)
        stored = store(table, file, layout, Path(scratch, "rows.parquet"), row_group_size=PIECE)
        shown = [*dict.fromkeys(column for column in copied if column != SCORE), SCORE]
        scores: list[tuple[int, float]] = []  # of each piece: how many, and their sum

        def scored(*_: object) -> "Iterator[pl.DataFrame]":
            for piece in score(stored, kept, model, bundle, prior, dict.fromkeys([*needed, *copied])):
                scores.append((piece.height, float(piece[SCORE].sum())))
                yield piece.select(shown)

        schema = {column: pl.Float64 if column == SCORE else pl.String for column in shown}
        write(register_io_source(scored, schema=schema), out)
    if kept.licence != OwnDataset.model_fields["licence"].default:
        note(f"the data of {kept.dataset} has a licence: {kept.licence}")
    num_rows, total = map(sum, zip((0, 0.0), *scores, strict=True))
    print(f"{out}: {num_rows:,} rows scored with {kept.model}, on average {total / max(1, num_rows):.4f}")


def with_sides(table: "pl.LazyFrame", kept: "Bundle", bundle: Path, file: str = "") -> "pl.LazyFrame":
    """Add the columns of a bundle's side tables that rows lack.

    Rows that lack the key, too, are left as they are, or with `file` raise a ValueError that names it.
    """
    import polars as pl

    from pipelines.data.tables import join_side

    for name, key in kept.sides.items():
        side, columns = pl.read_parquet(bundle / name), table.collect_schema().names()
        lacking = [column for column in side.columns if column != key and column not in columns]
        if lacking and key not in columns and file:
            raise ValueError(f"{file} needs the column {key}, by which a side table is joined, or {', '.join(lacking)}")
        table = join_side(table, side.select(key, *lacking), key) if lacking and key in columns else table
    return table


def score(
    table: "pl.LazyFrame",
    kept: "Bundle",
    model: "nn.Module",
    bundle: Path,
    prior: float | None = None,
    columns: "Iterable[str] | None" = None,
) -> "Iterator[pl.DataFrame]":
    """Compute the probability of each row. Yields some rows at a time: all columns or those named, and the score."""
    import polars as pl
    from rich.console import Console
    from rich.progress import track

    from pipelines.data.fresh import encode_fresh
    from pipelines.evaluation.bundles import probabilities, read_vocabulary
    from pipelines.training.predicting import predict

    vocabulary = read_vocabulary(bundle, kept)
    num_rows = table.select(pl.len()).collect().item()
    for start in track(range(0, num_rows, PIECE), "rows", console=Console(stderr=True)):
        rows = with_sides(table.slice(start, PIECE), kept, bundle)
        piece = (rows if columns is None else rows.select(*columns)).collect()
        try:
            encoded = encode_fresh(piece, kept.fields, kept.fitted, vocabulary)
        except ValueError as error:
            raise ValueError(f"after the first {start:,} rows: {error}" if start else str(error)) from error
        found = corrected(probabilities(predict(model, encoded).double(), kept.loss, kept.calibration), kept, prior)
        yield piece.with_columns(pl.Series(SCORE, found.numpy(), dtype=pl.Float64))


def corrected(probabilities: "Tensor", kept: "Bundle", prior: float | None) -> "Tensor":
    """Correct probabilities for a share of positives. Raises ValueError as `rates_of` does."""
    from pipelines.evaluation.calibration import with_prior

    return probabilities if prior is None else with_prior(probabilities, *rates_of(kept, prior))


def rates_of(kept: "Bundle", prior: float) -> tuple[float, float]:
    """Return the shares of positives that probabilities are of, and are corrected for.

    Raises ValueError for a bundle that doesn't know its own, and for a prior that is no share.
    """
    if not 0 < prior < 1:
        raise ValueError(f"--prior {prior}: write the share of positives, a number between 0 and 1")
    rate = kept.calibration.rate if kept.calibration else kept.rate
    if rate is None:
        raise ValueError("--prior: the bundle does not say which share of its rows is positive; bundle the model again")
    return rate, prior


def write(table: "pl.LazyFrame", out: Path) -> None:
    """Write scored rows as the name of the file says."""
    with written_whole(out) as partial:
        (table.sink_parquet if out.suffix == ".parquet" else table.sink_csv)(partial, engine="streaming")


if __name__ == "__main__":
    run(main)
