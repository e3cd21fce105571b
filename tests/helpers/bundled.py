"""Write bundles of untrained models."""

import json

import polars as pl
import torch

from pipelines import prepare
from pipelines.bundle import layout_of, sides_of
from pipelines.data.catalog import get_dataset
from pipelines.data.rows import load_schema
from pipelines.evaluation.bundles import write_bundle
from pipelines.project.provenance import made_by
from pipelines.training.small import small_arguments
from pipelines.training.start import new_model

FIELDS, FIELD_DIMS = ["user", "item", "tag"], [5, 4, 3]
IDS = torch.tensor([[0, 5, 9], [4, 8, 11], [2, 6, 10]], dtype=torch.int32)


def keep(folder, name="fm", seed=3, trained=None, **changes):
    """Write a bundle of an untrained model, or of a trained one; return the model."""
    arguments = small_arguments(name)
    model = trained or new_model(name, {"fields": FIELDS, "field_dims": FIELD_DIMS}, arguments, seed)
    vocabulary = folder.with_suffix(".parquet")
    names = [(field, f"{field} {n}") for field, size in zip(FIELDS, FIELD_DIMS, strict=True) for n in range(size)]
    table = pl.DataFrame(names, ["field", "raw_value"], orient="row").with_row_index("feature_id")
    table.write_parquet(vocabulary)
    about = {
        **{"model": name, "arguments": arguments, "loss": "cross_entropy", "dataset": "mine", "fields": FIELDS},
        **{"field_dims": FIELD_DIMS, "licence": "mine", "citation": "none", "seed": 0, "made_by": made_by("")},
        **{"valid": {"auc": 0.9}, "test": {"auc": 0.8}},
    }
    write_bundle(folder, model, vocabulary, **{**about, **changes})
    return model.eval()


def keep_prepared(project, folder, name="fm", arguments=None, **about):
    """Bundle a model of the generated data set that is far from calibrated."""
    processed = project.root / "data" / "processed" / "synthetic"
    schema = load_schema(processed)
    arguments = arguments or {"embed_dim": 4}
    model = new_model(name, schema, arguments, 0)
    torch.nn.init.normal_(model.linear.weight)
    about = {
        **{"model": name, "arguments": arguments, "loss": "cross_entropy", "dataset": "synthetic", "rate": 0.5},
        **{"fields": schema["fields"], "field_dims": schema["field_dims"], "data": schema["values"]},
        **{"licence": "", "citation": "", "seed": 0, "valid": {}, "test": {}, "made_by": made_by("")},
        **about,
    }
    write_bundle(folder, model, processed / "vocabulary.parquet", **about)
    return folder


def keep_table(root, name, described):
    """Prepare a table, and write a bundle of an untrained fm; return the model."""
    (root / "datasets").mkdir()
    (root / "datasets" / f"{name}.yaml").write_text(described)
    content = {"seed": 1, "datasets": [name], "models": ["fm"], "tune": {"num_trials": 1}}
    (root / "params.yaml").write_text(json.dumps(content))
    prepare.main(name, root / "params.yaml")
    folder = root / "data" / "processed" / name
    schema = load_schema(folder)
    about = {key: schema[key] for key in ("fields", "field_dims", "fitted")}
    about |= {"dataset": name, "licence": "mine", "citation": "none", "seed": 0, "valid": {}, "test": {}}
    about |= {"layout": layout_of(get_dataset(name, root)), "made_by": made_by("")}
    about |= {"model": "fm", "arguments": {"embed_dim": 4}, "loss": "cross_entropy"}
    model = new_model("fm", schema, about["arguments"], 0)
    torch.nn.init.normal_(model.embedding.weight, std=0.1)
    sides = sides_of(get_dataset(name, root))
    write_bundle(root / "bundle", model, folder / "vocabulary.parquet", sides, **about)
    return model.eval()
