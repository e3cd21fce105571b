"""Measure which fields, pairs of fields and values a trained model relies on."""

from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from models.layers.attention import attend
from models.layers.embeddings import Table
from models.layers.pairs import field_pairs
from pipelines.data.fields import MISSING, OTHER
from pipelines.data.rows import Rows
from pipelines.project.cli import nearest
from pipelines.project.metric import METRICS
from pipelines.training import predicting
from pipelines.training.metrics import compute_metrics
from pipelines.training.process import device_of

WITH_PAIRS = ("ifm", "ifm_full", "deepifm")  # models that sum T_ij F_ijᵀ (V_i ⊙ V_j) x_i x_j


def permute_fields(
    model: nn.Module, rows: Rows, fields: list[str], loss: str, metric: str, num_repeats: int, seed: int
) -> pl.DataFrame:
    """Measure how much worse a metric gets if rows exchange a field's features.

    Returns one row for each field, the most important first: field, and mean and standard deviation over the repeats,
    which are positive where the model got worse (Breiman 2001, *Random Forests*).
    """

    def score(some: Rows) -> float:
        logits = predicting.predict(model, some)
        return METRICS[metric].score(compute_metrics(logits, some.labels, loss, [metric])[metric])

    whole, generator = score(rows), torch.Generator().manual_seed(seed)
    worse = np.empty((len(fields), num_repeats))
    for place in range(len(fields)):
        for repeat in range(num_repeats):
            order = torch.randperm(len(rows), generator=generator)
            worse[place, repeat] = score(permuted(rows, place, order)) - whole
    table = pl.DataFrame({"field": fields, "mean": worse.mean(1), "std": worse.std(1)})
    return table.sort("mean", descending=True, maintain_order=True)


def permuted(rows: Rows, place: int, order: Tensor) -> Rows:
    """Return rows in which one field has the features and values of other rows."""

    def exchanged(tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        tensor[:, place] = tensor[order, place]
        return tensor

    values = None if rows.values is None else exchanged(rows.values)
    return Rows(exchanged(rows.features), rows.labels, values, rows.bags)


def measure_pairs(model: Any, rows: Rows, fields: list[str]) -> pl.DataFrame:
    """Measure each pair of fields i < j, and return one row for each pair.

    - norm: ‖F_ij‖; proportion: its share of the sum of norms
    - attention: the mean of T_ij over the rows
    - variance: the variance of F_ijᵀ (V_i ⊙ V_j) x_i x_j over the rows
    - product: the variance of T_ij F_ijᵀ (V_i ⊙ V_j) x_i x_j, the pair's part of the prediction, over the rows
    """
    model.eval()
    rows, parts = rows.to(device_of(model)), []
    with torch.no_grad():
        F = model.field_aspect()  # [P, K]
        for start in range(0, len(rows), predicting.EVALUATION_ROWS):
            batch = rows.batch(slice(start, start + predicting.EVALUATION_ROWS))
            parts.append(attend(model.attention, batch, model.embedding(batch), F, model.dropout))
        T, effect = (torch.cat(part).double().cpu() for part in zip(*parts, strict=True))  # [rows, P] each
        norm = F.norm(dim=-1).double().cpu()
    i, j = field_pairs(len(fields)).tolist()
    return pl.DataFrame(
        {
            "i": [fields[field] for field in i],
            "j": [fields[field] for field in j],
            "norm": norm.tolist(),
            "proportion": (norm / norm.sum()).tolist(),
            "attention": T.mean(0).tolist(),
            "variance": effect.var(0).tolist(),
            "product": (T * effect).var(0).tolist(),
        }
    )


def embeddings(model: nn.Module, vocabulary: pl.DataFrame, fields: list[str]) -> pl.DataFrame:
    """Return the embeddings of all features, with their names.

    Columns are field, value, feature_id, and one of arrays for each table of vectors, by its name in the model. Models
    of fields by name have rows for these fields alone. Raises ValueError for a model without such a table.
    """
    names = vocabulary.select("field", pl.col("raw_value").alias("value"), "feature_id")
    if named := getattr(model, "named_fields", None):  # models.layers.fields.NamedFields
        places = [fields[column] for column in named.columns]
        names = pl.concat([names.filter(pl.col("field") == field) for field in places])
    tables = {
        name: module.weight.detach().cpu()
        for name, module in model.named_modules()
        if isinstance(module, Table) and module.weight.dim() == 2 and len(module.weight) == names.height
    }
    if not tables:
        raise ValueError("the model has no vector for each feature")
    return names.with_columns(pl.Series(name, weight.numpy()) for name, weight in tables.items())


def neighbours(table: pl.DataFrame, field: str, value: str, number: int) -> pl.DataFrame:
    """Find the values of a field whose embeddings are nearest to one value's.

    Nearest is the largest cosine. `table` is that of `embeddings`, of which the first vectors count. Raises
    ValueError for a value that is not there.
    """
    own = table.filter((pl.col("field") == field) & ~pl.col("value").is_in([OTHER, MISSING]))
    names = own["value"].to_list()
    if value not in names:
        raise ValueError(f"field {field!r} has no value {value!r}{nearest(value, names)}")
    vectors = own[own.columns[3]].to_numpy().astype(np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    found = own.select("value", pl.Series("cosine", vectors @ vectors[names.index(value)]))
    return found.filter(pl.col("value") != value).sort("cosine", descending=True, maintain_order=True).head(number)


def flat(table: pl.DataFrame, most: int) -> dict[str, list[list[float]]]:
    """Project embeddings to their two principal axes, for a picture: the points of at most so many values a field.

    `table` is that of `embeddings`, of which the first vectors count.
    """
    some = table.group_by("field", maintain_order=True).head(most)
    vectors = some[some.columns[3]].to_numpy().astype(np.float64)
    vectors = np.pad(vectors, ((0, 0), (0, max(0, 2 - vectors.shape[1]))))  # one number is drawn on a line
    _, axes = np.linalg.eigh(np.cov(vectors, rowvar=False))
    points = some.select("field").with_columns(pl.Series("point", (vectors - vectors.mean(0)) @ axes[:, :-3:-1]))
    parts = points.partition_by("field", as_dict=True, maintain_order=True)
    return {str(key[0]): part["point"].to_list() for key, part in parts.items()}
