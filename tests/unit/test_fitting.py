from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from pydantic import ValidationError

from models.layers.batch import Batch
from models.registry import create
from pipelines.data.fields import places_of
from pipelines.data.fitting import encode_own
from pipelines.data.own import OwnDataset
from pipelines.data.rows import bags_of


def described(**fields):
    return OwnDataset(name="clicks", format="table", folder=Path(), files=["clicks.csv"], label="click", fields=fields)


def encoded(texts, train, **column):
    """Encode a single field; return the ids and the names of its features."""
    data, _ = encode_own(pl.DataFrame({"user": texts}), described(user=column), np.arange(train))
    return data.ids[:, 0].tolist(), data.vocabulary["raw_value"].to_list()


def test_the_most_frequent_values_are_kept_and_the_rest_is_rare():
    texts = ["a", "a", "a", "b", "c", "c", "d", "d", None, "e", "e", "e", "e", "e"]
    rare, missing = "<rare or unseen>", "<missing>"
    found = encoded(texts, 9, max_size=2)  # e is frequent in other rows alone; c and d are equal, and c comes first
    assert found == ([2, 2, 2, 0, 3, 3, 0, 0, 1, 0, 0, 0, 0, 0], [rare, missing, "a", "c"])
    assert encoded(texts, 9, max_size=2, min_count=3)[1] == [rare, missing, "a"]


def test_a_list_has_the_most_frequent_elements():
    texts = ["x|y", "x|y|z", "y", "z|x|w"]
    data, _ = encode_own(pl.DataFrame({"tags": texts}), described(tags={"kind": "list", "max_size": 1}), np.arange(4))
    assert data.vocabulary["raw_value"].to_list() == ["<rare or unseen>", "<missing>", "x"]
    assert data.lists.to_list() == [[2, 0], [2, 0, 0], [0], [0, 2, 0]]


def test_hashed_values_share_features_and_need_no_training_rows():
    texts = ["a", "b", "c", None, "a", "never seen"]
    ids, names = encoded(texts, 1, hash=5)
    assert ids == [4, 4, 1, 0, 4, 2]  # 1 + BLAKE2b of 8 bytes, little-endian, modulo 5: a and b collide
    assert names == ["<missing>", "<hash 0 of 5>", "<hash 1 of 5>", "<hash 2 of 5>", "<hash 3 of 5>", "<hash 4 of 5>"]
    assert encoded(texts[::-1], 1, hash=5)[0] == ids[::-1]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"kind": "number", "hash": 5}, "hash: a number takes none"),
        ({"kind": "time", "max_size": 5}, "max_size: a time takes none"),
        ({"kind": "list", "hash": 5}, "hash: a list takes none; max_size limits its features"),
        ({"hash": 5, "min_count": 3}, "hash: hashed values have neither min_count nor max_size"),
        ({"hash": 0}, "greater than 0"),
    ],
)
def test_options_that_a_field_does_not_take_are_named(column, message):
    with pytest.raises(ValidationError, match=message):
        described(user=column)


def test_the_age_of_a_time_is_a_number_by_the_training_rows():
    days = ["2024-01-01", "2024-01-03", "2024-01-05", None, "2024-01-07"]
    column = {"kind": "time", "part": "age", "format": "%Y-%m-%d"}
    data, values = encode_own(pl.DataFrame({"user": days}), described(user=column), np.arange(3))
    assert data.ids[:, 0].tolist() == [0, 0, 0, 1, 0]
    deviation = np.std([0, 2, 4])
    assert values[:, 0].tolist() == pytest.approx([2 / deviation, 0, -2 / deviation, 1, -4 / deviation])
    assert encoded(days, 3, **column, scale="bins", bins=2)[0] == [3, 2, 2, 1, 2]
    with pytest.raises(ValidationError, match="the age of a time is standard or in bins, not log"):
        described(user={**column, "scale": "log"})


def test_the_sum_of_a_list_is_its_mean_times_its_size():
    tags = ["x|y|x", "y", None, "x"]
    column = {"kind": "list", "min_count": 1, "pooling": "sum"}
    data, values = encode_own(pl.DataFrame({"tags": tags}), described(tags=column), np.arange(4))
    assert values[:, 0].tolist() == [3, 1, 1, 1]  # a missing list holds one feature
    model = create("fm", data.field_dims, {"embed_dim": 2}).eval()
    torch.nn.init.normal_(model.linear.weight)
    batch = Batch(torch.from_numpy(data.ids), torch.from_numpy(values), bags=bags_of(data.lists, data.num_features))
    sums = [sum(model.linear.weight[feature].item() for feature in elements) for elements in data.lists.to_list()]
    bias = model.linear.bias.item()
    distinct = [sums[number - data.num_features] + bias for number in data.ids[:, 0]]
    assert model.linear(batch).tolist() == pytest.approx(distinct)


@pytest.mark.parametrize("num_names", [0, 3, 1000], ids="{} names".format)
def test_texts_are_found_among_few_and_many_names(num_names):
    names = pl.Series([f"name {place}" for place in range(num_names)], dtype=pl.String)
    texts = pl.Series(["name 2", None, "nobody", "name 999", "name 2"])
    there = [2 if num_names > 2 else None, None, None, 999 if num_names > 999 else None]
    assert places_of(texts, names).to_list() == [*there, there[0]]
    assert places_of(texts[:0], names).to_list() == []
