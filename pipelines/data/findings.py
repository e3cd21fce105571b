"""Say what is remarkable in the rows of a user's own table."""

import re
from collections.abc import Sequence

import numpy as np
import polars as pl

from pipelines.data.cells import numbers_of
from pipelines.data.fields import fit_field, values_of
from pipelines.data.fitting import columns_of, labels_of, split_of
from pipelines.data.own import ALL_POSITIVE, Column, OwnDataset
from pipelines.data.tables import PART

LEAKS = 0.99  # AUC of a single column that can't be honest
MANY = 0.5  # of the test rows, with values that train lacks
FEWEST = 10  # test rows of each class, with fewer of which an AUC says nothing
COUNTED = 0.4  # AUC of the rate of positives among rows that differ in one column; below, they tell each other's label
FEWEST_COUNTED = 400  # as FEWEST; chance is five standard errors from COUNTED
GLANCE = 10_000  # first rows, which show of most columns that they do not follow from another
USERS = ("user", "uid", "visitor", "member", "account", "customer", "client")  # names of columns, before an _id
ITEMS = ("item", "iid", "movie", "product", "song", "track", "artist", "book", "article", "ad", "adgroup", "business")


def column_like(names: Sequence[str], columns: Sequence[str]) -> str | None:
    """Find the column that has the first of some names.

    It may have an id at its end.
    """
    stems = {re.sub("_?(id|no)$", "", column.lower()): column for column in columns}
    return next((stems[name] for name in names if name in stems), None)


def findings(table: pl.DataFrame, dataset: OwnDataset, seed: int) -> list[str]:
    """Say what is remarkable in the rows: balance, repeated rows and events, leaks, unseen values."""
    implicit = dataset.label == ALL_POSITIVE
    positive = np.ones(table.height, bool) if implicit else labels_of(table, dataset) == 1
    found = [f"{table.height:,} rows, {'all' if implicit else format(positive.mean(), '.1%')} positive"]
    columns = columns_of(table)
    if repeated := table.height - table.select(columns).n_unique():
        found.append(f"WARNING: {repeated:,} rows ({percent(repeated, table.height)}) repeat another row")
    found += repeated_events(table, positive)
    rows = split_of(table, dataset, 0.7, 0.2, np.random.default_rng(seed))
    for part, at in rows.items():
        if not implicit and (positive[at].all() or not positive[at].any()):
            found.append(f"WARNING: the {part} rows have no two labels: another split is needed")
    train, test = table[rows["train"]].select(columns), table[rows["test"]].select(columns)
    new = rows["test"]
    if test.height:
        seen = train.unique().with_columns(pl.lit(True).alias(PART))
        known = test.join(seen, on=columns, how="left", nulls_equal=True, maintain_order="left")
        twice = known[PART].fill_null(False).to_numpy()
        new = rows["test"][~twice]
        if twice.any():
            found.append(f"WARNING: {percent(int(twice.sum()), test.height)} of the test rows stand in train too")
    for field, column in dataset.fields.items():
        texts = table[dataset.source(field)]
        found += unseen_values(field, column, texts, rows)
        if column.kind == "list":
            found += long_lists(field, column, texts)
        groups = [] if column.kind == "time" else [texts, *quantiles(texts, column, rows["train"])]
        if (auc := max([single_auc(group, positive, rows["train"], new) for group in groups], default=0.5)) > LEAKS:
            found.append(f"WARNING: {field} alone has AUC {auc:.4f} on test rows: does it tell the label?")
    return found + counted_labels(table, dataset, positive, rows["train"], new)


def counted_labels(
    table: pl.DataFrame, dataset: OwnDataset, positive: np.ndarray, train: np.ndarray, test: np.ndarray
) -> list[str]:
    """Say whether rows that differ in one column tell each other's label.

    A positive and its negatives do. If a random split parts them, a test positive has its negatives in train. Then the
    share of positives among training rows that are equal in all other columns ranks test rows in reverse; with honest
    labels it does not. Columns that follow from the one that differs, such as an item's genre, may differ too.
    """
    if min(positive[test].sum(), (~positive[test]).sum()) < FEWEST_COUNTED:
        return []
    sources = list(dict.fromkeys(map(dataset.source, dataset.fields)))
    found = []
    for column in sources:
        if not (others := independent(table, column, sources)):
            continue
        context = table.select(pl.struct(others).hash()).to_series()
        if (auc := single_auc(context, positive, train, test)) < COUNTED:
            found.append(
                f"WARNING: ranked by the share of negatives among training rows that differ only in {column}, test "
                f"rows have AUC {1 - auc:.4f}: keep a positive and its negatives in one part (split by group), or "
                "leave these negatives out, and let `negatives` draw others"
            )
    return found


