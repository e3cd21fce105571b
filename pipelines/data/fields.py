"""Fit the fields of a table on training rows, and turn rows into features."""

from hashlib import blake2b
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import Field, PlainSerializer

from pipelines.data.cells import age_of, numbers_of, part_of_time
from pipelines.data.own import Column
from pipelines.project.records import Record

OTHER, MISSING = "<rare or unseen>", "<missing>"
ALL_VALUES = Column(min_count=1)

Cells = pl.Series | np.ndarray  # texts, or numbers with NaN where they are missing


class Fitted(Record):
    """Hold what a field learnt from the training rows, beside the names of its features."""

    column: Annotated[Column, PlainSerializer(lambda column: column.model_dump(exclude_defaults=True))]
    center: float = 0.0  # of scaled numbers
    spread: float = 1.0
    edges: list[float] = Field(default=[])  # between the bins of numbers

    def fits(self, num_features: int) -> bool:
        """Tell whether the cells of a field can have so many features and no others."""
        column = self.column
        number = column.kind == "number" or (column.kind, column.part) == ("time", "age")
        if number and column.scale != "bins":
            return num_features == 2
        if column.hash:
            return num_features == column.hash + 1
        return num_features >= 2 and bool(self.edges or not number)


def read_cells(texts: pl.Series, column: Column, where: str) -> Cells:
    """Read the cells of a field, as numbers, parts of times or texts. Raises ValueError for one that can't be read."""
    if column.kind == "number":
        return numbers_of(texts, where)
    if column.kind == "time":
        return age_of(texts, column, where) if column.part == "age" else part_of_time(texts, column, where)
    return texts


def fit_field(cells: Cells, column: Column, train: np.ndarray) -> tuple[Fitted, pl.Series]:
    """Fit a field on its training rows. Returns what it learnt, and the names of its features."""
    fitted = Fitted(column=column)
    if isinstance(cells, np.ndarray):
        fitted = fit_numbers(cells, column, train)
        if column.scale != "bins":
            return fitted, pl.Series([f"<{column.scale} number>", MISSING])
    if column.hash:
        names = [MISSING, *(f"<hash {number} of {column.hash}>" for number in range(column.hash))]
    elif column.kind == "list":
        names = list_names(values_of(cells, fitted), column, train)
    else:
        values = values_of(cells, fitted)
        known = frequent(counted(values[train]), column if column.kind == "category" else ALL_VALUES)
        names = [OTHER, MISSING, *known.to_list()]
    return fitted, pl.Series(names, dtype=pl.String)


def fit_numbers(numbers: np.ndarray, column: Column, train: np.ndarray) -> Fitted:
    """Find the scale of numbers, or the edges of their bins, which are training quantiles."""
    if column.scale == "bins":
        inner = np.linspace(0, 1, column.bins + 1)[1:-1]
        return Fitted(column=column, edges=np.unique(np.nanquantile(numbers[train], inner)).tolist())
    if column.scale == "raw":
        return Fitted(column=column)
    scaled = spaced(numbers, column)[train]
    return Fitted(column=column, center=float(np.nanmean(scaled)), spread=float(np.nanstd(scaled)) or 1.0)


def spaced(numbers: np.ndarray, column: Column) -> np.ndarray:
    """Take the logarithm of numbers, with their sign, if the scale says so."""
    return np.sign(numbers) * np.log1p(np.abs(numbers)) if column.scale == "log" else numbers


def values_of(cells: Cells, fitted: Fitted) -> pl.Series:
    """Return texts, or the names of the bins of numbers; missing stays missing."""
    if isinstance(cells, pl.Series):
        return cells
    edges = np.array(fitted.edges)
    names = np.array([f"up to {edge:g}" for edge in edges] + [f"over {edges[-1]:g}"], dtype=object)
    texts = names[np.searchsorted(edges, cells)]
    return pl.Series("bin", texts, dtype=pl.String).set(pl.Series(np.isnan(cells)), None)


