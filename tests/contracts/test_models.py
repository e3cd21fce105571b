"""Check what every model must fulfil, whatever it computes."""

import copy
import inspect

import pytest
import torch
from optuna.distributions import CategoricalDistribution
from pairwise import pairwise
from torch import nn

from models import registry
from models.layers.batch import Batch, OnTensors
from pipelines.data.catalog import get_dataset
from pipelines.data.rows import Rows
from pipelines.project.params import TrainingParams
from pipelines.project.settings import parse, resolve
from pipelines.training.epochs import best_epoch
from pipelines.training.loop import train
from pipelines.training.metrics import predictions
from pipelines.training.optimizers.make import roles_of
from pipelines.training.predicting import predict
from pipelines.training.start import new_model
from search_spaces.shared import get_space, paper_setting

torch.set_num_threads(1)  # for tensors this small, several threads are slower

MODELS = registry.list_models()
FIELDS = (("user", "item", "tag", "city"), ("user", "movie", "tag"), get_dataset("frappe").fields, ("user", "item"))
SMALL = {"embed_dim": 8, "attention_dim": 4, "field_embed_dim": 4, "hidden_dims": [16], "num_buckets": 1000}
SMALL |= {"smoothing": 0.01, "feature_smoothing": 0.01, "num_cross_layers": 2}
SMALL |= {"embed_dim_2": 4, "hidden_dims_2": [8], "gate_hidden_dims": [8], "num_heads": 2}
SMALL |= {"num_attention_layers": 2, "head_dim": 4, "cin_dims": [6, 4], "block_dim": 8, "num_neurons": 8}
SMALL |= {"num_layers": 2, "num_rows": 2, "fm_hidden_dims": [8], "num_members": 3}
SMALL |= {"trees_per_epoch": 20, "min_data_in_leaf": 1, "min_data_per_group": 1, "cat_smooth": 1.0}

CLOSED_FORM = [name for name in MODELS if registry.is_closed_form(registry.get_model(name))]
BOOSTED = [name for name in MODELS if registry.is_boosted(registry.get_model(name))]
BY_GRADIENT = [name for name in MODELS if registry.is_by_gradient(registry.get_model(name))]

every_model = pytest.mark.parametrize("name", MODELS)
every_model_with_gradients = pytest.mark.parametrize("name", BY_GRADIENT)
every_closed_form = pytest.mark.parametrize("name", CLOSED_FORM)


def usual_fields(name):
    """Return the first entry of FIELDS that the model accepts."""
    taken = [fields for fields in FIELDS if not registry.why_declined(name, fields)]
    assert taken, f"{name} declines all of {FIELDS}"
    return taken[0]


def small(name, **settings):
    """Return small sizes and no dropout, for the hyperparameters that the model has."""
    known = registry.hyperparameters(name)
    no_dropout = {key: 0.0 for key in known if "dropout" in key}
    return {key: value for key, value in {**SMALL, **no_dropout, **settings}.items() if key in known}


def create(name, fields=None, field_size=5, seed=0, **settings):
    """Create a model and its field sizes: field_size, field_size + 1, …."""
    fields = fields or usual_fields(name)
    if reason := registry.why_declined(name, fields):
        pytest.skip(reason)
    field_dims = tuple(field_size + n for n in range(len(fields)))
    torch.manual_seed(seed)
    return registry.create(name, field_dims, small(name, **settings), fields), field_dims


def random_rows(field_dims, num_rows, seed=0):
    """Draw rows of global feature ids."""
    generator = torch.Generator().manual_seed(seed)
    starts = [sum(field_dims[:field]) for field in range(len(field_dims))]
    columns = [
        torch.randint(start, start + size, (num_rows,), generator=generator)
        for start, size in zip(starts, field_dims, strict=True)
    ]
    return torch.stack(columns, 1)


