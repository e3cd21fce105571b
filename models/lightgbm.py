"""Define LightGBM, gradient-boosted trees (Ke et al., NeurIPS 2017)."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.category_columns import FoldMeans, own_ids
from models.layers.checks import positive
from models.layers.trees import Forest, library
from models.registry import register_model


@register_model
class LightGBM(nn.Module):
    """Sum trees that are grown leaf by leaf: ŷ = Σ_t leaf_t(x).

    A row's columns are, for each field, the feature as a category that splits group (`encoding` native), its mean label
    and its count in the training rows (means), or both; and the value x_i. The trees are grown by the package lightgbm,
    and summed here. An epoch is `trees_per_epoch` trees. The defaults are those of the package; its learning rate, 0.1,
    is `training.learning_rate`.
    """

    family = "trees"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        num_leaves: int = 31,
        min_data_in_leaf: int = 20,
        leaf_l2: float = 0.0,
        feature_fraction: float = 1.0,
        bagging_fraction: float = 1.0,
        cat_l2: float = 10.0,
        cat_smooth: float = 10.0,
        min_data_per_group: int = 100,
        encoding: Literal["native", "means", "both"] = "native",
        smoothing: float = 10.0,
        trees_per_epoch: int = 50,
    ) -> None:
        positive(smoothing=smoothing, trees_per_epoch=trees_per_epoch)
        positive(min_data_in_leaf=min_data_in_leaf, min_data_per_group=min_data_per_group)
        for name, share in (("feature_fraction", feature_fraction), ("bagging_fraction", bagging_fraction)):
            if not 0 < share <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {share}")
        if num_leaves < 2:
            raise ValueError(f"num_leaves must be at least 2, got {num_leaves}")
        super().__init__()
        self.field_dims, self.trees_per_epoch = tuple(field_dims), trees_per_epoch
        self.num_categories = 0 if encoding == "means" else len(field_dims)
        self.encoded = None if encoding == "native" else FoldMeans(sum(field_dims), smoothing)
        self.forest = Forest()
        self.options = {
            "num_leaves": num_leaves,
            "min_data_in_leaf": min_data_in_leaf,
            "lambda_l2": leaf_l2,
            "feature_fraction": feature_fraction,
            "bagging_fraction": bagging_fraction,
            "bagging_freq": int(bagging_fraction < 1),
            "cat_l2": cat_l2,
            "cat_smooth": cat_smooth,
            "min_data_per_group": min_data_per_group,
        }

    def boost(
        self, batch: Batch, labels: Tensor, weights: Tensor | None, valid: Batch, loss: str, learning_rate: float
    ) -> Iterator[tuple[float, Tensor]]:
        """Grow the trees of an epoch at each step; yield the mean training loss and the logits of `valid`."""
        lightgbm = library("lightgbm")
        squared = loss == "squared_error"
        options = {
            **self.options,
            "learning_rate": learning_rate,
            "objective": "regression" if squared else "binary",
            "metric": "l2" if squared else "binary_logloss",
            "seed": int(torch.randint(1 << 31, ())),
            "num_threads": torch.get_num_threads(),
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        data = lightgbm.Dataset(
            self.columns(batch, self.encoded and self.encoded.fit(batch, labels)).cpu().numpy(),
            (labels if squared else labels > 0).cpu().numpy(),
            weight=None if weights is None else weights.cpu().numpy(),
            categorical_feature=[*range(self.num_categories)],
            params=options,
        )
        self.booster = lightgbm.Booster(options, data)
        rows, logits = self.columns(valid).cpu().numpy(), np.zeros(len(valid))
        scale = (0.5 if squared else 1.0) * (1.0 if weights is None else float(weights.double().mean()))
        done = False
        while not done:
            first = self.booster.current_iteration()
            for _ in range(self.trees_per_epoch):
                done = done or self.booster.update()  # True if no split gains anything
            if grown := self.booster.current_iteration() - first:
                logits += self.booster.predict(
                    rows,
                    raw_score=True,
                    start_iteration=first,
                    num_iteration=grown,
                    num_threads=torch.get_num_threads(),
                )
            yield scale * float(self.booster.eval_train()[0][2]), torch.from_numpy(logits.copy())

    def keep(self, num_epochs: int) -> None:
        """Keep the trees of the first epochs."""
        text = self.booster.model_to_string(num_iteration=num_epochs * self.trees_per_epoch)
        self.forest.grow(**trees_of(text))
        del self.booster

    def columns(self, batch: Batch, encoded: Tensor | None = None) -> Tensor:
        """Make the columns of rows, `[batch, C]`; `encoded` are the means and counts of training rows."""
        parts = [own_ids(batch, self.field_dims)] if self.num_categories else []
        if self.encoded:
            parts.append(self.encoded(batch) if encoded is None else encoded)
        parts.append(torch.ones_like(batch.ids) if batch.values is None else batch.values)
        return torch.cat([part.to(self.forest.leaves.dtype) for part in parts], 1)

    def forward(self, batch: Batch) -> Tensor:
        return self.forest(self.columns(batch), batch.kernels)


def trees_of(text: str) -> dict[str, np.ndarray]:
    """Read the trees of a model in LightGBM's own text."""
    parts: dict[str, list[np.ndarray]] = {}
    num_nodes = num_leaves = num_words = 0
    for block in text.partition("\nend of trees")[0].split("\nTree=")[1:]:
        read = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        own: dict[str, Any] = {key: read.get(key, "").split() for key in read}
        leaves = np.array(own["leaf_value"], float)
        column = np.array(own.get("split_feature", []), int)
        threshold = np.array(own.get("threshold", []), float)
        is_set = np.array(own.get("decision_type", []), int) & 1 > 0
        bounds, words = (np.array(own.get(key, []), np.int64) for key in ("cat_boundaries", "cat_threshold"))
        number = np.where(is_set, threshold, 0).astype(int)
        sets = np.concatenate([bounds, [0, 0]]) if len(bounds) < 2 else bounds
        children = (np.array(own.get(key, []), int) for key in ("left_child", "right_child"))
        left, right = (np.where(each < 0, each - num_leaves, each + num_nodes) for each in children)
        tree = {
            "roots": np.array([num_nodes if len(column) else ~num_leaves]),
            "column": column,
            "threshold": threshold,
            "left": left,
            "right": right,
            "first_word": np.where(is_set, sets[number] + num_words, -1),
            "num_words": np.where(is_set, sets[number + is_set] - sets[number], 0),
            "words": words,
            "leaves": leaves,
        }
        for key, values in tree.items():
            parts.setdefault(key, []).append(values)
        num_nodes, num_leaves, num_words = num_nodes + len(column), num_leaves + len(leaves), num_words + len(words)
    return {key: np.concatenate(values) for key, values in parts.items()}
