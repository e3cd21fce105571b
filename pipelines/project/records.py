"""Read and write JSON files as checked records."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pipelines.project.files import write_json

R = TypeVar("R")
ABSENT: Any = Field(default=None, exclude_if=lambda value: value is None)  # not in the file where it is None


class Schema(BaseModel):
    """Describe the keys of a file that people write: an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Record(BaseModel):
    """Describe the keys of a file that a run writes: a key that another version added is ignored."""

    model_config = ConfigDict(frozen=True)


def write_record(path: Path, record: BaseModel) -> None:
    """Write a record as JSON."""
    write_json(path, record.model_dump(mode="json"))


def read_record(path: Path, kind: type[R], command: str) -> R:
    """Read a record of one kind.

    Raises ValueError that names `command`, which writes the file, when the file is missing, is no JSON or lacks a key.
    """
    if not path.exists():
        raise ValueError(f"no {path}: run {command}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise ValueError(f"{path} is damaged ({error}): run {command}") from error
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        raise ValueError(f"{path} is damaged ({explain(error)}): run {command}") from error


def explain(error: ValidationError, schema: Any = None) -> str:
    """Put the first problem of a validation into one line: key, what is wrong, which values are allowed."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        for part in first["loc"][:-1]:
            schema = schema.model_fields[str(part)].annotation
        return f"{key}: no such key; the keys here are: {', '.join(schema.model_fields)}"
    got = "" if first["type"] == "missing" else f" (got {first['input']!r})"
    return f"{key}: {first['msg']}{got}".removeprefix(": ")
