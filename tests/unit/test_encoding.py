from collections import Counter

import numpy as np
import polars as pl
import pytest

from pipelines.data.catalog import get_dataset
from pipelines.data.encoding import encode
from pipelines.data.negatives import draw_negatives, group_rows
from pipelines.data.splitting import split_groups, split_rows

TAGS = get_dataset("movielens")  # negatives replace tag, given user and movie
# negatives replace item, given user
APPS = get_dataset("synthetic").model_copy(update={"name": "apps", "fields": ("user", "item", "city")})


def log_of(fields, *rows):
    return pl.DataFrame(list(rows), schema=list(fields), orient="row")


def random_log(num_lines, num_users, num_items, num_cities, seed=0):
    """Draw a log of APPS, which may have equal lines."""
    sizes = {"user": num_users, "item": num_items, "city": num_cities}
    rng = np.random.default_rng(seed)
    return pl.DataFrame({f: rng.integers(size, size=num_lines) for f, size in sizes.items()}).cast(pl.String)


def negatives_of(log, dataset=APPS, num_negatives=2, seed=0):
    """Encode a log and draw its negatives."""
    encoded = encode([log], dataset.fields)
    negatives = np.repeat(encoded.ids, num_negatives, axis=0)
    drawn = draw_negatives(encoded, dataset, num_negatives, np.random.default_rng(seed))
    negatives[:, dataset.fields.index(dataset.replace)] = drawn.ravel()
    return encoded, negatives


@pytest.mark.parametrize("num_lines", [1, 3, 4])
def test_features_are_numbered_field_after_field_by_first_appearance(num_lines):
    log = log_of(APPS.fields, ("b", "y", "c1"), ("a", "x", "c1"), ("b", "x", "C1"), ("b ", "y", ""))
    encoded = encode(log.iter_slices(num_lines), APPS.fields)
    assert encoded.ids.tolist() == [[0, 3, 5], [1, 4, 5], [0, 4, 6], [2, 3, 7]]
    assert encoded.ids.dtype == np.int32
    assert encoded.field_dims == [3, 2, 3]
    assert encoded.num_features == 8
    assert encoded.vocabulary.rows() == [
        ("user", 0, "b"), ("user", 1, "a"), ("user", 2, "b "), ("item", 3, "y"), ("item", 4, "x"),
        ("city", 5, "c1"), ("city", 6, "C1"), ("city", 7, ""),
    ]  # fmt: skip


def test_equal_rows_and_only_these_are_one_group():
    ids = np.array([(0, 1), (1, 0), (1, 1), (0, 0), (1, 0), (0, 1)])
    first, second, third, fourth, *again = group_rows(ids).tolist()
    assert again == [second, first]
    assert sorted([first, second, third, fourth]) == [0, 1, 2, 3]


def test_negatives_differ_from_their_line_in_the_replaced_field_only():
    encoded, negatives = negatives_of(random_log(500, 20, 60, 4), num_negatives=3)
    assert negatives.shape == (1500, 3)
    lines = np.repeat(encoded.ids, 3, axis=0)
    assert (negatives[:, [0, 2]] == lines[:, [0, 2]]).all()
    assert negatives[:, 1].min() >= 20
    assert negatives[:, 1].max() < 80


def test_negatives_never_occur_in_the_log_with_what_is_given():
    encoded, negatives = negatives_of(random_log(2000, 20, 200, 4))
    used = set(map(tuple, encoded.ids[:, :2].tolist()))
    assert not used & set(map(tuple, negatives[:, :2].tolist()))


def test_no_negative_occurs_twice_even_for_equal_lines():
    others = [(f"v{n}", f"i{n}", "c") for n in range(60)]
    _, negatives = negatives_of(log_of(APPS.fields, *[("u", "i0", "c")] * 20, *others))
    assert len(set(map(tuple, negatives.tolist()))) == len(negatives) == 160


def test_a_movie_tag_is_only_negative_for_the_same_user_and_movie():
    log = log_of(
        TAGS.fields,
        ("u", "m", "a"),
        ("u", "m", "b"),
        ("u", "n", "c"),
        ("v", "m", "d"),
        ("w", "o", "e"),
        ("w", "o", "f"),
    )
    encoded, negatives = negatives_of(log, TAGS)
    tag_of_u_m = {encoded.vocabulary["raw_value"][int(row[2])] for row in negatives[:4]}
    assert tag_of_u_m == {"c", "d", "e", "f"}


def test_negatives_are_uniform_over_what_is_left():
    # user u has used 5 of 25 items; each of 400 cities gets 2 of the other 20
    used = [("u", f"i{n % 5}", f"c{n}") for n in range(400)]
    others = [("v", f"i{n}", f"c{n}") for n in range(5, 25)]
    log = log_of(APPS.fields, *used, *others)
    counts = Counter()
    for seed in range(5):
        counts.update(negatives_of(log, num_negatives=2, seed=seed)[1][:800, 1].tolist())
    observed = np.array(list(counts.values()))
    assert len(observed) == 20
    assert ((observed - 200) ** 2 / 200).sum() < 43.8  # χ² with 19 degrees of freedom: 0.1 %


