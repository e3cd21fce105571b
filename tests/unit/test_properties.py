"""Check properties that hold for any input. `make fuzz` tries many more examples, new ones each time."""

import csv
import io
import os
import zipfile
from collections import Counter

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines.data import negatives
from pipelines.data.catalog import get_dataset
from pipelines.data.encoding import encode
from pipelines.data.libfm import MAX_INDEX, by_field, read_libfm
from pipelines.data.logs import FRAPPE_COLUMNS, LASTFM_HEADER, TAGS_HEADER, read_log
from pipelines.data.negatives import draw_negatives
from pipelines.data.sources import Source
from pipelines.data.splitting import split_rows
from pipelines.data.unpack import unpack
from pipelines.training.cell import load_weights

EXAMPLES = os.environ.get("FUZZ_EXAMPLES")
settings.register_profile("tests", max_examples=60, deadline=None, derandomize=True)
settings.register_profile("fuzz", max_examples=int(EXAMPLES or 1), deadline=None)
settings.load_profile("fuzz" if EXAMPLES else "tests")

# negatives replace item, given user
APPS = get_dataset("synthetic").model_copy(update={"name": "apps", "fields": ("user", "item", "city")})
HEADERS = {
    "frappe": "\t".join(FRAPPE_COLUMNS) + "\n",
    "lastfm": "\t".join(LASTFM_HEADER) + "\n",
    "movielens": "",
    "movielens-25m": ",".join(TAGS_HEADER) + "\n",
    "synthetic": ",".join(get_dataset("synthetic").fields) + "\n",
}
GOOD_LINES = [b"\t".join([b"x"] * 11) + b"\n", b"1::2::t::3\n", b'1,2,"t",3\n', b"a,b,c,d,e,f,g\n", b"1 3:1 4:2\n"]
PIECES = [
    b"\n",
    b"\r\n",
    b"\r",
    b"\t",
    b"::",
    b",",
    b'"',
    b"\0",
    b"\xff",
    b"#",
    b"1 ",
    b"-1 ",
    b"3:1 ",
    b"4:2",
    *GOOD_LINES,
]


def rows_of(*cells, min_size=1):
    return st.lists(st.tuples(*cells), min_size=min_size, max_size=20)


def text(without=""):
    return st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0" + without), max_size=8)


number = st.integers(0, 10**12).map(str)
content = st.binary(max_size=200) | st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=40).map(b"".join)
csv_table = st.integers(1, 4).flatmap(lambda width: rows_of(*[text()] * width))
log_rows = rows_of(st.integers(0, 3), st.integers(0, 9), st.integers(0, 2))
damage = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Make one folder for all examples, which overwrite its files."""
    return tmp_path_factory.mktemp("properties")


def result_of(call, *arguments):
    """Return a call's result, or the text of its ValueError. Other errors fail the test."""
    try:
        return call(*arguments), None
    except ValueError as error:
        return None, str(error)


def read(folder, dataset, content):
    path = folder / "log"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return pl.concat(read_log(path, get_dataset(dataset)))


def write_csv(header, rows, end):
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator=end).writerows([header, *rows])
    return file.getvalue()


def damaged(content, changes, length):
    """Change some bytes of `content` and cut it to `length` bytes."""
    changed = bytearray(content)
    for position, value in changes:
        changed[position % len(changed)] = value
    return bytes(changed[:length])


@given(rows_of(*[text("\t\r\n")] * len(FRAPPE_COLUMNS)), st.sampled_from(["\n", "\r\n"]))
def test_a_frappe_log_is_read_as_it_was_written(folder, rows, end):
    log = read(folder, "frappe", end.join("\t".join(cells) for cells in [FRAPPE_COLUMNS, *rows]) + end)
    assert log.rows() == [(user, item, *context) for user, item, _, *context in rows]