def shaken(model, seed=1):
    """Convert to float64, and add noise to the weights or grow trees on noise."""
    generator = torch.Generator().manual_seed(seed)
    model.double()
    if registry.is_boosted(model):
        x, labels = random_rows(model.field_dims, 200), (torch.rand(200, generator=generator) < 0.5) * 2.0 - 1
        rows = Rows(x.int(), labels, torch.rand(x.shape, generator=generator))
        train(model, rows, rows, TrainingParams(max_epochs=1))
        return model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize("kernels", ["fast", "plain"])
@every_model
def test_a_model_trains_on_one_field_or_says_why_not(name, kernels):
    if reason := registry.why_declined(name, ["user"]):
        assert reason.startswith("needs ")
        assert reason.endswith(", got user")
        with pytest.raises(ValueError, match=f"^{name}: {reason}$"):
            registry.create(name, [5], small(name), ["user"])
        return
    rows = Rows(random_rows([5], 20), torch.tensor([1.0, -1.0] * 10))
    model = registry.create(name, [5], small(name), ["user"])
    (epoch,) = train(model, rows, rows, TrainingParams(max_epochs=1, kernels=kernels))
    assert epoch.valid["rmse"] < 2


@every_model
def test_batch_norm_of_batches_of_one_row_is_refused_and_other_models_train(name):
    settings = {"batch_norm": True} if "batch_norm" in registry.hyperparameters(name) else {}
    model, field_dims = create(name, **settings)
    rows = Rows(random_rows(field_dims, 4), torch.tensor([1.0, -1.0] * 2))
    one = Rows(rows.features[:1], rows.labels[:1])
    for train_rows, batch_size in ((rows, 1), (one, 2)):
        training = TrainingParams(max_epochs=1, batch_size=batch_size)
        if name in BOOSTED and train_rows is one:
            continue  # no row differs from another
        if has_batch_norm(model):
            with pytest.raises(
                ValueError, match=r"^batch norm needs batches of two rows or more: training\.batch_size"
            ):
                train(model, train_rows, rows, training)
        else:
            assert len(train(model, train_rows, rows, training)) == 1


def is_constant(model):
    """Tell whether a model has one weight, and so one prediction for all rows."""
    return sum(parameter.numel() for parameter in model.parameters()) == 1


def follow_gradients(total, model):
    """Compute gradients, which only a model without weights that need any may lack."""
    assert total.requires_grad == any(parameter.requires_grad for parameter in model.parameters())
    if total.requires_grad:
        total.backward()


def has_batch_norm(model):
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules())


@every_model
@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
def test_a_finite_logit_a_row_and_finite_gradients(name, mode):
    model, field_dims = create(name)
    logits = model.train(mode)(Batch(random_rows(field_dims, 16)))
    assert logits.shape == (16,)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    follow_gradients((logits - 1).square().sum(), model)
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@every_model_with_gradients
def test_every_weight_is_learnt(name):
    model, field_dims = create(name)
    shaken(model)
    steepest = {key: 0.0 for key, _ in model.named_parameters()}
    of_feature = torch.zeros(sum(field_dims), dtype=torch.bool)
    for seed in range(4):
        x = random_rows(field_dims, 64, seed)
        of_feature[x] = True
        model.zero_grad()
        model(Batch(x)).square().sum().backward()
        for key, parameter in model.named_parameters():
            assert parameter.grad is not None, f"{key} has no gradient"
            slopes = parameter.grad.abs()
            of_all_features = parameter.dim() > 0 and len(parameter) == len(of_feature)
            steepest[key] += slopes.view(len(slopes), -1).sum(1) if of_all_features else slopes.sum()
    assert of_feature.all()
    assert not [key for key, slope in steepest.items() if not (slope > 0).all()]


@every_model
def test_rows_do_not_see_each_other(name):
    model, field_dims = create(name)
    shaken(model).eval()
    x = random_rows(field_dims, 16)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(Batch(x))
        assert logits.unique().numel() > 4 or is_constant(model)
        torch.testing.assert_close(model(Batch(x[order])), logits[order])
        torch.testing.assert_close(model(Batch(x[:3])), logits[:3])


