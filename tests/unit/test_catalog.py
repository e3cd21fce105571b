import pytest
import yaml

from pipelines import download, prepare
from pipelines.data import catalog
from pipelines.data.catalog import get_dataset, list_datasets

LOG = {
    "title": "t",
    "licence": "l",
    "citation": "c",
    "format": "tags.csv",
    "fields": ["user", "movie", "tag"],
    "replace": "tag",
    "given": ["user", "movie"],
}
LIBFM = {**{key: LOG[key] for key in ("title", "licence", "citation", "fields")}, "format": "libfm"}
PARAMS = "seed: 2019\ndatasets: [mine]\nmodels: [fm]\ntune: {num_trials: 1}\n"
HEADER = "userId,movieId,tag,timestamp\n"


@pytest.fixture
def describe(tmp_path, monkeypatch):
    """Return a function that makes datasets/mine.yaml from keys or text, and reads it."""
    monkeypatch.setattr(catalog, "FOLDER", tmp_path)

    def write_and_read(content):
        (tmp_path / "mine.yaml").write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return get_dataset("mine")

    return write_and_read


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "params.yaml").write_text(PARAMS)
    return folder


def test_every_data_set_of_the_project_is_described_in_a_valid_file():
    assert all(get_dataset(name).files for name in list_datasets())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"replace": "tags"}, "replace: the data set has no field 'tags'; its fields are: user, movie, tag"),
        ({"given": ["user", "film"]}, "given: the data set has no field 'film'; its fields are: user, movie, tag"),
        ({"given": ["user", "tag"]}, "given: 'tag' is the field that a negative replaces"),
        ({"given": ["user", "user"]}, "given: 'user' occurs twice"),
        ({"given": []}, "replace and given: the negatives of format tags.csv need both"),
        ({"replace": ""}, "replace and given: the negatives of format tags.csv need both"),
        ({"fields": []}, "fields: Value should have at least 1 item after validation, not 0 (got [])"),
        ({"fields": ["user", "user"]}, "fields: 'user' occurs twice"),
        ({"fields": ["user", "label"]}, "fields: 'label' can't be a field's name"),
        (
            {"fields": ["user", "film"]},
            "fields: a file of format tags.csv has no field 'film'; its fields are: user, movie, tag, timestamp",
        ),
        (
            {"format": "csv"},
            "format: unknown format 'csv'; choose one of: frappe, lastfm, tags.dat, tags.csv, libfm, synthetic, table",
        ),
        ({"name": "other"}, "name: no such key; the file's name and folder say it"),
        ({"group": "genre"}, "group: the data set has no field 'genre'; its fields are: user, movie"),
        ({"licens": "l"}, "licens: no such key; the keys here are: name, title, licence, "),
        (
            {"sources": [{"url": "http://x/a", "checksum": "md5:0", "member": ["a"]}]},
            "sources.0.member: no such key; the keys here are: url, checksum, members",
        ),
        (
            {"sources": [{"url": f"http://{host}/log.csv", "checksum": "md5:0"} for host in "ab"]},
            "sources: two files have the same name; they are log.csv, log.csv",
        ),
    ],
)
def test_a_mistake_in_a_log_s_description_is_named(describe, tmp_path, changes, problem):
    with pytest.raises(ValueError, match=r"mine\.yaml: ") as caught:
        describe({**LOG, **changes})
    assert str(caught.value).startswith(f"{tmp_path / 'mine.yaml'}: {problem}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"replace": "tag"}, "replace and given: the negatives of format libfm need both"),
        (
            {"sources": [{"url": "http://x/train.libfm", "checksum": "md5:0"}]},
            "sources: libfm needs three files, train, valid and test in this order; got 1",
        ),
    ],
)
def test_a_mistake_in_a_libfm_data_set_s_description_is_named(describe, tmp_path, changes, problem):
    with pytest.raises(ValueError, match=r"mine\.yaml: ") as caught:
        describe({**LIBFM, **changes})
    assert str(caught.value) == f"{tmp_path / 'mine.yaml'}: {problem}"


OWN = {"format": "table", "files": ["a.csv"], "label": "click", "fields": {"user": "category"}}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"fields": {"user": {"knd": "number"}}}, "fields.user.knd: no such key; the keys here are: kind, column, "),
        ({"joins": [{"files": ["b.csv"], "ky": "user"}]}, "joins.0.ky: no such key; the keys here are: layout, "),
        (
            {"joins": [{"files": ["b.csv"], "key": "u", "kind": 1}]},
            "joins.0.kind: no such key; the keys here are: layout, ",
        ),
        ({"folder": "/"}, "folder: no such key; the file's name and folder say it"),
        (
            {"fields": {"user": {"min_count": True}}},
            "fields.user.min_count: Input should be a valid integer (got True)",
        ),
        ({"label": 1}, "label: Input should be a valid string (got 1)"),
    ],
)
def test_a_mistake_in_the_description_of_an_own_table_is_named(describe, tmp_path, changes, problem):
    assert describe(OWN).fields.keys() == {"user"}
    with pytest.raises(ValueError, match=r"mine\.yaml: ") as caught:
        describe({**OWN, **changes})
    assert str(caught.value).startswith(f"{tmp_path / 'mine.yaml'}: {problem}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it must have keys"),
        ("- a\n", "it must have keys"),
        ("title: [t\n", "not YAML: "),
        ("title: t\nlicence: l\ntitle: u\n", "key 'title' occurs twice, again in line 3"),
        ("title: yes\nlicence: 010\n", "licence: Input should be a valid string (got 10)"),
        ("<<<<<<< ours\ntitle: t\n", "line 1 has a merge conflict"),
    ],
)
def test_a_file_that_is_no_description_is_named(describe, tmp_path, text, problem):
    with pytest.raises(ValueError, match=r"mine\.yaml: ") as caught:
        describe(text)
    assert str(caught.value).startswith(f"{tmp_path / 'mine.yaml'}: {problem}")


@pytest.mark.parametrize(
    ("description", "files"), [(LOG, ["log.csv"]), (LIBFM, ["train.libfm", "valid.libfm", "test.libfm"])]
)
def test_a_data_set_without_sources_says_where_to_put_its_files_and_keeps_them(describe, project, description, files):
    folder = project / "data" / "raw" / "mine"
    describe(description)
    for number, file in enumerate(files):
        for stage, problem in (
            (download, f"put the file of format .* at .*{file}, and run"),
            (prepare, f"{file} is mi"),
        ):
            with pytest.raises(ValueError, match=problem):
                stage.main("mine", project / "params.yaml")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(f"content {number}")
    download.main("mine", project / "params.yaml")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        file: f"content {number}" for number, file in enumerate(files)
    }


def test_a_log_in_two_files_is_read_whole(describe, project):
    lines = [f"{n % 20},{n % 10},tag {n},3\n" for n in range(60)]
    sources = [{"url": f"http://x/{part}.csv", "checksum": "md5:0"} for part in ("one", "two")]
    folder, values = project / "data" / "raw" / "mine", []
    for description, files in (
        ({**LOG, "sources": sources}, {"one.csv": lines[:25], "two.csv": lines[25:]}),
        (LOG, {"log.csv": lines}),
    ):
        describe(description)
        folder.mkdir(parents=True, exist_ok=True)
        for name, part in files.items():
            (folder / name).write_text(HEADER + "".join(part))
        prepare.main("mine", project / "params.yaml")
        schema = (project / "data" / "processed" / "mine" / "schema.json").read_text()
        values.append(schema)
    assert values[0] == values[1]
    assert '"total": 180' in values[0]
