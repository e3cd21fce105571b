"""Check mean, popularity and lookup against plain loops over their rows."""

import math
from collections import Counter

import pytest
import torch

from models import registry
from models.layers.batch import Batch

FIELD_DIMS = (3, 4, 2)
NUM_ROWS = 40


def some_rows(seed=0, with_values=True):
    generator = torch.Generator().manual_seed(seed)
    starts = [sum(FIELD_DIMS[:field]) for field in range(len(FIELD_DIMS))]
    columns = [
        torch.randint(start, start + dim, (NUM_ROWS,), generator=generator)
        for start, dim in zip(starts, FIELD_DIMS, strict=True)
    ]
    values = torch.rand(NUM_ROWS, len(FIELD_DIMS), generator=generator, dtype=torch.float64) + 0.5
    labels = torch.randint(2, (NUM_ROWS,), generator=generator) * 2.0 - 1
    ids = torch.stack(columns, 1)
    return ids, values if with_values else torch.ones_like(values), labels.double()


def fitted(name, ids, values, labels, loss="squared_error", **settings):
    model = registry.create(name, FIELD_DIMS, settings).double()
    model.fit(Batch(ids, values), labels, loss)
    return model


def ridge(x, left, smoothing):
    """Fit one effect to some rows."""
    return sum(a * b for a, b in zip(x, left, strict=True)) / (sum(a * a for a in x) + smoothing)


def popularity(rows, smoothing):
    """Fit a mean, then the effects of one field after the other; return the prediction of a row."""
    mean = sum(label for _, _, label in rows) / len(rows)
    left, effect = [label - mean for _, _, label in rows], {}
    for field in range(len(FIELD_DIMS)):
        for feature in {ids[field] for ids, _, _ in rows}:
            places = [place for place, (ids, _, _) in enumerate(rows) if ids[field] == feature]
            x = [rows[place][1][field] for place in places]
            effect[feature] = ridge(x, [left[place] for place in places], smoothing)
        left = [r - effect[ids[field]] * x[field] for r, (ids, x, _) in zip(left, rows, strict=True)]
    return lambda ids, x: mean + sum(effect.get(i, 0.0) * value for i, value in zip(ids, x, strict=True))


def lookup(rows, smoothing, feature_smoothing, backoff="once"):
    """Fit the back-off, then an effect for each pair; return the prediction of a row."""
    times = Counter(tuple(ids[:2]) for ids, _, _ in rows)
    once = [row for row in rows if times[tuple(row[0][:2])] == 1 and backoff == "once"]
    back_off, effect = popularity(once or rows, feature_smoothing), {}
    for pair in times:
        own = [row for row in rows if tuple(row[0][:2]) == pair]
        x = [values[0] * values[1] for _, values, _ in own]
        effect[pair] = ridge(x, [label - back_off(ids, values) for ids, values, label in own], smoothing)
    return lambda ids, x: back_off(ids, x) + effect.get(tuple(ids[:2]), 0.0) * x[0] * x[1]


def lists(ids, values, labels):
    return list(zip(ids.tolist(), values.tolist(), labels.tolist(), strict=True))


@pytest.mark.parametrize("with_values", [False, True], ids=["ones", "values"])
@pytest.mark.parametrize(
    ("name", "by_loops", "settings"),
    [
        ("popularity", popularity, {"smoothing": 2.5}),
        ("lookup", lookup, {"smoothing": 0.5, "feature_smoothing": 2.5}),
        ("lookup", lookup, {"smoothing": 0.5, "feature_smoothing": 2.5, "backoff": "all"}),
    ],
)
@pytest.mark.parametrize("num_rows", [12, NUM_ROWS])
def test_the_equation(name, by_loops, settings, with_values, num_rows):
    ids, values, labels = (part[:num_rows] for part in some_rows(with_values=with_values))
    model, expected = fitted(name, ids, values, labels, **settings), by_loops(lists(ids, values, labels), **settings)
    new_ids, new_values, _ = some_rows(seed=1, with_values=with_values)  # some of whose features and pairs are unknown
    got = model(Batch(new_ids, new_values)).tolist()
    assert got == pytest.approx([expected(*row) for row in zip(new_ids.tolist(), new_values.tolist(), strict=True)])
    if not with_values:
        assert model(Batch(new_ids)).tolist() == pytest.approx(got)


def test_the_mean_is_that_of_the_labels():
    ids, values, labels = some_rows()
    expected = labels.sum().item() / (NUM_ROWS + 0.5)
    assert fitted("mean", ids, values, labels, smoothing=0.5)(Batch(ids)).tolist() == [pytest.approx(expected)] * 40
    logits = fitted("mean", ids, values, labels, "cross_entropy", smoothing=0.5)(Batch(ids))
    assert logits.tolist() == [pytest.approx(math.log((1 + expected) / (1 - expected)))] * 40


def test_a_known_pair_has_its_mean_label_and_an_unknown_pair_that_of_pairs_seen_once():
    """With little smoothing of pairs and much of features, which then say nothing."""
    ids = torch.tensor([[0, 3, 7], [0, 3, 8], [0, 3, 7], [1, 4, 7], [2, 5, 7], [1, 6, 8], [2, 6, 8]])
    labels = torch.tensor([1.0, 1, -1, -1, -1, -1, 1]).double()
    model = fitted("lookup", ids, None, labels, smoothing=1e-9, feature_smoothing=1e9)
    asked = torch.tensor([[0, 3, 8], [1, 4, 8], [0, 6, 7], [1, 3, 7]])
    assert model(Batch(asked)).tolist() == pytest.approx([1 / 3, -1, -0.5, -0.5])


def test_fields_that_say_the_same_count_once():
    ids = torch.tensor([[0, 3, 7], [1, 4, 8]] * 20)
    labels = torch.tensor([1.0, -1] * 20).double()
    predicted = fitted("popularity", ids, None, labels, smoothing=1e-9)(Batch(ids[:2]))
    assert predicted.tolist() == pytest.approx([1, -1])


def test_certainty_keeps_its_logit_finite():
    ids, labels = torch.tensor([[0, 3, 7]] * 5), torch.ones(5).double()
    logit = fitted("lookup", ids, None, labels, "cross_entropy", smoothing=1e-9)(Batch(ids[:1]))
    assert logit.item() == pytest.approx(math.log(1e6), rel=1e-3)


def test_one_field_has_no_pair():
    assert registry.why_declined("lookup", ("item",)) == "needs two fields, got item"
    assert registry.why_declined("lookup", ("user", "item")) is None
