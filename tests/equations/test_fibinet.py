from itertools import combinations

import pytest
import torch
from reference import (
    FIELD_DIMS,
    FRAPPE_X1,
    assert_all_reached,
    assert_equals_loops,
    awake,
    by_row,
    dense,
    dot,
    embedded,
    linear_terms,
    num_params,
    random_input,
    randomize,
    relu,
    relu_network,
)

from models import registry
from models.layers.batch import Batch


def create(field_dims=FIELD_DIMS, **settings):
    sizes = {"embed_dim": 2, "hidden_dims": [3], "batch_norm": False}
    return registry.create("fibinet", field_dims, {**sizes, **settings})


def equation(bilinear):
    # w_0 + Σ_i w_i x_i + MLP([p, q]), p of the embeddings, q of the embeddings times a = relu(W_2 relu(W_1 z))

    def logit(weights, ids, values):
        e = embedded(weights, ids, values)
        squeezed = [sum(vector) / len(vector) for vector in e]
        a = relu(dense(weights, "weigh.2", relu(dense(weights, "weigh.0", squeezed))))
        units = []
        for vectors in (e, [[w * number for number in vector] for w, vector in zip(a, e, strict=True)]):
            for pair, (i, j) in enumerate(combinations(range(len(ids)), 2)):
                W = weights["W"][{"all": 0, "each": i, "interaction": pair}[bilinear]]
                units += [dot(vectors[i], W[:, k]) * vectors[j][k] for k in range(2)]
        return linear_terms(weights, ids, values) + relu_network(weights, units)

    return by_row(logit)


@pytest.mark.parametrize("bilinear", ["all", "each", "interaction"])
def test_the_equation(bilinear):
    model, (x, values) = randomize(create(bilinear=bilinear)), random_input(2)
    with torch.no_grad():
        model.embedding.weight.abs_()  # so that the weights of the fields are not 0, which would hide q
        for weight in model.weigh.parameters():
            weight.abs_()
    values = values.abs()
    assert_equals_loops(awake(model), equation(bilinear), x, values)
    assert_all_reached(model)


def test_for_two_fields_all_kinds_of_matrices_are_one():
    x, values = random_input(field_dims=(3, 4))
    logits = [randomize(create((3, 4), bilinear=kind))(Batch(x, values)) for kind in ("all", "each", "interaction")]
    assert torch.equal(logits[0], logits[1])
    assert torch.equal(logits[0], logits[2])


def test_as_many_parameters_as_published():
    published = 743_480 + 1  # w_0: FuxiCTR's linear part has none
    counts = [
        num_params("fibinet", FRAPPE_X1, bilinear=kind, batch_norm=True) for kind in ("all", "each", "interaction")
    ]
    assert counts == [published, published + 8 * 100, published + 44 * 100]
