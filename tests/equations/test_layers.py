from itertools import combinations

import pytest
import torch
from reference import (
    FIELD_DIMS,
    assert_equals_loops,
    attention,
    field_aspect,
    linear_terms,
    products_of,
    random_input,
    randomize,
    relu_network,
)
from torch import nn

from models.layers.attention import PairAttention
from models.layers.checks import positive
from models.layers.embeddings import FeatureEmbedding, FieldAwareEmbedding, LinearTerms
from models.layers.fields import FieldAspect
from models.layers.networks import Dropout, Linear, mlp
from models.layers.pairs import bi_interaction, field_pairs, pair_products

PAIRS = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]


class Function(nn.Module):
    """Wrap a function of tensors as a module without weights."""

    def __init__(self, function):
        super().__init__()
        self.forward = function


def stacked(numbers):
    """Stack nested lists of scalar tensors into one differentiable tensor."""
    return torch.stack([stacked(n) if isinstance(n, list) else n for n in numbers])


def random_embedding(num_rows=3, num_fields=4, embed_dim=3):
    return torch.randn(num_rows, num_fields, embed_dim, dtype=torch.float64)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def mean_and_deviation_are(numbers, mean, deviation):
    """Check mean and deviation within 5 standard errors of a normal distribution."""
    numbers, count = numbers.detach().double(), numbers.numel()
    assert abs(numbers.mean() - mean) < 5 * deviation / count**0.5
    assert abs(numbers.std() - deviation) < 5 * deviation / (2 * count) ** 0.5


def test_pairs_are_in_the_order_of_their_first_and_then_their_second_field():
    assert list(zip(*field_pairs(4).tolist(), strict=True)) == PAIRS
    assert field_pairs(2).tolist() == [[0], [1]]


def test_linear_terms():
    def loops(weights, x, values=None):
        weights = {f"linear.{name}": weight for name, weight in weights.items()}
        rows = torch.ones(x.shape) if values is None else values
        return stacked([linear_terms(weights, ids, row) for ids, row in zip(x.tolist(), rows, strict=True)])

    layer = randomize(LinearTerms(FIELD_DIMS))
    x, values = random_input()
    assert_equals_loops(layer, loops, x, values)
    assert_equals_loops(layer, loops, x)


def test_linear_terms_start_at_zero():
    layer = LinearTerms(FIELD_DIMS)
    assert layer.weight.shape == (14,)
    assert not layer.weight.any()
    assert layer.bias.item() == 0


def test_feature_embedding():
    def loops(weights, x, values=None):
        V, ones = weights["weight"], torch.ones(x.shape)
        rows = zip(x.tolist(), ones if values is None else values, strict=True)
        return stacked([[[V[i, k] * v for k in range(3)] for i, v in zip(*row, strict=True)] for row in rows])

    layer = randomize(FeatureEmbedding(FIELD_DIMS, 3))
    x, values = random_input()
    assert_equals_loops(layer, loops, x, values)
    assert_equals_loops(layer, loops, x)


def test_field_aware_embedding_has_a_vector_for_each_field():
    def loops(weights, x, values=None):
        V = weights["weight"]  # feature i's vector for field f is in columns f K to (f + 1) K − 1
        rows = zip(x.tolist(), torch.ones(x.shape) if values is None else values, strict=True)
        return stacked(
            [
                [[[V[i, 3 * f + k] * v for k in range(3)] for f in range(4)] for i, v in zip(*row, strict=True)]
                for row in rows
            ]
        )

    layer = randomize(FieldAwareEmbedding(FIELD_DIMS, 3))
    x, values = random_input()
    assert_equals_loops(layer, loops, x, values)
    assert_equals_loops(layer, loops, x)


@pytest.mark.parametrize("layer", [FeatureEmbedding, FieldAwareEmbedding])
def test_embeddings_start_small(layer):
    (weight,) = layer((4000, 6000), 8).parameters()
    mean_and_deviation_are(weight, 0, 0.01)


@pytest.mark.parametrize("num_fields", [2, 4, 7])
def test_pair_products(num_fields):
    def loops(weights, embedding):
        return stacked([products_of([list(vector) for vector in row]) for row in embedding])

    assert_equals_loops(Function(pair_products), loops, random_embedding(num_fields=num_fields))


@pytest.mark.parametrize("num_fields", [2, 4, 7])
def test_pair_products_of_the_vectors_that_meet(num_fields):
    def loops(weights, embedding):
        pairs = list(combinations(range(num_fields), 2))
        return stacked([[[row[i, j, k] * row[j, i, k] for k in range(3)] for i, j in pairs] for row in embedding])

    embedding = torch.randn(3, num_fields, num_fields, 3, dtype=torch.float64)
    assert_equals_loops(Function(pair_products), loops, embedding)


@pytest.mark.parametrize("num_fields", [1, 2, 4, 7])
def test_bi_interaction(num_fields):
    def loops(weights, embedding):
        zero = embedding.sum() * 0
        return stacked(
            [[sum((a[k] * b[k] for a, b in combinations(row, 2)), zero) for k in range(3)] for row in embedding]
        )

    assert_equals_loops(Function(bi_interaction), loops, random_embedding(num_fields=num_fields))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 10.0])
@pytest.mark.parametrize("placement", ["logits", "hidden"])
def test_pair_attention(temperature, placement):
    def loops(weights, products):
        rows = ([list(product) for product in row] for row in products)
        return stacked([attention(weights, row, temperature, placement, prefix="") for row in rows])

    assert_equals_loops(randomize(PairAttention(3, 2, temperature, placement)), loops, random_embedding(3, 6, 3))


