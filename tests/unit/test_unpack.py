import zipfile
from pathlib import Path

import pytest

from pipelines.data.sources import Source
from pipelines.data.unpack import unpack


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "logs.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("release/README", "read me")
        archive.writestr("release/log.csv", "user,item\n" * 1000)
        archive.writestr("release/tags.csv", "user,tag\n")
    return tmp_path / "logs.zip"


def test_only_the_wanted_members_are_unpacked(archive: Path, tmp_path: Path):
    raw = tmp_path / "data" / "raw"
    put(raw / "log.csv", b"stale")
    source = Source(url="http://x/logs.zip", checksum="", members=("release/log.csv", "release/tags.csv"))
    assert unpack(source, archive, raw) == [raw / "log.csv", raw / "tags.csv"]
    assert (raw / "log.csv").read_text() == "user,item\n" * 1000
    assert files_in(raw) == {"log.csv", "tags.csv"}


def test_plain_file_is_copied(tmp_path: Path):
    file = put(tmp_path / "cached.libfm", b"1 2:1\n")
    raw = tmp_path / "raw"
    put(raw / "train.libfm", b"stale")
    [path] = unpack(Source(url="http://x/train.libfm", checksum=""), file, raw)
    assert path.read_bytes() == b"1 2:1\n"
    path.write_bytes(b"edited")
    assert file.read_bytes() == b"1 2:1\n"


def test_missing_member_is_named(archive: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"logs\.zip: the archive has no member log\.csv"):
        unpack(Source(url="http://x/logs.zip", checksum="", members=("log.csv",)), archive, tmp_path / "raw")


def test_damaged_archive_leaves_nothing(archive: Path, tmp_path: Path):
    content = bytearray(archive.read_bytes())
    content[content.index(b"release/log.csv") + 20] ^= 0xFF
    archive.write_bytes(content)
    put(tmp_path / "raw" / "other", b"")
    with pytest.raises(ValueError, match=r"logs\.zip: can't unpack release/log\.csv"):
        unpack(Source(url="http://x/logs.zip", checksum="", members=("release/log.csv",)), archive, tmp_path / "raw")
    assert files_in(tmp_path / "raw") == {"other"}


def test_no_archive_is_an_error(tmp_path: Path):
    file = put(tmp_path / "logs.zip", b"<html>not found</html>")
    with pytest.raises(ValueError, match=r"logs\.zip: can't unpack log\.csv: File is not a zip file"):
        unpack(Source(url="http://x/logs.zip", checksum="", members=("log.csv",)), file, tmp_path / "raw")


@pytest.mark.parametrize("members", [(), ("release/log.csv",)])
def test_raw_folder_that_can_t_be_made_is_an_error(archive: Path, tmp_path: Path, members: tuple[str, ...]):
    put(tmp_path / "data", b"")
    with pytest.raises(OSError, match="data/raw"):
        unpack(Source(url="http://x/logs.zip", checksum="", members=members), archive, tmp_path / "data" / "raw")