@given(rows_of(text(":\n"), text(":\n"), text("\n"), number), st.sampled_from(["\n", "\r\n"]))
def test_a_tags_dat_log_is_read_as_it_was_written(folder, rows, end):
    log = read(folder, "movielens", "".join("::".join(cells) + end for cells in rows))
    assert log.rows() == [cells[:3] for cells in rows]


@given(rows_of(text(), text(), text(), number), st.sampled_from(["\n", "\r\n"]))
def test_a_tags_csv_log_is_read_as_it_was_written(folder, rows, end):
    log = read(folder, "movielens-25m", write_csv(TAGS_HEADER, rows, end))
    assert log.rows() == [cells[:3] for cells in rows]


@given(rows_of(*[text()] * 7), st.sampled_from(["\n", "\r\n"]))
def test_a_synthetic_log_is_read_as_it_was_written(folder, rows, end):
    log = read(folder, "synthetic", write_csv(get_dataset("synthetic").fields, rows, end))
    assert log.rows() == rows


@pytest.mark.parametrize("dataset", HEADERS)
@given(has_header=st.booleans(), content=content)
def test_any_bytes_are_a_log_or_one_line_of_error(folder, dataset, has_header, content):
    log, error = result_of(read, folder, dataset, HEADERS[dataset].encode() * has_header + content)
    if error:
        assert error.startswith(f"{folder / 'log'}:")
        assert len(error.splitlines()) == 1
    else:
        assert log.height > 0


@given(content)
def test_any_bytes_are_libfm_rows_or_one_line_of_error(folder, content):
    path = folder / "rows.libfm"
    path.write_bytes(content)
    rows, error = result_of(read_libfm, path, 2)
    if error:
        assert error.startswith(f"{path}:")
        assert len(error.splitlines()) == 1
    else:
        assert len(rows.labels) == len(rows.indices) > 0


@given(
    rows_of(
        st.sampled_from([1, -1]),
        st.lists(st.integers(0, MAX_INDEX), min_size=3, max_size=3, unique=True),
        st.lists(
            st.floats(allow_subnormal=False, width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3
        ),
    ),
    st.sampled_from(["\n", "\r\n"]),
)
def test_libfm_rows_are_read_as_they_were_written(folder, rows, end):
    path = folder / "rows.libfm"
    lines = (f"{label} " + " ".join(map("{}:{!r}".format, indices, values)) + end for label, indices, values in rows)
    path.write_text("".join(lines), newline="")
    read = read_libfm(path, 3)
    assert list(zip(read.labels.tolist(), read.indices.tolist(), read.values.tolist(), strict=True)) == rows


@given(rows_of(*[st.integers(0, 6)] * 3))
def test_features_of_libfm_rows_get_each_one_field_or_an_error(rows):
    indices = np.array(rows)
    order, error = result_of(by_field, indices, ("user", "movie", "tag"))
    if error:
        assert error.startswith("can't tell the fields of the features: index ")
    else:
        assert (np.sort(order, axis=1) == [0, 1, 2]).all()
        fields = [set(column) for column in np.take_along_axis(indices, order, axis=1).T.tolist()]
        assert sum(map(len, fields)) == len(set.union(*fields))


@given(damage, st.integers(0, 1 << 10))
def test_a_damaged_archive_gives_the_file_or_one_line_of_error(folder, changes, length):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("release/log.csv"), b"user,item\n" * 20, zipfile.ZIP_DEFLATED)
    path, raw = folder / "logs.zip", folder / "raw"
    path.write_bytes(damaged(file.getvalue(), changes, length))
    (raw / "log.csv").unlink(missing_ok=True)
    _, error = result_of(unpack, Source(url="http://x/logs.zip", checksum="", members=("release/log.csv",)), path, raw)
    if error:
        assert error.startswith(f"{path}: ")
        assert len(error.splitlines()) == 1
        assert not raw.exists() or not list(raw.iterdir())
    else:
        assert (raw / "log.csv").read_bytes() == b"user,item\n" * 20


