"""Train with FuxiCTR: its feature map, npz data loader, BaseModel and `fit`.

The task is "regression", the loss MSE. The package holds the layers, loaders and trainer; the models FM … FFM are only
in the model_zoo folder of its repository. Here each is built in the same way from the package's layers.
"""

import argparse
import json
import os
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.dataloaders import RankDataLoader
from fuxictr.pytorch.layers import (
    FactorizationMachine,
    FeatureEmbedding,
    InnerProductInteraction,
    LogisticRegression,
    MLP_Block,
)
from fuxictr.pytorch.models import BaseModel
from fuxictr.pytorch.torch_utils import seed_everything
from torch import Tensor, nn

from sides.loop import Splits, search
from sides.timing import (
    HIDDEN_DIMS,
    MeasuredError,
    TimedLoader,
    command_line,
    print_record,
    read_schema,
)


class Model(BaseModel):
    """Share a `forward` that maps a batch to `y_pred` by way of `logits`."""

    def __init__(self, feature_map: FeatureMap, attention_dim: int, **params: Any) -> None:
        super().__init__(feature_map, **params)
        self.embed_dim, self.dropout = params["embedding_dim"], params.get("net_dropout", 0.0)
        self.make_layers(feature_map, attention_dim)
        self.compile(params["optimizer"], params["loss"], params["learning_rate"])
        self.reset_parameters()
        self.model_to_device()

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"y_pred": self.output_activation(self.logits(self.get_inputs(inputs)))}


class FM(Model):
    def make_layers(self, feature_map: FeatureMap, attention_dim: int) -> None:
        self.embedding_layer = FeatureEmbedding(feature_map, self.embed_dim)
        self.fm = FactorizationMachine(feature_map)  # linear terms and inner products

    def logits(self, X: dict[str, Tensor]) -> Tensor:
        return self.fm(X, self.embedding_layer(X))


class DeepFM(FM):
    def make_layers(self, feature_map: FeatureMap, attention_dim: int) -> None:
        super().make_layers(feature_map, attention_dim)
        units = list(HIDDEN_DIMS["deepfm"])
        sizes = {"input_dim": feature_map.sum_emb_out_dim(), "output_dim": 1, "hidden_units": units}
        self.mlp = MLP_Block(**sizes, dropout_rates=self.dropout)

    def logits(self, X: dict[str, Tensor]) -> Tensor:
        embedding = self.embedding_layer(X)
        return self.fm(X, embedding) + self.mlp(embedding.flatten(start_dim=1))


class NFM(Model):
    def make_layers(self, feature_map: FeatureMap, attention_dim: int) -> None:
        self.embedding_layer = FeatureEmbedding(feature_map, self.embed_dim)
        self.linear = LogisticRegression(feature_map)
        self.pooling = InnerProductInteraction(feature_map.num_fields, output="bi_interaction")
        units = list(HIDDEN_DIMS["nfm"])
        self.mlp = MLP_Block(input_dim=self.embed_dim, output_dim=1, hidden_units=units, batch_norm=True)

    def logits(self, X: dict[str, Tensor]) -> Tensor:
        return self.linear(X) + self.mlp(self.pooling(self.embedding_layer(X)))


class AFM(Model):
    def make_layers(self, feature_map: FeatureMap, attention_dim: int) -> None:
        self.embedding_layer = FeatureEmbedding(feature_map, self.embed_dim)
        self.linear = LogisticRegression(feature_map)
        self.products = InnerProductInteraction(feature_map.num_fields, output="elementwise_product")
        hidden, h = nn.Linear(self.embed_dim, attention_dim), nn.Linear(attention_dim, 1, bias=False)
        self.attention = nn.Sequential(hidden, nn.ReLU(), h, nn.Softmax(dim=1))
        self.p = nn.Linear(self.embed_dim, 1, bias=False)

    def logits(self, X: dict[str, Tensor]) -> Tensor:
        products = self.products(self.embedding_layer(X))
        return self.linear(X) + self.p((self.attention(products) * products).sum(dim=1))


class FFM(Model):
    """Use n − 1 tables of embeddings: a field needs none for itself."""

    def make_layers(self, feature_map: FeatureMap, attention_dim: int) -> None:
        self.linear = LogisticRegression(feature_map)
        tables = [FeatureEmbedding(feature_map, self.embed_dim) for _ in range(feature_map.num_fields - 1)]
        self.tables = nn.ModuleList(tables)

    def logits(self, X: dict[str, Tensor]) -> Tensor:
        tables = [table(X) for table in self.tables]  # n − 1 of [batch, n, K]
        total = self.linear(X)
        for i, j in combinations(range(len(tables) + 1), 2):
            total = total + (tables[j - 1][:, i] * tables[i][:, j]).sum(dim=1, keepdim=True)
        return total


