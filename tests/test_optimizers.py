import math

import pytest
import torch
from torch import nn

from models import registry
from pipelines.optimizers import make_optimizer
from pipelines.params import TrainingParams

FIELD_DIMS = (3, 4, 5)
SIZES = {"embed_dim": 3, "attention_dim": 2, "field_embed_dim": 2}


class Line(nn.Module):
    """Weights under the names that the L2 groups go by."""

    def __init__(self, *start):
        super().__init__()
        self.linear = nn.Module()
        self.linear.weight = nn.Parameter(torch.tensor(start, dtype=torch.float64))


def take_steps(training, start, gradients):
    """The weights after each step with these gradients."""
    model = Line(*start)
    optimizer, weights = make_optimizer(model, training), []
    for gradient in gradients:
        optimizer.zero_grad()
        model.linear.weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        weights.append(model.linear.weight.tolist())
    return weights


def random_gradients(num_steps, num_weights, seed=0):
    return torch.randn(num_steps, num_weights, generator=torch.Generator().manual_seed(seed)).double().tolist()


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_adagrad(l2):
    training = TrainingParams(optimizer="adagrad", learning_rate=0.1, l2=l2)
    gradients = random_gradients(20, 3)
    gradients[0] = [1e-5, 0.0, 2.0]  # the first is so small that the initial accumulator matters
    got = take_steps(training, (0.5, -0.2, 0.0), gradients)
    for n, w in enumerate((0.5, -0.2, 0.0)):
        accumulator = 1e-8
        for step, gradient in enumerate(gradients):
            g = gradient[n] + l2 * w
            accumulator += g * g
            w -= 0.1 * g / (math.sqrt(accumulator) + 1e-10)
            assert got[step][n] == pytest.approx(w, abs=1e-12)


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_adam(l2):
    training = TrainingParams(optimizer="adam", learning_rate=0.1, l2=l2)
    gradients = random_gradients(20, 2)
    got = take_steps(training, (0.5, -0.2), gradients)
    for n, w in enumerate((0.5, -0.2)):
        m = v = 0.0
        for step, gradient in enumerate(gradients):
            g = gradient[n] + l2 * w
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            t = step + 1
            w -= 0.1 * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
            assert got[step][n] == pytest.approx(w, abs=1e-10)


def ftrl_proximal(alpha, l1, l2, gradients):
    """Algorithm 1 of McMahan et al. 2013 for one weight, β = 1; the gradient of round t at the weight of round t."""
    z = n = 0.0
    weights = []
    for gradient in [*gradients, None]:
        sign = (z > 0) - (z < 0)
        w = 0.0 if abs(z) <= l1 else -(z - sign * l1) / ((1 + math.sqrt(n)) / alpha + l2)
        weights.append(w)
        if gradient is not None:
            g = gradient(w) if callable(gradient) else gradient
            sigma = (math.sqrt(n + g * g) - math.sqrt(n)) / alpha
            z += g - sigma * w
            n += g * g
    return weights[1:]


