"""Turn a user's own table into features: label, split, and fields fitted on the training rows."""

from collections.abc import Callable, Iterable

import numpy as np
import polars as pl

from pipelines.data.cells import is_number, numbers_of, times_of
from pipelines.data.columns import column_of, label_of
from pipelines.data.encoding import Encoded
from pipelines.data.fields import Fitted, features_of, fit_field, read_cells
from pipelines.data.own import OwnDataset, SplitBy
from pipelines.data.splitting import split_groups, split_in_order, split_rows
from pipelines.data.tables import PART, Stored

POSITIVE = {"1", "true", "yes"}
NEGATIVE = {"0", "-1", "false", "no"}
Columns = pl.DataFrame | Stored
FAR = 100.0  # a raw number of this size makes training diverge or stall


def labels_of(table: Columns, dataset: OwnDataset) -> np.ndarray:
    """Compute the labels, ±1 (int8). Raises ValueError for a label that is missing or can't be understood."""
    labels = read_labels(table, dataset)
    if len(labels) and abs(int(labels.sum(dtype=np.int64))) == len(labels):
        which = "positive" if labels[0] == 1 else "negative"
        raise ValueError(f"data set {dataset.name!r}: label {dataset.label}: all {len(labels):,} rows are {which}")
    return labels


def read_labels(table: Columns, dataset: OwnDataset) -> np.ndarray:
    """Read the label of each row, ±1 (int8)."""
    name, sign, value = label_of(dataset.label, columns_of(table))
    texts = table[name]
    if count := texts.null_count():
        first = int(texts.is_null().arg_max() or 0) + 1
        where = f"in {count:,} of {len(texts):,} rows, the first of them row {first}"
        raise ValueError(f"data set {dataset.name!r}: label {name} is missing {where}")
    if sign is None:
        found = set(texts.unique().to_list())
        positive = {text for text in found if text.lower() in POSITIVE or (is_number(text) and float(text) == 1)}
        negative = {text for text in found if text.lower() in NEGATIVE or (is_number(text) and float(text) in (0, -1))}
        if positive | negative != found:
            shown = ", ".join(sorted(found)[:5]) + (" …" if len(found) > 5 else "")
            raise ValueError(
                f"data set {dataset.name!r}: label {name} has the values {shown}; write which are positive, such as "
                f"{name} >= 4 or {name} == {min(found)}"
            )
        holds = texts.is_in(sorted(positive))
    elif sign in ("==", "!="):
        if value not in texts.unique():
            raise ValueError(f"data set {dataset.name!r}: label {dataset.label}: no row of {name} has {value!r}")
        holds = (texts == value) if sign == "==" else (texts != value)
    else:
        numbers = numbers_of(texts, f"data set {dataset.name!r}: label {name}")
        limit = float(value)
        compare = {">=": np.greater_equal, "<=": np.less_equal, ">": np.greater, "<": np.less}[sign]
        return np.where(compare(numbers, limit), 1, -1).astype(np.int8)
    return np.where(holds.to_numpy(), 1, -1).astype(np.int8)


def weights_of(table: Columns, dataset: OwnDataset) -> np.ndarray | None:
    """Read the weights of the rows; None without a column of them.

    Raises ValueError for a weight that is missing or below 0.
    """
    if not dataset.weight:
        return None
    name = column_of(f"column of the weight of {dataset.name!r}", dataset.weight, columns_of(table))
    where = f"data set {dataset.name!r}: weight"
    weights = numbers_of(table[name], where)
    if (wrong := ~(weights >= 0)).any():
        row = int(wrong.argmax())
        raise ValueError(f"{where}: row {row + 1} has {table[name][row] or 'no value'}; write a number from 0 on")
    return weights


