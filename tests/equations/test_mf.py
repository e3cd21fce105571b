import pytest
import torch
from reference import FIELD_DIMS, assert_equals_loops, by_row, random_input, randomize

from models import registry
from models.layers.batch import Batch

FIELDS = ("city", "item", "weekday", "user")


def create(fields=FIELDS, **settings):
    return registry.create("mf", FIELD_DIMS, {"embed_dim": 3, **settings}, fields)


def of_field(column):
    """List the ids of a field's features."""
    start = sum(FIELD_DIMS[:column])
    return list(range(start, start + FIELD_DIMS[column]))


def equation(user, item):
    # w_0 + w_u x_u + w_i x_i + ⟨V_u, V_i⟩ x_u x_i, where user and item are columns
    used = of_field(user) + of_field(item)

    def logit(weights, ids, values):
        w, V = weights["linear.weight"], weights["embedding.user_item.weight"]
        u, i, x_u, x_i = used.index(ids[user]), used.index(ids[item]), values[user], values[item]
        total = weights["linear.bias"] + w[u] * x_u + w[i] * x_i
        for k in range(V.shape[1]):
            total = total + V[u, k] * V[i, k] * x_u * x_i
        return total

    return by_row(logit)


@pytest.mark.parametrize(
    ("fields", "user", "item"),
    [(FIELDS, 3, 1), (("movie", "tag", "user", "city"), 2, 0), (("app", "user", "a", "b"), 1, 0), (None, 0, 1)],
)
def test_the_equation(fields, user, item):
    x, values = random_input()
    assert_equals_loops(randomize(create(fields)), equation(user, item), x, values)
    assert_equals_loops(randomize(create(fields), 1), equation(user, item), x)


def test_it_is_an_fm_that_sees_no_other_field():
    mf, fm = randomize(create()), randomize(registry.create("fm", FIELD_DIMS, {"embed_dim": 3}))
    used = of_field(3) + of_field(1)
    mf.linear.weight.data = fm.linear.weight.data[used]
    mf.linear.bias.data = fm.linear.bias.data
    mf.embedding["user_item"].weight.data = fm.embedding.weight.data[used]
    x, values = random_input()
    unseen = values * torch.tensor([name in ("user", "item") for name in FIELDS])
    torch.testing.assert_close(mf(Batch(x, values)), fm(Batch(x, unseen)), rtol=1e-9, atol=1e-9)


def test_dropout_takes_from_the_interaction_only():
    model, (x, values) = randomize(create(dropout=1.0)), random_input()
    whole = model(Batch(x, values))
    model.embedding["user_item"].weight.data.zero_()
    without = model(Batch(x, values))
    torch.testing.assert_close(model.train()(Batch(x, values)), without)
    assert (whole - without).abs().min() > 1e-3


def test_data_without_user_or_item_is_declined():
    assert registry.why_declined("mf", ("user", "movie", "tag")) is None
    assert registry.why_declined("mf", ("user", "tag")) == "needs a field item or movie or app, got user, tag"
    assert "a field user and a field item" in registry.why_declined("mf", ("tag",))
    with pytest.raises(ValueError, match="mf: needs a field user, got a, item, b, c"):
        create(("a", "item", "b", "c"))
    with pytest.raises(ValueError, match="needs 2 fields or more, got 1"):
        registry.create("mf", (3,), {})


def test_it_starts_as_an_fm_does():
    model = registry.create("mf", (400, 500), {})
    weight = model.embedding["user_item"].weight
    assert weight.shape == (900, 256)
    assert abs(weight.mean()) < 1e-4
    assert abs(weight.std() - 0.01) < 1e-4
    assert not model.linear.weight.any()


def test_only_users_and_items_have_weights():
    with torch.device("meta"):
        model = registry.create("mf", (17045, 23743, 49657), {}, ("user", "movie", "tag"))
    assert sum(p.numel() for p in model.parameters()) == (17045 + 23743) * (256 + 1) + 1
