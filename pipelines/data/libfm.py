"""Read libfm files, and find each index's field. A line is `label index:value index:value …`."""

import functools
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.data.logs import bad_line, shorten, text_lines

LABELS = {1.0: 1, -1.0: -1, 0.0: 0}
INDEX = re.compile(rb"\d{1,18}")
NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
TRIPLE = re.compile(rb"\d+:\d+:" + NUMBER.pattern)
MAX_INDEX = 2**31 - 1


@dataclass(frozen=True)
class LibfmRows:
    """Hold the rows of a libfm file.

    `labels` are ±1 [rows]. `indices` and `values` are [rows, fields], in the order of the file.
    """

    labels: np.ndarray
    indices: np.ndarray
    values: np.ndarray


class Pairs(dict[bytes, int]):
    """Number each distinct `index:value` text, so that each is parsed only once."""

    def __init__(self) -> None:
        super().__init__()
        self.parsed: list[tuple[int, float]] = []

    def __missing__(self, text: bytes) -> int:
        self.parsed.append(parse_pair(text))
        self[text] = len(self.parsed) - 1
        return self[text]


def read_libfm(path: Path, num_fields: int) -> LibfmRows:
    """Read a libfm file whose rows have one feature per field. Skips blank lines and `# comments`.

    Labels are 1 and -1, or 1 and 0, in any notation. Raises ValueError, with file, line number and the bad text, for
    invalid UTF-8, NUL bytes, a line above 1 MiB, another label, labels 0 and -1 in one file, a feature not of the form
    `index:value`, an index that is no integer from 0 to 2³¹−1 or occurs twice in one row, a value that is not finite,
    and a wrong number of features. Raises ValueError for a file without rows, and OSError when the file can't be read.
    """
    labels, lines, codes, pairs = array("b"), array("q"), array("q"), Pairs()
    for number, line in text_lines(path):
        cells = line.partition(b"#")[0].split()
        if not cells:
            continue
        try:
            labels.append(parse_label(cells[0]))
            codes.extend(map(pairs.__getitem__, cells[1:]))
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from error
        if len(cells) != num_fields + 1:
            raise bad_line(path, number, f"expected {num_fields} features, got {len(cells) - 1}")
        lines.append(number)
    if not lines:
        raise ValueError(f"{path}: the file has no rows")
    if 0 in labels and -1 in labels:
        later = max(labels.index(0), labels.index(-1))
        raise bad_line(path, lines[later], "a file has labels 1 and -1 or 1 and 0, but this has both -1 and 0, as in")
    parsed = np.array(pairs.parsed)[np.array(codes)].reshape(len(lines), num_fields, 2)
    indices = parsed[..., 0].astype(np.int32)
    reject_repeats(path, indices, lines)
    signs = np.where(np.array(labels) == 1, 1, -1).astype(np.int8)
    return LibfmRows(signs, indices, parsed[..., 1].astype(np.float32))


@functools.cache
def parse_label(text: bytes) -> int:
    """Parse a label: 1, -1 or 0. Raises ValueError for another text."""
    if not NUMBER.fullmatch(text) or float(text) not in LABELS:
        raise ValueError(f"the label must be 1 or -1 (or 1 or 0): {shorten(text)}")
    return LABELS[float(text)]


def parse_pair(text: bytes) -> tuple[int, float]:
    """Parse `index:value`. Raises ValueError that describes the problem."""
    index, colon, value = text.partition(b":")
    if TRIPLE.fullmatch(text):
        hint = r"remove the fields: sed -E 's/[0-9]+:([0-9]+:)/\1/g' FILE"
        raise ValueError(f"libffm's field:index:value, where index:value is expected ({hint}): {shorten(text)}")
    if not (index and colon and value):
        raise ValueError(f"expected index:value: {shorten(text)}")
    if index.startswith(b"-"):
        raise ValueError(f"negative index: {shorten(text)}")
    if index.isdigit() and (not INDEX.fullmatch(index) or int(index) > MAX_INDEX):
        raise ValueError(f"an index can't be beyond {MAX_INDEX}: {shorten(text)}")
    if not INDEX.fullmatch(index):
        raise ValueError(f"the index is not an integer: {shorten(text)}")
    if not NUMBER.fullmatch(value) or abs(float(value)) > float(np.finfo(np.float32).max):
        raise ValueError(f"the value is not a finite number: {shorten(text)}")
    return int(index), float(value)


def reject_repeats(path: Path, indices: np.ndarray, lines: Sequence[int]) -> None:
    """Raise ValueError if an index occurs twice in a row."""
    ordered = np.sort(indices, axis=1)
    repeats = np.argwhere(ordered[:, 1:] == ordered[:, :-1])
    if len(repeats):
        row, column = repeats[0]
        raise bad_line(path, lines[row], f"index {ordered[row, column]} occurs twice")


def by_field(indices: np.ndarray, fields: Sequence[str]) -> np.ndarray:
    """Find the column of each field's feature in each row of `indices` [rows, fields].

    If the fields have separate index ranges, the ranges decide, in any order within a line. Otherwise the position in
    the line decides. Raises ValueError if an index then belongs to two fields.
    """
    order = np.argsort(indices, axis=1)
    ordered = np.take_along_axis(indices, order, axis=1)
    if (ordered.max(axis=0)[:-1] < ordered.min(axis=0)[1:]).all():
        return order
    by_position = np.concatenate([np.unique(column) for column in indices.T])
    distinct, counts = np.unique(by_position, return_counts=True)
    if (counts > 1).any():
        shared = distinct[counts > 1][0]
        places = [field for field, column in zip(fields, indices.T, strict=True) if shared in column]
        raise ValueError(
            f"can't tell the fields of the features: index {shared} stands for {' and '.join(places)} by "
            "its position, and the fields have no separate ranges of indices"
        )
    return np.broadcast_to(np.arange(indices.shape[1]), indices.shape)
