import json
from itertools import combinations

import polars as pl
import pytest

from pipelines.data.catalog import get_dataset
from pipelines.data.logs import read_log
from pipelines.data.synthetic import write_log

SYNTHETIC = get_dataset("synthetic")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    write_log(folder, 2019)
    return folder


@pytest.fixture(scope="module")
def log(folder):
    return pl.concat(read_log(folder / "log.csv", SYNTHETIC))


def association(log, first, second):
    """Return the χ² statistic of two fields in standard deviations above independence."""
    pairs, firsts, seconds = (log.group_by(fields).len() for fields in ([first, second], first, second))
    pairs = pairs.join(firsts, on=first, suffix="_first").join(seconds, on=second, suffix="_second")
    expected = pairs["len_first"] * pairs["len_second"] / log.height
    freedom = (firsts.height - 1) * (seconds.height - 1)
    return ((pairs["len"] ** 2 / expected).sum() - log.height - freedom) / (2 * freedom) ** 0.5


def test_the_log_has_the_size_it_should(log):
    assert 7_900 <= log.height <= 8_000
    assert log["user"].n_unique() == 200
    assert 280 <= log["item"].n_unique() <= 300


def test_no_line_occurs_twice(log):
    assert not log.is_duplicated().any()


def test_popular_items_are_a_few(log):
    counts = log["item"].value_counts(sort=True)["count"]
    # equally popular items would give the first 10 % of the items 10 % of the lines
    assert counts.head(30).sum() > 0.2 * log.height


def test_truth_has_each_pair_of_fields_and_only_item_pairs_count(folder):
    truth = json.loads((folder / "truth.json").read_text())
    assert list(truth) == ["-".join(pair) for pair in combinations(SYNTHETIC.fields, 2)]
    planted = sorted((pair for pair in truth if truth[pair]), key=lambda pair: -truth[pair])
    assert planted == ["user-item", "item-daytime", "item-city", "item-weekday"]


@pytest.mark.parametrize("field", ["user", "daytime", "city", "weekday"])
def test_a_planted_field_goes_with_the_item(log, field):
    assert association(log, field, "item") > 4


@pytest.mark.parametrize("pair", [("weather", "item"), ("device", "item"), ("user", "daytime"), ("city", "weekday")])
def test_other_pairs_are_noise(log, pair):
    assert abs(association(log, *pair)) < 4


def test_the_seed_alone_makes_the_log(folder, tmp_path):
    write_log(tmp_path / "same", 2019)
    write_log(tmp_path / "other", 2020)
    for name in ("log.csv", "truth.json", "vectors.json"):
        assert (tmp_path / "same" / name).read_bytes() == (folder / name).read_bytes()
    assert (tmp_path / "other" / "log.csv").read_bytes() != (folder / "log.csv").read_bytes()
    assert pl.read_csv(tmp_path / "other" / "log.csv").columns == list(SYNTHETIC.fields)
