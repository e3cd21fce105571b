"""Find the values of a field that a bundle's model ranks highest in a context."""

import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.project.cli import ParamsOption, note, one_of, run
from pipelines.project.paths import Paths
from pipelines.project.records import Missing

if TYPE_CHECKING:
    import polars as pl

    from pipelines.data.rows import Rows
    from pipelines.evaluation.bundles import Bundle


def main(
    bundle: Annotated[Path, typer.Option(help="Folder that `factorbench bundle` wrote.")],
    context: Annotated[list[str] | None, typer.Argument(help="COLUMN=VALUE of what is known.")] = None,
    field: Annotated[str | None, typer.Option(help="Field to fill in; otherwise that which negatives replace.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Number of values for each context.")] = 10,
    rows: Annotated[Path | None, typer.Option(help="File with a context in each row, instead of COLUMN=VALUE.")] = None,
    candidates: Annotated[
        Path | None, typer.Option(help="File with the values to choose from, and columns that follow them.")
    ] = None,
    given: Annotated[
        str | None, typer.Option(help="Fields such as users, that know values; otherwise those that negatives keep.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write, .parquet, else CSV; otherwise prints.")] = None,
    params: ParamsOption = Path("params.yaml"),
) -> None:
    """Find the values of a field that a model ranks highest, of all there are.

    Leaves out values that training rows of the same user have, where the
    prepared data is at hand. Columns of the bundle's side tables are joined by
    key; other columns without a value are taken as missing.
    """
    import polars as pl  # and torch take seconds to import

    from pipelines.data.columns import column_of
    from pipelines.data.fresh import sources_of
    from pipelines.data.tables import read_fresh
    from pipelines.evaluation.bundles import probabilities, read_bundle, read_vocabulary
    from pipelines.evaluation.candidates import Ranker
    from pipelines.predict import with_sides, write

    if bool(context) == (rows is not None):
        raise ValueError("write what is known as COLUMN=VALUE, or name a file: --rows FILE")
    kept, model = read_bundle(bundle)
    field = field_to_fill(kept, field)
    sources = sources_of(kept.fields, kept.fitted)
    contexts = read_fresh(rows, kept.layout) if rows else table_of(context or [], [*sources.values()])
    vocabulary = read_vocabulary(bundle, kept)
    contexts = with_sides(contexts.lazy(), kept, bundle).collect()
    items = side_of(kept, bundle, sources[field], field, vocabulary)
    if candidates:
        items = read_fresh(candidates, kept.layout)
        column_of(f"column of field {field!r} in {candidates.name}", sources[field], items.columns)
        items = items.select(column for column in items.columns if column in sources.values()).drop_nulls(
            sources[field]
        )
        items = items.unique(sources[field], keep="first", maintain_order=True)
    there = {*contexts.columns, *(items.columns if items is not None else []), sources[field]}
    if absent := {column for column in sources.values() if column not in there}:
        note(f"no value for {', '.join(sorted(absent))}: taken as missing")
    by = [one_of("field of --given", name.strip(), kept.fields) for name in given.split(",")] if given else kept.given
    train = known_rows(kept, Paths(params.parent), by)
    ranker = Ranker(kept, model, vocabulary, field, items, train, by, only_positives=bool(kept.replace))
    if not contexts.height:
        raise ValueError(f"{rows} has no row")
    ranker.rank(contexts[0], top)  # the first takes longer, as it loads what it needs
    parts, seconds = [], []
    for number in range(contexts.height):
        start = time.perf_counter()
        values, logits = ranker.rank(contexts[number], top)
        seconds.append(time.perf_counter() - start)
        found = probabilities(logits.double(), kept.loss, kept.calibration)
        ranks = pl.DataFrame({"row": number + 1, "rank": range(1, len(values) + 1)})
        parts.append(ranks.with_columns(values.alias(field), pl.Series("probability", found.numpy())))
    table = pl.concat(parts)
    if out:
        write(table.lazy(), out)
    else:
        print(table.write_csv(float_precision=4), end="")
    number = len(ranker.features) if items is None else items.height
    note(f"{number:,} values of {field} ranked in {1000 * statistics.median(seconds):.1f} ms a context")


def field_to_fill(kept: "Bundle", field: str | None) -> str:
    """Return the field to recommend. Raises ValueError for one without names of values."""
    if not (field or kept.replace):
        raise ValueError(f"--field: name the field to fill in; choose one of: {', '.join(kept.fields)}")
    field = one_of("field", field or kept.replace, kept.fields)
    column = kept.fitted[field].column if field in kept.fitted else None
    if column and (column.kind != "category" or column.hash):
        what = "has hashed values" if column.hash else f"is a {column.kind}"
        raise ValueError(f"--field {field}: it {what}; only a category with a vocabulary can be recommended")
    return field


def table_of(context: list[str], columns: list[str]) -> "pl.DataFrame":
    """Read COLUMN=VALUE as a table of one row. Raises ValueError for another text or an unknown column."""
    import polars as pl

    cells = {}
    for text in context:
        column, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{text!r}: write COLUMN=VALUE")
        cells[one_of("column", column, columns)] = value
    return pl.DataFrame({column: [value or None] for column, value in cells.items()}, dict.fromkeys(cells, pl.String))


def side_of(kept: "Bundle", bundle: Path, column: str, field: str, vocabulary: "pl.DataFrame") -> "pl.DataFrame | None":
    """Return the side table of the values that the model knows of a field.

    None without one.
    """
    import polars as pl

    known = vocabulary.filter(pl.col("field") == field)["raw_value"]
    for name, key in kept.sides.items():
        if key == column:
            return pl.read_parquet(bundle / name).filter(pl.col(key).is_in(known.implode()))
    return None


def known_rows(kept: "Bundle", paths: Paths, given: list[str]) -> "Rows | None":
    """Load the training rows, which say what is known; None, with a note, where they can't say it."""
    from pipelines.evaluation.bundles import prepared_rows

    if not given:
        note("known values are not left out, as the bundle does not say whose they are: --given FIELD")
        return None
    try:
        return prepared_rows(kept, paths, "train")
    except Missing as error:
        note(f"known values are not left out: {error}")
        return None


if __name__ == "__main__":
    run(main)