@given(damage, st.integers(0, 1 << 12))
def test_a_damaged_checkpoint_gives_weights_or_one_line_of_error(folder, changes, length):
    file = io.BytesIO()
    torch.save({"embedding.weight": torch.zeros(3, 2), "linear.bias": torch.zeros(1)}, file)
    path = folder / "fm.pt"
    path.write_bytes(damaged(file.getvalue(), changes, length))
    weights, error = result_of(load_weights, path)
    if error:
        assert error.startswith(f"{path} is damaged or no checkpoint: ")
        assert len(error.splitlines()) == 1
    else:
        assert "embedding.weight" in weights


@given(csv_table)
def test_features_decode_to_the_log(rows):
    fields = [f"field{column}" for column in range(len(rows[0]))]
    encoded = encode([pl.DataFrame(rows, dict.fromkeys(fields, pl.String), orient="row")], fields)
    raw_values = np.array(encoded.vocabulary["raw_value"].to_list(), dtype=object)
    assert list(map(tuple, raw_values[encoded.ids].tolist())) == rows


@given(csv_table)
def test_feature_ids_are_contiguous_field_after_field(rows):
    fields = [f"field{column}" for column in range(len(rows[0]))]
    encoded = encode([pl.DataFrame(rows, dict.fromkeys(fields, pl.String), orient="row")], fields)
    assert encoded.vocabulary["feature_id"].to_list() == list(range(encoded.num_features))
    assert encoded.field_dims == [len(set(column)) for column in zip(*rows, strict=True)]
    ends = np.cumsum(encoded.field_dims)
    for column, end, size in zip(encoded.ids.T, ends, encoded.field_dims, strict=True):
        assert set(column.tolist()) == set(range(end - size, end))


def encode_apps(rows):
    return encode([pl.DataFrame(rows, list(APPS.fields), orient="row").cast(pl.String)], APPS.fields)


def needed(rows, num_negatives):
    """Return for each line how many negatives more are needed than available; zero or less is enough.

    Lines that differ only in the item share the available negatives.
    """
    alike, items = Counter((user, city) for user, _, city in rows), {item for _, item, _ in rows}
    used = Counter(user for user, _ in {(user, item) for user, item, _ in rows})
    return [alike[user, city] * num_negatives - (len(items) - used[user]) for user, _, city in rows]


@given(log_rows, st.integers(1, 3), st.integers(0, 3), st.integers(0, 9))
def test_negatives_are_no_positives_and_occur_once(rows, num_negatives, max_rounds, seed):
    enough = np.array(needed(rows, num_negatives)) <= 0
    assume(2 * enough.sum() >= len(rows))
    encoded = encode_apps(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(negatives, "MAX_ROUNDS", max_rounds)
        items = draw_negatives(encoded, APPS, num_negatives, np.random.default_rng(seed))
    assert (items[~enough] == -1).all()
    drawn = np.repeat(encoded.ids[enough], num_negatives, axis=0)
    drawn[:, 1] = items[enough].ravel()
    assert set(drawn[:, 1].tolist()) <= set(encoded.ids[:, 1].tolist())
    assert not set(map(tuple, drawn[:, :2].tolist())) & set(map(tuple, encoded.ids[:, :2].tolist()))
    assert len(set(map(tuple, drawn.tolist()))) == len(drawn)


@given(log_rows, st.integers(1, 3))
def test_too_few_negatives_for_most_lines_are_an_error(rows, num_negatives):
    assume(2 * sum(excess > 0 for excess in needed(rows, num_negatives)) > len(rows))
    with pytest.raises(ValueError, match=r"'apps': no item left for a negative with user '.'"):
        draw_negatives(encode_apps(rows), APPS, num_negatives, np.random.default_rng(0))


@given(st.integers(0, 500), st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 9))
def test_splits_of_any_size_are_disjoint_and_complete(num_rows, train, valid, seed):
    assume(train + valid <= 1000)
    splits = split_rows(num_rows, train / 1000, valid / 1000, np.random.default_rng(seed))
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(num_rows))
    assert len(splits["train"]) == -(-train * num_rows // 1000)
