"""Check that a field of lists has the mean of its elements' weights."""

import copy

import pytest
import torch

from models import registry
from models.kernels.bags import Bags
from models.layers.batch import Batch, PaddedLists
from models.layers.embeddings import tables
from pipelines.data.rows import Rows
from pipelines.project.params import TrainingParams
from pipelines.training.loop import train
from pipelines.training.predicting import predict

FIELDS, FIELD_DIMS = ("user", "item", "tag", "genres"), (6, 5, 4, 7)
FIRST = sum(FIELD_DIMS)
LISTS = [[15], [16, 17], [15, 18, 21], [20, 20, 16], [19]]  # of features of genres
BAGS = Bags(
    FIRST,
    torch.tensor([element for elements in LISTS for element in elements]).int(),
    torch.tensor([0, *torch.tensor([len(elements) for elements in LISTS]).cumsum(0).tolist()]),
)
PADDED = torch.full((len(LISTS), 4), -1)
for number, elements in enumerate(LISTS):
    PADDED[number, : len(elements)] = torch.tensor(elements)
MODELS = registry.list_models()
BY_GRADIENT = [name for name in MODELS if registry.is_by_gradient(registry.get_model(name))]
TAKE_LISTS = [name for name in BY_GRADIENT if name != "poly2"]
SMALL = {"embed_dim": 4, "attention_dim": 3, "field_embed_dim": 3, "hidden_dims": [4], "num_buckets": 50}
SMALL |= {"embed_dim_2": 3, "hidden_dims_2": [4], "gate_hidden_dims": [3], "num_heads": 2, "head_dim": 3}
SMALL |= {"num_neurons": 6, "block_dim": 5, "num_rows": 2}


def ids(num_rows, seed=0):
    """Draw rows whose last field holds lists."""
    generator = torch.Generator().manual_seed(seed)
    sizes = (*FIELD_DIMS[:3], len(LISTS))
    starts = (0, 6, 11, FIRST)
    columns = [
        start + torch.randint(size, (num_rows,), generator=generator) for start, size in zip(starts, sizes, strict=True)
    ]
    return torch.stack(columns, 1).int()


def create(name):
    """Create a model in float64 with noise on all weights, so that all parts matter."""
    known = registry.hyperparameters(name)
    no_dropout = {key: 0.0 for key in known if "dropout" in key}
    settings = {key: value for key, value in {**SMALL, **no_dropout}.items() if key in known}
    torch.manual_seed(0)
    model = registry.create(name, FIELD_DIMS, settings, FIELDS).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def with_means(model):
    """Copy a model, and give each list a row of its own: the mean over its elements."""
    model = copy.deepcopy(model)
    for table in tables(model):
        if len(table.weight) == FIRST:
            means = [sum(table.weight[element] for element in elements) / len(elements) for elements in LISTS]
            table.weight = torch.nn.Parameter(torch.cat([table.weight.detach(), torch.stack(means).detach()]))
    return model


@pytest.mark.parametrize("name", TAKE_LISTS)
@pytest.mark.parametrize("with_values", [False, True])
def test_a_list_counts_as_the_mean_of_its_elements_with_and_without_kernels(name, with_values):
    model, x = create(name), ids(30)
    values = torch.rand(x.shape, dtype=torch.float64) + 0.5 if with_values else None
    expected = with_means(model)(Batch(x, values))
    gradients = {}
    for kernels in (False, True):
        model.zero_grad()
        logits = model(Batch(x, values, kernels, BAGS))
        assert torch.allclose(logits, expected, atol=1e-12)
        logits.square().sum().backward()
        gradients[kernels] = [parameter.grad.to_dense() for parameter in model.parameters()]
    for plain, fast in zip(*gradients.values(), strict=True):
        assert torch.allclose(plain, fast, atol=1e-10)
    x, lists = x.where(x < FIRST, 0), PADDED[x[:, 3:] - FIRST]
    assert torch.allclose(model(Batch(x, values, padded=PaddedLists(lists, [3]))), expected, atol=1e-12)


@pytest.mark.parametrize("optimizer", ["adagrad", "adam", "ftrl"])
def test_lists_train_alike_with_and_without_kernels(optimizer):
    labels = torch.where(torch.rand(120, generator=torch.Generator().manual_seed(3)) < 0.5, 1.0, -1.0)
    rows = Rows(ids(120, seed=1), labels, bags=BAGS)
    reached = []
    for kernels in ("fast", "plain"):
        model = create("ifm")
        settings = {"optimizer": optimizer, "kernels": kernels, "l2": 0.1, "learning_rate": 0.05}
        train(model, rows, rows, TrainingParams(batch_size=16, max_epochs=3, **settings))
        reached.append(predict(model, rows, kernels == "fast"))
    assert torch.allclose(*reached, atol=1e-6)


@pytest.mark.parametrize("name", sorted({*MODELS} - {*BY_GRADIENT}))
def test_a_model_without_gradients_refuses_lists(name):
    rows = Rows(ids(20), torch.ones(20), bags=BAGS)
    assert registry.why_declined(name, FIELDS, lists=True) == "it can't be fitted to fields that hold lists"
    with pytest.raises(ValueError, match="can't be fitted to fields that hold lists"):
        train(registry.create(name, FIELD_DIMS, {}, FIELDS), rows, rows, TrainingParams())


def test_a_model_that_hashes_pairs_of_features_refuses_lists():
    with pytest.raises(ValueError, match=r"^poly2 hashes pairs of features, and a list is none"):
        create("poly2")(Batch(ids(3), bags=BAGS))


def test_a_field_that_a_model_needs_by_name_can_not_hold_lists():
    model = registry.create("mf", (6, 7), {"embed_dim": 4}, ("user", "item"))
    lists = Bags(13, BAGS.elements - 9, BAGS.offsets)
    with pytest.raises(ValueError, match="needs a field by name that holds lists"):
        model(Batch(torch.tensor([[0, 14]]).int(), bags=lists))
    with pytest.raises(ValueError, match="needs a field by name that holds lists"):
        model(Batch(torch.tensor([[0, 0]]).int(), padded=PaddedLists(torch.tensor([[[7, 8]]]), [1])))