def features_of(
    cells: Cells, fitted: Fitted, names: pl.Series, first: int
) -> tuple[np.ndarray, np.ndarray | None, pl.Series | None]:
    """Turn the cells of a field into features, which start at `first`.

    Returns ids `[rows]`; values `[rows]` of a number or a sum, else None; and the distinct lists of a list, whose
    numbers from 0 are then the ids, else None.
    """
    column = fitted.column
    if isinstance(cells, np.ndarray) and column.scale != "bins":
        missing = np.isnan(cells)
        scaled = (spaced(cells, column) - fitted.center) / fitted.spread
        return missing.astype(np.int32) + np.int32(first), np.where(missing, 1.0, scaled), None
    values = values_of(cells, fitted)
    if column.kind == "list":
        lists, numbers = distinct_lists(values, column, first, names)
        sizes = lists.list.len().to_numpy()[numbers] if column.pooling == "sum" else None  # size times mean is the sum
        return numbers.astype(np.int32), sizes, lists
    own = hashed(values, column.hash) if column.hash else category(values, names[2:])
    return own + np.int32(first), None, None


def category(texts: pl.Series, known: pl.Series) -> np.ndarray:
    """Assign ids to the values of a category.

    Feature 0 is shared by rare and unseen values, feature 1 stands for missing.
    """
    return (places_of(texts, known) + 2).fill_null(0).set(texts.is_null(), 1).to_numpy()


def places_of(texts: pl.Series, names: pl.Series) -> pl.Series:
    """Find each text among distinct names, as a place from 0; null where it is not there."""
    places = pl.int_range(len(names), dtype=pl.Int32, eager=True)
    if 10 * len(texts) < len(names):  # so that a table of all names is not made for a few texts
        places = names.is_in(texts.unique().implode()).arg_true().cast(pl.Int32)
        names = names[places]
    return texts.replace_strict(names, places, default=None, return_dtype=pl.Int32)


def counted(texts: pl.Series) -> pl.DataFrame:
    """Count the rows of each value, as columns `value` and `count`; missing values are left out."""
    return texts.alias("value").drop_nulls().value_counts(name="count")


def frequent(counts: pl.DataFrame, column: Column) -> pl.Series:
    """Return the values with at least `min_count` rows, the most frequent first.

    There are at most `max_size`.
    """
    known = counts.filter(pl.col("count") >= column.min_count)
    return known.sort("count", "value", descending=[True, False])["value"].head(column.max_size or len(known))


def hashed(texts: pl.Series, size: int) -> np.ndarray:
    """Assign values to `size` features by their hash, which no machine or version changes.

    Feature 0 stands for missing. No feature is unseen: a new value has a hash too.
    """
    distinct = texts.unique()
    hashes = (blake2b((text or "").encode(), digest_size=8).digest() for text in distinct.to_list())
    features = pl.Series([int.from_bytes(each, "little") % size + 1 for each in hashes], dtype=pl.Int32)
    features = features.set(distinct.is_null(), 0)
    numbers = texts.replace_strict(distinct, features, return_dtype=pl.Int32)
    return numbers.to_numpy()


def elements_of(texts: pl.Series, column: Column) -> pl.Series:
    """Split texts into lists of at most `max_length` elements, without empty ones."""
    split = texts.str.split(column.separator).list.eval(pl.element().str.strip_chars())
    return split.list.eval(pl.element().filter(pl.element() != "")).list.head(column.max_length)


def list_names(texts: pl.Series, column: Column, train: np.ndarray) -> list[str]:
    """Name the features of a list field: rare or unseen, missing, and the elements that training rows have."""
    lists = counted(texts[train])
    elements = lists.with_columns(elements_of(lists["value"], column)).explode("value").drop_nulls("value")
    counts = elements.group_by("value").agg(pl.col("count").sum())
    return [OTHER, MISSING, *frequent(counts, column).to_list()]


def distinct_lists(texts: pl.Series, column: Column, first: int, names: pl.Series) -> tuple[pl.Series, np.ndarray]:
    """Find the distinct lists of features, and the number of each row's list.

    The features of the field start at `first`. A list without elements holds the feature of missing values.
    """
    texts = texts.fill_null("")
    distinct = texts.unique(maintain_order=True)
    places = pl.Series(range(first, first + len(names)), dtype=pl.Int32)
    numbers = pl.element().replace_strict(names, places, default=first, return_dtype=pl.Int32)
    lists = elements_of(distinct, column).list.eval(numbers)
    empty = lists.list.len() == 0
    missing = pl.Series([[first + 1]] * len(lists), dtype=pl.List(pl.Int32))
    lists = pl.select(pl.when(empty).then(missing).otherwise(lists)).to_series().alias("elements")
    return lists, texts.cast(pl.Enum(distinct)).to_physical().to_numpy()
