"""Fetch the files of a data set into the cache.

$FACTORBENCH_MIRROR, a folder or a URL prefix (also `file:///…`), is tried before a source's URL. If the mirror's
SHA256SUMS lists a file, the mirrored file must have that checksum. All other files must have the checksum in the
catalogue.
"""

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pipelines.data.sources import Source
from pipelines.project.cli import note
from pipelines.project.files import file_digest
from pipelines.project.paths import cache_folder

if TYPE_CHECKING:
    from requests import Response
    from rich.progress import Progress

TIMEOUT_S = (10, 60)  # for the connection, and between two packets
CHUNK_BYTES = 1 << 14


class Unavailable(ValueError):  # noqa: N818
    """Report a place that lacks the file, can't be reached or stopped the transfer."""


def fetch(source: Source) -> Path:
    """Return the cached path of a source's file. Fetches the file unless a verified copy is cached.

    Raises ValueError when no place has the file with the right checksum, and OSError when the file can't be written.
    """
    from filelock import FileLock

    cached = cache_folder() / source.name
    cached.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{cached}.lock"):
        if not (cached.is_file() and has_checksum(cached, source.checksum)):
            fetch_or_accept(source, cached)
    return cached


def fetch_or_accept(source: Source, cached: Path) -> None:
    """Fetch a file unless the cached copy has the mirror's checksum."""
    mirrored = find_mirrored(source)
    if cached.is_file():
        if mirrored and has_checksum(cached, mirrored[1]):
            return
        note(f"{cached}: wrong checksum; fetching it again")
        cached.unlink()
    if mirrored:
        try:
            return fetch_from(*mirrored, cached)
        except ValueError as error:
            note(f"{error}; trying {source.url}")
    fetch_upstream(source, cached)


def fetch_upstream(source: Source, cached: Path) -> None:
    """Fetch a file from its own URL. Raises as `fetch_from` does; Unavailable names other ways to get the file."""
    try:
        fetch_from(source.url, source.checksum, cached)
    except Unavailable as error:
        raise Unavailable(
            f"{error}; otherwise fetch {source.name} by hand and put it at {cached}, "
            f"or set FACTORBENCH_MIRROR to a folder or URL that has it"
        ) from error


def find_mirrored(source: Source) -> tuple[str, str] | None:
    """Return a file's place on the mirror and its required checksum. Returns None without a usable mirror."""
    mirror = os.environ.get("FACTORBENCH_MIRROR", "").rstrip("/")
    if not mirror:
        return None
    try:
        listed = read_listing(f"{mirror}/SHA256SUMS")
    except Unavailable as error:
        note(f"FACTORBENCH_MIRROR: {error}; going without it")
        return None
    return f"{mirror}/{source.name}", listed.get(source.name, source.checksum)


def read_listing(place: str) -> dict[str, str]:
    """Read the checksums of a SHA256SUMS file by file name. A missing file has no checksums.

    Raises Unavailable when the folder does not exist or the server fails.
    """
    if is_url(place):
        text = get_text(place)
    elif not (file := local(place)).parent.is_dir():
        raise Unavailable(f"no such folder: {file.parent}")
    else:
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    lines = re.findall(r"^([0-9a-fA-F]{64}) [ *](?:\./)?(.+?)\s*$", text, re.MULTILINE)
    return {name: f"sha256:{digest.lower()}" for digest, name in lines}


def get_text(url: str) -> str:
    """Fetch the text at a URL. Returns "" for HTTP status 404. Raises Unavailable."""
    import requests

    try:
        response = requests.get(url, timeout=TIMEOUT_S)
    except requests.RequestException as error:
        raise Unavailable(f"{url}: can't be reached ({type(error).__name__})") from error
    if response.status_code == 404:
        return ""
    check_status(response)
    return response.text


def fetch_from(place: str, expected: str, cached: Path) -> None:
    """Fetch a file from one place and verify its checksum.

    Fetches only the rest of a partial file. If the result is wrong, fetches the whole file again. Raises Unavailable,
    ValueError when the checksum is wrong, and OSError when the file can't be written.
    """
    part = cached.with_name(f"{cached.name}.part")
    resumed = part.exists()
    if is_url(place):
        transfer(place, part)
    else:
        copy(local(place), part)
    if has_checksum(part, expected):
        part.replace(cached)
        return
    got = checksum_like(expected, part)
    part.unlink()
    if not resumed:
        raise ValueError(f"{place}: wrong checksum: expected {expected}, got {got}")
    fetch_from(place, expected, cached)


def copy(original: Path, part: Path) -> None:
    """Copy a file of a mirror folder. Raises Unavailable for a missing file, and OSError that names the copy."""
    if not original.is_file():
        raise Unavailable(f"{original}: no such file")
    try:
        shutil.copyfile(original, part)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(part)) from error


def transfer(url: str, part: Path) -> None:
    """Fetch a file, or the rest of a partial file. Raises Unavailable, and OSError that names the file."""
    import requests

    start = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            if start and response.status_code == 416:  # the file is complete
                return
            check_status(response)
            save(response, part, start if response.status_code == 206 else 0)
    except requests.RequestException as error:
        raise Unavailable(f"{url}: can't be reached ({type(error).__name__})") from error
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(part)) from error


def check_status(response: "Response") -> None:
    if response.status_code not in (200, 206):
        raise Unavailable(f"{response.url}: HTTP status {response.status_code} {response.reason}")


def save(response: "Response", part: Path, start: int) -> None:
    """Write a response's content to `part` from byte `start` on. Raises Unavailable when the response stops early."""
    import requests

    length = response.headers.get("Content-Length", "")
    total = start + int(length) if length.isdecimal() else None  # a server may send any text
    try:
        with part.open("ab" if start else "wb") as file, progress_bar() as progress:
            task = progress.add_task(part.stem, completed=start, total=total)
            for chunk in response.iter_content(CHUNK_BYTES):
                file.write(chunk)
                progress.advance(task, len(chunk))
    except requests.RequestException as error:
        size = f"{part.stat().st_size:,} bytes"
        raise Unavailable(f"{response.url}: broke off after {size}; run again to fetch the rest") from error


def progress_bar() -> "Progress":
    """Create a progress bar on stderr with size, speed and estimated time left."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(TextColumn("{task.description}"), *columns, console=Console(stderr=True))


def checksum_like(expected: str, path: Path) -> str:
    """Compute the checksum of a file with the algorithm of `expected`."""
    algorithm = expected.split(":")[0]
    if algorithm != "git-blob":
        return f"{algorithm}:{file_digest(path, algorithm)}"
    content = path.read_bytes()
    return "git-blob:" + hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def has_checksum(path: Path, expected: str) -> bool:
    return checksum_like(expected, path) == expected


def local(place: str) -> Path:
    """Return the path that a path or a `file:` URL names. Raises Unavailable for another URL."""
    url = urlsplit(place)
    if "://" not in place and url.scheme != "file":
        return Path(place)
    if url.scheme != "file" or url.netloc not in ("", "localhost"):
        raise Unavailable(f"{place}: it must be a folder, or a URL that begins with https://, http:// or file:///")
    return Path(unquote(url.path))


def is_url(place: str) -> bool:
    return place.startswith(("http://", "https://"))
