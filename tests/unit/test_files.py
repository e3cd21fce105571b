import errno
import hashlib
import json

import pytest

from pipelines.project.cli import describe
from pipelines.project.files import failure, file_digest, noted_failure, write_json, write_text, written_whole


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write_and_fail(path, error):
    with written_whole(path) as partial:
        partial.write_text("half")
        raise error


def test_the_file_is_there_when_the_block_has_ended_and_not_before(tmp_path):
    path = tmp_path / "new" / "folder" / "file.txt"
    with written_whole(path) as partial:
        partial.write_text("half")
        assert not path.exists()
        assert partial.parent == path.parent
        partial.write_text("whole")
    assert path.read_text() == "whole"
    assert names(path.parent) == ["file.txt"]


@pytest.mark.fault("torn")
def test_an_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with written_whole(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.fault("torn")
@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), ZeroDivisionError()])
def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(type(error)) as caught:
        write_and_fail(path, error)
    assert caught.value is error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_an_error_before_anything_is_written(tmp_path):
    with pytest.raises(ZeroDivisionError), written_whole(tmp_path / "file.txt"):
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_a_full_disk_names_the_file_and_not_the_temporary_one(tmp_path):
    path = tmp_path / "file.txt"
    with pytest.raises(OSError, match="No space left") as caught:
        write_and_fail(path, OSError(errno.ENOSPC, "No space left on device"))
    assert caught.value.errno == errno.ENOSPC
    assert str(path) in str(caught.value)
    assert ".tmp" not in str(caught.value)
    assert names(tmp_path) == []


def test_a_folder_in_the_way_is_named(tmp_path):
    path = tmp_path / "file.txt"
    path.mkdir()
    with pytest.raises(OSError, match=r"file\.txt'$") as caught:
        write_text(path, "text")
    assert str(path) in str(caught.value)
    assert names(tmp_path) == ["file.txt"]


def test_a_file_where_a_folder_should_be_is_named(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(OSError, match="data"):
        write_text(tmp_path / "data" / "file.txt", "text")


def test_text_is_utf_8(tmp_path):
    write_text(tmp_path / "file.txt", "Müsli λ\n")
    assert (tmp_path / "file.txt").read_bytes() == "Müsli λ\n".encode()


def test_json_is_readable_and_ends_with_a_line_end(tmp_path):
    value = {"name": "Müsli", "numbers": [1, 0.1, None]}
    write_json(tmp_path / "file.json", value)
    text = (tmp_path / "file.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert "Müsli" in text
    assert text.endswith("}\n")


def test_the_digest_is_of_the_bytes(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert file_digest(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    assert file_digest(tmp_path / "file", "md5") == hashlib.md5(content).hexdigest()


def test_an_error_without_a_number_keeps_its_text_and_names_the_file(tmp_path):
    with pytest.raises(OSError, match="the library says no more") as raised, written_whole(tmp_path / "file"):
        raise OSError("the library says no more")
    assert describe(raised.value) == f"the library says no more: {tmp_path / 'file'}"


def test_a_note_says_why_a_block_failed_until_one_succeeds(tmp_path):
    folder = tmp_path / "studies" / "fm"
    with noted_failure(folder):
        pass
    assert failure(folder) is None
    assert not folder.exists()
    with pytest.raises(ValueError, match="two"), noted_failure(folder):
        raise ValueError("two\n lines")
    assert failure(folder) == "two lines"
    with noted_failure(folder):
        pass
    assert failure(folder) is None


def test_a_note_that_can_not_be_written_hides_no_error(tmp_path):
    (tmp_path / "studies").write_text("a file is in the way")
    with pytest.raises(ValueError, match="the reason"), noted_failure(tmp_path / "studies" / "fm"):
        raise ValueError("the reason")