def first_of_repeated(table: Columns, dataset: OwnDataset, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the rows that repeat no row before them, and number all rows by these.

    A row repeats another with the same label and the same text in the columns of all fields. Rows are compared by a
    hash of 64 bits: of 10 million rows, one pair is taken for equal by mistake with a probability of 3 in a million.
    """
    keys = hash_rows(table, dataset, dataset.fields, labels)
    first = keys.is_first_distinct().to_numpy()
    return np.flatnonzero(first), keys.replace_strict(keys.filter(first), np.arange(first.sum())).to_numpy()


def hash_rows(table: Columns, dataset: OwnDataset, fields: Iterable[str], labels: np.ndarray) -> pl.Series:
    """Hash the labels and the columns of some fields, row by row."""
    key = labels.astype(np.uint64)
    for column in dict.fromkeys(map(dataset.source, fields)):
        name = column_of(f"column of a field of {dataset.name!r}", column, columns_of(table))
        key = pl.Series(key ^ table[name].hash().to_numpy()).hash().to_numpy()
    return pl.Series(key)


def columns_of(table: Columns) -> list[str]:
    """Name the columns that the files have."""
    return [column for column in table.columns if column != PART]


def split_of(
    table: Columns, dataset: OwnDataset, train: float, valid: float, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Assign rows to train, valid and test, by `split` of the data set. Returns row numbers."""
    if isinstance(dataset.files, dict):
        return {part: np.flatnonzero((table[PART] == part).to_numpy()) for part in ("train", "valid", "test")}
    split, num_rows = dataset.split, table.height
    if split.by == "random":
        return split_rows(num_rows, train, valid, rng)
    if split.column and split.column not in table.columns:
        column_of(f"column of the split of {dataset.name!r}", split.column, columns_of(table))
    if split.by == "fold":
        return by_fold(table, split, dataset.name)
    if split.by == "group":
        group = table[split.column].fill_null("").rank("dense").to_numpy().astype(np.int64) - 1
        return {part: np.sort(rows) for part, rows in split_groups(group, train, valid, rng).items()}
    if split.by == "last":
        return by_last(table, split)
    order = np.arange(num_rows)
    if split.by == "time":
        if count := table[split.column].null_count():
            raise ValueError(
                f"data set {dataset.name!r}: split by time, but {split.column} is missing in {count:,} rows"
            )
        order = np.argsort(times_of(table[split.column], f"data set {dataset.name!r}", split.format), kind="stable")
    return {part: np.sort(rows) for part, rows in split_in_order(order, train, valid).items()}


def by_fold(table: Columns, split: SplitBy, name: str) -> dict[str, np.ndarray]:
    """Split by a column that says train, valid or test."""
    found = set(table[split.column].unique().to_list())
    if found != {"train", "valid", "test"}:
        shown = ", ".join(sorted(map(str, found))[:5])
        raise ValueError(f"data set {name!r}: column {split.column} must say train, valid or test; it says {shown}")
    return {part: np.flatnonzero((table[split.column] == part).to_numpy()) for part in ("train", "valid", "test")}


def by_last(table: Columns, split: SplitBy) -> dict[str, np.ndarray]:
    """Take each value's last row for test and the one before for validation; values with one row only train."""
    rows = table[split.column].to_frame().with_row_index("row")
    behind = rows.select(pl.col("row").rank("ordinal", descending=True).over(split.column) - 1).to_series().to_numpy()
    counts = rows.select(pl.len().over(split.column)).to_series().to_numpy()
    test, valid = (behind == 0) & (counts > 1), (behind == 1) & (counts > 2)
    return {
        part: np.flatnonzero(where) for part, where in (("train", ~test & ~valid), ("valid", valid), ("test", test))
    }


def encode_own(
    table: Columns,
    dataset: OwnDataset,
    train: np.ndarray,
    begin: Callable[[str], object] = lambda phase: None,
) -> tuple[Encoded, np.ndarray | None]:
    """Encode all fields by what the training rows hold, one field after the other.

    Returns ids and vocabulary, and the values of the features if any field is a number. `begin` is told of each field.
    """
    for field in dataset.fields:
        column_of(f"column of field {field!r} of {dataset.name!r}", dataset.source(field), columns_of(table))
    shape = table.height, len(dataset.fields)
    ids, values = np.empty(shape, dtype=np.int32), None
    fitted: dict[str, Fitted] = {}
    names: list[pl.Series] = []
    lists: dict[int, pl.Series] = {}  # by place of the field: its distinct lists
    for place, (field, column) in enumerate(dataset.fields.items()):
        begin(f"encodes field {place + 1} of {len(dataset.fields)}, {field}")
        texts = table[dataset.source(field)]
        where, first = f"data set {dataset.name!r}: field {field}", sum(map(len, names))
        if not texts.is_not_null().to_numpy()[train].any():
            raise ValueError(f"{where}: all training rows lack {texts.name}")
        read = read_cells(texts, column, where)
        fitted[field], own_names = fit_field(read, column, train)
        ids[:, place], numbers, found = features_of(read, fitted[field], own_names, first)
        if numbers is not None:
            values = np.ones(shape, dtype=np.float32) if values is None else values
            values[:, place] = numbers
        if found is not None:
            lists[place] = found
        names.append(own_names)
    sizes = list(map(len, names))
    vocabulary = pl.DataFrame(
        {
            "field": pl.Series(list(dataset.fields)).repeat_by(pl.Series(sizes)).explode(),
            "feature_id": np.arange(sum(sizes), dtype=np.int32),
            "raw_value": pl.concat(names),
        }
    )
    encoded = Encoded(ids, vocabulary, sizes, number_lists(ids, lists, sum(sizes)), fitted)
    return encoded, None if values is None or (values == 1).all() else values


def number_lists(ids: np.ndarray, lists: dict[int, pl.Series], after: int) -> pl.Series | None:
    """Give the lists of all fields, and their `ids`, numbers after all features.

    Returns None without lists.
    """
    for place, found in lists.items():
        ids[:, place] += after
        after += len(found)
    return pl.concat(lists.values()) if lists else None


def far_from_one(values: np.ndarray | None, dataset: OwnDataset) -> list[str]:
    """Name the raw numbers that are so large that training suffers."""
    fields = enumerate(dataset.fields.items())
    raw = [(place, field) for place, (field, column) in fields if (column.kind, column.scale) == ("number", "raw")]
    return [field for place, field in raw if values is not None and np.abs(values[:, place]).max() > FAR]
