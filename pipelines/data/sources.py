"""Describe the files that a data set fetches."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field, Strict

from pipelines.project.params import distinct
from pipelines.project.records import Schema

Names = Annotated[tuple[str, ...], Strict(False), AfterValidator(distinct)]


class Source(Schema):
    """Name one file to fetch."""

    url: str
    checksum: str  # ALGORITHM:HEX; git-blob is the SHA-1 that git gives the content
    members: Names = ()  # the files wanted from a zip archive; none: the file itself
    variants: dict[str, str] = Field(default={})  # by checksum: how a file that a mirror may have differs from this one

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]

    @property
    def files(self) -> list[str]:
        """Name the files that it gives."""
        return [PurePosixPath(member).name for member in self.members or (self.name,)]


def files_of(sources: Sequence[Source]) -> list[str]:
    """Name the files that sources give."""
    return [file for source in sources for file in source.files]


def have_distinct_files(sources: tuple[Source, ...]) -> tuple[Source, ...]:
    files = files_of(sources)
    if len({*files}) < len(files):
        raise ValueError(f"two files have the same name; they are {', '.join(files)}")
    return sources


Sources = Annotated[tuple[Source, ...], Strict(False), AfterValidator(have_distinct_files)]
