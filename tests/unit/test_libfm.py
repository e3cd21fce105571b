import re
import subprocess
import time

import numpy as np
import pytest

from pipelines.data.libfm import by_field, read_libfm


@pytest.fixture
def read(tmp_path):
    """Return a function that reads text or bytes as a libfm file."""

    def read_content(content, num_fields=2):
        path = tmp_path / "rows.libfm"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_libfm(path, num_fields)

    return read_content


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_are_read_with_either_line_end(read, end):
    rows = read(f"1 3:1 5:1{end}-1 4:1 9:1{end}")
    assert rows.labels.tolist() == [1, -1]
    assert rows.indices.tolist() == [[3, 5], [4, 9]]
    assert rows.values.tolist() == [[1, 1], [1, 1]]
    assert (rows.labels.dtype, rows.indices.dtype) == (np.int8, np.int32)


def test_labels_and_values_may_be_written_otherwise(read):
    rows = read("+1 3:1 5:1.0\n1.0 3:+1 6:1e0\n-1.0 4:1 2147483647:1\n")
    assert rows.labels.tolist() == [1, 1, -1]
    assert rows.indices.tolist() == [[3, 5], [3, 6], [4, 2147483647]]


def test_labels_may_be_written_with_any_number_of_digits(read):
    assert read("1.00 3:1 5:1\n-1.000000 4:1 9:1\n1e0 3:1 9:1\n").labels.tolist() == [1, -1, 1]


def test_labels_0_and_1_are_negatives_and_positives(read):
    rows = read("1 3:1 5:1\n0 4:1 9:1\n0.0 3:1 9:1\n")
    assert rows.labels.tolist() == [1, -1, -1]
    assert rows.labels.dtype == np.int8


@pytest.mark.parametrize("content", ["1 3:1 5:1\n-1 4:1 9:1\n0 3:1 9:1\n", "1 3:1 5:1\n0 4:1 9:1\n# 0\n-1 3:1 9:1\n"])
def test_labels_0_and_minus_1_in_one_file_are_ambiguous(read, content):
    line = content.splitlines()[-1]
    with pytest.raises(ValueError, match=rf":{len(content.splitlines())}: .* both -1 and 0, as in: '{line}'$"):
        read(content)


def test_a_file_of_libffm_gets_the_command_that_makes_it_libfm(read, tmp_path):
    with pytest.raises(ValueError, match="libffm's field:index:value") as caught:
        read("1 0:0:1 1:3:1\n-1 0:1:1 1:4:0.5\n")
    program = re.search("sed -E '(.*)' FILE", str(caught.value))[0].replace("FILE", str(tmp_path / "rows.libfm"))
    done = subprocess.run(program, shell=True, capture_output=True, text=True, check=True)
    rows = read(done.stdout)
    assert rows.indices.tolist() == [[0, 3], [1, 4]]
    assert rows.values.tolist() == [[1, 1], [1, 0.5]]


def test_values_are_read(read):
    rows = read("1 3:0.5 5:-2\n-1 4:1e-3 9:1\n")
    assert rows.values.dtype == np.float32
    assert rows.values.tolist() == [[0.5, -2], [np.float32(1e-3), 1]]


def test_comments_blank_lines_and_spaces_are_left_out(read):
    rows = read("# a comment é\n\n1  3:1\t5:1  # another, 7:1\n   \r\n-1 4:1 9:1 \n1 3:1 9:1")
    assert rows.indices.tolist() == [[3, 5], [4, 9], [3, 9]]