@every_model
def test_a_batch_of_one(name):
    model, field_dims = create(name)
    x = random_rows(field_dims, 4)
    with torch.no_grad():
        logits = model.eval()(Batch(x))
        assert model(Batch(x[:1])).shape == (1,)
        torch.testing.assert_close(model(Batch(x[:1])), logits[:1])
    if has_batch_norm(model):
        return  # the variance of one row is undefined
    logit = model.train()(Batch(x[:1]))
    assert logit.shape == (1,)
    follow_gradients(logit.sum(), model)


@every_model
def test_a_handful_of_rows_is_learnt_by_heart(name):
    fields = usual_fields(name)
    field_dims = (12,) * len(fields)
    generator = torch.Generator().manual_seed(0)
    columns = [torch.randperm(12, generator=generator) + 12 * field for field in range(len(fields))]
    rows = Rows(torch.stack(columns, 1).int(), torch.tensor([1.0, -1, 1, 1, -1, -1, 1, -1, -1, 1, -1, 1]))
    training = TrainingParams(learning_rate=0.1, batch_size=6, max_epochs=300, patience=300, metric="rmse")
    # Without batch norm: the running averages of batches of six rows are too far from a batch's own.
    model = new_model(name, {"field_dims": field_dims, "fields": fields}, small(name, batch_norm=False), seed=0)
    if is_constant(model):
        pytest.skip("it has no weights by feature")
    if name in BOOSTED:  # what trees know of a category is from other rows
        rows = Rows(rows.features.repeat(8, 1), rows.labels.repeat(8))
    done = train(model, rows, rows, training, lambda epoch: epoch.valid["rmse"] < 0.1)
    reached = best_epoch(done, "rmse").valid
    assert reached["rmse"] < 0.1, (
        f"rmse {done[0].valid['rmse']:.3f} in the first epoch, {reached['rmse']:.3f} in the best"
    )
    assert reached["auc"] == 1


@every_model
def test_the_same_seed_starts_the_same_and_another_does_not(name):
    first, second, other = (create(name, seed=seed)[0].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    drawn = [key for key in first if first[key].numel() and first[key].float().std(correction=0) > 0]
    assert drawn or "embed_dim" not in registry.hyperparameters(name)
    assert all(not torch.equal(first[key], other[key]) for key in drawn)


@every_model
def test_weights_can_be_put_into_another_model(name):
    model, field_dims = create(name, seed=0)
    other, _ = create(name, seed=1)
    shaken(model)
    x = random_rows(field_dims, 16)
    model.train()(Batch(x))  # moves running averages, if any
    other.double().load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(model.eval()(Batch(x)), other.eval()(Batch(x)))


@every_model
@pytest.mark.parametrize("fields", [("user", "item"), ("user", "item", "tag", *(f"context{n}" for n in range(37)))])
def test_two_fields_and_forty(name, fields):
    model, field_dims = create(name, fields, field_size=2)
    logits = model(Batch(random_rows(field_dims, 8)))
    assert logits.shape == (8,)
    assert logits.isfinite().all()
    follow_gradients(logits.sum(), model)


@every_model
def test_values_scale_features(name):
    model, field_dims = create(name)
    shaken(model).eval()
    x = random_rows(field_dims, 16)
    with torch.no_grad():
        logits = model(Batch(x))
        ones = torch.ones(x.shape, dtype=torch.float64)
        torch.testing.assert_close(model(Batch(x, ones)), logits)
        used = set()
        for field in range(len(field_dims)):
            values = ones.clone()
            values[:8, field] = 0.5
            scaled = model(Batch(x, values))
            torch.testing.assert_close(scaled[8:], logits[8:])
            used |= {field} if (scaled[:8] - logits[:8]).abs().max() > 1e-4 else set()
    names_matter = "fields" in inspect.signature(registry.get_model(name)).parameters  # so others can be left out
    assert len(used) >= (2 if names_matter else 0 if is_constant(model) else len(field_dims))


@every_model
def test_ids_of_either_width(name):
    model, field_dims = create(name)
    x = random_rows(field_dims, 16)
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(Batch(x.int())), model(Batch(x.long())))