def test_the_exact_draw_is_uniform_too(monkeypatch):
    monkeypatch.setattr("pipelines.data.negatives.MAX_ROUNDS", 0)
    test_negatives_are_uniform_over_what_is_left()


@pytest.mark.parametrize("max_rounds", [0, 1, 10])
def test_what_is_left_is_found_when_nearly_all_is_used(monkeypatch, max_rounds):
    monkeypatch.setattr("pipelines.data.negatives.MAX_ROUNDS", max_rounds)
    # v and w have used 2998 of 3000 items, each in its own city: 2 items are free
    used = [(user, f"i{n}", f"c{n}") for user in "vw" for n in range(2998)]
    log = log_of(APPS.fields, ("u", "i2998", "c"), ("u", "i2999", "c"), *used)
    encoded, negatives = negatives_of(log)
    left = set(encoded.vocabulary.filter(pl.col("raw_value").is_in(["i2998", "i2999"]))["feature_id"])
    pairs = negatives[4:, 1].reshape(-1, 2)
    assert all(set(pair) == left for pair in pairs.tolist())


def test_exactly_as_many_as_are_left_can_be_drawn():
    log = log_of(APPS.fields, ("u", "a", "x"), ("v", "b", "x"), ("w", "c", "x"))
    _, negatives = negatives_of(log, num_negatives=2)
    assert sorted(negatives[:, 1].tolist()) == [3, 3, 4, 4, 5, 5]
    with pytest.raises(ValueError, match=r"item left for a negative with user 'u': 1 of all 3 .* 3 more"):
        negatives_of(log, num_negatives=3)


def test_too_few_left_names_the_given_values():
    log = log_of(
        TAGS.fields,
        ("u", "m 1", "a"),
        ("u", "m 1", "b"),
        ("v", "m 2", "c"),
        ("v", "m 2", "d"),
        ("v", "m 2", "e"),
    )
    with pytest.raises(ValueError, match="left") as caught:
        negatives_of(log, TAGS)
    assert str(caught.value) == (
        "data set 'movielens': no tag left for a negative with user 'u', movie 'm 1': "
        "2 of all 5 occur with it in the log, and 4 more are needed"
    )


def test_the_same_seed_draws_the_same_negatives():
    log = random_log(300, 20, 60, 4)
    first, second, other = (negatives_of(log, seed=seed)[1] for seed in (1, 1, 2))
    assert (first == second).all()
    assert (first != other).any()


def test_negatives_do_not_depend_on_how_many_are_looked_at_together(monkeypatch):
    log = random_log(300, 20, 60, 2)  # each user and city gets 22 draws from about 50 items: many draws repeat
    whole = negatives_of(log, num_negatives=3)[1]
    for size in (1, 7, 100):
        monkeypatch.setattr("pipelines.data.negatives.PIECE", size)
        assert (negatives_of(log, num_negatives=3)[1] == whole).all()


def test_splits_are_disjoint_and_complete():
    splits = split_rows(1003, 0.7, 0.2, np.random.default_rng(0))
    assert [len(rows) for rows in splits.values()] == [703, 201, 99]
    assert list(splits) == ["train", "valid", "test"]
    assert sorted(np.concatenate(list(splits.values()))) == list(range(1003))
    assert splits["train"].tolist() != sorted(splits["train"])


@pytest.mark.parametrize(
    ("num_rows", "train", "valid", "sizes"),
    [
        (10, 0.7, 0.2, [7, 2, 1]),
        (100, 0.07, 0.28, [7, 28, 65]),  # in floats 0.07 · 100 and 0.28 · 100 are a little more than whole
        (9, 0.7, 0.1, [7, 1, 1]),
        (288_609, 0.7, 0.2, [202_027, 57_722, 28_860]),  # the released Frappe split
    ],
)
def test_shares_are_rounded_up(num_rows, train, valid, sizes):
    splits = split_rows(num_rows, train, valid, np.random.default_rng(0))
    assert [len(rows) for rows in splits.values()] == sizes


@pytest.mark.parametrize(("num_rows", "num_groups"), [(1000, 300), (1000, 1000), (5000, 40)])
def test_a_group_is_in_one_part_and_the_shares_are_as_near_as_groups_allow(num_rows, num_groups):
    groups = np.random.default_rng(1).integers(num_groups, size=num_rows)
    groups = np.unique(groups, return_inverse=True)[1]
    splits = split_groups(groups, 0.7, 0.2, np.random.default_rng(0))
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(num_rows))
    parts = [set(groups[rows].tolist()) for rows in splits.values()]
    assert len(set.union(*parts)) == sum(map(len, parts))  # they share none
    half = np.bincount(groups).max() / 2  # by how much an end may miss its row
    assert abs(len(splits["train"]) - 0.7 * num_rows) <= half
    assert abs(len(splits["test"]) - 0.1 * num_rows) <= half
    again = split_groups(groups, 0.7, 0.2, np.random.default_rng(0))
    assert all((splits[name] == again[name]).all() for name in splits)
    other = split_groups(groups, 0.7, 0.2, np.random.default_rng(2))
    assert set(other["test"].tolist()) != set(splits["test"].tolist())
    assert (np.diff(splits["train"]) < 0).any()  # rows are shuffled
