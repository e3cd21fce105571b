import math

import pytest
import torch
from pairwise import pairwise
from torch import nn

from models import registry
from models.layers.batch import Batch
from models.layers.embeddings import FeatureEmbedding, LinearTerms, Table, settle, written_out
from pipelines.data.rows import Rows
from pipelines.project.params import TrainingParams
from pipelines.training.loop import train
from pipelines.training.optimizers.make import forget_optimizer, make_optimizer
from pipelines.training.predicting import evaluate, predict
from pipelines.training.start import new_model

torch.set_num_threads(1)  # for tensors this small, several threads are slower

FIELD_DIMS = (3, 4, 5)
SIZES = {"embed_dim": 3, "attention_dim": 2, "field_embed_dim": 2}
OPTIMIZERS = ["adagrad", "adam", "adamw", "lazy_adam", "ftrl"]


class Weights(nn.Module):
    """Hold weights with a role."""

    def __init__(self, start, role):
        super().__init__()
        self.weight, self.role = nn.Parameter(torch.tensor(start, dtype=torch.float64)), role


class Line(nn.Module):
    """Hold weights of one role, and one weight of each other role. Linear terms and embeddings are in a table."""

    def __init__(self, *start, part="linear"):
        super().__init__()
        tables = ("linear", "embedding")
        self.part = Table(torch.tensor(start, dtype=torch.float64)) if part in tables else Weights(start, part)
        roles = {*tables, "field_aspect", "attention"} - {part}
        self.others = nn.ModuleList(Weights([0.1], role) for role in sorted(roles))


def take_steps(training, start, gradients, part="linear"):
    """Return the weights after a step with each of the gradients."""
    model = Line(*start, part=part)
    weight = model.part.weight
    optimizer, weights = make_optimizer(model, training), []
    for gradient in gradients:
        optimizer.zero_grad()
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        weights.append(weight.tolist())
    return weights


def random_gradients(num_steps, num_weights, seed=0):
    return torch.randn(num_steps, num_weights, generator=torch.Generator().manual_seed(seed)).double().tolist()


def small_first(gradients):
    """Replace the first gradient by one so small that the initial accumulator matters."""
    return [[1e-5, 0.0, 2.0], *gradients[1:]]


@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("part", ["linear", "embedding"])
def test_adagrad(l2, part):
    # The composite step takes the w' that minimises g w' + H/(2 lr) (w' − w)² + λ/2 w'².
    training = TrainingParams(optimizer="adagrad", learning_rate=0.1, l2=l2)
    gradients = small_first(random_gradients(20, 3))
    got = take_steps(training, (0.5, -0.2, 0.0), gradients, part)
    for n, w in enumerate((0.5, -0.2, 0.0)):
        accumulator = 1e-8
        for step, gradient in enumerate(gradients):
            g = gradient[n]
            accumulator += g * g
            H = math.sqrt(accumulator) + 1e-10
            w = (H * w - 0.1 * g) / (H + 0.1 * l2)
            assert got[step][n] == pytest.approx(w, abs=1e-12)


@pytest.mark.parametrize(
    ("part", "l2"), [("field_aspect", 0.3), ("attention", 0.4), ("mlp", 0.0), ("field_aspect", 0.0)]
)
def test_adagrad_has_the_penalty_of_other_groups_in_the_gradient(part, l2):
    weights = {"l2_field": l2, "l2_attention": 0.9} if part == "field_aspect" else {"l2_field": 0.9, "l2_attention": l2}
    training = TrainingParams(optimizer="adagrad", learning_rate=0.1, l2=0.8, **weights)
    gradients = small_first(random_gradients(20, 3))
    got = take_steps(training, (0.5, -0.2, 0.0), gradients, part)
    for n, w in enumerate((0.5, -0.2, 0.0)):
        accumulator = 1e-8
        for step, gradient in enumerate(gradients):
            g = gradient[n] + l2 * w
            accumulator += g * g
            w -= 0.1 * g / (math.sqrt(accumulator) + 1e-10)
            assert got[step][n] == pytest.approx(w, abs=1e-12)


@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "lazy_adam"])
def test_adam(l2, optimizer):
    training = TrainingParams(optimizer=optimizer, learning_rate=0.1, l2=l2)
    gradients = random_gradients(20, 2)
    got = take_steps(training, (0.5, -0.2), gradients)
    for n, w in enumerate((0.5, -0.2)):
        m = v = 0.0
        for step, gradient in enumerate(gradients):
            decoupled = optimizer == "adamw"
            g = gradient[n] if decoupled else gradient[n] + l2 * w
            w -= 0.1 * l2 * w if decoupled else 0.0
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            t = step + 1
            w -= 0.1 * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
            assert got[step][n] == pytest.approx(w, abs=1e-10)


