"""Check that hostile input gives one error line, bounded memory and no stray files."""

import os
import pickle
import struct
import tracemalloc
import zipfile
from types import SimpleNamespace

import polars as pl
import pytest
import torch

from pipelines.data.catalog import get_dataset
from pipelines.data.fetch import save
from pipelines.data.libfm import read_libfm
from pipelines.data.logs import FRAPPE_COLUMNS, LASTFM_HEADER, TAGS_HEADER, read_log
from pipelines.data.prepared import prepare
from pipelines.data.sources import Source
from pipelines.data.unpack import unpack
from pipelines.project.params import load_params
from pipelines.project.paths import Paths
from pipelines.training.cell import load_cell

pytestmark = pytest.mark.fault("hostile")

ROW = {  # a valid header and line of each log format
    "frappe": ("\t".join(FRAPPE_COLUMNS) + "\n", "\t".join("abcdefghijk") + "\n"),
    "lastfm": ("\t".join(LASTFM_HEADER) + "\n", "\t".join("abcdef") + "\n"),
    "movielens": ("", "1::2::t::3\n"),
    "movielens-25m": (",".join(TAGS_HEADER) + "\n", "1,2,t,3\n"),
    "synthetic": (",".join(get_dataset("synthetic").fields) + "\n", "a,b,c,d,e,f,g\n"),
}
GIB = 1 << 30
LOG = b"user,item\n" * 1000
WANTED = Source(url="http://x/logs.zip", checksum="", members=("release/log.csv",))


def tree(folder):
    """Read all files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def error_of(call, *arguments):
    """Return the text of a call's ValueError, which must be one line."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the callers look at the text
        call(*arguments)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def read(path, dataset):
    """Read the rows of a file in the format of a data set."""
    entry = get_dataset(dataset)
    return read_libfm(path, len(entry.fields)) if entry.format == "libfm" else pl.concat(read_log(path, entry))


@pytest.mark.parametrize("dataset", [*ROW, "movielens-nfm"])
def test_a_line_of_a_gibibyte_is_refused_in_little_memory(tmp_path, dataset):
    header, row = ROW.get(dataset, ("", "1 0:1 1:1 2:1\n"))
    path = tmp_path / "log"
    path.write_text(header + row)
    with path.open("ab") as file:
        file.truncate(GIB)  # a sparse file, which needs no disk space
    tracemalloc.start()
    try:
        text = error_of(read, path, dataset)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    number = (header + row).count("\n") + 1
    assert text.startswith(f"{path}:{number}: a line can't have more than 1,048,576 bytes: ")
    assert len(text) < len(str(path)) + 400
    assert peak < 32 << 20


@pytest.mark.parametrize("dataset", ROW)
def test_a_line_may_be_as_long_as_the_limit(tmp_path, monkeypatch, dataset):
    header, row = ROW[dataset]
    path = tmp_path / "log"
    monkeypatch.setattr("pipelines.data.logs.MAX_LINE_BYTES", max(len(header), len(row)))
    path.write_text(header + row)
    assert read(path, dataset).height == 1
    monkeypatch.setattr("pipelines.data.logs.MAX_LINE_BYTES", max(len(header), len(row)) - 1)
    assert "a line can't have more than" in error_of(read, path, dataset)


def test_a_row_over_many_lines_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.data.logs.MAX_LINE_BYTES", 100)
    path = tmp_path / "log"
    path.write_text(",".join(TAGS_HEADER) + "\n" + '1,2,"a\nb",3\n' * 30 + '"\n",' * 1000)
    assert error_of(read, path, "movielens-25m") == f"{path}:62: a row can't have more than 100 bytes: '\"'"


@pytest.mark.parametrize("dataset", ROW)
@pytest.mark.parametrize(("old", "new", "why"), [(b"a", b"a\0", "NUL byte: "), (b"a", b"\xff", "invalid UTF-8: ")])
def test_nul_bytes_and_invalid_utf_8_are_refused(tmp_path, dataset, old, new, why):
    header, row = (text.replace("1", "a").encode() for text in ROW[dataset])
    path = tmp_path / "log"
    path.write_bytes(header + row + row.replace(old, new, 1))
    number = (header + row).count(b"\n") + 1
    assert error_of(read, path, dataset).startswith(f"{path}:{number}: {why}")


@pytest.mark.parametrize("dataset", ROW)
def test_a_log_without_lines_is_refused_with_or_without_a_header(tmp_path, dataset):
    path = tmp_path / "log"
    for content in ("", ROW[dataset][0]):
        path.write_text(content)
        assert error_of(read, path, dataset) == f"{path}: the file has no log lines"


