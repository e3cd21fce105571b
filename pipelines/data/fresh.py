"""Turn rows that came after training into features, by what the training rows taught."""

from collections.abc import Mapping

import numpy as np
import polars as pl
import torch

from pipelines.data.fields import Fitted, features_of, read_cells
from pipelines.data.fitting import number_lists
from pipelines.data.own import column_of
from pipelines.data.rows import Rows, bags_of


def sources_of(fields: list[str], fitted: Mapping[str, Fitted]) -> dict[str, str]:
    """Map each field to its column."""
    return {field: (fitted[field].column.column if field in fitted else "") or field for field in fields}


def encode_fresh(
    table: pl.DataFrame, fields: list[str], fitted: Mapping[str, Fitted], vocabulary: pl.DataFrame
) -> Rows:
    """Encode rows of text. Labels are not known, and 0.

    A field of a user's own table is encoded as `prepare` does. In a field of a log, a text that the log lacks has no
    feature: its value is 0, which leaves it out of all terms. Raises ValueError for a missing column, and for a cell
    that can't be read.
    """
    ids, values = np.empty((table.height, len(fields)), np.int32), np.ones((table.height, len(fields)), np.float32)
    lists: dict[int, pl.Series] = {}
    first = 0
    for place, (field, source) in enumerate(sources_of(fields, fitted).items()):
        texts = table[column_of(f"column of field {field!r}", source, table.columns)]
        names = vocabulary.filter(pl.col("field") == field)["raw_value"]
        if field in fitted:
            cells = read_cells(texts, fitted[field].column, f"field {field}")
            ids[:, place], numbers, found = features_of(cells, fitted[field], names, first)
            if numbers is not None:
                values[:, place] = numbers
            if found is not None:
                lists[place] = found
        else:
            places = pl.Series(range(len(names)), dtype=pl.Int32)
            known = texts.replace_strict(names, places, default=-1, return_dtype=pl.Int32).fill_null(-1).to_numpy()
            ids[:, place], values[:, place] = first + np.maximum(known, 0), known >= 0
        first += len(names)
    found = number_lists(ids, lists, first)
    bags = None if found is None else bags_of(found, first)
    whole = None if (values == 1).all() else torch.from_numpy(values)
    return Rows(torch.from_numpy(ids), torch.zeros(table.height), whole, bags)
