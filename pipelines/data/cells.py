"""Read the cells of a table as numbers and times."""

import math
import re

import numpy as np
import polars as pl

from pipelines.data.own import Column

SECONDS_OF_A_DAY = 86_400


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


def times_of(texts: pl.Series, where: str, format: str = "") -> np.ndarray:
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
        no_numbers = wrong & texts.cast(pl.Float64, strict=False).is_null()
        if format in ("unix", "unix_ms") and no_numbers.any():
            wrong = no_numbers
        row = int(wrong.arg_max() or 0)
        said = f"by the format {format!r}" if format else "in ISO 8601; write its format"
        raise ValueError(f"{where}: {texts.name} such as {texts[row]!r} in row {row + 1} is no time {said}")
    return dates.dt.epoch("s").fill_null(0).to_numpy()


def part_of_time(texts: pl.Series, column: Column, where: str) -> pl.Series:
    """Take hour, weekday, day or month of a time, in UTC; missing stays missing."""
    seconds = pl.Series(times_of(texts, where, column.format)).cast(pl.Int64)
    time = pl.from_epoch(seconds, "s").dt
    part = {"hour": time.hour, "weekday": time.weekday, "day": time.day, "month": time.month}[column.part]()
    return part.cast(pl.String).set(texts.is_null(), None).alias("part")


def age_of(texts: pl.Series, column: Column, where: str) -> np.ndarray:
    """Return how many days a time lies before 1970; missing is NaN. Later times have lower numbers."""
    days = -times_of(texts, where, column.format) / SECONDS_OF_A_DAY
    return np.where(texts.is_null().to_numpy(), np.nan, days)