@pytest.mark.parametrize("dataset", ROW)
@pytest.mark.parametrize("end", ["", "::1\t,1::1"])
def test_another_number_of_columns_is_refused(tmp_path, dataset, end):
    header, row = ROW[dataset]
    path = tmp_path / "log"
    path.write_text(header + row + (row.replace("\n", end + end) if end else row[:2]) + "\n")
    if dataset == "movielens" and end:  # additional :: are part of the tag
        assert read(path, dataset).height == 2
    else:
        assert f"{path}:{(header + row).count(chr(10)) + 1}: expected " in error_of(read, path, dataset)


def test_numbers_beyond_32_and_64_bits_are_values_of_a_log_as_any_others(tmp_path):
    path = tmp_path / "log"
    users = ["2147483648", "4294967296", "18446744073709551616", "18446744073709551617", "-1"]
    path.write_text(",".join(TAGS_HEADER) + "\n" + "".join(f"{user},2,t,3\n" for user in users))
    assert read(path, "movielens-25m")["user"].to_list() == users


@pytest.mark.parametrize("index", ["2147483648", "4294967296", "18446744073709551616"])
def test_indices_beyond_31_bits_of_libfm_are_refused(tmp_path, index):
    path = tmp_path / "log"
    path.write_text(f"1 0:1 1:1 2:1\n1 0:1 1:1 {index}:1\n")
    text = error_of(read, path, "movielens-nfm")
    assert text == f"{path}:2: an index can't be beyond 2147483647: '{index}:1'"


@pytest.mark.parametrize("end", [b"1::2::t\0::3\n", b"1::2::\xff::3\n", b"1::2\n", b"x" * (1 << 21)])
def test_a_log_that_is_refused_leaves_nothing_prepared(tmp_path, end):
    (tmp_path / "params.yaml").write_text("seed: 1\ndatasets: [movielens]\nmodels: [fm]\ntune: {num_trials: 1}\n")
    raw = Paths(tmp_path).raw("movielens")
    raw.mkdir(parents=True)
    (raw / "tags.dat").write_bytes(b"".join(b"%d::2::t%d::3\n" % (n, n) for n in range(50)) + end)
    before = tree(tmp_path)
    text = error_of(prepare, get_dataset("movielens"), load_params(tmp_path / "params.yaml"), Paths(tmp_path))
    assert text.startswith(f"{raw / 'tags.dat'}:51: ")
    assert tree(tmp_path) == before


@pytest.fixture
def archive(tmp_path):
    """Return a function that makes logs.zip from members (name, content)."""

    def make(*members, method=zipfile.ZIP_DEFLATED, mode=0o100644):
        path = tmp_path / "logs.zip"
        with zipfile.ZipFile(path, "w") as file:
            for name, content in members:
                info = zipfile.ZipInfo(name)
                info.external_attr = mode << 16
                file.writestr(info, content, method)
        return path

    return make


def refuse(file, source=WANTED):
    """Return the error of unpacking, which must name the archive and leave no files."""
    before = tree(file.parent)
    text = error_of(unpack, source, file, file.parent / "raw")
    assert text.startswith(f"{file}: ")
    assert tree(file.parent) == before
    return text


def test_members_with_paths_that_lead_outside_are_not_unpacked(archive, tmp_path):
    outside = tmp_path / "outside.csv"
    names = ("../log.csv", "../../log.csv", str(outside), "/log.csv", "release/../../log.csv", "..\\log.csv")
    file = archive(*((name, b"evil") for name in names), ("release/log.csv", LOG))
    unpack(WANTED, file, tmp_path / "raw")
    assert tree(tmp_path) == {"logs.zip": file.read_bytes(), "raw/log.csv": LOG}


@pytest.mark.parametrize("name", ["../../log.csv", "/log.csv"])
def test_a_wanted_member_with_such_a_path_is_put_into_the_folder(archive, tmp_path, name):
    file = archive((name, LOG))
    unpack(WANTED.model_copy(update={"members": (name,)}), file, tmp_path / "raw")
    assert tree(tmp_path) == {"logs.zip": file.read_bytes(), "raw/log.csv": LOG}


def test_a_symbolic_link_is_refused(archive):
    file = archive(("release/log.csv", b"/etc/passwd"), mode=0o120777)
    assert "can't unpack release/log.csv: it is a symbolic link" in refuse(file)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_take_any_amount_of_memory_are_refused(archive, method):
    file = archive(("release/log.csv", LOG), method=method)
    assert f"compression method {int(method)} is none of stored and deflated" in refuse(file)


