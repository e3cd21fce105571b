"""Turn a user's own table into features: label, split, and fields fitted on the training rows."""

import math
import re
from collections.abc import Callable, Iterable
from hashlib import blake2b

import numpy as np
import polars as pl

from pipelines.data.encoding import Encoded
from pipelines.data.own import Column, OwnDataset, SplitBy, column_of, label_of
from pipelines.data.splitting import split_groups, split_in_order, split_rows
from pipelines.data.tables import PART, Stored

OTHER, MISSING = "<rare or unseen>", "<missing>"
POSITIVE = {"1", "true", "yes"}
NEGATIVE = {"0", "-1", "false", "no"}
Columns = pl.DataFrame | Stored
ALL_VALUES = Column(min_count=1)
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
        raise ValueError(f"data set {dataset.name!r}: label {name} is missing in {count} of {len(texts)} rows")
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


def is_number(text: str) -> bool:
    """Tell whether a text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def numbers_of(texts: pl.Series, where: str) -> np.ndarray:
    """Turn texts into numbers; missing is NaN. Raises ValueError that names the first row that holds no number."""
    numbers = texts.cast(pl.Float64, strict=False)
    wrong = (
        (numbers.is_null() & texts.is_not_null())
        | numbers.is_infinite().fill_null(False)
        | numbers.is_nan().fill_null(False)
    )
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        raise ValueError(f"{where}: row {row + 1} has {texts[row]!r}, which is no finite number")
    return numbers.fill_null(float("nan")).to_numpy()


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
        order = np.argsort(times_of(table[split.column], dataset.name, split.format), kind="stable")
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


def times_of(texts: pl.Series, name: str, format: str = "") -> np.ndarray:
    """Turn texts into seconds: numbers as they are, else dates by a format of strptime or ISO 8601; missing is 0.

    Raises ValueError that names the first row that holds no time.
    """
    if format in ("", "unix", "unix_ms"):
        numbers = texts.cast(pl.Float64, strict=False)
        if numbers.null_count() == texts.null_count():
            return numbers.fill_null(0.0).to_numpy() / (1000 if format == "unix_ms" else 1)
    read, given = texts, format if format not in ("", "unix", "unix_ms") else None
    if given and re.search("%[HI]", given) and "%M" not in given:  # strptime of Polars wants minutes
        read, given = texts + ":00", f"{given}:%M"
    try:
        dates = read.str.to_datetime(given, strict=False)
    except pl.exceptions.PolarsError:  # no format fits, or the format is none
        dates = pl.Series([None] * len(texts), dtype=pl.Datetime)
    if (wrong := dates.is_null() & texts.is_not_null()).any():
        row = int(wrong.arg_max() or 0)
        said = f"by the format {format!r}" if format else "in ISO 8601; write its format"
        raise ValueError(f"data set {name!r}: {texts.name} such as {texts[row]!r} in row {row + 1} is no time {said}")
    return dates.dt.epoch("s").fill_null(0).to_numpy()


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
    sizes: list[int] = []
    names: list[pl.Series] = []
    lists: dict[int, pl.Series] = {}  # by place of the field: its distinct lists
    for place, (field, column) in enumerate(dataset.fields.items()):
        begin(f"encodes field {place + 1} of {len(dataset.fields)}, {field}")
        texts = table[dataset.source(field)]
        where, first = f"data set {dataset.name!r}: field {field}", sum(sizes)
        if not texts.is_not_null().to_numpy()[train].any():
            raise ValueError(f"{where}: all training rows lack {texts.name}")
        if column.kind == "list":
            own_names = list_names(texts, column, train)
            lists[place], ids[:, place] = distinct_lists(texts, column, first, own_names)
        elif column.kind == "number" and column.scale != "bins":
            if values is None:
                values = np.ones(shape, dtype=np.float32)
            missing, own_names, values[:, place] = number(texts, column, train, where)
            np.add(missing, first, out=ids[:, place])
        else:
            if column.kind == "time":
                texts = part_of_time(texts, column, dataset.name)
            elif column.kind == "number":
                texts = bins(numbers_of(texts, where), column, train)
            if column.kind != "category":
                own, own_names = category(texts, ALL_VALUES, train)
            elif column.hash:
                own, own_names = hashed(texts, column.hash)
            else:
                own, own_names = category(texts, column, train)
            np.add(own, first, out=ids[:, place])
        sizes.append(len(own_names))
        names.append(pl.Series(own_names, dtype=pl.String))
    vocabulary = pl.DataFrame(
        {
            "field": pl.Series(list(dataset.fields)).repeat_by(pl.Series(sizes)).explode(),
            "feature_id": np.arange(sum(sizes), dtype=np.int32),
            "raw_value": pl.concat(names),
        }
    )
    after = sum(sizes)  # the lists' numbers come after all features
    for place, found in lists.items():
        ids[:, place] += after
        after += len(found)
    encoded = Encoded(ids, vocabulary, sizes, pl.concat(lists.values()) if lists else None)
    return encoded, None if values is None or (values == 1).all() else values


def category(texts: pl.Series, column: Column, train: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Assign ids to the values of a category.

    Feature 0 is shared by rare and unseen values, feature 1 stands for missing.
    """
    known = frequent(counted(texts[train]), column)
    numbers = texts.replace_strict(
        known, pl.Series(range(2, len(known) + 2), dtype=pl.Int32), default=0, return_dtype=pl.Int32
    )
    return numbers.set(texts.is_null(), 1).to_numpy(), [OTHER, MISSING, *known.to_list()]


