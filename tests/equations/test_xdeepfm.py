import pytest
from reference import (
    FIELD_DIMS,
    FRAPPE_X1,
    assert_equals_loops,
    by_row,
    concatenated,
    dense,
    embedded,
    linear_terms,
    num_params,
    random_input,
    randomize,
    relu_network,
)

from models import registry


def create(**settings):
    sizes = {"embed_dim": 2, "cin_dims": [3, 2], "hidden_dims": [4], "batch_norm": False}
    return registry.create("xdeepfm", FIELD_DIMS, {**sizes, **settings})


def equation(cin_dims):
    # w_0 + Σ_i w_i x_i + w_dnnᵀ h_L + w_cinᵀ p⁺, X^k_h = Σ_i Σ_j W^{k,h}_ij X^{k−1}_i ⊙ X⁰_j

    def logit(weights, ids, values):
        X_0 = X = embedded(weights, ids, values)
        n, K, p = len(X_0), len(X_0[0]), []
        for layer, num_rows in enumerate(cin_dims):
            W = weights[f"W.{layer}"]
            X = [
                [sum(W[h, i * n + j] * X[i][k] * X_0[j][k] for i in range(len(X)) for j in range(n)) for k in range(K)]
                for h in range(num_rows)
            ]
            p += [sum(row) for row in X]
        deep = relu_network(weights, concatenated(weights, ids, values))
        return linear_terms(weights, ids, values) + dense(weights, "w_cin", p)[0] + deep

    return by_row(logit)


@pytest.mark.parametrize("cin_dims", [[3], [3, 2]])
def test_the_equation(cin_dims):
    model, (x, values) = randomize(create(cin_dims=cin_dims)), random_input(2)
    assert_equals_loops(model, equation(cin_dims), x, values)


def test_as_many_parameters_as_published():
    assert num_params("xdeepfm", FRAPPE_X1) == 429_809 - 64  # FuxiCTR's layers have biases


@pytest.mark.parametrize(("cin_dims", "name"), [([], "len_cin_dims"), ([3, 0], "cin_dims")])
def test_an_empty_layer_is_an_error(cin_dims, name):
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        create(cin_dims=cin_dims)