def patched(file, offset, value):
    """Change a 32-bit number in the directory entry of an archive's member."""
    content = bytearray(file.read_bytes())
    start = content.index(b"PK\1\2") + offset
    content[start : start + 4] = struct.pack("<I", value)
    file.write_bytes(content)
    return file


def test_a_bomb_is_refused_before_anything_is_unpacked(archive, monkeypatch):
    file = archive(("release/log.csv", bytes(10_000_000)))
    assert file.stat().st_size < 20_000
    monkeypatch.setattr("pipelines.data.unpack.MAX_MEMBER_BYTES", 9_999_999)
    monkeypatch.setattr("pipelines.data.unpack.written_whole", None)
    assert "it has 10,000,000 bytes unpacked; the limit is 9,999,999" in refuse(file)


def test_a_bomb_that_declares_less_is_unpacked_no_further(archive, monkeypatch):
    file = patched(archive(("release/log.csv", bytes(10_000_000))), offset=24, value=1000)
    sizes = []
    copy = unpack.__globals__["shutil"].copyfileobj

    def counted(content, output):
        try:
            copy(content, output)
        finally:
            sizes.append(output.tell())

    monkeypatch.setattr("pipelines.data.unpack.shutil.copyfileobj", counted)
    assert "can't unpack release/log.csv: Bad CRC-32" in refuse(file)
    assert max(sizes) <= 1000


def test_an_offset_outside_the_archive_is_refused(archive):
    refuse(patched(archive(("release/log.csv", LOG)), offset=42, value=1 << 31))


def test_a_directory_that_leads_before_the_archive_is_refused(archive):
    file = archive(("release/log.csv", LOG))
    content = file.read_bytes()
    file.write_bytes(content[content.index(b"PK\1\2") :])  # the directory entry remains, the member is missing
    refuse(file)


def test_an_archive_cut_off_anywhere_is_refused(archive):
    file = archive(("release/log.csv", os.urandom(100)))
    content = file.read_bytes()
    for length in range(0, len(content), 7):
        file.write_bytes(content[:length])
        refuse(file)


@pytest.mark.parametrize("length", ["many", "5,5", "-5", "²", ""])
def test_a_length_that_is_no_number_does_not_stop_a_transfer(tmp_path, length):
    response = SimpleNamespace(headers={"Content-Length": length}, iter_content=lambda size: [b"hel", b"lo"])
    save(response, tmp_path / "log.part", 0)
    assert (tmp_path / "log.part").read_bytes() == b"hello"


class Malicious:
    """Create a folder when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def load_checkpoint(prepared, tmp_path):
    """Return a function that loads a cell which starts from a given checkpoint."""
    (tmp_path / "data" / "pretrained" / "synthetic").mkdir(parents=True)
    (tmp_path / "data" / "processed").symlink_to(prepared.root / "data" / "processed")
    params = load_params(prepared.params)
    params = params.model_copy(update={"training": params.training.model_copy(update={"pretrained": "fm"})})
    path = Paths(tmp_path).pretrained("synthetic") / "fm.pt"
    (path.parent / "recipe.json").write_text('{"fingerprint": "0123456789ab"}')

    def load(content, save=torch.save):
        with path.open("wb") as file:
            save(content, file)
        return load_cell("ifm", "synthetic", params, Paths(tmp_path))

    load.path = path
    return load


def refuse_checkpoint(load_checkpoint, *arguments):
    text = error_of(load_checkpoint, *arguments)
    path = load_checkpoint.path
    assert text == f"{path} is damaged or no checkpoint: run python -m pipelines.pretrain --dataset synthetic"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("save", [pickle.dump, torch.save])
def test_a_pickle_with_code_is_refused_and_not_run(load_checkpoint, tmp_path, save):
    refuse_checkpoint(load_checkpoint, {"embedding.weight": Malicious(tmp_path / "harm")}, save)
    assert not (tmp_path / "harm").exists()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("content", [b"", b"hello", b"PK\3\4", b"\x80\4.", bytes(1000)])
def test_bytes_that_are_no_checkpoint_are_refused(load_checkpoint, content):
    refuse_checkpoint(load_checkpoint, content, lambda content, file: file.write(content))


@pytest.mark.parametrize(
    "content", [[], {}, 1, {"embedding.weight": "x"}, {"other": torch.zeros(1)}, {1: torch.zeros(1)}, torch.zeros(1)]
)
def test_a_checkpoint_of_anything_but_weights_is_refused(load_checkpoint, content):
    refuse_checkpoint(load_checkpoint, content)


def test_weights_are_loaded(load_checkpoint):
    weights = {"embedding.weight": torch.ones(3, 2)}
    assert torch.equal(load_checkpoint(weights).pretrained["embedding.weight"], torch.ones(3, 2))
