"""Guess label and split of a user's files."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipelines.data.as_text import without
from pipelines.data.cells import is_number, times_of
from pipelines.data.columns import label_of
from pipelines.data.findings import ITEMS, USERS, column_like
from pipelines.data.fitting import columns_of
from pipelines.data.guessing_fields import numbers_beside_numbers, propose_field
from pipelines.data.layouts import Layout
from pipelines.data.own import ALL_POSITIVE, INHERITED, RESERVED, OwnDataset
from pipelines.data.proposal import Proposal
from pipelines.data.sniffing import Sniffed, parts_of, sort_files
from pipelines.data.splitting import split_in_order
from pipelines.data.tables import PART, read_table

LABELS = ("label", "click", "clicked", "clk", "is_click", "target", "y", "income", "like", "rating", "score", "stars")
MARKS = {"NA", "N/A", "n/a", "#N/A", "nan", "NaN", "NAN", "NULL", "Null", "null", "None", "none", "?", "-", ".", "\\N"}
LOOKED_AT = 1_000_000  # rows of each file


def propose(
    files: Sequence[Path], name: str, label: str, folder: Path, columns: Sequence[str] = ()
) -> tuple[Proposal, pl.DataFrame]:
    """Propose a data set for files, and return it with their rows.

    `columns` names those of files without a header. Raises ValueError if a file can't be read or no label is found.
    """
    found = sort_files(files, columns)
    parts = parts_of(found.log)
    paths = {part: path_in(folder, file) for part, file in parts.items()} if parts else None
    proposal = Proposal(
        name=name,
        files=paths or [path_in(folder, file) for file in found.log],
        layout=found.sniffed.layout,
        joins=[join_of(path_in(folder, file), side, key, found.sniffed.layout) for file, side, key in found.sides],
        label=label,
        split={},
    )
    if proposal.layout.columns and not columns:
        named = ", ".join(proposal.layout.columns)
        proposal.notes.append(f"{files[0]} has no header: its columns are called {named}; --columns A,B,… names them")
    table = rows_with_quotes(proposal, folder)
    if marks := missing_marks(table):
        proposal.layout = proposal.layout.model_copy(update={"missing": marks})
        table = without(table.lazy(), marks).collect()
    proposal.label = label or guess_label(table, proposal, files[0])
    used = "" if label == ALL_POSITIVE else label_of(proposal.label, columns_of(table))[0]
    types = found.sniffed.types | {name: kind for _, side, _ in found.sides for name, kind in side.types.items()}
    num_distinct = table.n_unique()
    for column in table.iter_columns():
        if column.name not in (used, PART):
            propose_field(proposal, column, types.get(column.name, ""), num_distinct)
    for name in [name for name in proposal.fields if name == RESERVED[0] or name.startswith(RESERVED[1:])]:
        column = proposal.fields.pop(name)
        proposal.fields[f"own_{name}"] = dataclasses.replace(column, keys={"column": name, **column.keys})
    numbers_beside_numbers(proposal.fields)
    drop_what_train_lacks(proposal, table)
    user = column_like(USERS, table.columns)
    if user and user != used and 1 < table[user].n_unique() <= table.height / 2:
        proposal.group = user
    if label == ALL_POSITIVE:
        proposal.negatives = guess_negatives(proposal, user, column_like(ITEMS, table.columns), files[0])
    return proposal, table


def guess_negatives(proposal: Proposal, user: str | None, item: str | None, file: Path) -> dict[str, Any]:
    """Propose negatives that replace the item. Raises ValueError where no two fields look like user and item."""
    if not {user, item} <= proposal.fields.keys():
        raise ValueError(
            f"{file}: rows that are {ALL_POSITIVE} need negatives, and no two columns are called like user and item: "
            "write label and negatives in the YAML (docs/own-data.md)"
        )
    return {"replace": item, "given": [user], "count": 2, "if_too_few": "fewer"}


def rows_with_quotes(proposal: Proposal, folder: Path) -> pl.DataFrame:
    """Read the rows of a proposal. Where quotes are no quoting, say so in the proposal."""
    try:
        return rows_of(proposal, folder)
    except ValueError:
        quoted = proposal.layout
        if not quoted.quotes:
            raise
        proposal.layout = quoted.model_copy(update={"quotes": False})
        try:
            table = rows_of(proposal, folder)
        except ValueError:  # the mistake is another
            proposal.layout = quoted
        else:
            proposal.notes.append("quotes are plain characters, as not all of them open and close a cell")
            return table
        raise


def rows_of(proposal: Proposal, folder: Path) -> pl.DataFrame:
    """Read the rows of a proposal that has no fields yet. Raises ValueError for files without rows."""
    dataset = OwnDataset(
        name=proposal.name,
        format="table",
        folder=folder,
        files=proposal.files,  # pyright: ignore[reportArgumentType]
        joins=proposal.joins,  # pyright: ignore[reportArgumentType]
        label="?",
        fields={"?": {}},  # pyright: ignore[reportArgumentType]
        **proposal.layout.model_dump(),
    )
    table = read_table(dataset, LOOKED_AT)
    if not table.height:
        raise ValueError(f"{next(iter(dataset.paths().values()))[0]}: has no rows, only a header")
    if table.height >= LOOKED_AT:
        proposal.notes.append(f"looked at the first {LOOKED_AT:,} rows of each file")
    return table


def missing_marks(table: pl.DataFrame) -> list[str]:
    """Find the texts, such as N/A, that keep a column from being numbers."""
    found: set[str] = set()
    for column in table.iter_columns():
        known = column.drop_nulls()
        others = known.filter(~known.cast(pl.Float64, strict=False).is_finite().fill_null(False))
        if len(others) < len(known) and (texts := {*others.unique().head(len(MARKS) + 1)}) <= MARKS:
            found |= texts
    return sorted(found)


def path_in(folder: Path, file: Path) -> str:
    """Write a path relative to a folder if it is in it."""
    path, folder = file.resolve(), folder.resolve()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def join_of(file: str, side: Sniffed, key: str, log: Layout) -> dict[str, Any]:
    """Describe a side table, with what differs from the log's layout."""
    differs = {
        name: getattr(side.layout, name) for name in INHERITED if getattr(side.layout, name) != getattr(log, name)
    }
    return {"files": [file], "key": key, **differs}