def test_the_placement_of_the_temperature_matters():
    products = random_embedding(3, 6, 3)
    one, other = (randomize(PairAttention(3, 2, 10.0, placement))(products) for placement in ("logits", "hidden"))
    assert (one - other).abs().max() > 1e-3
    one, other = (randomize(PairAttention(3, 2, 1.0, placement))(products) for placement in ("logits", "hidden"))
    assert torch.equal(one, other)


def test_the_temperature_turns_attention_from_the_largest_only_to_even():
    products = random_embedding(3, 6, 3)
    plain, hot, cold = (randomize(PairAttention(3, 4, temperature)) for temperature in (1.0, 1e12, 1e-9))
    even = torch.full((3, 6), 1 / 6, dtype=torch.float64)
    torch.testing.assert_close(hot(products), even)
    T = plain(products)
    largest = nn.functional.one_hot(T.argmax(1), 6).double()
    assert T.max() - T.min() > 0.1
    torch.testing.assert_close(cold(products), largest)


def test_attention_in_float32_does_not_overflow():
    T = PairAttention(3, 4, 1e-6)(random_embedding(3, 6, 3).float() * 1e3)
    torch.testing.assert_close(T.sum(1), torch.ones(3))


@pytest.mark.parametrize(("embed_dim", "attention_dim"), [(200, 300), (64, 1000)])
def test_how_attention_starts(embed_dim, attention_dim):
    layers = [PairAttention(embed_dim, attention_dim, 10.0) for _ in range(20)]
    deviation = (2 / (embed_dim + attention_dim)) ** 0.5
    mean_and_deviation_are(torch.cat([layer.W.flatten() for layer in layers]), 0, deviation)
    mean_and_deviation_are(torch.cat([layer.b for layer in layers]), 0, deviation)
    mean_and_deviation_are(torch.cat([layer.h for layer in layers]), 0, 1)


def test_field_aspect():
    assert_equals_loops(randomize(FieldAspect(4, 3, 2)), lambda w: stacked(field_aspect(w, prefix="")))


def test_how_the_field_aspect_starts():
    layer = FieldAspect(100, 300, 200)
    mean_and_deviation_are(layer.U, 0, 1)
    mean_and_deviation_are(layer.D, 0, 1)
    assert layer().shape == (4950, 300)


@pytest.mark.parametrize("hidden_dims", [(), (4,), (5, 2)])
def test_mlp(hidden_dims):
    def loops(weights, inputs):
        weights = {f"mlp.{name}": weight for name, weight in weights.items()}
        return stacked([[relu_network(weights, list(row))] for row in inputs])

    assert_equals_loops(randomize(mlp(3, hidden_dims)), loops, torch.randn(6, 3, dtype=torch.float64))


def test_mlp_with_batch_norm_and_dropout_does_them_in_each_hidden_layer_and_not_after_the_last():
    network = mlp(6, (5, 4), dropout=0.5, batch_norm=True)
    kinds = [type(layer) for layer in network]
    assert kinds == [*[Linear, nn.BatchNorm1d, nn.ReLU, Dropout] * 2, Linear]
    assert [layer.p for layer in network if isinstance(layer, Dropout)] == [0.5, 0.5]
    assert network(torch.randn(8, 6)).shape == (8, 1)


def test_positive_names_the_first_size_that_is_not():
    positive(a=1, b=0.5)
    with pytest.raises(ValueError, match=r"^b must be positive, got 0$"):
        positive(a=1, b=0, c=-1)


@pytest.mark.parametrize("size", [0, -1])
@pytest.mark.parametrize(
    ("name", "create"),
    [
        ("embed_dim", lambda size: FeatureEmbedding(FIELD_DIMS, size)),
        ("embed_dim", lambda size: FieldAwareEmbedding(FIELD_DIMS, size)),
        ("attention_dim", lambda size: PairAttention(3, size, 1.0)),
        ("temperature", lambda size: PairAttention(3, 2, float(size))),
        ("field_embed_dim", lambda size: FieldAspect(4, 3, size)),
        ("hidden_dims", lambda size: mlp(3, (2, size))),
    ],
)
def test_a_size_that_is_not_positive_is_an_error(name, create, size):
    with pytest.raises(ValueError, match=f"^{name} must be positive, got {size}"):
        create(size)


def test_a_temperature_that_is_no_number_is_an_error():
    with pytest.raises(ValueError, match="temperature must be positive, got nan"):
        PairAttention(3, 2, float("nan"))


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_dropout_drops_the_share_and_keeps_the_mean(p):
    torch.manual_seed(0)
    x = torch.ones(1001, 997, requires_grad=True)
    dropped = Dropout(p)(x)
    grid = round(p * 256) / 256
    assert (dropped == 0).double().mean().item() == pytest.approx(grid, abs=0.002)
    assert set(dropped.unique().tolist()) <= {0.0, torch.tensor(1 / (1 - grid)).item()}
    assert (dropped == 0).double().mean(0).std() < 0.03  # all columns have about the same dropout rate
    dropped.sum().backward()
    assert torch.equal(x.grad, dropped)
    assert not torch.equal(dropped, Dropout(p)(x)) or p == 0


def test_dropout_leaves_predictions_alone_and_may_drop_all():
    x = torch.randn(5, 3)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(1.0)(x), torch.zeros(5, 3))
    with pytest.raises(ValueError, match=r"dropout must be between 0 and 1, got 1\.5"):
        Dropout(1.5)
