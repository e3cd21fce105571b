import pytest
import torch
from reference import FIELD_DIMS, assert_equals_loops, by_row, random_input, randomize

from models import registry
from models.layers.batch import Batch

FIELDS = ("tag", "city", "movie", "user")


def create(fields=FIELDS, **settings):
    return registry.create("pitf", FIELD_DIMS, {"embed_dim": 3, **settings}, fields)


def of_field(column, field_dims=FIELD_DIMS):
    """List the ids of a field's features."""
    start = sum(field_dims[:column])
    return list(range(start, start + field_dims[column]))


def equation(user, item, tag):
    # w_0 + w_t x_t + ⟨V_u, V_t⟩ x_u x_t + ⟨V_i, V_t⟩ x_i x_t, where user, item and tag are columns
    used = of_field(tag) + of_field(user) + of_field(item)

    def logit(weights, ids, values):
        V, t, x_t = weights["embedding.tag_user_item.weight"], used.index(ids[tag]), values[tag]
        total = weights["linear.bias"] + weights["linear.weight"][t] * x_t
        for other in (user, item):
            for k in range(V.shape[1]):
                total = total + V[used.index(ids[other]), k] * V[t, k] * values[other] * x_t
        return total

    return by_row(logit)


@pytest.mark.parametrize(("fields", "columns"), [(FIELDS, (3, 2, 0)), (None, (0, 1, 2))])
def test_the_equation(fields, columns):
    x, values = random_input()
    assert_equals_loops(randomize(create(fields)), equation(*columns), x, values)
    assert_equals_loops(randomize(create(fields), 1), equation(*columns), x)


def pitf_and_fm(dims):
    """Create pitf and fm with the same weights, for user, item and tag."""
    pitf = randomize(registry.create("pitf", dims, {"embed_dim": 3}, ("user", "item", "tag")))
    fm = randomize(registry.create("fm", dims, {"embed_dim": 3}))
    used = of_field(2, dims) + of_field(0, dims) + of_field(1, dims)
    pitf.linear.weight.data = fm.linear.weight.data[of_field(2, dims)]
    pitf.linear.bias.data = fm.linear.bias.data
    pitf.embedding["tag_user_item"].weight.data = fm.embedding.weight.data[used]
    return pitf, fm


def test_it_is_an_fm_without_the_terms_that_have_no_tag():
    dims = (3, 4, 2)
    pitf, fm = pitf_and_fm(dims)
    x, values = random_input(field_dims=dims)
    without_tag = fm(Batch(x, values * torch.tensor([1, 1, 0])))
    expected = fm(Batch(x, values)) - without_tag + fm.linear.bias
    torch.testing.assert_close(pitf(Batch(x, values)), expected, rtol=1e-9, atol=1e-9)


def test_it_ranks_the_tags_of_a_user_and_item_as_the_fm_does():
    pitf, fm = pitf_and_fm((3, 4, 20))
    x = torch.tensor([[1, 5, tag] for tag in range(7, 27)])
    assert torch.equal(pitf(Batch(x)).argsort(), fm(Batch(x)).argsort())


def test_dropout_takes_from_the_interactions_only():
    model, (x, values) = randomize(create(dropout=1.0)), random_input()
    whole = model(Batch(x, values))
    model.embedding["tag_user_item"].weight.data.zero_()
    without = model(Batch(x, values))
    torch.testing.assert_close(model.train()(Batch(x, values)), without)
    assert (whole - without).abs().min() > 1e-3


def test_data_without_user_item_or_tag_is_declined():
    assert registry.why_declined("pitf", ("tag", "app", "user")) is None
    assert registry.why_declined("pitf", ("user", "item", "city")) == "needs a field tag, got user, item, city"
    with pytest.raises(ValueError, match="pitf: needs a field tag and a field user, got a, item, b, c"):
        create(("a", "item", "b", "c"))
    with pytest.raises(ValueError, match="needs 3 fields or more, got 2"):
        registry.create("pitf", (3, 4), {})


def test_it_starts_as_an_fm_does():
    model = registry.create("pitf", (400, 300, 200), {})
    weight = model.embedding["tag_user_item"].weight
    assert weight.shape == (900, 256)
    assert abs(weight.mean()) < 1e-4
    assert abs(weight.std() - 0.01) < 1e-4
    assert not model.linear.weight.any()


def test_only_what_the_equation_has_is_a_weight():
    with torch.device("meta"):
        model = registry.create("pitf", (17045, 23743, 49657, 9), {}, ("user", "movie", "tag", "city"))
    assert sum(p.numel() for p in model.parameters()) == 90_445 * 256 + 49_657 + 1
