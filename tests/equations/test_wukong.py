import pytest
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
    layer_norm,
    num_params,
    random_input,
    randomize,
    relu,
    relu_network,
    relu_outputs,
)

from models import registry


def create(**settings):
    sizes = {"embed_dim": 3, "num_layers": 2, "num_linear": 2, "num_products": 1, "fm_rank": 2}
    sizes |= {"fm_hidden_dims": [4], "hidden_dims": [3], "batch_norm": False}
    return registry.create("wukong", FIELD_DIMS, {**sizes, **settings})


def equation(weights, ids, values):
    # X_{l+1} = LN([FMB(X_l); LCB(X_l)] + R_l X_l), FMB(X) = reshape(relu(MLP(LN(flatten(X Xᵀ Y)))))
    X = embedded(weights, ids, values)
    for layer in range(2):
        name, n = f"layers.{layer}", len(X)
        Y = weights[f"{name}.Y"]
        products = [sum(dot(row, X[j]) * Y[j, r] for j in range(n)) for row in X for r in range(2)]
        gain, shift = weights[f"{name}.norm_products.weight"], weights[f"{name}.norm_products.bias"]
        flat = relu(relu_outputs(weights, layer_norm(products, gain, shift), f"{name}.mlp."))
        columns = list(zip(*X, strict=True))
        new = [flat[k : k + 3] for k in range(0, len(flat), 3)]
        new += zip(*(dense(weights, f"{name}.W_L", column) for column in columns), strict=True)
        kept = X
        if f"{name}.R.weight" in weights:
            kept = list(zip(*(dense(weights, f"{name}.R", column) for column in columns), strict=True))
        gain, shift = weights[f"{name}.norm.weight"], weights[f"{name}.norm.bias"]
        rows = [[a + b for a, b in zip(first, second, strict=True)] for first, second in zip(new, kept, strict=True)]
        X = [layer_norm(row, gain, shift) for row in rows]
    return relu_network(weights, [number for row in X for number in row])


@pytest.mark.parametrize("num_products", [1, 2])  # 3 or 4 rows instead of 4: with and without a map of the rows
def test_the_equation(num_products):
    model, (x, values) = awake(randomize(create(num_products=num_products))), random_input(2)
    assert_equals_loops(model, by_row(equation), x, values)
    assert_all_reached(model)


def test_as_many_parameters_as_its_equation_has():
    def layer(n, rows):  # Y, LN, MLP, W_L, R, LN
        fm = n * 8 + 2 * n * 8 + n * 8 * 32 + 32 + 32 * 32 + 32 + 32 * 8 * 16 + 8 * 16
        return fm + n * 8 + (0 if n == rows else n * rows + rows) + 2 * 16

    top = 16 * 16 * 32 + 32 + 32 * 32 + 32 + 4 * 32 + 33
    assert num_params("wukong", FRAPPE_X1) == sum(FRAPPE_X1) * 16 + layer(10, 16) + 2 * layer(16, 16) + top


@pytest.mark.parametrize("name", ["num_layers", "num_linear", "num_products", "fm_rank"])
def test_an_empty_part_is_an_error(name):
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        create(**{name: 0})
