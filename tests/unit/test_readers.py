import polars as pl
import pytest

from pipelines.data.catalog import get_dataset
from pipelines.data.logs import read_log

FRAPPE_HEADER = "user\titem\tcnt\tdaytime\tweekday\tisweekend\thomework\tcost\tweather\tcountry\tcity"
FRAPPE_LINE = "u1\tmaps\t3\tmorning\tmonday\tworkday\thome\tfree\tsunny\tNo where\tc9"
SYNTHETIC_HEADER = "user,item,daytime,weekday,weather,city,device"


@pytest.fixture
def read(tmp_path):
    """Return a function that reads text or bytes as a data set's log."""

    def read_content(dataset, content):
        path = tmp_path / "log"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return pl.concat(read_log(path, get_dataset(dataset)))

    return read_content


def test_frappe_reads_the_ten_fields_without_cnt(read):
    log = read("frappe", f"{FRAPPE_HEADER}\n{FRAPPE_LINE}\n")
    assert log.columns == list(get_dataset("frappe").fields)
    assert log.rows() == [("u1", "maps", "morning", "monday", "workday", "home", "free", "sunny", "No where", "c9")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_are_not_part_of_a_value(read, end):
    log = read("frappe", f"{FRAPPE_HEADER}{end}{FRAPPE_LINE}{end}{FRAPPE_LINE}")
    assert log["city"].to_list() == ["c9", "c9"]


@pytest.mark.parametrize(
    ("dataset", "content", "first"),
    [
        ("frappe", f"{FRAPPE_HEADER}\n{FRAPPE_LINE}\n", "u1"),
        ("movielens", "1::2::a::3\n", "1"),
        ("lastfm", "userID\tartistID\ttagID\tday\tmonth\tyear\r\n1\t2\t3\t1\t4\t2009\r\n", "1"),
        ("movielens-25m", "userId,movieId,tag,timestamp\n1,2,a,3\n", "1"),
    ],
)
def test_a_byte_order_mark_is_no_part_of_the_first_value(read, dataset, content, first):
    assert read(dataset, "\ufeff" + content).row(0)[0] == first


def test_values_are_kept_as_they_stand(read):
    log = read("movielens", '1::2:: Noir ::3\n1::2::noir::4\n1::2::"noir::5\n01::2::::6\n1::2::null::7\n')
    assert log["tag"].to_list() == [" Noir ", "noir", '"noir', "", "null"]
    assert log["user"].to_list() == ["1", "1", "1", "01", "1"]
    assert log["tag"].null_count() == 0


def test_tags_dat_may_have_colons_in_a_tag(read):
    log = read("movielens", "1::2::a::b::3\n1::2::::::3\n1::2:::c:::3\n")
    assert log.columns == ["user", "movie", "tag"]
    assert log["tag"].to_list() == ["a::b", "::", ":c:"]


def test_tags_csv_may_have_commas_quotes_and_line_ends_in_a_tag(read):
    log = read(
        "movielens-25m",
        'userId,movieId,tag,timestamp\r\n1,2,"a, b",3\r\n1,2,"say ""hi""",4\r\n1,2,"two\nlines",5\r\n7,8,é,6\r\n',
    )
    assert log["tag"].to_list() == ["a, b", 'say "hi"', "two\nlines", "é"]
    assert log["user"].to_list() == ["1", "1", "1", "7"]


@pytest.mark.parametrize("block_bytes", [1, 25, 10_000])
@pytest.mark.parametrize(
    ("dataset", "header", "row"),
    [
        ("movielens", "", "{}::2::t::3\n"),
        ("frappe", FRAPPE_HEADER + "\n", FRAPPE_LINE.replace("u1", "{}") + "\r\n"),
        ("movielens-25m", "userId,movieId,tag,timestamp\n", '{},2,"a\nb",3\n'),
    ],
)
def test_a_long_log_is_read_whole_and_its_lines_are_counted(read, monkeypatch, block_bytes, dataset, header, row):
    monkeypatch.setattr("pipelines.data.logs.CHUNK_ROWS", 3)
    monkeypatch.setattr("pipelines.data.logs.BLOCK_BYTES", block_bytes)
    content = header + "".join(row.format(number) for number in range(10))
    assert read(dataset, content)["user"].to_list() == [str(number) for number in range(10)]
    with pytest.raises(ValueError, match=f"log:{content.count(chr(10)) + 1}: expected "):
        read(dataset, content + "x\n" + row)


@pytest.mark.parametrize(
    ("dataset", "content", "line", "why"),
    [
        (
            "frappe",
            FRAPPE_HEADER.replace("cnt", "count") + "\n" + FRAPPE_LINE,
            1,
            "header must be user item cnt",
        ),
        ("frappe", f"{FRAPPE_LINE}\n", 1, "header must be"),
        ("frappe", f"{FRAPPE_HEADER}\n{FRAPPE_LINE}\nu2\tmaps\n", 3, r"11 columns, got 2: 'u2\tmaps'"),
        ("frappe", f"{FRAPPE_HEADER}\n{FRAPPE_LINE}\tmore\n", 2, "got 12"),
        ("frappe", f"{FRAPPE_HEADER}\n{FRAPPE_LINE}\n\n{FRAPPE_LINE}\n", 3, "got 1: ''"),
        ("movielens", "1::2::t::3\n1::2::t\n", 2, "4 columns, got 3: '1::2::t'"),
        ("lastfm", "userID\tartistID\ttag\n", 1, "header must be userID artistID tagID day month year"),
        ("movielens-25m", "user,movie,tag,timestamp\n", 1, "header must be userId movieId tag timestamp"),
        ("movielens-25m", 'userId,movieId,tag,timestamp\n1,2,"a\nb",3\n1,2,x\n', 4, "got 3: '1,2,x'"),
        ("movielens-25m", 'userId,movieId,tag,timestamp\n1,2,a,3\n1,2,"open,3\n1,2,a,3\n', 3, "bad quoting"),
        ("movielens-25m", 'userId,movieId,tag,timestamp\n1,2,"a"b,3\n', 2, "bad quoting"),
        ("synthetic", f"{SYNTHETIC_HEADER}\na,b,c\n", 2, "7 columns, got 3: 'a,b,c'"),
        ("movielens", b"1::2::t::3\n1::2::caf\xe9::3\n", 2, r"invalid UTF-8: '\\xe9::3'"),
        ("movielens-25m", b"userId,movieId,tag,timestamp\n1,2,\xff,3\n", 2, "invalid UTF-8"),
    ],
)
def test_a_bad_line_is_named(read, tmp_path, dataset, content, line, why):
    with pytest.raises(ValueError, match="log:") as caught:
        read(dataset, content)
    assert str(caught.value).startswith(f"{tmp_path / 'log'}:{line}: ")
    assert why in str(caught.value)


def test_a_long_bad_line_is_shortened(read):
    with pytest.raises(ValueError, match="columns") as caught:
        read("movielens", "x" * 10_000)
    assert "x" * 59 + "…" in str(caught.value)
    assert "x" * 60 not in str(caught.value)


@pytest.mark.parametrize(("dataset", "content"), [("movielens", ""), ("frappe", ""), ("frappe", FRAPPE_HEADER + "\n")])
def test_an_empty_log_is_an_error(read, dataset, content):
    with pytest.raises(ValueError, match="no log lines"):
        read(dataset, content)


TAGS = "".join(f"{number}::{number % 7}::a tag::12000000{number:02}\n" for number in range(30))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n\n", "\r\n\r\n"])
@pytest.mark.parametrize("block_bytes", [1, 10_000])
@pytest.mark.parametrize(
    ("dataset", "content"),
    [
        ("movielens", "1::2::t::3"),
        ("frappe", f"{FRAPPE_HEADER}\n{FRAPPE_LINE}"),
        ("movielens-25m", "userId,movieId,tag,timestamp\n1,2,t,3"),
        ("synthetic", f"{SYNTHETIC_HEADER}\na,b,c,d,e,f,g"),
    ],
)
def test_blank_lines_at_the_end_are_left_out_and_others_are_named(
    read, monkeypatch, block_bytes, end, dataset, content
):
    monkeypatch.setattr("pipelines.data.logs.BLOCK_BYTES", block_bytes)
    assert read(dataset, content + end + end).height == 1
    line = content.splitlines()[-1]
    with pytest.raises(ValueError, match=rf"log:{content.count(chr(10)) + 2}: expected .* got [01]: ''$"):
        read(dataset, f"{content}{end}\n{line}\n")


@pytest.mark.parametrize("block_bytes", [1, 100, 10_000])
def test_a_header_of_a_tags_dat_file_is_no_line(read, monkeypatch, block_bytes):
    monkeypatch.setattr("pipelines.data.logs.BLOCK_BYTES", block_bytes)
    assert read("movielens", TAGS).height == 30
    message = r"log:1: the last column, timestamp, must be a number: remove it if it is a header: 'UserID::"
    with pytest.raises(ValueError, match=message):
        read("movielens", "UserID::MovieID::Tag::Timestamp\n" + TAGS)


@pytest.mark.parametrize("joint", ["", " ", "\r"])
@pytest.mark.parametrize("block_bytes", [1, 100, 10_000])
def test_joined_lines_of_a_tags_dat_file_are_no_tag(read, monkeypatch, block_bytes, joint):
    monkeypatch.setattr("pipelines.data.logs.BLOCK_BYTES", block_bytes)
    lines = TAGS.splitlines(keepends=True)
    lines[11] = lines[11].replace("\n", joint)
    with pytest.raises(ValueError, match=r"log:12: two lines are joined: .* '11::4::a tag::1200000011"):
        read("movielens", "".join(lines))


@pytest.mark.parametrize(
    ("dataset", "header", "row"),
    [("movielens", "", "1::2::t::{}\n"), ("movielens-25m", "userId,movieId,tag,timestamp\n", "1,2,t,{}\n")],
)
@pytest.mark.parametrize("timestamp", ["", "soon", "3 ", "-", "٣", "1.5"])
def test_a_timestamp_is_a_number(read, dataset, header, row, timestamp):
    number = header.count("\n") + 2
    with pytest.raises(ValueError, match=rf"log:{number}: the last column, timestamp, must be a number: '1"):
        read(dataset, header + row.format(3) + row.format(timestamp))
