import hashlib
import http.server
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.data.fetch import fetch
from pipelines.data.sources import Source

CONTENT = os.urandom(300_000)
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
WRONG = os.urandom(len(CONTENT))


class Server(http.server.ThreadingHTTPServer):
    """Serve `files` by path. `requests` has the path and Range header of each request."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.ranges = True  # whether the server supports the Range header
        self.cut: int | None = None  # bytes of a response after which the server closes the connection
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def source(self, name: str = "log.bin", checksum: str = SHA256) -> Source:
        return Source(url=f"{self.url}/{name}", checksum=checksum)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        content = self.server.files.get(self.path)
        if content is None:
            return self.send_error(404)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.ranges else 0
        if start and start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.server.cut])
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        server.files["/log.bin"] = CONTENT
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACTORBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FACTORBENCH_MIRROR", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty mirror folder."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    monkeypatch.setenv("FACTORBENCH_MIRROR", str(folder))
    return folder


def listing(**files: bytes) -> str:
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {name}.bin\n" for name, content in files.items())


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


@pytest.mark.parametrize(
    "checksum",
    [
        SHA256,
        f"md5:{hashlib.md5(CONTENT).hexdigest()}",
        f"git-blob:{hashlib.sha1(b'blob 300000' + bytes(1) + CONTENT).hexdigest()}",
    ],
    ids=["sha256", "md5", "git-blob"],
)
def test_a_file_is_fetched_once(server: Server, cache: Path, checksum: str):
    for _ in range(2):
        assert fetch(server.source(checksum=checksum)).read_bytes() == CONTENT
    assert server.requests == [("/log.bin", None)]
    assert files_in(cache) == {"log.bin"}


def test_git_blob_checksum_is_the_one_git_computes(mirror: Path):
    put(mirror / "hello.bin", b"hello\n")  # see `echo hello | git hash-object --stdin`
    source = Source(url="http://x/hello.bin", checksum="git-blob:ce013625030ba8dba906f756967f9e9ca394464a")
    assert fetch(source).read_bytes() == b"hello\n"


def test_wrong_content_is_refused_and_removed(server: Server, cache: Path):
    server.files["/log.bin"] = WRONG
    with pytest.raises(ValueError, match="wrong checksum") as error:
        fetch(server.source())
    assert SHA256 in str(error.value)
    assert hashlib.sha256(WRONG).hexdigest() in str(error.value)
    assert files_in(cache) == set()


def test_corrupt_cached_file_is_fetched_again(server: Server, cache: Path):
    put(cache / "log.bin", CONTENT[:-1])
    assert fetch(server.source()).read_bytes() == CONTENT


def test_corrupt_cached_file_does_not_outlive_a_failure(server: Server, cache: Path):
    put(cache / "log.bin", WRONG)
    server.files.clear()
    with pytest.raises(ValueError, match="404"):
        fetch(server.source())
    assert files_in(cache) == set()


def test_broken_off_transfer_is_resumed(server: Server, cache: Path):
    server.cut = 100_000
    with pytest.raises(ValueError, match=r"broke off after [0-9,]+ bytes; run again"):
        fetch(server.source())
    assert files_in(cache) == {"log.bin.part"}
    start = (cache / "log.bin.part").stat().st_size
    assert start > 50_000
    server.cut = None
    assert fetch(server.source()).read_bytes() == CONTENT
    assert server.requests == [("/log.bin", None), ("/log.bin", f"bytes={start}-")]
    assert files_in(cache) == {"log.bin"}


def test_server_without_ranges_starts_over(server: Server, cache: Path):
    put(cache / "log.bin.part", CONTENT[:1000])
    server.ranges = False
    assert fetch(server.source()).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_complete_part_is_taken(server: Server, cache: Path):
    put(cache / "log.bin.part", CONTENT)
    assert fetch(server.source()).read_bytes() == CONTENT
    assert server.requests == [("/log.bin", "bytes=300000-")]


@pytest.mark.parametrize("stale", [WRONG[:1000], WRONG, WRONG + b"more"], ids=["short", "whole", "long"])
def test_part_of_another_version_is_dropped(server: Server, cache: Path, stale: bytes):
    put(cache / "log.bin.part", stale)
    assert fetch(server.source()).read_bytes() == CONTENT
    assert server.requests == [("/log.bin", f"bytes={len(stale)}-"), ("/log.bin", None)]


def test_stale_part_and_wrong_file_end_in_an_error(server: Server, cache: Path):
    put(cache / "log.bin.part", WRONG[:1000])
    server.files["/log.bin"] = WRONG[::-1]
    with pytest.raises(ValueError, match="wrong checksum"):
        fetch(server.source())
    assert len(server.requests) == 2
    assert files_in(cache) == set()


def test_offline_says_what_to_fetch_and_where_to_put_it(cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    source = Source(url=f"http://127.0.0.1:{closed_port()}/data/log.bin", checksum=SHA256)
    with pytest.raises(ValueError, match="can't be reached") as error:
        fetch(source)
    for part in (source.url, "fetch log.bin by hand", str(cache / "log.bin"), "FACTORBENCH_MIRROR"):
        assert part in str(error.value)
    put(cache / "log.bin", CONTENT)
    assert fetch(source) == cache / "log.bin"


def test_silent_server_times_out(cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("pipelines.data.fetch.TIMEOUT_S", (1, 0.1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = Source(url=f"http://127.0.0.1:{silent.getsockname()[1]}/log.bin", checksum=SHA256)
        with pytest.raises(ValueError, match=r"can't be reached \(ReadTimeout\)"):
            fetch(source)


def test_progress_is_shown_on_stderr(server: Server, capsys: pytest.CaptureFixture[str]):
    fetch(server.source())
    shown = capsys.readouterr()
    assert "300.0/300.0 kB" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize("part", [b"", CONTENT[:1000]], ids=["new", "resumed"])
def test_http_error_has_the_status(server: Server, cache: Path, part: bytes):
    put(cache / "none.bin.part", part)
    with pytest.raises(ValueError, match=r"/none\.bin: HTTP status 404 Not Found"):
        fetch(server.source("none.bin"))
    assert files_in(cache) == {"none.bin.part"}


def test_mirror_folder_goes_by_its_own_listing(mirror: Path, server: Server):
    put(mirror / "log.bin", b"the mirror's")
    (mirror / "SHA256SUMS").write_text(listing(other=b"", log=b"the mirror's"))
    for _ in range(2):
        assert fetch(server.source()).read_bytes() == b"the mirror's"
    assert server.requests == []


@pytest.mark.parametrize("form", ["file://{}", "file://localhost{}", "file:{}"])
def test_mirror_may_be_a_file_url(mirror: Path, server: Server, monkeypatch: pytest.MonkeyPatch, form: str):
    folder = mirror.rename(mirror.with_name("a mirror"))
    put(folder / "log.bin", b"the mirror's")
    (folder / "SHA256SUMS").write_text(listing(log=b"the mirror's"))
    monkeypatch.setenv("FACTORBENCH_MIRROR", form.format(str(folder).replace(" ", "%20")))
    assert fetch(server.source()).read_bytes() == b"the mirror's"
    assert server.requests == []


@pytest.mark.parametrize("place", ["s3://bucket/data", "ftp://host/data", "file://host/data"])
def test_mirror_of_another_scheme_is_noted(server: Server, cache: Path, monkeypatch, capsys, place: str):
    monkeypatch.setenv("FACTORBENCH_MIRROR", place)
    assert fetch(server.source()).read_bytes() == CONTENT
    note = f"note: FACTORBENCH_MIRROR: {place}/SHA256SUMS: it must be a folder, or a URL that begins with https://"
    assert note in capsys.readouterr().err


def test_file_of_a_mirror_is_refused_where_the_mirror_is_not_set(
    mirror: Path, server: Server, monkeypatch: pytest.MonkeyPatch
):
    put(mirror / "log.bin", b"the mirror's")
    (mirror / "SHA256SUMS").write_text(listing(log=b"the mirror's"))
    fetch(server.source())
    monkeypatch.delenv("FACTORBENCH_MIRROR")
    assert fetch(server.source()).read_bytes() == CONTENT


def test_catalogue_file_in_the_cache_is_good_under_any_mirror(mirror: Path, cache: Path, server: Server):
    put(cache / "log.bin", CONTENT)
    put(mirror / "log.bin", b"the mirror's")
    (mirror / "SHA256SUMS").write_text(listing(log=b"the mirror's"))
    assert fetch(server.source()).read_bytes() == CONTENT


@pytest.mark.parametrize("line", ["{digest}  log.bin\n", "{DIGEST} *./log.bin\r\n"])
def test_mirror_url_goes_by_its_own_listing(server: Server, monkeypatch: pytest.MonkeyPatch, line: str):
    monkeypatch.setenv("FACTORBENCH_MIRROR", f"{server.url}/mirror/")
    digest = hashlib.sha256(b"the mirror's").hexdigest()
    server.files["/mirror/log.bin"] = b"the mirror's"
    server.files["/mirror/SHA256SUMS"] = line.format(digest=digest, DIGEST=digest.upper()).encode()
    assert fetch(server.source()).read_bytes() == b"the mirror's"


def test_mirror_url_without_a_listing_goes_by_the_catalogue(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FACTORBENCH_MIRROR", f"{server.url}/mirror")
    server.files["/mirror/log.bin"] = CONTENT
    assert fetch(server.source()).read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/mirror/SHA256SUMS", "/mirror/log.bin"]


def test_corrupt_cached_file_is_copied_again_from_the_mirror(mirror: Path, cache: Path, server: Server):
    put(mirror / "log.bin", b"the mirror's")
    (mirror / "SHA256SUMS").write_text(listing(log=b"the mirror's"))
    put(cache / "log.bin", b"the mir")
    assert fetch(server.source()).read_bytes() == b"the mirror's"


def test_mirror_without_a_listing_goes_by_the_catalogue(mirror: Path, server: Server):
    put(mirror / "log.bin", CONTENT)
    assert fetch(server.source()).read_bytes() == CONTENT
    assert server.requests == []


def nothing(mirror: Path) -> None:
    pass


def wrong_file(mirror: Path) -> None:
    put(mirror / "log.bin", WRONG)


def listed_but_corrupt(mirror: Path) -> None:
    put(mirror / "log.bin", WRONG)
    (mirror / "SHA256SUMS").write_text(listing(log=b"another"))


def listed_but_absent(mirror: Path) -> None:
    (mirror / "SHA256SUMS").write_text(listing(log=b"another"))


@pytest.mark.parametrize("fill", [nothing, wrong_file, listed_but_corrupt, listed_but_absent, shutil.rmtree])
def test_mirror_without_the_right_file_falls_through(
    mirror: Path, server: Server, cache: Path, fill: Callable[[Path], None]
):
    fill(mirror)
    assert fetch(server.source()).read_bytes() == CONTENT
    assert files_in(cache) == {"log.bin"}


@pytest.mark.parametrize("alive", [True, False])
def test_mirror_url_without_the_file_falls_through(server: Server, monkeypatch: pytest.MonkeyPatch, alive: bool):
    port = server.server_port if alive else closed_port()
    monkeypatch.setenv("FACTORBENCH_MIRROR", f"http://127.0.0.1:{port}/mirror")
    assert fetch(server.source()).read_bytes() == CONTENT


def test_concurrent_fetches_share_one_transfer(server: Server, cache: Path):
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: fetch(server.source()), range(8)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert len(server.requests) == 1


def test_full_disk_is_an_error_that_names_the_file(server: Server, cache: Path):
    cache.mkdir()
    (cache / "log.bin.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left.*log\.bin\.part"):
        fetch(server.source())
    assert not (cache / "log.bin").exists()


def test_full_disk_with_a_mirror_is_not_the_mirror_s_fault(mirror: Path, server: Server, cache: Path):
    put(mirror / "log.bin", CONTENT)
    cache.mkdir()
    (cache / "log.bin.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left.*log\.bin\.part"):
        fetch(server.source())
    assert server.requests == []


def test_cache_that_is_no_folder_is_an_error(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put(tmp_path / "file", b"")
    monkeypatch.setenv("FACTORBENCH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OSError, match="file/cache"):
        fetch(server.source())