def independent(table: pl.DataFrame, column: str, columns: Sequence[str]) -> list[str]:
    """List the other columns of which some value of a column has two."""

    def follows(rows: pl.DataFrame, other: str) -> bool:
        return rows.select(column, other).n_unique() == rows[column].n_unique()

    first = table.head(GLANCE)
    return [other for other in columns if other != column and not (follows(first, other) and follows(table, other))]


def percent(count: int, total: int) -> str:
    """Write a share; one that is not zero never reads as zero."""
    share = count / max(1, total)
    return "less than 0.1%" if 0 < share < 0.001 else f"{share:.1%}" if share < 0.1 else f"{share:.0%}"


def repeated_events(table: pl.DataFrame, positive: np.ndarray) -> list[str]:
    """Say how many rows repeat another row's user and item, where columns say these."""
    user, item = column_like(USERS, table.columns), column_like(ITEMS, table.columns)
    if not user or not item:
        return []
    events = table.select(user, item).with_columns(pl.Series("positive", positive))
    pairs = events.group_by(user, item).agg(pl.len(), pl.col("positive").n_unique().alias("labels"))
    repeated = table.height - pairs.height
    if repeated < 0.001 * table.height:
        return []
    both = int(pairs.filter(pl.col("labels") > 1)["len"].sum())
    said = f"{user} and {item}: {repeated:,} rows ({percent(repeated, table.height)}) have the pair of another row"
    return [said + (f"; {both:,} rows are of pairs with both labels" if both else "")]


def unseen_values(field: str, column: Column, texts: pl.Series, rows: dict[str, np.ndarray]) -> list[str]:
    """Say how many test rows have a value of a category that train lacks."""
    train, test = texts[rows["train"]], texts[rows["test"]]
    if column.kind != "category" or column.hash or not len(test):
        return []
    unseen = int((~test.is_in(train.unique().implode(), nulls_equal=True)).sum())
    if unseen <= 0.01 * len(test):
        return []
    warning = "WARNING: " if unseen > MANY * len(test) else ""
    return [f"{warning}{field}: {percent(unseen, len(test))} of the test rows have a value that train lacks"]


def long_lists(field: str, column: Column, texts: pl.Series) -> list[str]:
    """Say how many lists lose elements."""
    lengths = texts.drop_nulls().str.count_matches(column.separator, literal=True) + 1
    if not (count := int((lengths > column.max_length).sum())):
        return []
    return [
        f"{field}: {percent(count, len(texts))} of the lists have more than {column.max_length} elements, up to "
        f"{lengths.max():,}: the first {column.max_length} count (max_length)"
    ]


def quantiles(texts: pl.Series, column: Column, train: np.ndarray) -> list[pl.Series]:
    """Name the training quantiles of a number."""
    if column.kind != "number" or not texts[train].drop_nulls().len():
        return []
    numbers = numbers_of(texts, f"column {texts.name}")
    fitted, _ = fit_field(numbers, Column(kind="number", scale="bins"), train)
    return [values_of(numbers, fitted)]


def single_auc(values: pl.Series, positive: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    """Compute the test AUC of the training rate of positives by value; 0.5 with too few test rows of a class."""
    rows = pl.DataFrame({"value": values[train], "positive": positive[train]})
    rates = rows.group_by("value").agg(pl.col("positive").mean())
    given = pl.DataFrame({"value": values[test]}).join(rates, on="value", how="left", nulls_equal=True)
    ranks = given["positive"].fill_null(float(positive.mean())).rank("average").to_numpy()
    own = positive[test]
    num_positives, num_negatives = int(own.sum()), int((~own).sum())
    if min(num_positives, num_negatives) < FEWEST:
        return 0.5
    return float((ranks[own].sum() - num_positives * (num_positives + 1) / 2) / (num_positives * num_negatives))
