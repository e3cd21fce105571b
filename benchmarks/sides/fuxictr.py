"""Train with FuxiCTR: its feature map, npz data loader, BaseModel and `fit`.

The task is "regression", the loss MSE. The package holds the layers, loaders and trainer; the models FM … FFM are only
in the model_zoo folder of its repository. Here each is built in the same way from the package's layers.
"""

import argparse
import json
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

from sides.timing import (
    EMBED_DIM,
    HIDDEN_DIMS,
    LEARNING_RATE,
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
        self.make_layers(feature_map, attention_dim)
        self.compile(params["optimizer"], params["loss"], params["learning_rate"])
        self.reset_parameters()
        self.model_to_device()

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"y_pred": self.output_activation(self.logits(self.get_inputs(inputs)))}


class FM(Model):
    def make_layers(self, feature_map: FeatureMap, attention_dim: int) -> None:
        self.embedding_layer = FeatureEmbedding(feature_map, EMBED_DIM)
        self.fm = FactorizationMachine(feature_map)  # linear terms and inner products

    def logits(self, X: dict[str, Tensor]) -> Tensor:
        return self.fm(X, self.embedding_layer(X))


class DeepFM(FM):
    def make_layers(self, feature_map: FeatureMap, attention_dim: int) -> None:
        super().make_layers(feature_map, attention_dim)
        units = list(HIDDEN_DIMS["deepfm"])
        self.mlp = MLP_Block(input_dim=feature_map.sum_emb_out_dim(), output_dim=1, hidden_units=units)

    def logits(self, X: dict[str, Tensor]) -> Tensor:
        embedding = self.embedding_layer(X)
        return self.fm(X, embedding) + self.mlp(embedding.flatten(start_dim=1))


class NFM(Model):
    def make_layers(self, feature_map: FeatureMap, attention_dim: int) -> None:
        self.embedding_layer = FeatureEmbedding(feature_map, EMBED_DIM)
        self.linear = LogisticRegression(feature_map)
        self.pooling = InnerProductInteraction(feature_map.num_fields, output="bi_interaction")
        units = list(HIDDEN_DIMS["nfm"])
        self.mlp = MLP_Block(input_dim=EMBED_DIM, output_dim=1, hidden_units=units, batch_norm=True)

    def logits(self, X: dict[str, Tensor]) -> Tensor:
        return self.linear(X) + self.mlp(self.pooling(self.embedding_layer(X)))


class AFM(Model):
    def make_layers(self, feature_map: FeatureMap, attention_dim: int) -> None:
        self.embedding_layer = FeatureEmbedding(feature_map, EMBED_DIM)
        self.linear = LogisticRegression(feature_map)
        self.products = InnerProductInteraction(feature_map.num_fields, output="elementwise_product")
        hidden, h = nn.Linear(EMBED_DIM, attention_dim), nn.Linear(attention_dim, 1, bias=False)
        self.attention = nn.Sequential(hidden, nn.ReLU(), h, nn.Softmax(dim=1))
        self.p = nn.Linear(EMBED_DIM, 1, bias=False)

    def logits(self, X: dict[str, Tensor]) -> Tensor:
        products = self.products(self.embedding_layer(X))
        return self.linear(X) + self.p((self.attention(products) * products).sum(dim=1))


class FFM(Model):
    """Use n − 1 tables of embeddings: a field needs none for itself."""

    def make_layers(self, feature_map: FeatureMap, attention_dim: int) -> None:
        self.linear = LogisticRegression(feature_map)
        tables = [FeatureEmbedding(feature_map, EMBED_DIM) for _ in range(feature_map.num_fields - 1)]
        self.tables = nn.ModuleList(tables)

    def logits(self, X: dict[str, Tensor]) -> Tensor:
        tables = [table(X) for table in self.tables]  # n − 1 of [batch, n, K]
        total = self.linear(X)
        for i, j in combinations(range(len(tables) + 1), 2):
            total = total + (tables[j - 1][:, i] * tables[i][:, j]).sum(dim=1, keepdim=True)
        return total


def write_inputs(data: Path, schema: dict[str, Any]) -> Path:
    """Write the package's train.npz and feature_map.json; return their folder.

    train.npz has one column of int32 for each field.
    """
    folder = data / "fuxictr"
    if not (folder / "feature_map.json").exists():
        folder.mkdir(exist_ok=True)
        rows = np.load(data / "train.npz")
        offsets = np.cumsum([0, *schema["field_dims"][:-1]])
        columns = dict(zip(schema["fields"], (rows["features"] - offsets).astype(np.int32).T, strict=True))
        np.savez(folder / "train.npz", **columns, label=rows["labels"].astype(np.int32))
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
        "learning_rate": LEARNING_RATE,
        "metrics": ["AUC"],
        "eval_steps": 10**9,
        "gpu": -1,
        "verbose": 0,
        "model_root": str(folder),
        "embedding_dim": EMBED_DIM,
    }


def main() -> None:
    args = command_line()
    torch.set_num_threads(args.threads)
    seed_everything(2019)
    models = {"fm": FM, "deepfm": DeepFM, "nfm": NFM, "afm": AFM, "ffm": FFM}
    if args.model not in models:
        raise ValueError(f"FuxiCTR has no {args.model}")
    schema = read_schema(args.data)
    folder = write_inputs(args.data, schema)
    params = settings(args, folder)
    feature_map = FeatureMap(folder.name, str(folder))
    feature_map.load(str(folder / "feature_map.json"), params)
    loader, _ = RankDataLoader(
        feature_map,
        stage="train",
        train_data=str(folder / "train.npz"),
        batch_size=args.batch_size,
        data_format="npz",
        shuffle=True,
        num_workers=0,  # one process, as on all sides
    )
    timed = TimedLoader(loader, args, schema["num_rows"]["train"])
    model = models[args.model](feature_map, args.attention_dim, **params)
    try:
        model.fit(timed, epochs=10**6)
    except MeasuredError:
        print_record(timed.record(), "fuxictr", "torch", "numpy", loss="MSE")


if __name__ == "__main__":
    sys.exit(main())
