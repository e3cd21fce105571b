"""Look at a user's files, propose a data set, and say what was found."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from pipelines.data.fitting import is_number, labels_of, split_of, times_of
from pipelines.data.own import OwnDataset, label_of
from pipelines.data.tables import COMPRESSED, PART, as_text, read_file

LABELS = ("label", "click", "clicked", "clk", "is_click", "target", "y", "income", "like", "rating", "score", "stars")
TIMES = ("timestamp", "time_stamp", "time", "date", "datetime", "hour", "ts")
SEPARATORS = ",\t;|"
LIST_MARKS = "^|; "
FEW = 50  # distinct whole numbers that are read as a category
LEAKS = 0.99  # AUC of a single column that can't be honest


@dataclass
class Proposal:
    """Hold what `describe` proposes, with a comment for each field."""

    name: str
    files: list[str]
    separator: str
    encoding: str
    label: str
    split: str
    fields: dict[str, str] = dataclasses.field(default_factory=dict)  # by name: the YAML of its column, and a comment
    dropped: dict[str, str] = dataclasses.field(default_factory=dict)  # by column: why

    def yaml(self) -> str:
        """Write the data set as a commented YAML file."""
        lines = [
            f"title: {self.name}",
            "format: table",
            f"files: [{', '.join(map(quoted, self.files))}] # relative to the folder that holds datasets/",
        ]
        if self.separator != ",":
            lines.append(f"separator: {quoted(self.separator)}")
        if self.encoding != "utf8":
            lines.append(f"encoding: {self.encoding}")
        lines += [
            f"label: {quoted(self.label)} # a column with two values, or a comparison such as rating >= 4",
            f"split: {self.split} # random, order, or {{by: time | group | last | fold, column: NAME}}",
            "fields: # category, or {kind: number | time, …}; min_count: training rows that a value needs",
        ]
        lines += [f"  {quoted(name)}: {text}" for name, text in self.fields.items()]
        lines += [f"# left out: {column}, {why}" for column, why in self.dropped.items()]
        return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """Quote a text that YAML would not read as it stands."""
    plain = text.replace("_", "").replace(".", "").replace("/", "").replace("-", "")
    if (
        plain.isalnum()
        and not is_number(text)
        and text.lower() not in ("yes", "no", "on", "off", "true", "false", "null")
    ):
        return text
    return "'" + text.replace("'", "''") + "'" if text.isprintable() else '"' + text.replace("\t", "\\t") + '"'


def sniff(file: Path) -> tuple[str, str]:
    """Guess separator and encoding of a text file. Raises ValueError for a file without columns."""
    if file.suffix in COMPRESSED:
        head = "\n".join("\t".join(row) for row in [read_file(file, "\x1f", num_rows=1).columns])
        return most_frequent(head, file), "utf8"
    with file.open("rb") as opened:
        start = opened.read(1 << 20)
    if b"\x00" in start:
        raise ValueError(f"{file}: has NUL bytes: neither text nor Parquet")
    try:
        head, encoding = start[: start.rfind(b"\n") + 1 or None].decode("utf-8"), "utf8"
    except UnicodeDecodeError:
        head, encoding = start.decode("cp1252", errors="replace"), "cp1252"
    return most_frequent(head.splitlines()[0] if head.strip() else "", file), encoding


def most_frequent(line: str, file: Path) -> str:
    """Find the separator that occurs most often in the header."""
    if "::" in line:
        raise ValueError(f"{file}: columns are separated by '::': replace that by a tab, and add a header")
    separator = max(SEPARATORS, key=line.count)
    if not line.count(separator):
        raise ValueError(f"{file}: no separator in its first line; known: comma, tab, semicolon, |")
    return separator


def propose(files: Sequence[Path], name: str, label: str, folder: Path) -> tuple[Proposal, pl.DataFrame]:
    """Propose a data set for files, and return it with their rows.

    Raises ValueError if a file can't be read or no label is found.
    """
    first = files[0]
    binary = {".parquet", ".jsonl", ".ndjson", ".json"} & {*first.suffixes}
    separator, encoding = (",", "utf8") if binary else sniff(first)
    tables = [read_file(file, separator, encoding) for file in files]
    lists = {column.name: "a list" for column in tables[0] if column.dtype.is_nested()}
    table = pl.concat([as_text(part.drop(lists)) for part in tables])
    if heads := [column for column in table.columns if is_number(column)]:
        raise ValueError(f"{first}: the first line must name the columns; it has {', '.join(heads[:3])}")
    label = label or guess_label(table, first)
    used = label_of(label, table.columns)[0]
    paths = [
        str(file.resolve().relative_to(folder.resolve()))
        if file.resolve().is_relative_to(folder.resolve())
        else str(file.resolve())
        for file in files
    ]
    proposal = Proposal(name, paths, separator, encoding, label, "random", dropped=lists)
    for column in table.iter_columns():
        if column.name != used:
            propose_field(proposal, column)
    return proposal, table


def guess_label(table: pl.DataFrame, file: Path) -> str:
    """Guess the label by the names of columns and their values."""
    by_name = {column.lower(): column for column in table.columns}
    for name in LABELS:
        if name in by_name:
            column = by_name[name]
            distinct = sorted(table[column].drop_nulls().unique().to_list())
            if all(map(is_number, distinct)):
                numbers = sorted(map(float, distinct))
                return column if len(numbers) <= 2 else f"{column} >= {numbers[-1] * 0.8:g}"
            if len(distinct) == 2:
                return f"{column} == {distinct[int(np.argmin([table[column].eq(d).sum() for d in distinct]))]}"
    raise ValueError(
        f"{file}: no column is called {', '.join(LABELS[:6])} …: name it with --label, such as --label 'rating >= 4'"
    )


def propose_field(proposal: Proposal, column: pl.Series) -> None:
    """Add a column to a proposal, as a field or as left out."""
    name, known = column.name, column.drop_nulls()
    distinct, missing = known.n_unique(), column.null_count() / max(1, len(column))
    note = f"# {distinct:,} values" + (f", {missing:.1%} missing" if missing else "")
    if distinct <= 1:
        proposal.dropped[name] = f"{'empty' if not distinct else 'constant'}"
        return
    numeric = bool(known.cast(pl.Float64, strict=False).is_not_null().all())
    if name.lower() in TIMES:
        try:
            span = times_of(known, proposal.name)
            if not numeric or span.max() > 1e8:
                written = "format: unix" if numeric else "format: ''"
                for part in ("hour", "weekday"):
                    if len(set(span // 3600)) > 24 or part == "weekday":
                        proposal.fields[f"{name}_{part}"] = (
                            f"{{kind: time, column: {quoted(name)}, {written}, part: {part}}}"
                        )
                proposal.split = f"{{by: time, column: {quoted(name)}}}"
                return
        except ValueError:
            pass
    if distinct == len(column) and not (numeric and known.str.contains(r"\.").any()):
        proposal.dropped[name] = "every row has another value"
        return
    if not numeric and (mark := list_mark(known)):
        proposal.fields[name] = f"{{kind: list, separator: {quoted(mark)}}} {note}"
        return
    whole = numeric and not known.str.contains(r"[.eE]").any()
    is_id = name.lower().endswith(("id", "code", "_no")) or (name.lower().startswith("c") and name[1:].isdigit())
    if numeric and not is_id and not (whole and distinct <= FEW):
        numbers = known.cast(pl.Float64).to_numpy()
        skewed = numbers.min() >= 0 and numbers.max() > 10 * max(1.0, float(np.median(numbers)))
        proposal.fields[name] = f"{{kind: number, scale: {'log' if skewed else 'standard'}}} {note}"
        return
    proposal.fields[name] = f"category {note}"


def list_mark(texts: pl.Series) -> str | None:
    """Find the mark between the elements of lists; None if texts are no lists."""
    for mark in LIST_MARKS:
        share = texts.str.contains(mark, literal=True).sum() / max(1, len(texts))
        elements = texts.str.split(mark).explode().n_unique()
        if share > 0.2 and elements < texts.n_unique():
            return mark
    return None


def findings(table: pl.DataFrame, dataset: OwnDataset, seed: int) -> list[str]:
    """Say what is remarkable in the rows: balance, repeated rows, leaks, unseen values."""
    labels = labels_of(table, dataset)
    positive = labels == 1
    found = [f"{table.height:,} rows, {positive.mean():.1%} positive"]
    repeated = table.height - table.unique().height
    if repeated:
        found.append(f"WARNING: {repeated:,} rows ({repeated / table.height:.0%}) repeat another row")
    rows = split_of(table.with_columns(pl.lit("all").alias(PART)), dataset, 0.7, 0.2, np.random.default_rng(seed))
    train, test = table[rows["train"]], table[rows["test"]]
    if test.height and (twice := test.join(train.unique(), on=table.columns, how="semi", nulls_equal=True).height):
        found.append(f"WARNING: {twice / test.height:.0%} of the test rows stand in train too")
    for column in dict.fromkeys(dataset.source(field) for field in dataset.fields):
        seen = test.join(train.select(column).unique(), on=column, how="semi", nulls_equal=True).height
        unseen = 1 - seen / max(1, test.height)
        if dataset.fields.get(column) and dataset.fields[column].kind == "category" and unseen > 0.01:
            found.append(f"{column}: {unseen:.0%} of the test rows have a value that train lacks")
        if (auc := single_auc(table[column], positive, rows)) > LEAKS:
            found.append(f"WARNING: {column} alone has AUC {auc:.4f} on test rows: does it tell the label?")
    return found


def single_auc(texts: pl.Series, positive: np.ndarray, rows: dict[str, np.ndarray]) -> float:
    """Compute the test AUC of the training rate of positives by a column's values."""
    train = pl.DataFrame({"value": texts[rows["train"]], "positive": positive[rows["train"]]})
    rates = train.group_by("value").agg(pl.col("positive").mean())
    test = pl.DataFrame({"value": texts[rows["test"]]}).join(rates, on="value", how="left", nulls_equal=True)
    ranks = test["positive"].fill_null(float(positive.mean())).rank("average").to_numpy()
    own = positive[rows["test"]]
    num_positives, num_negatives = int(own.sum()), int((~own).sum())
    if not num_positives or not num_negatives:
        return 0.5
    return float((ranks[own].sum() - num_positives * (num_positives + 1) / 2) / (num_positives * num_negatives))
