"""Read the lines of text files, and name the line of a mistake."""

import codecs
import contextlib
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import polars as pl

from pipelines.data.layouts import Layout

COMPRESSED = (".gz", ".zst", ".zstd")
BLOCK_BYTES = 1 << 24  # in memory at a time, where bytes are checked
ABSENT_FROM_TEXT = "\x1f"  # a separator that texts don't have


@contextlib.contextmanager
def explained(file: Path, layout: Layout) -> Iterator[None]:
    """Raise errors of Polars as ValueError that names file and line."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:  # of the file system, and not of what the file has
            raise
        raise ValueError(f"{file}: damaged or cut off: {error}") from error
    except (pl.exceptions.PolarsError, UnicodeError) as error:
        reason = f"{str(error).splitlines()[0]}; where quotes are plain characters, say quotes: false"
        raise ValueError(place_of_mistake(file, layout) or f"{file}: {reason}") from error


def as_bytes(file: Path, layout: Layout) -> Path | io.BytesIO:
    """Return a file that Polars can decode: of compressed files, it decodes UTF-8 alone."""
    if layout.encoding == "utf8" or file.suffix not in COMPRESSED:
        return file
    if file.suffix != ".gz":
        raise ValueError(f"{file}: a file in zstd must be in UTF-8: write it in UTF-8, or compress it by gzip")
    return io.BytesIO(gzip.decompress(file.read_bytes()))


@contextlib.contextmanager
def opened(file: Path) -> Iterator[IO[bytes]]:
    """Open a text file, which may be compressed by gzip. Raises ValueError where it is damaged."""
    try:
        with cast(IO[bytes], gzip.open(file)) if file.suffix == ".gz" else file.open("rb") as raw:
            yield raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{file}: damaged or cut off, as gzip says: {error}") from error


def is_utf8(file: Path) -> bool:
    """Tell whether a text file is in UTF-8, in all its bytes."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with opened(file) as raw:
        try:
            while block := raw.read(BLOCK_BYTES):
                decoder.decode(block)
        except UnicodeDecodeError:
            return False
    return True


def check_bytes(file: Path) -> None:
    """Raise ValueError for NUL bytes, with the line of the first. Files in zstd are not looked at."""
    if file.suffix in (".zst", ".zstd"):
        return
    line = 1
    with opened(file) as raw:
        while block := raw.read(BLOCK_BYTES):
            if (found := block.find(b"\0")) >= 0:
                line += block.count(b"\n", 0, found)
                raise ValueError(f"{file}:{line}: has a NUL byte: neither Parquet nor text in UTF-8")
            line += block.count(b"\n")


def raw_lines(file: Path, layout: Layout, num_rows: int | None = None) -> pl.LazyFrame:
    """Scan lines as one column `line`; of another encoding than UTF-8, read them."""
    settings: dict[str, Any] = {
        "separator": ABSENT_FROM_TEXT,
        "has_header": False,
        "new_columns": ["line"],
        "infer_schema": False,
        "quote_char": None,
        "truncate_ragged_lines": True,
        "n_rows": num_rows,
    }
    if layout.encoding == "utf8":
        return pl.scan_csv(file, **settings)
    return pl.read_csv(as_bytes(file, layout), encoding=layout.encoding, **settings).lazy()


def read_lines(file: Path, layout: Layout, num_rows: int | None = None) -> pl.DataFrame:
    """Read the lines that are not blank, as columns `number` (from 1) and `line`."""
    with explained(file, layout):
        lines = raw_lines(file, layout, num_rows).collect()
    lines = lines.with_row_index("number", offset=1).with_columns(pl.col("line").str.strip_suffix("\r"))
    return lines.filter(pl.col("line").str.strip_chars() != "")


def place_of_mistake(file: Path, layout: Layout, strict: bool = True) -> str | None:
    """Find the first line of a text file that can't be read, and say why; None if all can be read.

    Lines with bad quoting are those only if `strict`.
    """
    line, width = 0, 0

    def lines() -> Iterator[str]:
        nonlocal line
        if file.suffix in (".zst", ".zstd"):
            for text in raw_lines(file, layout).collect()["line"]:
                line += 1
                yield f"{text or ''}\n"
            return
        with opened(file) as raw:
            for text in raw:
                line += 1
                yield text.decode(layout.encoding)

    quoting = csv.QUOTE_MINIMAL if layout.quotes and len(layout.separator) == 1 else csv.QUOTE_NONE
    separator, start = layout.separator if len(layout.separator) == 1 else ABSENT_FROM_TEXT, 1
    csv.field_size_limit(1 << 30)
    reader = csv.reader(lines(), delimiter=separator, quoting=quoting, strict=strict)
    try:
        for cells in reader:
            width = width or len(cells)
            if len(cells) > width or (len(cells) < width and any(map(str.strip, cells))):
                return f"{file}:{start}: {len(cells)} cells, but the first line has {width}"
            start = line + 1
    except UnicodeDecodeError as error:
        return f"{file}:{line}: not UTF-8 ({error.reason}); of Western European text, say encoding: cp1252"
    except pl.exceptions.PolarsError:
        return None  # a file in zstd is damaged
    except csv.Error as error:
        return f"{file}:{start}: bad quoting ({error}); where quotes are plain characters, say quotes: false"
    return None
