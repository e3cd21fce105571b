"""Describe a user's own table: its files, label, fields and split, as in datasets/NAME.yaml."""

from itertools import product
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from pipelines.data.columns import names_of
from pipelines.data.layouts import Join, Layout
from pipelines.data.sources import Sources, files_of
from pipelines.project.paths import Paths
from pipelines.project.records import Schema

WEIGHT = "label:weight"  # the column of weights in prepared rows
ALL_POSITIVE = "all positive"  # a label without a column
NEEDS_COLUMN = ("time", "group", "last", "fold")
RESERVED = ("label", "value:", "group:")  # columns of the prepared rows: label, values of fields, groups
INHERITED = ("separator", "encoding", "quotes", "missing")  # of the log, for side tables that do not say otherwise

Kind = Literal["category", "number", "time", "list"]
TableSplit = Literal["random", "order", "time", "group", "last", "fold"]


class Column(Schema):
    """Say how a column becomes a field.

    category: each value is a feature. Values with fewer than `min_count` training rows, and all but the `max_size` most
    frequent ones, share one feature with unseen values. With `hash`, a value's hash is one of so many features; values
    with equal hashes share it. number: one feature, whose value is the number on a `scale`; with `bins`, its training
    quantile is a feature. time: a part of the time is a feature, or its age is a number, standard or in bins; `format`
    is strptime's, or `unix` for seconds, or `unix_ms`.
    list: each element is a feature, as in a category; the field is the mean or sum of at most `max_length` of them.
    A missing value is a feature of its own.
    """

    kind: Kind = "category"
    column: str = ""  # in the files; empty: the field's name
    min_count: PositiveInt = 2
    max_size: PositiveInt | None = None
    hash: PositiveInt | None = None
    scale: Literal["standard", "log", "raw", "bins"] = "standard"
    bins: PositiveInt = 20
    format: str = "unix"
    part: Literal["hour", "weekday", "day", "month", "age"] = "hour"
    separator: str = Field(default="|", min_length=1)  # between the elements of a list
    max_length: PositiveInt = 50
    pooling: Literal["mean", "sum"] = "mean"

    @model_validator(mode="after")
    def suit_the_kind(self) -> "Column":
        given = {key for key in ("max_size", "hash") if getattr(self, key)}
        if self.kind not in ("category", "list") and given:
            raise ValueError(f"{min(given)}: a {self.kind} takes none; a category does")
        if self.hash and self.kind == "list":
            raise ValueError("hash: a list takes none; max_size limits its features")
        if self.hash and {"min_count", "max_size"} & self.model_fields_set:
            raise ValueError("hash: hashed values have neither min_count nor max_size")
        if self.part == "age" and self.scale not in ("standard", "bins"):
            raise ValueError(f"scale: the age of a time is standard or in bins, not {self.scale}")
        return self


class SplitBy(Schema):
    """Say which rows train, validate and test. Shares are those of `prepare` in params.yaml.

    random: drawn. order: the last rows of the files test. time: the latest rows by a column test. group: all rows with
    one value of a column are on one side. last: of each value of a column, the last row tests and the one before
    validates. fold: a column says train, valid or test.
    """

    by: TableSplit = "random"
    column: str = ""
    format: str = ""  # of the times; empty: ISO 8601 or numbers that grow

    @model_validator(mode="after")
    def have_a_column(self) -> "SplitBy":
        if (self.by in NEEDS_COLUMN) != bool(self.column):
            raise ValueError(f"by {self.by} {'needs' if self.by in NEEDS_COLUMN else 'takes no'} column")
        return self


class Negatives(Schema):
    """Say how negatives are made of the rows, which are all positive.

    A negative is a copy of its row with another value of the field `replace`, one that stands in no row with the row's
    values of the fields `given`. fewer: a row for which there are too few such values gets no negatives.
    """

    replace: str
    given: list[str] = Field(min_length=1)
    count: PositiveInt = 2  # for each row
    if_too_few: Literal["error", "fewer"] = "error"