def counted(texts: pl.Series) -> pl.DataFrame:
    """Count the rows of each value, as columns `value` and `count`; missing values are left out."""
    return texts.alias("value").drop_nulls().value_counts(name="count")


def frequent(counts: pl.DataFrame, column: Column) -> pl.Series:
    """Return the values with at least `min_count` rows, the most frequent first.

    There are at most `max_size`.
    """
    known = counts.filter(pl.col("count") >= column.min_count)
    return known.sort("count", "value", descending=[True, False])["value"].head(column.max_size or len(known))


def hashed(texts: pl.Series, size: int) -> tuple[np.ndarray, list[str]]:
    """Assign values to `size` features by their hash, which no machine or version changes.

    Feature 0 stands for missing. No feature is unseen: a new value has a hash too.
    """
    distinct = texts.unique()
    hashes = (blake2b((text or "").encode(), digest_size=8).digest() for text in distinct.to_list())
    features = pl.Series([int.from_bytes(each, "little") % size + 1 for each in hashes], dtype=pl.Int32)
    features = features.set(distinct.is_null(), 0)
    numbers = texts.replace_strict(distinct, features, return_dtype=pl.Int32)
    return numbers.to_numpy(), [MISSING, *(f"<hash {number} of {size}>" for number in range(size))]


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


def distinct_lists(texts: pl.Series, column: Column, first: int, names: list[str]) -> tuple[pl.Series, np.ndarray]:
    """Find the distinct lists of features, and the number of each row's list.

    The features of the field start at `first`. A list without elements holds the feature of missing values.
    """
    texts = texts.fill_null("")
    distinct = texts.unique(maintain_order=True)
    places = pl.Series(range(first, first + len(names)), dtype=pl.Int32)
    numbers = pl.element().replace_strict(pl.Series(names), places, default=first, return_dtype=pl.Int32)
    lists = elements_of(distinct, column).list.eval(numbers)
    empty = lists.list.len() == 0
    missing = pl.Series([[first + 1]] * len(lists), dtype=pl.List(pl.Int32))
    lists = pl.select(pl.when(empty).then(missing).otherwise(lists)).to_series().alias("elements")
    return lists, texts.cast(pl.Enum(distinct)).to_physical().to_numpy()


def number(texts: pl.Series, column: Column, train: np.ndarray, where: str) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Scale a number: feature 0 with the number as its value, feature 1 with value 1 where it is missing."""
    raw = numbers_of(texts, where)
    missing = np.isnan(raw)
    scaled = np.sign(raw) * np.log1p(np.abs(raw)) if column.scale == "log" else raw
    if column.scale != "raw":
        mean, deviation = np.nanmean(scaled[train]), np.nanstd(scaled[train])
        scaled = (scaled - mean) / (deviation or 1.0)
    return missing.astype(np.int32), [f"<{column.scale} number>", MISSING], np.where(missing, 1.0, scaled)


def bins(numbers: np.ndarray, column: Column, train: np.ndarray) -> pl.Series:
    """Name the training quantile of each number; missing stays missing."""
    inner = np.linspace(0, 1, column.bins + 1)[1:-1]
    edges = np.unique(np.nanquantile(numbers[train], inner))
    names = np.array([f"up to {edge:g}" for edge in edges] + [f"over {edges[-1]:g}"], dtype=object)
    texts = names[np.searchsorted(edges, numbers)]
    return pl.Series("bin", texts, dtype=pl.String).set(pl.Series(np.isnan(numbers)), None)


def part_of_time(texts: pl.Series, column: Column, name: str) -> pl.Series:
    """Take hour, weekday, day or month of a time, in UTC; missing stays missing."""
    seconds = pl.Series(times_of(texts, name, column.format)).cast(pl.Int64)
    time = pl.from_epoch(seconds, "s").dt
    part = {"hour": time.hour, "weekday": time.weekday, "day": time.day, "month": time.month}[column.part]()
    return part.cast(pl.String).set(texts.is_null(), None).alias("part")


def far_from_one(values: np.ndarray | None, dataset: OwnDataset) -> list[str]:
    """Name the raw numbers that are so large that training suffers."""
    fields = enumerate(dataset.fields.items())
    raw = [(place, field) for place, (field, column) in fields if (column.kind, column.scale) == ("number", "raw")]
    return [field for place, field in raw if values is not None and np.abs(values[:, place]).max() > FAR]
