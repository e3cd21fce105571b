"""Read and write files as checked records: JSON and CSV that runs write, and YAML that people write."""

import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pipelines.project.cli import nearest
from pipelines.project.files import write_json

if TYPE_CHECKING:
    import polars as pl

R = TypeVar("R")
S = TypeVar("S", bound="Schema")

ABSENT: Any = Field(default=None, exclude_if=lambda value: value is None)  # not in the file where it is None
CONFLICT = re.compile(r"^(<{7}|>{7})( |$)", re.MULTILINE)  # the lines that git puts around a merge conflict


class Missing(ValueError):  # noqa: N818
    """Report a file that no command has written yet."""


class Schema(BaseModel):
    """Describe the keys of a file that people write.

    An unknown key is an error, and so is a value of another type: text or `true` is no number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Record(BaseModel):
    """Describe the keys of a file that a run writes: a key that another version added is ignored."""

    model_config = ConfigDict(frozen=True)


def write_record(path: Path, record: BaseModel) -> None:
    """Write a record as JSON."""
    write_json(path, record.model_dump(mode="json"))


def read_record(path: Path, kind: type[R], command: str) -> R:
    """Read a record of one kind.

    Raises Missing for a file that is missing, and ValueError for one that is no JSON, has a merge conflict or lacks a
    key. Both name `command`, which writes the file.
    """
    content = existing(path, command)
    try:
        return TypeAdapter(kind).validate_python(json.loads(readable(content)))
    except ValidationError as error:
        raise damaged(path, explain(error), command) from error
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, nested too deeply, or a merge conflict
        raise damaged(path, error, command) from error


def read_csv(path: Path, command: str, numbers: bool = False) -> "pl.DataFrame":
    """Read a CSV file. With `numbers`, each cell must have a number.

    Raises Missing for a file that is missing, and ValueError for one that is no table or has a merge conflict. Both
    name `command`, which writes the file.
    """
    import polars as pl  # takes a third of a second to import

    content = existing(path, command)
    try:
        table = pl.read_csv(io.StringIO(readable(content)))
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise damaged(path, str(error).splitlines()[0], command) from error
    if numbers:
        for column in table:
            if not column.dtype.is_numeric() or column.null_count():
                raise damaged(path, f"a cell of column {column.name} has no number", command)
    return table


def existing(path: Path, command: str) -> bytes:
    """Read a file's bytes. Raises Missing that names the command to run."""
    if not path.exists():
        raise Missing(f"no {path}: run {command}")
    return path.read_bytes()


def readable(content: bytes) -> str:
    """Decode the text of a file. Raises ValueError for invalid UTF-8 and for a merge conflict."""
    text = content.decode()
    if conflict := CONFLICT.search(text):
        raise ValueError(f"line {line_of(text, conflict.start())} has a merge conflict, which git left there")
    return text


def line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def damaged(path: Path, reason: object, command: str) -> ValueError:
    """Make the error for a damaged file. It names the command that writes the file anew."""
    return ValueError(f"{path} is damaged ({reason}): run {command}")


def read_yaml(path: Path) -> Any:
    """Read a YAML file. Raises ValueError that names file and line, and OSError when the file can't be read."""
    content = path.read_bytes()
    try:
        return parse_yaml(readable(content))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not YAML: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def parse_yaml(text: str) -> Any:
    """Parse YAML 1.2, as DVC does: 010 is 10, `1:30` and `yes` are texts.

    Raises ValueError that names the line of a mistake or of a key that occurs twice.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except DuplicateKeyError as error:
        key = re.search(r'"(.*?)"', str(error.problem))
        raise ValueError(f"key {key[1] if key else error.problem!r} occurs twice, again {place_of(error)}") from error
    except MarkedYAMLError as error:
        raise ValueError(f"not YAML: {error.problem} {place_of(error)}") from error
    except (YAMLError, ValueError) as error:  # a character that no YAML file may have, a date that there is not
        raise ValueError(f"not YAML: {' '.join(str(error).split())}") from error


def yaml_text(content: Any) -> str:
    """Write content as YAML, with keys in their order."""
    from ruamel.yaml import YAML

    text = io.StringIO()
    YAML().dump(content, text)
    return text.getvalue()


def place_of(error: Any) -> str:
    return f"in line {error.problem_mark.line + 1}" if error.problem_mark else "in an unknown line"


def read_schema(path: Path, kind: type[S]) -> S:
    """Read a YAML file that people write.

    Raises ValueError with file, key and allowed values, and OSError when the file can't be read.
    """
    return check(kind, read_yaml(path), f"{path}: ")


def check(kind: type[S], content: Any, place: str) -> S:
    """Check content that people wrote. Raises ValueError with place, key and allowed values."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{place}{explain(error, kind)}") from error


def command(stage: str, model: str, dataset: str) -> str:
    """Name the command that makes a cell's result."""
    return f"python -m pipelines.{stage} --model {model} --dataset {dataset}"


def explain(error: ValidationError, schema: Any = None) -> str:
    """Put the first problem of a validation into one line: key, what is wrong, which values are allowed."""
    first, *others = error.errors(include_url=False)
    if first["type"] == "missing":  # the key may be there, but misspelt
        beside = (each for each in others if each["loc"][:-1] == first["loc"][:-1])
        first = next((each for each in beside if each["type"] == "extra_forbidden"), first)
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        for part in first["loc"][:-1]:
            schema = inner(schema, part)
        near = nearest(str(first["loc"][-1]), schema.model_fields)
        return f"{key}: no such key; the keys here are: {', '.join(schema.model_fields)}{near}"
    if first["type"] == "value_error":  # of a validator, whose text says all
        return f"{key}: {first.get('ctx', {}).get('error')}".removeprefix(": ")
    got = "" if first["type"] == "missing" else f" (got {first['input']!r})"
    return f"{key}: {first['msg']}{got}".removeprefix(": ")


def inner(schema: Any, part: str | int) -> Any:
    """Return the type of one key, or of the elements of a list."""
    if hasattr(schema, "model_fields"):
        return schema.model_fields[part].annotation
    return get_args(schema)[-1 if isinstance(part, str) else 0]