def with_and_without_kernels(name, **settings):
    """Create two models with the same weights, and their field sizes."""
    model, field_dims = create(name, field_size=7, **settings)
    shaken(model)
    return copy.deepcopy(model), model, field_dims


def gradients(model, batch):
    """Compute the logits and the gradients of a weighted sum of them, by name. Dropout has a fixed seed."""
    torch.manual_seed(3)
    logits = model(batch)
    factors = torch.randn(logits.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    (logits * factors).sum().backward()
    return logits, {key: parameter.grad for key, parameter in model.named_parameters()}


def assert_same_gradients(with_kernels, model, *inputs):
    """Compare logits and gradients with and without kernels. Returns the gradients with kernels."""
    fast_logits, fast = gradients(with_kernels, Batch(*inputs, kernels=True))
    logits, plain = gradients(model, Batch(*inputs))
    torch.testing.assert_close(fast_logits, logits, rtol=1e-10, atol=1e-10)
    largest = max(gradient.abs().max().item() for gradient in plain.values() if gradient is not None)
    for key, expected in plain.items():
        # Before batch norm, the gradient of a bias is only rounding error: compare with the largest gradient.
        got = fast[key] if fast[key] is None or not fast[key].is_sparse else fast[key].to_dense()
        torch.testing.assert_close(
            got, expected, rtol=1e-10, atol=1e-10 * max(1.0, largest), msg=lambda m, key=key: f"{key}: {m}"
        )
    for (key, buffer), other in zip(with_kernels.named_buffers(), model.buffers(), strict=True):
        torch.testing.assert_close(buffer, other, rtol=1e-10, atol=1e-10, msg=lambda m, key=key: f"{key}: {m}")
    return fast


def settings_that_matter_to_kernels(name, mode):
    """List settings that affect kernels. Dropout is alone and with each further option; in prediction it is off."""
    known = registry.hyperparameters(name)
    dropout = {key: 0.4 for key in known if "dropout" in key} if mode else {}
    more = {"batch_norm": True, "temperature_placement": "hidden", "num_sampled": 4, "order": 2}
    return [{}, *([dropout] if dropout else []), *({**dropout, key: more[key]} for key in more if key in known)]


@pairwise(name=BY_GRADIENT, mode=[True, False], given=["2 rows", "64 rows", "64 rows with values"])
def test_kernels_give_the_same_logits_and_gradients(name, mode, given):
    for settings in settings_that_matter_to_kernels(name, mode):
        with_kernels, model, field_dims = with_and_without_kernels(name, **settings)
        x = random_rows(field_dims, int(given.split()[0]))
        values = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        values[::3, 0] = values[1::9] = 0.0
        inputs = [x, values] if "values" in given else [x]
        found = assert_same_gradients(with_kernels.train(mode), model.train(mode), *inputs)
        sparse = [key for key, gradient in found.items() if gradient.is_sparse]
        assert [key for key in sparse if key.startswith("embedding.")] or name == "lr"
        assert "linear.weight" in sparse or "linear.weight" not in found


@every_model_with_gradients
def test_kernels_give_the_same_logits_and_gradients_of_one_row(name):
    for mode in (True, False):
        with_kernels, model, field_dims = with_and_without_kernels(name)
        if not (mode and has_batch_norm(model)):  # torch has no variance of one row
            assert_same_gradients(with_kernels.train(mode), model.train(mode), random_rows(field_dims, 1))


def train_curve(name, dtype=torch.float64, **changes):
    """Train on random rows. Returns the epochs and the final weights. Each batch has few of the features.

    In float32 it is without batch norm: before that the gradient of a bias is only rounding error, which Adagrad scales
    up to full steps.
    """
    fields = usual_fields(name)
    field_dims = (40, 30, *[6] * (len(fields) - 2))
    settings = {"learning_rate": 0.05, "batch_size": 16, "max_epochs": 2, "patience": 2, **changes}
    labels = torch.randint(2, (180,), generator=torch.Generator().manual_seed(2)) * 2.0 - 1
    rows = Rows(random_rows(field_dims, 180).int(), labels)
    train_rows, valid_rows = Rows(rows.features[:120], labels[:120]), Rows(rows.features[120:], labels[120:])
    options = {key: 0.2 for key in registry.hyperparameters(name) if "dropout" in key}
    options |= {"batch_norm": False} if dtype == torch.float32 else {}
    model = new_model(name, {"field_dims": field_dims, "fields": fields}, small(name, **options), seed=0).to(dtype)
    epochs = [epoch.row() for epoch in train(model, train_rows, valid_rows, TrainingParams(**settings))]
    assert len(epochs) == settings["max_epochs"]
    return epochs, model.state_dict()


def assert_same_curve(one, other, tolerance=1e-8):
    """Compare two curves. The AUC may differ by the swap of one pair of rows."""
    for epoch, expected in zip(one[0], other[0], strict=True):
        for key in ("train_loss", "valid_rmse", "valid_logloss"):
            assert epoch[key] == pytest.approx(expected[key], rel=tolerance), key
        assert epoch["valid_auc"] == pytest.approx(expected["valid_auc"], abs=5e-3)


def assert_same_training(one, other):
    """Compare the curves and the final weights of two trainings in float64."""
    assert_same_curve(one, other)
    for key, weight in other[1].items():
        torch.testing.assert_close(one[1][key], weight, rtol=1e-8, atol=1e-8, msg=lambda m, key=key: f"{key}: {m}")


@every_model_with_gradients
def test_kernels_train_alike(name):
    roles = set(roles_of(create(name)[0]).values())
    changes = {"l2": 0.01}
    changes |= {"l2_field": 0.02} if "field_aspect" in roles else {}
    changes |= {"l2_attention": 0.03} if "attention" in roles else {}
    fast, plain = (train_curve(name, kernels=kernels, **changes) for kernels in ("fast", "plain"))
    assert_same_training(fast, plain)


@every_model_with_gradients
def test_kernels_train_alike_in_float32(name):
    fast, plain = (
        train_curve(name, torch.float32, kernels=kernels, l2=0.01, max_epochs=1) for kernels in ("fast", "plain")
    )
    # Adagrad scales rounding errors up where a gradient is divided by an embedding, in the logarithms of afn.
    assert_same_curve(fast, plain, 1e-2 if name == "afn" else 1e-4)


@pytest.mark.parametrize("name", ["fm", "ifm"])
@pytest.mark.parametrize("optimizer", ["adagrad", "adam", "adamw", "ftrl"])
def test_kernels_train_alike_with_each_optimizer(name, optimizer):
    changes = {"optimizer": optimizer, "l2": 0.1, "l1": 0.01 if optimizer == "ftrl" else 0.0}
    fast, plain = (train_curve(name, kernels=kernels, **changes) for kernels in ("fast", "plain"))
    assert_same_training(fast, plain)


@pytest.mark.parametrize("name", ["fm", "ifm"])
def test_lazy_adam_is_adam_when_each_batch_has_all_features_and_another_algorithm_otherwise(name):
    lazy, adam = (train_curve(name, optimizer=one, l2=0.1, batch_size=120) for one in ("lazy_adam", "adam"))
    assert_same_training(lazy, adam)
    lazy, adam = (train_curve(name, optimizer=one, l2=0.1) for one in ("lazy_adam", "adam"))
    assert (lazy[1]["embedding.weight"] - adam[1]["embedding.weight"]).abs().max() > 0.01


def generated_rows(name, num_rows=90, with_values=False):
    """Draw rows in float64 for a model, with labels ±1; returns them and the schema."""
    fields = usual_fields(name)
    field_dims = (6, 5, *[4] * (len(fields) - 2))
    generator = torch.Generator().manual_seed(3)
    labels = (torch.rand(num_rows, generator=generator, dtype=torch.float64) < 0.4) * 2.0 - 1
    values = torch.rand(num_rows, len(fields), generator=generator, dtype=torch.float64) + 0.5
    rows = Rows(random_rows(field_dims, num_rows).int(), labels.double(), values if with_values else None)
    return rows, {"field_dims": field_dims, "fields": fields}


@every_closed_form
@pytest.mark.parametrize("with_values", [False, True], ids=["ones", "values"])
def test_a_closed_form_model_is_fitted_in_one_epoch_to_all_its_weights(name, with_values):
    rows, schema = generated_rows(name, with_values=with_values)
    model = new_model(name, schema, {}, seed=0).double()
    assert not any(parameter.requires_grad for parameter in model.parameters())
    seen = []
    epochs = train(model, rows, rows, TrainingParams(max_epochs=7, patience=3), seen.append)
    assert [epoch.epoch for epoch in epochs] == [1]
    assert seen == epochs
    assert all((parameter != 0).any() for parameter in model.parameters())
    for kernels in ("fast", "plain"):
        other = new_model(name, schema, {}, seed=1).double()
        (epoch,) = train(other, rows, rows, TrainingParams(kernels=kernels, batch_size=7))
        assert (epoch.train_loss, epoch.valid) == (epochs[0].train_loss, epochs[0].valid)
    assert epochs[0].train_loss == pytest.approx((predict(model, rows) - rows.labels).square().mean().item() / 2)


@every_closed_form
def test_a_closed_form_model_predicts_the_same_mean_label_for_both_losses(name):
    rows, schema = generated_rows(name)
    means = []
    for loss in ("squared_error", "cross_entropy"):
        model = new_model(name, schema, {}, seed=0).double()
        train(model, rows, rows, TrainingParams(loss=loss))
        means.append(predictions(predict(model, rows), loss))
    assert means[0].abs().min() < 0.9
    torch.testing.assert_close(*means, rtol=0, atol=3e-6)  # the logit of a certain label is kept finite


@every_closed_form
def test_a_fitted_model_is_put_into_another(name):
    rows, schema = generated_rows(name)
    model, other = (new_model(name, schema, {}, seed).double() for seed in (0, 1))
    train(model, rows, rows, TrainingParams(loss="cross_entropy"))
    other.load_state_dict(model.state_dict())
    assert torch.equal(predict(model, rows), predict(other, rows))


@every_closed_form
def test_a_closed_form_model_refuses_an_l2_weight(name):
    rows, schema = generated_rows(name)
    with pytest.raises(ValueError, match=r"^training\.l2 is 0\.1, but no layer of \w+ takes it: set it to 0$"):
        train(new_model(name, schema, {}, seed=0), rows, rows, TrainingParams(l2=0.1))


@every_model
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_computes_the_same(name):
    model, field_dims = create(name)
    shaken(model).eval()
    x = random_rows(field_dims, 16)
    with torch.no_grad():
        logits = model(Batch(x))
        torch.testing.assert_close(model.cuda()(Batch(x.cuda())).cpu(), logits, rtol=1e-3, atol=1e-3)


@every_model
def test_a_model_is_documented_and_takes_all_settings_by_name(name):
    cls = registry.get_model(name)
    first, *rest = inspect.signature(cls).parameters.values()
    assert first.name == "field_dims"
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in rest)
    assert all(parameter.default is not parameter.empty for parameter in rest if parameter.name != "fields")
    assert cls.__doc__


