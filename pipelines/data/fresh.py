"""Turn rows that came after training into features, by what the training rows taught."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pipelines.data.columns import column_of
from pipelines.data.fields import Cells, Fitted, features_of, places_of, read_cells
from pipelines.data.fitting import number_lists

if TYPE_CHECKING:
    from pipelines.data.rows import Rows


def sources_of(fields: list[str], fitted: Mapping[str, Fitted]) -> dict[str, str]:
    """Map each field to its column."""
    return {field: (fitted[field].column.column if field in fitted else "") or field for field in fields}


def names_by_field(vocabulary: pl.DataFrame) -> dict[str, pl.Series]:
    """Split a vocabulary into the names of each field's features."""
    return {field: names["raw_value"] for (field,), names in vocabulary.group_by(["field"], maintain_order=True)}


def encode_fresh(
    table: pl.DataFrame, fields: list[str], fitted: Mapping[str, Fitted], vocabulary: pl.DataFrame
) -> "Rows":
    """Encode rows of text. Labels are not known, and 0. Raises ValueError as `features_of_fresh` does."""
    import torch

    from pipelines.data.rows import Rows, bags_of

    ids, values, lists = features_of_fresh(table, fields, fitted, names_by_field(vocabulary))
    bags = None if lists is None else bags_of(lists, vocabulary.height)
    whole = None if (values == 1).all() else torch.from_numpy(values)
    return Rows(torch.from_numpy(ids), torch.zeros(table.height), whole, bags)


def features_of_fresh(
    table: pl.DataFrame, fields: list[str], fitted: Mapping[str, Fitted], names: Mapping[str, pl.Series]
) -> tuple[np.ndarray, np.ndarray, pl.Series | None]:
    """Find the features of rows of text. Returns ids and values `[rows, fields]`, and lists, if fields hold such.

    A field of a user's own table is encoded as `prepare` does. In a field of a log, a text that the log lacks has no
    feature: its value is 0, which leaves it out of all terms. Raises ValueError for a missing column, and for a cell
    that can't be read. Needs no torch.
    """
    cells: dict[str, Cells] = {}
    for field, source in sources_of(fields, fitted).items():
        texts = table[column_of(f"column of field {field!r}", source, table.columns)]
        cells[field] = read_cells(texts, fitted[field].column, f"field {field}") if field in fitted else texts
    return features_of_cells(cells, fitted, names)


def features_of_cells(
    cells: Mapping[str, Cells], fitted: Mapping[str, Fitted], names: Mapping[str, pl.Series]
) -> tuple[np.ndarray, np.ndarray, pl.Series | None]:
    """Find the features of cells that are read already, as `features_of_fresh` does."""
    shape = len(next(iter(cells.values()))), len(cells)
    ids, values = np.empty(shape, np.int32), np.ones(shape, np.float32)
    lists: dict[int, pl.Series] = {}
    first = 0
    for place, (field, given) in enumerate(cells.items()):
        own = names[field]
        if field in fitted:
            ids[:, place], numbers, found = features_of(given, fitted[field], own, first)
            if numbers is not None:
                values[:, place] = numbers
            if found is not None:
                lists[place] = found
        elif isinstance(given, pl.Series):
            known = places_of(given, own)
            ids[:, place], values[:, place] = known.fill_null(0).to_numpy() + first, known.is_not_null().to_numpy()
        first += len(own)
    return ids, values, number_lists(ids, lists, first)


def list_places(fields: Sequence[str], fitted: Mapping[str, Fitted]) -> list[int]:
    """Say which fields hold lists, by their places."""
    return [place for place, field in enumerate(fields) if field in fitted and fitted[field].column.kind == "list"]


def padded(ids: np.ndarray, lists: pl.Series, first: int) -> np.ndarray:
    """Write out the lists of rows, with −1 after the shorter ones.

    `ids` from `first` on stand for lists. Shape: `[rows, list fields]` → `[rows, list fields, length]`.
    """
    sizes = lists.list.len().to_numpy()
    table = np.full((len(lists), sizes.max()), -1, np.int32)
    table[np.arange(table.shape[1]) < sizes[:, None]] = lists.explode().to_numpy()
    return table[ids - first]
