import pytest
import torch
from reference import (
    FIELD_DIMS,
    assert_all_reached,
    assert_equals_loops,
    awake,
    by_row,
    concatenated,
    dot,
    layers_of,
    num_params,
    random_input,
    randomize,
    relu,
    sigmoid,
)

from models import registry
from models.layers.batch import Batch
from pipelines.data.rows import Rows
from pipelines.project.params import TrainingParams
from pipelines.training.loop import Descent, train
from pipelines.training.predicting import predict

STRUCTURES, LOSSES = ["full", "mini"], ["squared_error", "cross_entropy"]
K = 3


def create(structure="full", **settings):
    sizes = {"embed_dim": 2, "hidden_dims": [3, 2], "mlp_dropout": 0.0, "num_members": K}
    torch.manual_seed(0)
    return registry.create("tabm", FIELD_DIMS, {**sizes, "structure": structure, **settings})


def logit_of(m, structure, weights, ids, values):
    # h = relu(s_m ⊙ W (r_m ⊙ h) + b_m), layer after layer, then w_m h + c_m
    h = [r * number for r, number in zip(weights["r"][m], concatenated(weights, ids, values), strict=True)]
    for layer in layers_of(weights, "layers."):
        of = {name.rpartition(".")[2]: each for name, each in weights.items() if name.startswith(f"layers.{layer}.")}
        if structure == "mini":
            h = relu([dot(W, h) + b for W, b in zip(of["weight"], of["bias"], strict=True)])
        else:
            r = of["r"][m] if layer else [1.0] * len(h)
            h = [a * b for a, b in zip(r, h, strict=True)]
            h = relu([s * dot(W, h) + b for s, W, b in zip(of["s"][m], of["W"], of["b"][m], strict=True)])
    return dot(weights["output.weight"][m], h) + weights["output.bias"][m]


def prediction(structure, loss):
    def equation(weights, ids, values):
        z = [logit_of(m, structure, weights, ids, values) for m in range(K)]
        if loss == "squared_error":
            return sum(z) / K
        p = sum(sigmoid(each) for each in z) / K
        return (p / (1 - p)).log()

    return by_row(equation)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_equation(structure, loss):
    model, (x, values) = awake(randomize(create(structure)), 1.0), random_input(2)
    model.members(Batch(x), loss)
    assert_equals_loops(model, prediction(structure, loss), x, values)
    assert_all_reached(model)


@pytest.mark.parametrize("weights", [None, [2.0, 0.0, 0.5, 1.0]])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_is_that_of_the_mean_of_the_members_losses(loss, weights):
    model, (x, values) = awake(randomize(create()), 1.0), random_input()
    y, weight = torch.tensor([1.0, -1.0, -1.0, 1.0]).double(), torch.tensor(weights or [1.0] * 4).double()
    parameters = {name: each.detach().clone().requires_grad_() for name, each in model.named_parameters()}
    total = torch.zeros((), dtype=torch.float64)
    for row, ids in enumerate(x.tolist()):
        for m in range(K):
            z = logit_of(m, "full", parameters, ids, values[row])
            own = (z - y[row]) ** 2 / 2 if loss == "squared_error" else (1 + (-y[row] * z).exp()).log()
            total = total + weight[row] * own / K
    total.backward()
    rows = Rows(x.int(), y, values, weights=weight if weights else None)
    training = TrainingParams(loss=loss, batch_size=4, learning_rate=1e-12)
    assert Descent(model, rows, rows, training, None).epoch() == pytest.approx(
        total.item() / 4, rel=1e-6
    )  # it is summed in float32
    for name, each in model.named_parameters():
        found = each.grad.to_dense() if each.grad.is_sparse else each.grad
        torch.testing.assert_close(
            found, parameters[name].grad, rtol=1e-9, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_a_trained_model_and_its_copy_average_as_its_loss_asks():
    x, values = random_input(8)
    rows = Rows(x.int(), torch.tensor([1.0, -1.0] * 4), values.float())
    for loss in LOSSES:
        model = create()
        train(model, rows, rows, TrainingParams(loss=loss, max_epochs=1))
        copy = create()
        copy.load_state_dict(model.state_dict())
        with torch.no_grad():
            z = model.eval().members(rows.batch(slice(None)), loss)
        p = z.sigmoid().mean(1)
        expected = z.mean(1) if loss == "squared_error" else (p / (1 - p)).log()
        torch.testing.assert_close(predict(copy, rows), expected)


def test_logits_of_certain_members_are_exact():
    model, (x, _) = create(), random_input()
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.bias.copy_(torch.tensor([-200.0, -200.0, -200.0]))
        assert model(Batch(x)).tolist() == pytest.approx([-200.0] * 4)


def test_members_start_apart_by_one_number_for_each_field():
    for first_scaling in ("normal", "signs"):
        model = create(first_scaling=first_scaling)
        by_field = model.r.unflatten(1, (len(FIELD_DIMS), -1))
        assert torch.equal(by_field[..., 0], by_field[..., 1])
        assert (set(model.r.flatten().tolist()) == {-1.0, 1.0}) == (first_scaling == "signs")
    assert torch.equal(model.layers[0].s, torch.ones(K, 3))
    assert torch.equal(model.layers[1].r, torch.ones(K, 3))
    assert torch.equal(model.layers[1].b[0], model.layers[1].b[1])
    assert not torch.equal(model.output.weight[0], model.output.weight[1])


@pytest.mark.parametrize(("structure", "units", "published"), [("full", 400, 438_688), ("mini", 304, 198_192)])
def test_as_many_parameters_as_in_the_authors_logs(structure, units, published):
    # California housing: eight numbers without embeddings
    settings = {"embed_dim": 1, "hidden_dims": [units] * 3, "structure": structure}
    assert num_params("tabm", [1] * 8, **settings) == published + 8


@pytest.mark.parametrize("name", ["num_members", "len_hidden_dims", "hidden_dims"])
def test_an_empty_part_is_an_error(name):
    settings = {"len_hidden_dims": {"hidden_dims": []}, "hidden_dims": {"hidden_dims": [0]}}.get(name, {name: 0})
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        create(**settings)
