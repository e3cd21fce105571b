"""Write bundles of untrained models."""

import polars as pl
import torch

from pipelines.evaluation.bundles import write_bundle
from pipelines.project.provenance import made_by
from pipelines.training.behaviour import small_arguments
from pipelines.training.start import new_model

FIELDS, FIELD_DIMS = ["user", "item", "tag"], [5, 4, 3]
IDS = torch.tensor([[0, 5, 9], [4, 8, 11], [2, 6, 10]], dtype=torch.int32)


def keep(folder, name="fm", seed=3, **changes):
    """Write a bundle of an untrained model; return the model."""
    arguments = small_arguments(name)
    model = new_model(name, {"fields": FIELDS, "field_dims": FIELD_DIMS}, arguments, seed)
    vocabulary = folder.with_suffix(".parquet")
    known = {
        "field": ["user"] * 5 + ["item"] * 4 + ["tag"] * 3,
        "feature_id": range(12),
        "raw_value": [*"abcde7890123"],
    }
    pl.DataFrame(known).write_parquet(vocabulary)
    about = {
        **{"model": name, "arguments": arguments, "loss": "cross_entropy", "dataset": "mine", "fields": FIELDS},
        **{"field_dims": FIELD_DIMS, "licence": "mine", "citation": "none", "seed": 0, "made_by": made_by("")},
        **{"valid": {"auc": 0.9}, "test": {"auc": 0.8}},
    }
    write_bundle(folder, model, vocabulary, **{**about, **changes})
    return model.eval()