def test_unsorted_rows_keep_the_order_of_the_file(read):
    assert read("1 5:1 3:1\n").indices.tolist() == [[5, 3]]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("2 3:1 5:1", "the label must be 1 or -1 (or 1 or 0): '2'"),
        ("3:1 5:1", "the label must be 1 or -1 (or 1 or 0): '3:1'"),
        ("nan 3:1 5:1", "the label must be 1 or -1 (or 1 or 0): 'nan'"),
        ("1 3:1 5", "expected index:value: '5'"),
        ("1 3:1 5:", "expected index:value: '5:'"),
        ("1 3:1 :1", "expected index:value: ':1'"),
        ("0.5 3:1 5:1", "the label must be 1 or -1 (or 1 or 0): '0.5'"),
        ("1 3:1 5:1:1:1", "the value is not a finite number: '5:1:1:1'"),
        ("1 3:1 -5:1", "negative index: '-5:1'"),
        ("1 3:1 5.0:1", "the index is not an integer: '5.0:1'"),
        ("1 3:1 five:1", "the index is not an integer: 'five:1'"),
        ("1 3:1 1_0:1", "the index is not an integer: '1_0:1'"),
        ("1 3:1 ٣:1", "the index is not an integer: '٣:1'"),
        ("1 3:1 2147483648:1", "an index can't be beyond 2147483647: '2147483648:1'"),
        ("1 3:1 " + "9" * 5000 + ":1", "an index can't be beyond 2147483647: '999"),
        ("1 3:1 5:nan", "the value is not a finite number: '5:nan'"),
        ("1 3:1 5:inf", "the value is not a finite number: '5:inf'"),
        ("1 3:1 5:1e999", "the value is not a finite number: '5:1e999'"),
        ("1 3:1 5:one", "the value is not a finite number: '5:one'"),
        ("1 3:1 5:1e39", "the value is not a finite number: '5:1e39'"),  # models use float32
        ("1 3:1 3:1", "index 3 occurs twice: '1 3:1 3:1'"),
        ("1 3:1 03:1", "index 3 occurs twice: '1 3:1 03:1'"),
        ("1 3:1", "expected 2 features, got 1: '1 3:1'"),
        ("1", "expected 2 features, got 0: '1'"),
        ("1 3:1 5:1 7:1", "expected 2 features, got 3: '1 3:1 5:1 7:1'"),
        (b"1 3:1 5:1 # caf\xe9", r"invalid UTF-8: '\\xe9'"),
        (b"1 3:1 5:1\0", r"NUL byte: '1 3:1 5:1\x00'"),
    ],
)
def test_a_bad_line_is_named(read, tmp_path, line, why):
    line = line if isinstance(line, bytes) else line.encode()
    with pytest.raises(ValueError, match="libfm") as caught:
        read(b"# first\r\n1 3:1 5:1\r\n\r\n" + line + b"\r\n1 4:1 6:1\r\n")
    assert str(caught.value).startswith(f"{tmp_path / 'rows.libfm'}:4: {why}")
    assert len(str(caught.value)) < len(str(tmp_path)) + 200


@pytest.mark.parametrize("content", ["", "\n", "# nothing\n"])
def test_a_file_without_rows_is_an_error(read, content):
    with pytest.raises(ValueError, match=r"rows\.libfm: the file has no rows"):
        read(content)


def test_a_large_file_is_read_quickly(read):
    lines = (f"1 {' '.join(f'{1000 * field + row % 997}:1' for field in range(10))}\r\n" for row in range(50_000))
    content = "".join(lines)
    start = time.process_time()
    read(content, num_fields=10)
    assert time.process_time() - start < 2  # of CPU: other work may take the cores


def in_field_order(indices, fields):
    return np.take_along_axis(indices, by_field(indices, fields), axis=1).tolist()


def test_ranges_of_indices_tell_the_fields_whatever_the_order():
    indices = np.array([[0, 10, 20], [21, 1, 11], [12, 22, 2]])
    assert in_field_order(indices, ("user", "movie", "tag")) == [[0, 10, 20], [1, 11, 21], [2, 12, 22]]


def test_the_position_tells_the_fields_where_ranges_overlap():
    indices = np.array([[0, 1, 20], [5, 2, 21], [3, 9, 20]])
    assert in_field_order(indices, ("user", "movie", "tag")) == [[0, 1, 20], [5, 2, 21], [3, 9, 20]]


def test_indices_of_two_fields_are_an_error():
    with pytest.raises(ValueError, match="index 5 stands for user and item by its position"):
        by_field(np.array([[0, 5], [5, 9]]), ("user", "item"))
