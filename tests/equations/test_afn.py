import pytest
import torch
from reference import (
    FIELD_DIMS,
    FRAPPE_X1,
    assert_equals_loops,
    by_row,
    dense,
    embedded,
    num_params,
    random_input,
    randomize,
    relu_network,
)

from models import registry
from models.layers.batch import Batch


def create(**settings):
    sizes = {"embed_dim": 2, "num_neurons": 3, "hidden_dims": [3], "hidden_dims_2": [2]}
    return registry.create("afn", FIELD_DIMS, {**sizes, **settings})


def equation(weights, ids, values):
    # y_o = exp(Σ_i w_io BN(ln|V_i x_i|)), MLP([BN(y_1) … BN(y_O)]); batch norm's running mean is 0 and its variance 1

    def norm(name, i, number):
        return weights[f"{name}.weight"][i] * number / (1 + 1e-5) ** 0.5 + weights[f"{name}.bias"][i]

    V = embedded(weights, ids, values, "embedding.0")
    neurons = []
    for k in range(2):
        logarithms = [norm("norm_logarithms", i, v[k].abs().clamp(min=1e-5).log()) for i, v in enumerate(V)]
        neurons.append([norm("norm_neurons", o, y.exp()) for o, y in enumerate(dense(weights, "w", logarithms))])
    y = relu_network(weights, [neurons[k][o] for o in range(3) for k in range(2)])
    if "w_ensemble.weight" in weights:
        vectors = embedded(weights, ids, values, "embedding.1")
        deep = relu_network(weights, [number for vector in vectors for number in vector], "dnn.")
        (y,) = dense(weights, "w_ensemble", [y, deep])
    return y


@pytest.mark.parametrize("ensemble", [False, True])
def test_the_equation(ensemble):
    model, (x, values) = randomize(create(ensemble=ensemble)), random_input(2)
    values[0, 1] = 0.0
    assert_equals_loops(model, by_row(equation), x, values)


def test_without_batch_norm_a_neuron_is_a_product_of_powers():
    model, (x, values) = randomize(create(num_neurons=1, hidden_dims=[])), random_input()
    model.w.weight.data = torch.tensor([[2.0, 1.0, 0.0, 0.5]], dtype=torch.float64)
    for norm in (model.norm_logarithms, model.norm_neurons):
        torch.nn.init.ones_(norm.weight)
        torch.nn.init.zeros_(norm.bias)
        norm.running_var.fill_(1 - 1e-5)
    V = model.embedding[0](Batch(x, values)).abs()
    product = V[:, 0] ** 2 * V[:, 1] * V[:, 3] ** 0.5
    torch.testing.assert_close(model(Batch(x, values)), model.mlp(product).squeeze(-1), rtol=1e-9, atol=1e-9)


def test_as_many_parameters_as_published():
    assert num_params("afn", FRAPPE_X1) == 4_066_711
    assert num_params("afn", FRAPPE_X1, ensemble=True) == 4_482_205


def test_no_neurons_is_an_error():
    with pytest.raises(ValueError, match="num_neurons must be positive, got 0"):
        create(num_neurons=0)