@pytest.mark.parametrize("l1", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("l2", [0.0, 0.7])
def test_ftrl(l1, l2):
    training = TrainingParams(optimizer="ftrl", learning_rate=0.2, l1=l1, l2=l2)
    gradients = random_gradients(30, 5)
    got = take_steps(training, (0.0,) * 5, gradients)
    for n in range(5):
        expected = ftrl_proximal(0.2, l1, l2, [gradient[n] for gradient in gradients])
        assert [weights[n] for weights in got] == pytest.approx(expected, abs=1e-12)


def test_ftrl_on_logistic_regression():
    """Online, a row at a time, with the gradients that follow from the weights."""
    rows = [([1.0, 0.0], 1), ([1.0, 1.0], -1), ([0.0, 2.0], -1), ([1.0, 0.0], 1), ([0.5, 1.0], 1)] * 4
    model = Line(0.0, 0.0)
    optimizer = make_optimizer(model, TrainingParams(optimizer="ftrl", learning_rate=0.5, l1=0.1, l2=0.2))
    z, n = [0.0, 0.0], [0.0, 0.0]
    for x, y in rows:
        w = []
        for i in range(2):
            sign = (z[i] > 0) - (z[i] < 0)
            small = abs(z[i]) <= 0.1
            w.append(0.0 if small else -(z[i] - sign * 0.1) / ((1 + math.sqrt(n[i])) / 0.5 + 0.2))
        assert model.linear.weight.tolist() == pytest.approx(w, abs=1e-12)
        p = 1 / (1 + math.exp(-sum(a * b for a, b in zip(w, x, strict=True))))
        for i in range(2):
            g = (p - (y > 0)) * x[i]
            sigma = (math.sqrt(n[i] + g * g) - math.sqrt(n[i])) / 0.5
            z[i] += g - sigma * w[i]
            n[i] += g * g
        optimizer.zero_grad()
        logit = (model.linear.weight * torch.tensor(x, dtype=torch.float64)).sum()
        nn.functional.softplus(-y * logit).backward()
        optimizer.step()
    assert all(w != 0 for w in model.linear.weight.tolist())


def test_l1_of_ftrl_makes_weights_exactly_zero():
    gradients = [[0.1, 5.0], [-0.2, 4.0], [0.15, 3.0]]
    few = take_steps(TrainingParams(optimizer="ftrl", learning_rate=0.1, l1=1.0), (0.0, 0.0), gradients)
    all_ = take_steps(TrainingParams(optimizer="ftrl", learning_rate=0.1), (0.0, 0.0), gradients)
    assert [weights[0] for weights in few] == [0, 0, 0]
    assert all(weights[1] < 0 for weights in few)
    assert all(weights[0] != 0 for weights in all_)


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.5, 0.7)])
def test_ftrl_keeps_first_values_until_there_is_a_gradient(l1, l2):
    training = TrainingParams(optimizer="ftrl", learning_rate=0.1, l1=l1, l2=l2)
    got = take_steps(training, (0.3, -0.01, 0.0), [[0.0, 0.0, 0.0]] * 3)
    assert got[-1] == pytest.approx([0.3, -0.01, 0.0], abs=1e-15)


def test_ftrl_passes_over_weights_without_a_gradient():
    model = Line(0.3)
    make_optimizer(model, TrainingParams(optimizer="ftrl")).step()
    assert model.linear.weight.tolist() == [0.3]


@pytest.mark.parametrize("optimizer", ["adagrad", "adam", "ftrl"])
def test_each_l2_goes_to_its_part_of_the_model_and_none_to_the_bias(optimizer):
    model = registry.create("inn", FIELD_DIMS, SIZES)
    training = TrainingParams(optimizer=optimizer, l2=0.1, l2_field=0.2, l2_attention=0.3)
    weights = {
        id(p): group["weight_decay"] for group in make_optimizer(model, training).param_groups for p in group["params"]
    }
    assert {name: weights[id(parameter)] for name, parameter in model.named_parameters()} == {
        "linear.weight": 0.1,
        "linear.bias": 0.0,
        "embedding.weight": 0.1,
        "attention.W": 0.3,
        "attention.b": 0.3,
        "attention.h": 0.3,
        "field_aspect.U": 0.2,
        "field_aspect.D": 0.2,
        "mlp.0.weight": 0.0,
        "mlp.0.bias": 0.0,
        "mlp.2.weight": 0.0,
        "mlp.2.bias": 0.0,
    }


@pytest.mark.parametrize("name", registry.list_models())
@pytest.mark.parametrize("optimizer", ["adagrad", "adam", "ftrl"])
def test_an_optimizer_has_every_parameter_once(name, optimizer):
    if registry.why_declined(name, ("user", "item", "tag")):
        pytest.skip("the model declines these fields")
    model = registry.create(name, FIELD_DIMS, {}, ("user", "item", "tag"))
    made = make_optimizer(model, TrainingParams(optimizer=optimizer, l2=0.1, learning_rate=0.25))
    held = [id(parameter) for group in made.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())
    assert all(group["lr"] == 0.25 for group in made.param_groups)
