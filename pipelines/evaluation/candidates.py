"""Rank all values of a field in one context."""

from collections.abc import Sequence

import polars as pl
import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.embeddings import tables
from pipelines.data.fields import MISSING, OTHER
from pipelines.data.fresh import encode_fresh, sources_of
from pipelines.data.rows import Rows
from pipelines.evaluation.bundles import Bundle
from pipelines.training.predicting import finite, predict

AFFINE = ("lr", "fm", "hofm", "ffm", "fwfm", "fvfm", "fmfm")  # models whose logit is affine in the weights of a feature


class Ranker:
    """Rank the values of one field of a bundle.

    `items` is a table of texts with the values to choose from, and with columns that follow them; without it, all
    values that the vocabulary names. `train` are rows whose values the features of the fields `given` know; with
    `only_positives`, of positive rows.
    """

    def __init__(
        self,
        kept: Bundle,
        model: nn.Module,
        vocabulary: pl.DataFrame,
        field: str,
        items: pl.DataFrame | None = None,
        train: Rows | None = None,
        given: Sequence[str] = (),
        only_positives: bool = False,
    ) -> None:
        self.kept, self.model, self.vocabulary, self.items = kept, model.eval(), vocabulary, items
        self.train, self.only_positives = train, only_positives
        self.given = [kept.fields.index(name) for name in given]
        self.place, self.sources = kept.fields.index(field), sources_of(kept.fields, kept.fitted)
        self.column = self.sources[field]
        self.names = vocabulary["raw_value"]
        own = vocabulary.filter((pl.col("field") == field) & ~pl.col("raw_value").is_in([OTHER, MISSING]))
        self.features = torch.from_numpy(own["feature_id"].to_numpy().astype("int32"))

    def rank(self, context: pl.DataFrame, top: int) -> tuple[pl.Series, Tensor]:
        """Return the values that the model scores highest in a context, and their logits.

        `context` is a table of one row of texts; a column that it lacks is missing.
        """
        blank = [column for column in self.sources.values() if column not in context.columns or column == self.column]
        whole = context.with_columns(pl.lit(None, dtype=pl.String).alias(column) for column in dict.fromkeys(blank))
        one = encode_fresh(whole, self.kept.fields, self.kept.fitted, self.vocabulary)
        known = self.known(one)
        if self.items is None:
            features = self.features[~torch.isin(self.features, known)]
            values = self.names.gather(features.numpy())
            logits = score_candidates(self.model, self.kept.model, one, self.place, features)
        else:
            taken = self.names.gather(known.numpy()).to_list()
            some = self.items.filter(~pl.col(self.column).is_in(taken))
            rest = (column for column in whole.columns if column not in some.columns)
            filled = some.with_columns(pl.lit(whole[column][0], dtype=pl.String).alias(column) for column in rest)
            values = some[self.column]
            logits = predict(self.model, encode_fresh(filled, self.kept.fields, self.kept.fitted, self.vocabulary))
        best = logits.sort(descending=True, stable=True).indices[:top]
        return values.gather(best.numpy()), logits[best]

    def known(self, one: Rows) -> Tensor:
        """Find the features that training rows of a context's user have.

        Users without a feature of their own know nothing.
        """
        context = one.features[0, self.given]
        own = one.values is None or bool((one.values[0, self.given] != 0).all())
        if self.train is None or not own or self.names.gather(context.numpy()).is_in([OTHER, MISSING]).any():
            return torch.zeros(0, dtype=torch.int32)
        same = (self.train.features[:, self.given] == context).all(1)
        if self.only_positives:
            same &= self.train.labels > 0
        return self.train.features[same, self.place].unique()


def score_candidates(model: nn.Module, name: str, context: Rows, place: int, features: Tensor) -> Tensor:
    """Compute the logits of a context with each of some features in one field.

    `context` has one row; `place` is the number of the field. FM and its like need one product: their logit is affine
    in the weights w of a feature, so it is ŷ(c) = ŷ(c₀) + ⟨∂ŷ/∂w, w(c) − w(c₀)⟩ for any feature c and one c₀. Shape:
    features `[n]` → `[n]`.
    """
    if not len(features):
        return torch.zeros(0)
    ids, values = context.features.clone(), context.values
    ids[:, place] = features[0]
    if values is not None:
        values = values.clone()
        values[:, place] = 1
        values = None if (values == 1).all() else values
    if name not in AFFINE or context.bags:
        ids = ids.repeat(len(features), 1)
        ids[:, place] = features
        values = None if values is None else values.repeat(len(features), 1)
        return predict(model, Rows(ids, torch.zeros(len(features)), values, context.bags))
    weights = [table.weight for table in tables(model)]
    logit = model(Batch(ids, values, kernels=True))
    slopes = torch.autograd.grad(logit.sum(), weights)
    logits = logit.detach().repeat(len(features))
    for weight, slope in zip(weights, slopes, strict=True):
        own, first = weight.detach(), features[:1].long()
        change = own.index_select(0, features.long()) - own[first]
        logits += change.view(len(features), -1) @ slope.index_select(0, first).to_dense().view(-1)
    return finite(logits)