MODELS = {"fm": FM, "deepfm": DeepFM, "nfm": NFM, "afm": AFM, "ffm": FFM}


def write_inputs(data: Path, schema: dict[str, Any]) -> Path:
    """Write the package's file of each split and feature_map.json; return their folder.

    A split's file has one column of int32 for each field.
    """
    folder = data / "fuxictr"
    folder.mkdir(exist_ok=True)
    offsets = np.cumsum([0, *schema["field_dims"][:-1]])
    for file in [data / f"{split}.npz" for split in ("train", "valid")]:
        if file.exists() and not (folder / file.name).exists():
            rows = np.load(file)
            columns = dict(zip(schema["fields"], (rows["features"] - offsets).astype(np.int32).T, strict=True))
            np.savez(folder / file.name, **columns, label=rows["labels"].astype(np.int32))
    if not (folder / "feature_map.json").exists():
        features = [
            {field: {"source": "", "type": "categorical", "vocab_size": size}}
            for field, size in zip(schema["fields"], schema["field_dims"], strict=True)
        ]
        feature_map = {
            "dataset_id": folder.name,
            "num_fields": len(features),
            "total_features": sum(schema["field_dims"]),
            "input_length": len(features),
            "labels": ["label"],
            "features": features,
        }
        (folder / "feature_map.json").write_text(json.dumps(feature_map), encoding="utf-8")
    return folder


def settings(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the keys of a model_config.yaml. There is no validation: it would come after `eval_steps` batches."""
    return {
        "task": "regression",
        "loss": "mse_loss",
        "optimizer": "Adagrad",
        "learning_rate": args.learning_rate,
        "metrics": ["AUC"],
        "eval_steps": 10**9,
        "gpu": -1,
        "verbose": 0,
        "model_root": str(folder),
        "embedding_dim": args.embed_dim,
        "net_dropout": args.dropout,
    }


def load(args: argparse.Namespace, split: str) -> RankDataLoader:
    """Make the package's loader of a split's rows."""
    folder = write_inputs(args.data, read_schema(args.data))
    loader, _ = RankDataLoader(
        feature_map_of(args, folder),
        stage="train",
        train_data=str(folder / f"{split}.npz"),
        batch_size=args.batch_size,
        data_format="npz",
        shuffle=split == "train",
        num_workers=0,  # one process, as on all sides
    )
    return loader


def feature_map_of(args: argparse.Namespace, folder: Path) -> FeatureMap:
    feature_map = FeatureMap(folder.name, str(folder))
    feature_map.load(str(folder / "feature_map.json"), settings(args, folder))
    return feature_map


def run_trial(args: argparse.Namespace, splits: Splits) -> float:
    """Train a model by `fit`, and return the best epoch's AUC on the validation rows.

    `fit` evaluates after each epoch, and stores and loads the best weights. Its early stopping is turned off.
    """
    folder = args.data / "fuxictr"
    more = {"embedding_regularizer": args.l2, "reduce_lr_on_plateau": False, "early_stop_patience": args.epochs}
    params = settings(args, folder.parent) | more | {"eval_steps": None, "model_id": f"trial-{os.getpid()}"}
    model = MODELS[args.model](feature_map_of(args, folder), args.attention_dim, **params)
    train_rows, valid_rows = splits
    model.fit(train_rows, epochs=args.epochs, validation_data=valid_rows)
    return float(model._best_metric)


def main() -> None:
    args = command_line()
    torch.set_num_threads(args.threads)
    if args.settings:
        return search(args, load, run_trial, "fuxictr", "torch", "numpy")
    seed_everything(2019)
    if args.model not in MODELS:
        raise ValueError(f"FuxiCTR has no {args.model}")
    folder = args.data / "fuxictr"
    timed = TimedLoader(load(args, "train"), args, read_schema(args.data)["num_rows"]["train"])
    model = MODELS[args.model](feature_map_of(args, folder), args.attention_dim, **settings(args, folder))
    try:
        model.fit(timed, epochs=10**6)
    except MeasuredError:
        print_record(timed.record(), "fuxictr", "torch", "numpy", loss="MSE")


if __name__ == "__main__":
    sys.exit(main())