@every_model
def test_a_search_space_has_arguments_only(name):
    arguments = {f"model.{key}" for key in registry.hyperparameters(name)}
    training = {f"training.{key}" for key in TrainingParams.model_fields}
    assert set(get_space(name)) <= arguments | training


@every_model
@pytest.mark.parametrize("family", ["frappe", "movielens"])
def test_the_papers_setting_is_in_the_search_space(name, family):
    space, paper = get_space(name), paper_setting(name, family)
    assert set(paper) == set(space)
    for key, value in paper.items():
        assert space[key]._contains(space[key].to_internal_repr(value)), f"{key}: {value} is not in {space[key]}"


@every_model
def test_the_papers_setting_on_frappe_is_the_models_default(name):
    defaults = registry.hyperparameters(name)
    for key, value in paper_setting(name, "frappe").items():
        part, _, argument = key.partition(".")
        if part == "model":
            parsed = parse(value)
            assert (tuple(parsed) if isinstance(parsed, list) else parsed) == defaults[argument], key


@every_model
def test_every_corner_of_the_search_space_is_a_model(name):
    space, paper = get_space(name), paper_setting(name, "frappe")
    fields = min((fields for fields in FIELDS if not registry.why_declined(name, fields)), key=len)
    field_dims = (3,) * len(fields)
    x = random_rows(field_dims, 4)
    ends = {
        key: one.choices if isinstance(one, CategoricalDistribution) else (one.low, one.high)
        for key, one in space.items()
    }
    for place in range(max(map(len, ends.values()))):  # the first value of every key, the second of every key, …
        setting = {**paper, **{key: values[place % len(values)] for key, values in ends.items()}}
        arguments, training = resolve(setting, TrainingParams())
        assert isinstance(training, TrainingParams)
        assert registry.create(name, field_dims, arguments, fields)(Batch(x)).isfinite().all(), setting