class OwnDataset(Layout):
    """Describe a user's own table. Paths are relative to the folder that holds `datasets/`."""

    name: str
    format: Literal["table"]
    title: str = ""
    licence: str = "your own data"
    citation: str = "none needed"
    folder: Path
    raw: Path = Path()  # the folder of fetched files
    sources: Sources = ()  # files to fetch; those that files and joins name
    files: list[str] | dict[Literal["train", "valid", "test"], str]
    joins: list[Join] = Field(default=[])
    label: str  # a column with two values, or a comparison: rating >= 4; or all positive
    negatives: Negatives | None = None
    weight: str = ""  # a column: by how much a row's loss counts in training; metrics don't weigh rows
    repeated: Literal["keep", "drop", "weight"] = "keep"  # rows with the label and the columns of a row before
    fields: dict[str, Column] = Field(min_length=1)
    split: SplitBy = SplitBy()
    group: str = ""  # the field or column whose values are the groups of group_auc, such as users

    # what only logs of positives and published splits have
    replace: str = ""
    given: tuple[str, ...] = ()
    published_rmse: dict[str, float] = Field(default={})

    @field_validator("fields", mode="before", json_schema_input_type=dict[str, Column | Kind | None])
    @classmethod
    def spell_out(cls, fields: Any) -> Any:
        """Let `user: category` stand for `user: {kind: category}`, and `I1..I13` for thirteen fields."""
        if not isinstance(fields, dict):
            return fields
        spelt: dict[str, Any] = {}
        for name, given in fields.items():
            column = {"kind": given} if isinstance(given, str) else given or {}
            names = names_of(str(name))
            if len(names) > 1 and isinstance(column, dict) and column.get("column"):
                raise ValueError(f"{name}: a range of names takes no column")
            if twice := spelt.keys() & set(names):
                raise ValueError(f"{name}: {min(twice)} stands twice")
            spelt |= dict.fromkeys(names, column)
        return spelt

    @field_validator("fields")
    @classmethod
    def have_usable_names(cls, fields: dict[str, Column]) -> dict[str, Column]:
        for name in fields:
            if not name or name == RESERVED[0] or name.startswith(RESERVED[1:]):
                raise ValueError(f"{name!r} can't be a field's name; write another: {{column: {name!r}}}")
        return fields

    @field_validator("split", mode="before", json_schema_input_type=SplitBy | TableSplit)
    @classmethod
    def name_the_split(cls, split: Any) -> Any:
        """Let `split: random` stand for `split: {by: random}`."""
        return {"by": split} if isinstance(split, str) else split

    @model_validator(mode="after")
    def have_one_split(self) -> "OwnDataset":
        if isinstance(self.files, dict):
            if missing := {"train", "valid", "test"} - self.files.keys():
                raise ValueError(f"files: {', '.join(sorted(missing))} missing beside {', '.join(self.files)}")
            if self.split != SplitBy():
                raise ValueError("files name train, valid and test: leave split out")
        return self

    @model_validator(mode="after")
    def have_negatives(self) -> "OwnDataset":
        if (self.label == ALL_POSITIVE) != (self.negatives is not None):
            raise ValueError(
                f"label and negatives: rows that are {ALL_POSITIVE} need negatives, and no others have them"
            )
        if not self.negatives:
            return self
        for field in (self.negatives.replace, *self.negatives.given):
            if field not in self.fields:
                raise ValueError(f"negatives: {field!r} is no field; the fields are: {', '.join(self.fields)}")
        if self.negatives.replace in self.negatives.given:
            raise ValueError(f"negatives: given: {self.negatives.replace!r} is the field that a negative replaces")
        return self

    @property
    def family(self) -> str:
        return self.name

    @property
    def grouped_by(self) -> str:
        """Return the column whose values are groups, or an empty text."""
        return self.source(self.group) if self.group in self.fields else self.group

    @property
    def group_place(self) -> None:
        """Say that no field's features are groups: rare values share a feature, so the rows have a column for it."""

    @property
    def pair(self) -> tuple[str, ...]:
        """Return the fields that a model may know again: those of the negatives, or the first two."""
        if self.negatives:
            return (*self.negatives.given, self.negatives.replace)
        return tuple(self.fields)[:2]

    def paths(self) -> dict[str, list[Path]]:
        """Find the files by part: train, valid and test, or all. Raises ValueError for a pattern without a file."""
        if isinstance(self.files, dict):
            return {part: self.found([self.files[part]]) for part in ("train", "valid", "test")}
        return {"all": self.found(self.files)}

    def all_files(self) -> list[Path]:
        """Find the files of the log and of its side tables. Raises as `paths` does."""
        return self.found(self.patterns)

    def own_files(self) -> list[Path]:
        """Find those of all files that are not fetched. Raises as `paths` does."""
        fetched = files_of(self.sources)
        return self.found([pattern for pattern in self.patterns if pattern not in fetched])

    @property
    def patterns(self) -> list[str]:
        """Return the names and patterns of the log's files and of its side tables."""
        log = [*self.files.values()] if isinstance(self.files, dict) else self.files
        return [*log, *(pattern for join in self.joins for pattern in join.files)]

    def found(self, patterns: list[str]) -> list[Path]:
        """Expand patterns to files, in order.

        Raises ValueError for a pattern without a file, and for a file in a folder that stages write.
        """
        found: list[Path] = []
        fetched = files_of(self.sources)
        for pattern in patterns:
            if pattern in fetched:
                found.append(self.fetched(pattern))
                continue
            path = Path(pattern).expanduser()
            root, rest = (Path(path.anchor), path.relative_to(path.anchor)) if path.anchor else (self.folder, path)
            matches = sorted(root.glob(str(rest)))
            if not matches:
                raise ValueError(f"data set {self.name!r}: no file {root / rest}")
            for match, place in product(matches, Paths(self.folder).written(self.name)):
                if match.resolve().is_relative_to(place.resolve()):
                    raise ValueError(f"data set {self.name!r}: move {match} out of {place}, where stages write")
            found += matches
        return found

    def fetched(self, name: str) -> Path:
        """Return the path of a file of `sources`. Raises ValueError that names the stage to run."""
        if not (self.raw / name).is_file():
            raise ValueError(f"{self.raw / name} is missing; run `python -m pipelines.download --dataset {self.name}`")
        return self.raw / name

    def source(self, field: str) -> str:
        """Return the column of a field."""
        return self.fields[field].column or field

    def layout_of(self, join: Join) -> Layout:
        """Return a side table's layout. What it leaves open is as in the log."""
        said = {key: getattr(join, key) for key in Layout.model_fields if key in join.model_fields_set}
        return Layout(**({key: getattr(self, key) for key in INHERITED} | said))
