"""Read the data sets of `datasets/`: where each comes from, its licence, and what its rows mean."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, TypeAdapter, model_validator

from pipelines.data.own import RESERVED, OwnDataset
from pipelines.data.sources import Names, Sources, files_of
from pipelines.project.cli import one_of
from pipelines.project.paths import Paths, shipped
from pipelines.project.records import Schema, check, read_yaml

FOLDER = shipped("datasets")
FRAPPE_COLUMNS = (
    "user", "item", "cnt", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country",
    "city",
)  # fmt: skip
TAGS_COLUMNS = ("user", "movie", "tag", "timestamp")
LASTFM_COLUMNS = ("user", "artist", "tag", "day", "month", "year")
Format = Literal["frappe", "lastfm", "tags.dat", "tags.csv", "libfm", "synthetic"]
FORMATS = (*get_args(Format), "table")  # the last is a user's own
COLUMNS = {  # of formats that fix them
    "frappe": FRAPPE_COLUMNS, "lastfm": LASTFM_COLUMNS, "tags.dat": TAGS_COLUMNS, "tags.csv": TAGS_COLUMNS,
}  # fmt: skip
PUBLISHED = {"embed_dim": 256, "max_epochs": 100}  # with which the figures of `published_rmse` were made

NOT_IN_FILES = ("name", "folder", "raw")  # what a file's place says


class Dataset(Schema):
    """Describe a data set.

    A log (any format but libfm) has positives only. `prepare` adds negatives: it replaces the feature of field
    `replace` with one that does not occur in the log together with the row's features of the fields `given`. Of a
    released split, these say how its negatives were made.
    """

    name: str
    title: str
    licence: str
    citation: str
    format: Format
    fields: Annotated[Names, Field(min_length=1)]
    sources: Sources = ()
    replace: str = ""
    given: Names = ()
    group: str = ""  # the field whose values are the groups of group_auc; empty: the field `given`, if it is one
    published_rmse: dict[str, float] = Field(default={})  # Table 2 of the IFM paper, where this is its data

    @property
    def family(self) -> str:
        """Return the part of the name that all releases share; the paper's settings differ by family."""
        return self.name.split("-")[0]

    @property
    def generated(self) -> bool:
        """Tell whether `download` generates the log."""
        return self.name == "synthetic"

    @property
    def grouped_by(self) -> str:
        """Return the field whose values are groups, or an empty text."""
        return self.group or (self.given[0] if len(self.given) == 1 else "")

    @property
    def group_place(self) -> int | None:
        """Return the number of the field whose features are groups; None without groups."""
        return self.fields.index(self.grouped_by) if self.grouped_by else None

    @property
    def pair(self) -> tuple[str, ...]:
        """Return the fields that a model may know again: `given` and `replace`, or else the first two fields."""
        return (*self.given, self.replace) if self.replace else self.fields[:2]

    @property
    def files(self) -> list[str]:
        """Name the files in data/raw/NAME. Without sources, the user puts them there."""
        if not self.sources:
            return ["train.libfm", "valid.libfm", "test.libfm"] if self.format == "libfm" else ["log.csv"]
        return files_of(self.sources)

    @model_validator(mode="after")
    def have_usable_fields(self) -> "Dataset":
        for field in self.fields:
            if not field or field.startswith(RESERVED):
                raise ValueError(f"fields: {field!r} can't be a field's name")
            if field not in COLUMNS.get(self.format, self.fields):
                raise unknown_field("fields", field, f"a file of format {self.format}", COLUMNS[self.format])
        if self.group and self.group not in self.fields:
            raise unknown_field("group", self.group, "the data set", self.fields)
        return self

    @model_validator(mode="after")
    def say_what_a_negative_is(self) -> "Dataset":
        if self.format == "libfm" and not (self.replace or self.given):
            return self
        if not (self.replace and self.given):
            raise ValueError(f"replace and given: the negatives of format {self.format} need both")
        for key, field in [("replace", self.replace), *(("given", field) for field in self.given)]:
            if field not in self.fields:
                raise unknown_field(key, field, "the data set", self.fields)
        if self.replace in self.given:
            raise ValueError(f"given: {self.replace!r} is the field that a negative replaces")
        return self

    @model_validator(mode="after")
    def have_as_many_files_as_the_format_needs(self) -> "Dataset":
        files = self.files
        if self.format == "libfm" and len(files) != 3:
            raise ValueError(f"sources: libfm needs three files, train, valid and test in this order; got {len(files)}")
        return self


def unknown_field(key: str, field: str, what: str, known: Sequence[str]) -> ValueError:
    return ValueError(f"{key}: {what} has no field {field!r}; its fields are: {', '.join(known)}")


def files(root: Path) -> dict[str, Path]:
    """Find the file of each data set: those of `datasets/` beside params.yaml or above it hide built-in ones."""
    root = root.resolve()
    folders = [FOLDER, *(folder / "datasets" for folder in (*reversed(root.parents), root))]
    return {file.stem: file for folder in folders for file in sorted(folder.glob("*.yaml"))}


def list_datasets(root: Path = Path()) -> list[str]:
    """List the names of all data sets."""
    return sorted(files(root))


def get_dataset(name: str, root: Path = Path()) -> Dataset | OwnDataset:
    """Read datasets/NAME.yaml. Raises ValueError for an unknown name, and for a file with a wrong key or value."""
    known = files(root)
    file = known[one_of("data set", name, known)]
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise ValueError(f"{file}: it must have keys, such as format and fields")
    for key in {*NOT_IN_FILES} & content.keys():
        raise ValueError(f"{file}: {key}: no such key; the file's name and folder say it")
    if (format := content.get("format", FORMATS[0])) not in FORMATS:
        raise ValueError(f"{file}: format: unknown format {format!r}; choose one of: {', '.join(FORMATS)}")
    if format == "table":
        return check(
            OwnDataset, {**content, "name": name, "folder": file.parents[1], "raw": Paths(root).raw(name)}, f"{file}: "
        )
    return check(Dataset, {**content, "name": name}, f"{file}: ")


def json_schema() -> dict[str, Any]:
    """Make the JSON schema of datasets/NAME.yaml, for editors."""
    either = Annotated[Dataset | OwnDataset, Field(discriminator="format")]
    schema = TypeAdapter(either).json_schema()
    for kind in (Dataset, OwnDataset):
        definition = schema["$defs"][kind.__name__]
        for key in NOT_IN_FILES:
            definition["properties"].pop(key, None)
        definition["required"] = [key for key in definition["required"] if key not in NOT_IN_FILES]
    return {"title": "datasets/NAME.yaml of factorbench", **schema}