def test_unknown_names_list_the_known():
    with pytest.raises(ValueError, match=f"^unknown model 'svd'; choose one of: {', '.join(MODELS)}$"):
        registry.get_model("svd")
    for name in ("layers", "registry", "__init__", "../fm", "fm.py", ""):
        with pytest.raises(ValueError, match="unknown model"):
            registry.get_model(name)
    with pytest.raises(ValueError, match=r"^fm has no hyperparameter 'embed'; it has: embed_dim, dropout, batch_norm$"):
        registry.create("fm", (2, 3), {"embed": 3})
    with pytest.raises(ValueError, match="lr has no hyperparameter 'dropout'; it has: none"):
        registry.create("lr", (2, 3), {"dropout": 0.1})


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("fm", "embed_dim", "many"),
        ("fm", "embed_dim", 2.5),
        ("fm", "embed_dim", None),
        ("fm", "embed_dim", 0),
        ("fm", "dropout", 1.5),
        ("fm", "dropout", -0.1),
        ("fm", "batch_norm", 1),
        ("ifm", "temperature", 0),
        ("ifm", "temperature_placement", "both"),
        ("inn", "hidden_dims", 5),
        ("inn", "hidden_dims", [5, "x"]),
        ("inn", "hidden_dims", [5, 0]),
    ],
)
def test_a_wrong_setting_names_model_and_key(name, key, value):
    with pytest.raises(ValueError, match=f"^{name}: .*{key}"):
        registry.create(name, (2, 3), {key: value})


