import pytest
import torch
from reference import (
    FIELD_DIMS,
    FRAPPE_X1,
    assert_equals_loops,
    by_row,
    concatenated,
    dense,
    halved,
    num_params,
    random_input,
    randomize,
    relu_layers,
    sigmoid,
)

from models import registry
from models.layers.batch import Batch


def create(**settings):
    sizes = {"embed_dim": 2, "num_cross_layers": 2, "hidden_dims": [3], "batch_norm": False}
    return registry.create("gdcn", FIELD_DIMS, {**sizes, **settings})


def equation(structure):
    # c_{l+1} = c_0 ⊙ (W_l c_l + b_l) ⊙ σ(G_l c_l) + c_l, then or beside it an MLP

    def logit(weights, ids, values):
        c_0 = c = concatenated(weights, ids, values)
        for layer, b in enumerate(weights["b"]):
            crossed, gates = (dense(weights, f"{name}.{layer}", c) for name in "WG")
            c = [c_0[k] * (crossed[k] + b[k]) * sigmoid(gates[k]) + c[k] for k in range(len(c))]
        stacked = structure == "stacked"
        last = relu_layers(weights, c, "deep.") if stacked else [*c, *relu_layers(weights, c_0, "deep.")]
        return dense(weights, "w", last)[0]

    return by_row(logit)


@pytest.mark.parametrize("structure", ["stacked", "parallel"])
def test_the_equation(structure):
    model, (x, values) = halved(randomize(create(structure=structure))), random_input(2)
    assert_equals_loops(model, equation(structure), x, values)


def test_with_open_gates_it_is_dcnv2():
    gdcn = halved(randomize(create()))
    sizes = {"embed_dim": 2, "num_cross_layers": 2, "hidden_dims": [3], "batch_norm": False, "structure": "stacked"}
    dcnv2 = randomize(registry.create("dcnv2", FIELD_DIMS, sizes))
    weights = gdcn.state_dict()
    for layer in range(2):
        weights[f"crosses.W.{layer}.weight"] = weights[f"W.{layer}.weight"] / 2  # σ(0) is a half
        weights[f"crosses.W.{layer}.bias"] = weights["b"][layer] / 2
        gdcn.G[layer].weight.data.zero_()
    weights |= {"w_logits.weight": weights["w.weight"], "w_logits.bias": weights["w.bias"]}
    dcnv2.load_state_dict({key: weights[key] for key in dcnv2.state_dict()})
    x, values = random_input()
    torch.testing.assert_close(gdcn(Batch(x, values)), dcnv2(Batch(x, values)), rtol=1e-9, atol=1e-9)


def test_as_many_parameters_as_its_equation_has():
    d, m = 160, sum(FRAPPE_X1)
    deep = d * 400 + 400 + 2 * (400 * 400 + 400) + 3 * 2 * 400
    assert num_params("gdcn", FRAPPE_X1) == m * 16 + 3 * (2 * d * d + d) + deep + 401
    assert num_params("gdcn", FRAPPE_X1, structure="parallel") == num_params("gdcn", FRAPPE_X1) + d