class Features(nn.Module):
    """Model 12 features and their pairs, so that gradients depend on the weights."""

    def __init__(self, with_kernels, seed=0):
        super().__init__()
        self.linear, self.embedding = LinearTerms((12,)).double(), FeatureEmbedding((12,), 3).double()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        self.with_kernels = with_kernels

    def forward(self, x):
        batch = Batch(x, kernels=self.with_kernels)
        return self.linear(batch) + written_out(self.embedding(batch)).prod(1).sum(1)


def random_batches(num_batches, seed=0):
    """Draw batches of three rows with two features each. The last two of 12 features never occur."""
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randint(10, (3, 2), generator=generator), random_signs(3, generator)) for _ in range(num_batches)]


def random_signs(num, generator):
    return torch.randint(2, (num,), generator=generator) * 2.0 - 1


def steps_of(model, training, batches):
    """Take one step per batch. Returns the logits before each step."""
    optimizer, logits = make_optimizer(model, training), []
    for x, labels in batches:
        optimizer.zero_grad()
        logits.append(model(x))
        (0.5 * (logits[-1] - labels).square().sum()).backward()
        optimizer.step()
    return torch.stack(logits).detach()


def assert_same_weights(one, other, tolerance=1e-12):
    for (name, weight), expected in zip(one.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(
            weight, expected, rtol=tolerance, atol=tolerance, msg=lambda m, name=name: f"{name}: {m}"
        )


@pairwise(optimizer=["adagrad", "adam", "ftrl"], l2=[0.0, 1e-5, 0.02], seed=range(4))
def test_sparse_gradients_give_what_dense_ones_do(optimizer, l2, seed):
    # Rows may be decayed late: they must be up to date when read, and all rows at the end.
    training, batches = TrainingParams(optimizer=optimizer, learning_rate=0.1, l2=l2), random_batches(30, seed)
    fast, plain = (Features(with_kernels, seed) for with_kernels in (True, False))
    logits, expected = (steps_of(model, training, batches) for model in (fast, plain))
    torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-12)
    settle(fast)
    assert_same_weights(fast, plain)


@pytest.mark.parametrize("optimizer", ["adagrad", "lazy_adam", "ftrl"])
def test_rows_updated_by_several_threads_are_those_updated_by_one(optimizer, several_threads):
    training, batches = TrainingParams(optimizer=optimizer, learning_rate=0.1, l2=0.02), random_batches(10)
    one, several = (Features(with_kernels=True) for _ in range(2))
    expected = steps_of(one, training, batches)
    with several_threads():
        assert torch.equal(steps_of(several, training, batches), expected)
        settle(several)
    settle(one)
    for name, weight in one.state_dict().items():
        assert torch.equal(several.state_dict()[name], weight), name


def test_rows_that_no_batch_touched_decay_at_each_step():
    model = Features(with_kernels=True)
    before = model.embedding.weight.detach().clone()
    steps_of(model, TrainingParams(optimizer="adagrad", learning_rate=0.1, l2=1e-4), random_batches(20))
    assert torch.equal(model.embedding.weight[10:], before[10:])  # late
    settle(model)
    H = 1e-4 + 1e-10
    torch.testing.assert_close(model.embedding.weight[10:], before[10:] / (1 + 0.1 * 1e-4 / H) ** 20)


def test_bringing_up_to_date_twice_changes_nothing_more():
    model = Features(with_kernels=True)
    steps_of(model, TrainingParams(optimizer="adagrad", l2=0.01), random_batches(10))
    settle(model)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    settle(model)
    model(torch.arange(12).view(6, 2))
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))


