"""Train with RecBole as its quick start does, with its models' BCE.

Uses Config, create_dataset, data_preparation and the Trainer.
"""

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

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

MODELS = {"fm": "FM", "deepfm": "DeepFM", "nfm": "NFM", "afm": "AFM", "ffm": "FFM"}


def write_inputs(data: Path, schema: dict[str, Any]) -> Path:
    """Write the package's atomic file recbole/recbole.inter; return its folder.

    The file has one column of tokens for each field, and the label.
    """
    folder = data / "recbole"
    if not (folder / "recbole.inter").exists():
        folder.mkdir(exist_ok=True)
        rows = np.load(data / "train.npz")
        table = np.column_stack([rows["features"], (rows["labels"] > 0).astype(np.int32)])
        header = "\t".join([*(f"{field}:token" for field in schema["fields"]), "label:float"])
        np.savetxt(folder / "recbole.inter", table, fmt="%d", delimiter="\t", header=header, comments="")
    return folder


def settings(model: str, folder: Path, fields: list[str], batch_size: int, attention_dim: int) -> dict[str, Any]:
    """Return the keys of a config file.

    The split leaves the fewest rows for valid and test, which are not used here.
    """
    sizes: dict[str, Any] = {"mlp_hidden_size": list(HIDDEN_DIMS[model])} if model in HIDDEN_DIMS else {}
    if model == "afm":
        sizes = {"attention_size": attention_dim, "reg_weight": 0.0}
    if model in ("deepfm", "nfm", "afm"):
        sizes["dropout_prob"] = 0.0
    return {
        **sizes,
        "data_path": str(folder.parent),
        "checkpoint_dir": str(folder / "saved"),
        "USER_ID_FIELD": fields[0],
        "ITEM_ID_FIELD": fields[1],
        "LABEL_FIELD": "label",
        "load_col": {"inter": [*fields, "label"]},
        "use_gpu": False,
        "embedding_size": EMBED_DIM,
        "train_batch_size": batch_size,
        "train_neg_sample_args": None,
        "learner": "adagrad",
        "learning_rate": LEARNING_RATE,
        "epochs": 10**6,
        "eval_args": {"split": {"RS": [0.98, 0.01, 0.01]}, "group_by": "none", "order": "RO", "mode": "labeled"},
        "metrics": ["AUC", "LogLoss"],
        "valid_metric": "AUC",
        "show_progress": False,
        "save_dataset": True,
        "state": "WARNING",
    }


def main() -> None:
    args = command_line()
    torch.set_num_threads(args.threads)
    if args.model not in MODELS:
        raise ValueError(f"RecBole has no {args.model}")
    schema = read_schema(args.data)
    folder = write_inputs(args.data, schema)
    options = settings(args.model, folder, schema["fields"], args.batch_size, args.attention_dim)
    sys.argv = sys.argv[:1]  # the package reads the command line too
    config = Config(model=MODELS[args.model], dataset="recbole", config_dict=options)
    logging.getLogger().setLevel(logging.WARNING)
    init_seed(config["seed"], config["reproducibility"])
    torch.set_num_threads(args.threads)
    dataset = create_dataset(config)
    train_data, _, _ = data_preparation(config, dataset)
    rows_there = len(train_data.dataset)
    timed = TimedLoader(train_data, args, schema["num_rows"]["train"], rows_there)
    model = get_model(config["model"])(config, train_data.dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    try:
        trainer.fit(timed, saved=False, show_progress=False)
    except MeasuredError:
        print_record(timed.record(), "recbole", "torch", "numpy", loss="BCE")


if __name__ == "__main__":
    sys.exit(main())
