"""Describe how the files of a user's own table hold rows."""

from typing import Literal

from pydantic import Field, field_validator

from pipelines.project.records import Schema

Encoding = Literal["utf8", "cp1252"]


class Layout(Schema):
    """Say how text files hold rows. Parquet and JSON say it themselves.

    separated: cells between separators of one or more characters. libfm: `label index:value …`, with as many features
    in each line; the columns are label, c1, c2, … by position, and c1_value, …. libffm: `label field:index:value …`;
    the columns are label, f0, f1, … by number, and f0_value, …; features of one field in one line are a list.
    """

    layout: Literal["separated", "libfm", "libffm"] = "separated"
    separator: str = Field(default=",", min_length=1)
    columns: list[str] = Field(default=[])  # names for files without a header
    quotes: bool = True  # cells may stand in double quotes
    encoding: Encoding = "utf8"
    missing: list[str] = Field(default=[])  # texts that mean a missing value, beside blank ones

    @field_validator("columns")
    @classmethod
    def have_distinct_names(cls, columns: list[str]) -> list[str]:
        if twice := {name for name in columns if columns.count(name) > 1}:
            raise ValueError(f"{min(twice)!r} stands twice")
        return columns


class Join(Layout):
    """Name a side table, and the key that it shares with the log."""

    files: list[str]
    key: str