def test_l2_on_touched_rows_is_the_same_step_there_and_leaves_the_others_alone():
    training = TrainingParams(optimizer="adagrad", learning_rate=0.1, l2=0.3, l2_rows="touched")
    batches, model = random_batches(20), Features(with_kernels=True)
    weights = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    sums = {name: torch.full_like(weight, 1e-8) for name, weight in weights.items()}
    optimizer = make_optimizer(model, training)
    for x, labels in batches:
        optimizer.zero_grad()
        (0.5 * (model(x) - labels).square().sum()).backward()
        gradients = {name: p.grad.to_dense() if p.grad.is_sparse else p.grad for name, p in model.named_parameters()}
        optimizer.step()
        touched = x.unique()
        for name, parameter in model.named_parameters():
            rows, l2 = (..., 0.0) if name == "linear.bias" else (touched, 0.3)
            weight, g, total = weights[name], gradients[name][rows], sums[name]
            total[rows] += g * g
            H = total[rows].sqrt() + 1e-10
            weight[rows] = (weight[rows] - 0.1 * g / H) / (1 + 0.1 * l2 / H)
            torch.testing.assert_close(parameter.detach(), weight, rtol=1e-12, atol=1e-12)
    before = model.embedding.weight.detach().clone()
    settle(model)
    assert torch.equal(model.embedding.weight, before)


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_lazy_adam_moves_nothing_in_rows_without_a_gradient(l2):
    training = TrainingParams(optimizer="lazy_adam", learning_rate=0.1, l2=l2)
    model = Features(with_kernels=True)
    w = model.embedding.weight.tolist()
    m, v = ([[0.0] * 3 for _ in range(12)] for _ in range(2))
    optimizer = make_optimizer(model, training)
    for t, (x, labels) in enumerate(random_batches(20), start=1):
        optimizer.zero_grad()
        (0.5 * (model(x) - labels).square().sum()).backward()
        gradient = model.embedding.weight.grad.to_dense().tolist()
        optimizer.step()
        for row in set(x.flatten().tolist()):
            for k in range(3):
                g = gradient[row][k] + l2 * w[row][k]
                m[row][k] = 0.9 * m[row][k] + 0.1 * g
                v[row][k] = 0.999 * v[row][k] + 0.001 * g * g
                w[row][k] -= 0.1 * (m[row][k] / (1 - 0.9**t)) / (math.sqrt(v[row][k] / (1 - 0.999**t)) + 1e-8)
        torch.testing.assert_close(
            model.embedding.weight.detach(), torch.tensor(w, dtype=torch.float64), rtol=1e-10, atol=1e-10
        )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("at_once", [True, False], ids=["in one backward pass", "in two"])
def test_rows_that_are_read_twice_have_one_step_with_the_sum_of_both_gradients(optimizer, at_once):
    training = TrainingParams(optimizer=optimizer, learning_rate=0.1, l2=0.3)
    once, twice = Features(with_kernels=True), Features(with_kernels=True)
    for model, parts in ((once, [[[1, 4], [4, 2]]]), (twice, [[[1, 4]], [[4, 2]]])):
        made = make_optimizer(model, training)
        for step in range(3):
            made.zero_grad()
            losses = [(step + 1) * model(torch.tensor(x)).sum() for x in parts]
            for loss in [sum(losses)] if at_once else losses:
                loss.backward()
            made.step()
    assert_same_weights(twice, once)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_sparse_gradient_may_have_a_row_twice_and_in_any_order(optimizer):
    training = TrainingParams(optimizer=optimizer, learning_rate=0.1, l2=0.3)
    weights = []
    for rows, values in (([4, 1, 4], [1.0, 2.0, 3.0]), ([1, 4], [2.0, 4.0])):
        model = Line(0.5, -0.2, 0.1, 0.0, 0.3)
        weight = model.part.weight
        made = make_optimizer(model, training)
        for _ in range(3):
            weight.grad = torch.sparse_coo_tensor(
                [rows], torch.tensor(values, dtype=torch.float64), (5,), check_invariants=True
            )
            made.step()
        settle(model)
        weights.append(weight.tolist())
    assert weights[0] == pytest.approx(weights[1], abs=1e-12)


def trained(optimizer="adagrad", model=None, **changes):
    """Train an fm for two epochs on random rows, which lack some features."""
    schema = {"field_dims": [20, 15, 5], "fields": ["user", "item", "city"]}
    model = model or new_model("fm", schema, {"embed_dim": 4, "dropout": 0.0}, 0)
    settings = TrainingParams(optimizer=optimizer, batch_size=8, max_epochs=2, patience=2, **changes)
    train(model, ROWS, ROWS, settings)
    return model


def some_rows():
    generator = torch.Generator().manual_seed(0)
    columns = [torch.randint(size, (60,), generator=generator) for size in (18, 14, 5)]
    return Rows((torch.stack(columns, 1) + torch.tensor([0, 20, 35])).int(), random_signs(60, generator))


ROWS = some_rows()


