"""Generate rows for trees: categories with a planted pair, a field of two features, and values."""

import numpy as np
import torch

from models import registry
from pipelines.data.rows import Rows
from pipelines.project.params import TrainingParams
from pipelines.training.loop import train
from pipelines.training.start import new_model

FIELDS, FIELD_DIMS = ["user", "item", "tag", "new", "age"], [30, 40, 7, 2, 2]


def planted_rows(num_rows, seed, weights=False):
    """Draw rows whose labels depend on a pair, a value and a small field."""
    rng, planted = np.random.default_rng(seed), np.random.default_rng(9)
    x = np.stack([rng.integers(dim, size=num_rows) for dim in FIELD_DIMS], 1)
    pair, tag = planted.normal(size=(30, 40)), planted.normal(size=7)
    values = np.ones(x.shape, np.float32)
    values[:, 4] = rng.normal(size=num_rows)
    score = 2 * pair[x[:, 0], x[:, 1]] + tag[x[:, 2]] * x[:, 3] + values[:, 4] + rng.normal(size=num_rows)
    labels = torch.tensor(np.where(score > 0, 1.0, -1.0)).float()
    of_rows = torch.tensor(rng.uniform(0.5, 2, num_rows)).float() if weights else None
    ids = torch.tensor(x + np.cumsum([0, *FIELD_DIMS[:-1]])).int()
    return Rows(ids, labels, torch.tensor(values), weights=of_rows)


def grown(name, rows, valid, seed=0, epochs=2, loss="cross_entropy", **arguments):
    """Train a model by a package of the extra [trees]; returns it with its epochs."""
    schema = {"fields": FIELDS, "field_dims": FIELD_DIMS}
    model = new_model(name, schema, {"trees_per_epoch": 15, **arguments}, seed, device="cpu")
    assert registry.is_boosted(model)
    training = TrainingParams(loss=loss, max_epochs=epochs, learning_rate=0.2, metric="logloss", patience=epochs)
    return model, train(model, rows, valid, training)
