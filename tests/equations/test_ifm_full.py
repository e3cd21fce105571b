import pytest
import torch
from reference import (
    FIELD_DIMS,
    are_interactions,
    assert_equals_loops,
    attention,
    by_row,
    embedded,
    field_aspect,
    linear_terms,
    products_of,
    random_input,
    randomize,
)

from models import registry
from models.layers.batch import Batch
from pipelines.project.params import TrainingParams
from pipelines.training.optimizers.make import make_optimizer

SIZES = {"embed_dim": 3, "attention_dim": 2}


def create(**settings):
    return registry.create("ifm_full", FIELD_DIMS, {**SIZES, **settings})


def equation(temperature=10.0, placement="logits"):
    # w_0 + Σ_i w_i x_i + Σ_{i<j} T_ij ⟨F_ij, V_i ⊙ V_j⟩ x_i x_j

    def logit(weights, ids, values):
        products, F = products_of(embedded(weights, ids, values)), weights["field_aspect.F"]
        T = attention(weights, products, temperature, placement, there=are_interactions(values))
        total = linear_terms(weights, ids, values)
        for p, (t, product) in enumerate(zip(T, products, strict=True)):
            for k, factor in enumerate(product):
                total = total + t * F[p, k] * factor
        return total

    return by_row(logit)


@pytest.mark.parametrize(("temperature", "placement"), [(0.5, "logits"), (10.0, "logits"), (2.0, "hidden")])
@pytest.mark.parametrize("zeros", [False, True])
def test_the_equation(temperature, placement, zeros):
    model = randomize(create(temperature=temperature, temperature_placement=placement))
    assert_equals_loops(model, equation(temperature, placement), *random_input(zeros=zeros))


def test_the_equation_without_values_is_that_of_ones():
    assert_equals_loops(randomize(create()), equation(), random_input()[0])


def test_it_is_ifm_when_its_field_aspect_is_factorised():
    ifm = randomize(registry.create("ifm", FIELD_DIMS, {**SIZES, "field_embed_dim": 2}))
    weights = {key: value for key, value in ifm.state_dict().items() if not key.startswith("field_aspect")}
    F = torch.stack([torch.stack(row) for row in field_aspect(dict(ifm.named_parameters()))]).detach()
    full = create().double().eval()
    full.load_state_dict({**weights, "field_aspect.F": F})
    x, values = random_input(8)
    torch.testing.assert_close(full(Batch(x, values)), ifm(Batch(x, values)), rtol=1e-9, atol=1e-9)


def test_l2_on_the_field_aspect_reaches_it():
    model = create()
    optimizer = make_optimizer(model, TrainingParams(l2_field=0.25))
    (group,) = (g for g in optimizer.param_groups if g["weight_decay"] == 0.25)
    assert [id(p) for p in group["params"]] == [id(model.field_aspect.F)]


def test_the_field_aspect_starts_with_the_variance_that_ifm_starts_with():
    torch.manual_seed(0)
    F = registry.create("ifm_full", [2] * 40, {"embed_dim": 64}).field_aspect()
    assert abs(F.mean()) < 0.1
    assert abs(F.var() / 26 - 1) < 0.05
    factors = registry.create("ifm", [2] * 400, {"embed_dim": 64}).field_aspect()  # K_F is 26
    assert abs(factors.var() / 26 - 1) < 0.5


def test_dropout_takes_all_interactions_or_none():
    model = randomize(create(dropout=1.0)).train()
    x, values = random_input()
    torch.testing.assert_close(model(Batch(x, values)), model.linear(Batch(x, values)))


def test_as_many_entries_of_the_field_aspect_as_in_the_paper():
    with torch.device("meta"):
        model = registry.create("ifm_full", (957, 4082, 7, 7, 2, 3, 2, 9, 80, 233), {})
    assert model.field_aspect.F.numel() == 11_520
    assert sum(p.numel() for p in model.parameters()) == 1_449_479 - 256 + 11_520  # AFM's without its p, and F