def test_a_setting_of_a_kind_that_fits_is_taken():
    assert registry.create("ifm", (2, 3), {"temperature": 10, "embed_dim": 4}).embedding.weight.shape == (5, 4)
    assert len(registry.create("inn", (2, 3), {"hidden_dims": [3, 2]}).mlp) == 5


def test_a_model_without_a_search_space_says_which_file_to_add():
    with pytest.raises(ValueError, match=r"svd has no search space: add search_spaces/svd.py with SPACE and PAPER"):
        get_space("svd")


@pytest.mark.parametrize("name", ["lr", "ffm", "ifm", "inn", "nfm", "fnn", "pnn", "dcn"])
def test_a_model_trained_with_kernels_can_be_exported(name):
    model, field_dims = create(name)
    rows = Rows(random_rows(field_dims, 40).int(), torch.ones(40).where(torch.arange(40) % 2 == 0, -1.0))
    train(model, rows, rows, TrainingParams(max_epochs=1))
    ids, values = random_rows(field_dims, 5, seed=1).int(), torch.rand(5, len(field_dims))
    for inputs in ((ids, values), *([(ids,)] if name in ("lr", "ifm") else [])):
        dynamic = {key: {0: torch.export.Dim("rows")} for key, _ in zip(("ids", "values"), inputs, strict=False)}
        exported = torch.export.export(OnTensors(model), inputs, dynamic_shapes=dynamic).module()
        two = [tensor[:2] for tensor in inputs]
        assert torch.allclose(exported(*two), model(Batch(*two, kernels=True)), atol=1e-6)
