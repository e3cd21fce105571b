"""Define CatBoost, gradient-boosted trees on statistics of categories (Prokhorenkova et al., NeurIPS 2018)."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.layers.batch import Batch
from models.layers.category_columns import CategoryStatistics, own_ids
from models.layers.checks import positive
from models.layers.trees import Forest, library
from models.registry import register_model


@register_model
class CatBoost(nn.Module):
    """Sum symmetric trees, each of whose levels asks all rows one question: ŷ = Σ_t leaf_t(x).

    The questions are whether a number is above a border: the value x_i, a field of two features, or a statistic of
    a category or of a combination of up to `max_ctr_complexity` (its mean label, smoothed by a prior, or its count).
    While trees grow, a row's statistics are those of the rows before it in a random order, and so without its own
    label; afterwards they are of all training rows. The package catboost grows the trees, and they are summed here. An
    epoch is `trees_per_epoch` trees. The defaults are those of the package; its learning rate, 0.03, is
    `training.learning_rate`.

    NOTE: a field of two features is a number, and so has no statistics of its own; that is one-hot, as in the package.
    """

    family = "trees"

    def __init__(
        self,
        field_dims: Sequence[int],
        *,
        depth: int = 6,
        leaf_l2: float = 3.0,
        random_strength: float = 1.0,
        subsample: float = 0.8,
        max_ctr_complexity: int = 4,
        trees_per_epoch: int = 50,
    ) -> None:
        positive(depth=depth, subsample=subsample, max_ctr_complexity=max_ctr_complexity)
        positive(trees_per_epoch=trees_per_epoch)
        if depth > 16 or subsample > 1:
            raise ValueError(f"depth must be at most 16 and subsample at most 1, got {depth} and {subsample}")
        super().__init__()
        self.field_dims, self.trees_per_epoch = tuple(field_dims), trees_per_epoch
        n = len(field_dims)
        self.categories = [field for field, size in enumerate(field_dims) if size > 2]
        self.numbers = [*(field for field in range(n) if field_dims[field] <= 2), *range(n, 2 * n)]
        self.statistics, self.forest = CategoryStatistics(2 * n), Forest()
        self.options = {
            "depth": depth,
            "l2_leaf_reg": leaf_l2,
            "random_strength": random_strength,
            "bootstrap_type": "MVS",
            "subsample": subsample,
            "max_ctr_complexity": max_ctr_complexity,
            "one_hot_max_size": 1,
        }

    def boost(
        self, batch: Batch, labels: Tensor, weights: Tensor | None, valid: Batch, loss: str, learning_rate: float
    ) -> Iterator[tuple[float, Tensor]]:
        """Grow the trees of an epoch at each step; yield the mean training loss and the logits of `valid`."""
        catboost, squared = library("catboost"), loss == "squared_error"
        self.columns_of_train, self.labels = self.columns(batch), labels
        data = catboost.Pool(
            self.table(self.columns_of_train),
            (labels if squared else labels > 0).double().cpu().numpy(),
            cat_features=[*range(len(self.categories))],
            weight=None if weights is None else weights.cpu().numpy(),
        )
        rows, scale = self.columns(valid), 1.0 if weights is None else float(weights.double().mean())
        seed = int(torch.randint(1 << 31, ()))
        with tempfile.TemporaryDirectory(prefix="factorbench-") as folder:
            options = {
                **self.options,
                "loss_function": "RMSE" if squared else "Logloss",
                "boost_from_average": squared,
                "leaf_estimation_iterations": 1 if squared else 10,
                "learning_rate": learning_rate,
                "random_seed": seed,
                "thread_count": torch.get_num_threads(),
                "logging_level": "Silent",
                "allow_const_label": True,
                "final_ctr_computation_mode": "Skip",
                "train_dir": folder,
                "save_snapshot": True,  # from which the next epoch goes on
                "snapshot_file": "snapshot",
                "snapshot_interval": 10**6,
            }
            num_trees = 0
            while True:
                num_trees += self.trees_per_epoch
                grown = catboost.CatBoost({**options, "iterations": num_trees})
                try:
                    grown.fit(data)
                except catboost.CatBoostError as error:  # such as: all features are constant
                    raise ValueError(f"catboost: {str(error).splitlines()[0].rpartition(': ')[2]}") from error
                grown.save_model(f"{folder}/model.json", format="json")
                self.grown = json.loads(Path(folder, "model.json").read_text(encoding="utf-8"))
                self.read(num_trees)
                reached = next(iter(grown.get_evals_result()["learn"].values()))[-1]
                train_loss = 0.5 * reached**2 if squared else reached
                yield scale * train_loss, self.sum_trees(rows, kernels=True).cpu()
                if grown.tree_count_ < num_trees:
                    return

    def keep(self, num_epochs: int) -> None:
        """Keep the trees of the first epochs."""
        self.read(num_epochs * self.trees_per_epoch)
        del self.grown, self.columns_of_train, self.labels

    def read(self, num_trees: int) -> None:
        """Take the first trees that have grown, and fit the statistics that they need."""
        trees, known = self.grown["oblivious_trees"][:num_trees], self.grown["features_info"]
        questions = [
            (self.numbers[each["feature_index"]], border)
            for each in known.get("float_features") or []
            for border in each["borders"] or []
        ]
        used = {split["split_index"] for tree in trees for split in tree["splits"] or []}
        statistics, first = [], len(questions)
        for each in known.get("ctrs") or []:
            places = range(first, first + len(each["borders"]))
            first += len(each["borders"])
            column = 2 * len(self.field_dims) + len(statistics)
            questions += [(column, border) for border in each["borders"]]
            if used & {*places}:
                statistics.append(self.statistic_of(each))
        self.statistics.fit(statistics, self.columns_of_train, self.labels)
        self.forest.grow(**symmetric([self.levels(tree, questions) for tree in trees], self.grown["scale_and_bias"][1]))

    def levels(self, tree: dict[str, Any], questions: Sequence[tuple[int, float]]) -> Any:
        return [questions[split["split_index"]] for split in tree["splits"] or []], tree["leaf_values"]

    def statistic_of(self, ctr: dict[str, Any]) -> Any:
        """Return a statistic's parts, whether it counts, its prior and its scale."""
        parts = []
        for each in ctr["elements"]:
            if each["combination_element"] == "cat_feature_value":
                parts.append((self.categories[each["cat_feature_index"]], None))
            else:
                parts.append((self.numbers[each["float_feature_index"]], each["border"]))
        numbers = (ctr[key] for key in ("prior_numerator", "prior_denomerator", "shift", "scale"))
        return tuple(parts), ctr["ctr_type"] == "Counter", *numbers

    def table(self, columns: Tensor) -> Any:
        """Make the table that catboost reads: categories first."""
        pandas, whole = library("pandas"), columns.cpu().numpy()
        categories = {f"c{field}": whole[:, field].astype(np.int32) for field in self.categories}
        return pandas.DataFrame(categories | {f"n{column}": whole[:, column] for column in self.numbers})

    def columns(self, batch: Batch) -> Tensor:
        """Make the columns of rows: features and values, `[batch, 2 n]`."""
        values = torch.ones_like(batch.ids) if batch.values is None else batch.values
        parts = own_ids(batch, self.field_dims), values
        return torch.cat([part.to(self.forest.leaves.dtype) for part in parts], 1)

    def sum_trees(self, columns: Tensor, kernels: bool) -> Tensor:
        return self.forest(torch.cat([columns, self.statistics(columns)], 1), kernels)

    def forward(self, batch: Batch) -> Tensor:
        return self.sum_trees(self.columns(batch), batch.kernels)


