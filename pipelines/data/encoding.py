"""Number the features of a log."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from pydantic import BaseModel


@dataclass(frozen=True)
class Encoded:
    """Hold a log as feature ids.

    `ids` is int32 [rows, fields]. `vocabulary` has the columns field, feature_id and raw_value, sorted by feature_id.
    `field_dims` is the number of features of each field. Ids from `num_features` on stand for `lists` of features.
    `fitted` has what the fields of a user's own table learnt from its training rows, by name.
    """

    ids: np.ndarray
    vocabulary: pl.DataFrame
    field_dims: list[int]
    lists: pl.Series | None = None
    fitted: Mapping[str, BaseModel] = dataclasses.field(default_factory=dict)

    @property
    def num_features(self) -> int:
        return sum(self.field_dims)


class Numbers(dict[str, int]):
    """Number texts from 0 in order of first appearance."""

    def __missing__(self, text: str) -> int:
        self[text] = number = len(self)
        return number

    def of(self, texts: pl.Series) -> np.ndarray:
        """Return the numbers of a column, int32 [rows]. Each distinct text is looked up once."""
        distinct = texts.unique(maintain_order=True)
        numbers = np.fromiter(map(self.__getitem__, distinct.to_list()), np.int32, len(distinct))
        return numbers[texts.cast(pl.Enum(distinct)).to_physical().to_numpy()]


def encode(log: Iterable[pl.DataFrame], fields: Sequence[str]) -> Encoded:
    """Assign ids from 0 to the features of a log, field by field.

    Features of one field are in order of first appearance, as in the released Frappe files. `log` yields blocks of
    lines with one text column per field. Only the ids and one copy of each text stay in memory.
    """
    numbers = {field: Numbers() for field in fields}
    parts: dict[str, list[np.ndarray]] = {field: [] for field in fields}
    for lines in log:
        for field in fields:
            parts[field].append(numbers[field].of(lines[field]))
    field_dims = [len(numbers[field]) for field in fields]
    ids = np.empty((sum(map(len, parts[fields[0]])), len(fields)), dtype=np.int32)
    for column, field in enumerate(fields):
        ids[:, column] = np.concatenate(parts.pop(field)) + np.int32(sum(field_dims[:column]))
    vocabulary = {
        "field": pl.Series(fields).repeat_by(pl.Series(field_dims)).explode(),
        "feature_id": np.arange(sum(field_dims), dtype=np.int32),
        "raw_value": pl.concat([pl.Series(list(numbers[field])) for field in fields]),
    }
    return Encoded(ids, pl.DataFrame(vocabulary), field_dims)
