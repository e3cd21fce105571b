"""Show which fields, pairs of fields and values a bundle's model relies on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.project.cli import ParamsOption, note, one_of, run
from pipelines.project.files import write_text, written_whole
from pipelines.project.metric import METRICS
from pipelines.project.paths import Paths
from pipelines.project.seeds import seed_for

if TYPE_CHECKING:
    import polars as pl

ROWS_METRICS = [name for name, metric in METRICS.items() if not metric.by_group]
SHOWN = 20  # rows of a table
DRAWN = 200  # values of each field in the picture of embeddings


def main(
    bundle: Annotated[Path, typer.Option(help="Folder that `factorbench bundle` wrote.")],
    neighbours: Annotated[str | None, typer.Option(help="FIELD=VALUE: show only the values nearest to it.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Number of neighbours.")] = 10,
    metric: Annotated[str, typer.Option(help=f"Of fields: {', '.join(ROWS_METRICS)}.")] = "auc",
    repeats: Annotated[int, typer.Option(min=1, help="How often the features of a field are exchanged.")] = 5,
    out: Annotated[Path | None, typer.Option(help="Folder to write; otherwise explained in the bundle.")] = None,
    params: ParamsOption = Path("params.yaml"),
) -> None:
    """Show which fields, pairs of fields and values a model relies on.

    Writes fields.csv, how much worse the metric gets if validation rows
    exchange their features of a field; embeddings.parquet, with names; of
    ifm, ifm_full and deepifm pairs.csv, three measures of each pair of
    fields; and a picture of each. No test row is read.
    """
    from pipelines.evaluation import importance  # torch takes seconds to import
    from pipelines.evaluation.bundles import prepared_rows, read_bundle, read_vocabulary
    from pipelines.reporting import charts

    one_of("metric", metric, ROWS_METRICS)
    kept, model = read_bundle(bundle)
    vocabulary, folder = read_vocabulary(bundle, kept), out or bundle / "explained"
    of_model = f"{kept.model} on {kept.dataset}"
    if neighbours is not None:
        field, equals, value = neighbours.partition("=")
        if not equals:
            raise ValueError(f"--neighbours {neighbours}: write FIELD=VALUE")
        vectors = importance.embeddings(model, vocabulary, kept.fields)
        found = importance.neighbours(vectors, one_of("field", field, kept.fields), value, top)
        bars = {each: (cosine, 0.0) for each, cosine in found.iter_rows()}
        title = f"Nearest to {field} {value}: {of_model}"
        if bars:
            charts.save(charts.bar_chart(bars, title, "cosine of the embeddings"), folder / "neighbours.svg", title)
        show(found, folder / "neighbours.csv")
        return
    rows = prepared_rows(kept, Paths(params.parent), "valid")
    seed = seed_for(kept.seed, "explain", kept.dataset, kept.model)
    table = importance.permute_fields(model, rows, kept.fields, kept.loss, metric, repeats, seed)
    title = f"Importance of the fields: {of_model}"
    x = f"how much worse the validation {METRICS[metric].title} gets"
    bars = {field: (mean, std) for field, mean, std in table.iter_rows()}
    charts.save(charts.bar_chart(bars, title, x), folder / "fields.svg", title)
    show(table, folder / "fields.csv")
    if kept.model in importance.WITH_PAIRS:
        pairs = importance.measure_pairs(model, rows, kept.fields)
        names = list(pairs.select("i", "j").iter_rows())
        measures = {title: dict(zip(names, pairs[measure], strict=True)) for measure, title in charts.MEASURES.items()}
        chart = charts.importance_chart(measures, {pair for pair in names if kept.replace in pair})
        charts.save(chart, folder / "pairs.svg", f"Importance of the pairs of fields: {of_model}")
        show(pairs.sort("product", descending=True), folder / "pairs.csv")
    try:
        vectors = importance.embeddings(model, vocabulary, kept.fields)
    except ValueError as error:
        note(f"{kept.model}: {error}, so there is no embeddings.parquet")
        return
    with written_whole(folder / "embeddings.parquet") as partial:
        vectors.write_parquet(partial)
    title = f"Embeddings, at most {DRAWN} of a field: {of_model}"
    chart = charts.point_chart(importance.flat(vectors, DRAWN), title, "first principal axis", "second principal axis")
    charts.save(chart, folder / "embeddings.svg", title)
    print(f"{folder / 'embeddings.parquet'}: {vectors.height:,} features: {', '.join(vectors.columns[3:])}")


def show(table: "pl.DataFrame", file: Path) -> None:
    """Write a table as CSV, and print its first rows."""
    from rich.console import Console
    from rich.table import Table

    write_text(file, table.write_csv())
    print(f"{file}: {table.height} rows{f', the first {SHOWN} of them' if table.height > SHOWN else ''}")
    shown = Table(*table.columns)
    for row in table.head(SHOWN).iter_rows():
        shown.add_row(*(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row))
    Console().print(shown)


if __name__ == "__main__":
    run(main)