def symmetric(trees: Sequence[Any], bias: Sequence[float]) -> dict[str, np.ndarray]:
    """Write symmetric trees node by node, and the bias as a tree of one leaf.

    Bit d of a leaf's number is the answer to question d. The node of level d that was reached by answers a, from
    question D − 1 down, is number 2^d − 1 + a of its tree.
    """
    parts: dict[str, list[Any]] = {
        "roots": [[~0]], "column": [], "threshold": [], "left": [], "right": [], "leaves": [np.array(bias)],
    }  # fmt: skip
    num_nodes, num_leaves = 0, len(bias)
    for questions, leaves in trees:
        depth = len(questions)
        parts["roots"].append([num_nodes if depth else ~num_leaves])
        for level, (column, threshold) in enumerate(reversed(questions)):
            answers = np.arange(1 << level)
            parts["column"].append(np.full(len(answers), column))
            parts["threshold"].append(np.full(len(answers), threshold))
            next_level = num_nodes + (2 << level) - 1
            for side, bit in (("left", 0), ("right", 1)):
                below = 2 * answers + bit
                parts[side].append(~(num_leaves + below) if level == depth - 1 else next_level + below)
        parts["leaves"].append(np.array(leaves))
        num_nodes, num_leaves = num_nodes + (1 << depth) - 1, num_leaves + len(leaves)
    whole = {key: np.concatenate([[], *each]) for key, each in parts.items()}
    whole |= {key: whole[key].astype(int) for key in ("roots", "column", "left", "right")}
    nothing = np.zeros(num_nodes, int)
    return {**whole, "first_word": nothing - 1, "num_words": nothing, "words": nothing[:0]}