def copied(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def unchanged(model, before):
    return all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_nothing_decays_after_training():
    model = trained(l2=0.01)
    before = copied(model)
    first = predict(model, ROWS)
    evaluate(model, ROWS, "squared_error")
    model.train()(Batch(torch.arange(40).view(20, 2).int(), kernels=True))
    settle(model)
    assert unchanged(model, before)
    assert torch.equal(predict(model, ROWS), first)


def test_nothing_decays_in_what_is_evaluated_between_epochs():
    schema = {"field_dims": [20, 15, 5], "fields": ["user", "item", "city"]}
    model = new_model("fm", schema, {"embed_dim": 4}, 0)
    settings = TrainingParams(l2=0.01, batch_size=8, max_epochs=3, patience=3)

    def check(epoch):
        before = copied(model)
        assert evaluate(model, ROWS, "squared_error") == epoch.valid
        settle(model)
        assert unchanged(model, before)

    assert len(train(model, ROWS, ROWS, settings, check)) == 3


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_model_that_is_trained_again_has_forgotten_the_first_optimizer(optimizer):
    again = trained(l2=0.01)
    fresh = new_model("fm", {"field_dims": [20, 15, 5], "fields": []}, {"embed_dim": 4, "dropout": 0.0}, 1)
    fresh.load_state_dict(again.state_dict())
    for model in (again, fresh):
        torch.manual_seed(5)
        trained(optimizer, model, l2=0.001)
    assert unchanged(again, copied(fresh))


def test_a_new_optimizer_takes_the_place_of_one_that_was_never_forgotten():
    again, fresh = Features(with_kernels=True), Features(with_kernels=True)
    steps_of(again, TrainingParams(optimizer="adagrad", l2=0.01), random_batches(5))
    fresh.load_state_dict(again.state_dict())  # the late updates are lost
    for model in (again, fresh):
        steps_of(model, TrainingParams(optimizer="adagrad", l2=0.02), random_batches(5, seed=1))
        settle(model)
    assert_same_weights(again, fresh)


def test_weights_of_a_forgotten_optimizer_stay_as_they_stand():
    model = Features(with_kernels=True)
    steps_of(model, TrainingParams(optimizer="adagrad", l2=0.01), random_batches(5))
    before = copied(model)
    forget_optimizer(model)
    model(torch.arange(12).view(6, 2))
    settle(model)
    assert unchanged(model, before)
    forget_optimizer(model)  # the second call does nothing


def ftrl_proximal(alpha, l1, l2, gradients):
    """Run Algorithm 1 of McMahan et al. 2013 for one weight, with β = 1.

    A callable gradient of round t is evaluated at the weight of round t.
    """
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
    # online: one row per step, and each gradient depends on the weights
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
        assert model.part.weight.tolist() == pytest.approx(w, abs=1e-12)
        p = 1 / (1 + math.exp(-sum(a * b for a, b in zip(w, x, strict=True))))
        for i in range(2):
            g = (p - (y > 0)) * x[i]
            sigma = (math.sqrt(n[i] + g * g) - math.sqrt(n[i])) / 0.5
            z[i] += g - sigma * w[i]
            n[i] += g * g
        optimizer.zero_grad()
        logit = (model.part.weight * torch.tensor(x, dtype=torch.float64)).sum()
        nn.functional.softplus(-y * logit).backward()
        optimizer.step()
    assert all(w != 0 for w in model.part.weight.tolist())


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
    assert model.part.weight.tolist() == [0.3]


@pytest.mark.parametrize(
    ("model", "key"), [("fm", "l2_field"), ("fm", "l2_attention"), ("ia_ifm", "l2_attention"), ("fa_ifm", "l2_field")]
)
def test_an_l2_weight_that_no_layer_takes_is_an_error(model, key):
    known = registry.hyperparameters(model)
    made = registry.create(model, FIELD_DIMS, {name: size for name, size in SIZES.items() if name in known})
    make_optimizer(made, TrainingParams(l2=0.1))
    with pytest.raises(ValueError, match=rf"^training\.{key} is 0\.1, but no layer of \w+ takes it: set it to 0$"):
        make_optimizer(made, TrainingParams(**{key: 0.1}))


def test_a_table_takes_its_l2_whatever_its_name():
    model = nn.Sequential()
    model.emb, model.own = FeatureEmbedding((3, 4), 2), nn.Linear(2, 1)
    groups = make_optimizer(model, TrainingParams(l2=0.1)).param_groups
    weights = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    assert weights == {id(model.emb.weight): 0.1, id(model.own.weight): 0.0, id(model.own.bias): 0.0}
    with pytest.raises(ValueError, match=r"training\.l2 is 0\.1, but no layer of Linear takes it"):
        make_optimizer(model.own, TrainingParams(l2=0.1))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
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


@pytest.mark.parametrize(
    "name", [name for name in registry.list_models() if registry.is_by_gradient(registry.get_model(name))]
)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_optimizer_has_every_parameter_once(name, optimizer):
    if registry.why_declined(name, ("user", "item", "tag")):
        pytest.skip("the model declines these fields")
    model = registry.create(name, FIELD_DIMS, {}, ("user", "item", "tag"))
    made = make_optimizer(model, TrainingParams(optimizer=optimizer, l2=0.1, learning_rate=0.25))
    held = [id(parameter) for group in made.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())
    assert all(group["lr"] == 0.25 for group in made.param_groups)