def guess_label(table: pl.DataFrame, proposal: Proposal, file: Path) -> str:
    """Guess the label by the names of columns and their values."""
    columns = columns_of(table)
    by_name = {column.lower(): column for column in columns}
    for name in LABELS:
        if name in by_name:
            column = by_name[name]
            distinct = sorted(table[column].drop_nulls().unique().to_list())
            if distinct and all(map(is_number, distinct)):
                numbers = sorted(map(float, distinct))
                return column if len(numbers) <= 2 else f"{column} >= {numbers[-1] * 0.8:g}"
            if len(distinct) == 2:
                return f"{column} == {distinct[int(np.argmin([table[column].eq(d).sum() for d in distinct]))]}"
    binary = [column for column in columns if {*table[column].unique()} in ({"0", "1"}, {"-1", "1"})]
    if len(binary) == 1:
        proposal.notes.append(f"label: {binary[0]} is a guess, as the only column with two numbers")
        return binary[0]
    raise ValueError(
        f"{file}: no column is called {', '.join(LABELS[:6])} …: name it with --label, such as --label 'rating >= 4', "
        f"or --label '{ALL_POSITIVE}' for a log of plays or purchases; the columns are: {', '.join(columns)}"
    )


def drop_what_train_lacks(proposal: Proposal, table: pl.DataFrame) -> None:
    """Leave out fields that all training rows lack, where files or times say these."""
    if isinstance(proposal.files, dict):
        train = table.filter(pl.col(PART) == "train")
    elif proposal.split:
        times = times_of(
            table[proposal.split["column"]], f"data set {proposal.name!r}", proposal.split.get("format", "")
        )
        train = table[split_in_order(np.argsort(times, kind="stable"), 0.7, 0.2)["train"]]
    else:
        return
    for name, each in [*proposal.fields.items()]:
        column = each.keys.get("column", name)
        if train[column].null_count() == train.height:
            del proposal.fields[name]
            proposal.dropped[column] = "empty in all training rows"
