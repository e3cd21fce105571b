"""Translate FuxiCTR's dataset_config.yaml into a proposal."""

import re
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.data.guessing import path_in, rows_of
from pipelines.data.guessing_fields import time_format
from pipelines.data.layouts import Layout
from pipelines.data.proposal import Field, Proposal
from pipelines.data.tables import PART
from pipelines.project.cli import one_of
from pipelines.project.records import read_yaml

PARTS = ("train", "valid", "test")
TIME_PARTS = {"hour": "hour", "weekday": "weekday", "day": "day", "month": "month"}  # by what preprocess ends with
SAID = {  # keys that a data set here can't have, and what happens instead
    "share_embedding": "its elements have embeddings of their own",
    "pretrained_emb": "embeddings start at random",
    "embedding_dim": "all fields have the same embed_dim",
}
NORMALIZERS = {"StandardScaler": "standard", "MinMaxScaler": "standard"}


def translate(file: Path, dataset_id: str, folder: Path) -> tuple[Proposal, pl.DataFrame]:
    """Translate one data set of a FuxiCTR config. What has no counterpart becomes a note.

    Raises ValueError for a config without `feature_cols` and for data files that are not there.
    """
    content = read_yaml(file)
    entries = content.items() if isinstance(content, dict) else ()
    configs = {name: each for name, each in entries if isinstance(each, dict) and "train_data" in each}
    if not configs:
        raise ValueError(
            f"{file}: no data set in it: expected NAME: {{train_data: …, feature_cols: […], label_col: …}}"
        )
    if not dataset_id and len(configs) > 1:
        raise ValueError(f"{file} has several data sets: choose one by --dataset-id: {', '.join(configs)}")
    name = one_of(f"data set of {file}", dataset_id or next(iter(configs)), configs)
    config = configs[name]
    if not isinstance(config.get("feature_cols"), list) or "label_col" not in config:
        said = f"data_format {config.get('data_format')}, " if config.get("data_format") in ("h5", "npz") else ""
        raise ValueError(f"{file}: {name}: {said}no feature_cols and label_col: describe the raw files instead")
    label = config["label_col"]
    all_labels = label if isinstance(label, list) else [label]
    for entry in [*all_labels, *config["feature_cols"]]:
        if not isinstance(entry, dict) or not entry.get("name"):
            raise ValueError(f"{file}: {name}: a column has no name: {entry!r}")
    files = {part: find(str(config[f"{part}_data"]), file) for part in PARTS if config.get(f"{part}_data")}
    paths = {part: path_in(folder, found) for part, found in files.items()}
    labels = [each["name"] for each in all_labels]
    proposal = Proposal(
        name=name,
        files=paths if len(paths) == len(PARTS) else [*paths.values()],
        layout=Layout(separator=str(config.get("separator", ","))),
        joins=[],
        label=labels[0],
        split={},
    )
    notes = proposal.notes
    if len(labels) > 1:
        notes.append(f"label_col: {labels[0]} alone is the label, not {', '.join(labels[1:])}")
    if len(paths) < len(PARTS):
        notes.append(f"of train, valid and test, only {', '.join(paths)} is named: the rows are split anew")
    for key in ("weight_col", "group_id"):
        if key in config:
            notes.append(f"{key}: not translated")
    table = rows_of(proposal, folder)
    least = config.get("min_categr_count", 1)
    for entry in config["feature_cols"]:
        names = entry["name"] if isinstance(entry["name"], list) else [entry["name"]]
        for each in names:
            add_field(proposal, str(each), entry, least, table)
    listed = {
        name
        for each in config["feature_cols"]
        for name in ([each["name"]] if isinstance(each["name"], str) else each["name"])
    }
    for column in table.columns:
        if column not in {PART, *labels, *listed}:
            proposal.dropped[column] = "not in feature_cols"
    return proposal, table


def find(given: str, config: Path) -> Path:
    """Find a data file. FuxiCTR's paths start where its command runs: here, or in a folder above the config.

    Raises ValueError for a file that is in none of these places.
    """
    places = [Path(), *config.resolve().parents]
    for place in places:
        if (path := place / given).is_file():
            return path
    if (path := config.parent / Path(given).name).is_file():
        return path
    raise ValueError(f"{config}: no file {given}, seen from here or from a folder above the config")


def add_field(proposal: Proposal, name: str, entry: dict[str, Any], least: int, table: pl.DataFrame) -> None:
    """Translate a feature column, as a field or as left out."""
    notes, kind = proposal.notes, entry.get("type", "categorical")
    if entry.get("active") is False:
        proposal.dropped[name] = "not active"
        return
    if kind not in ("categorical", "numeric", "sequence"):
        proposal.dropped[name] = f"of type {kind}"
        notes.append(f"{name}: fields have no type {kind}: left out")
        return
    for key in SAID.keys() & entry.keys():
        note = f"{key} of {name} is not translated: {SAID[key]}"
        notes += [note] if entry[key] and note not in notes else []
    count = int(entry.get("min_categr_count", least))
    keys = {} if kind == "numeric" or count == 2 else {"min_count": count}
    match kind:
        case "numeric":
            scale = NORMALIZERS.get(str(entry.get("normalizer")), "standard")
            if entry.get("normalizer") != "StandardScaler":
                notes.append(f"{name}: scale: standard stands for {entry.get('normalizer') or 'numbers as they are'}")
            keys = {"kind": "number", "scale": scale}
        case "sequence":
            keys = {"kind": "list", "separator": str(entry.get("splitter", "^")), **keys}
            keys |= {"max_length": int(entry["max_len"])} if entry.get("max_len") else {}
            if "Average" not in str(entry.get("feature_encoder", entry.get("encoder", "Average"))):
                notes.append(f"{name}: a list is the mean of its elements here")
    buckets = int(entry.get("num_buckets", 10))  # FuxiCTR's default
    match entry.get("category_processor"):
        case "hash_bucket":
            keys = {"hash": buckets}
        case "quantile_bucket":
            keys = {"kind": "number", "scale": "bins", "bins": buckets}
    if preprocess := entry.get("preprocess"):
        keys = preprocessed(proposal, name, str(preprocess), keys, table)
    column = keys.get("column", name)
    if column not in table.columns:
        proposal.dropped[name] = "not in the files"
        notes.append(f"{name}: the files have no such column: left out")
        return
    texts = table[column]
    if texts.n_unique() - (texts.null_count() > 0) < 1:
        proposal.dropped[name] = "empty"
        return
    proposal.fields[name] = Field(keys, texts.drop_nulls().n_unique(), texts.null_count() / max(1, len(texts)))


def preprocessed(
    proposal: Proposal, name: str, preprocess: str, keys: dict[str, Any], table: pl.DataFrame
) -> dict[str, Any]:
    """Translate a function that FuxiCTR applies to a column, where there is a counterpart."""
    function, _, given = preprocess.partition("(")
    source = given.rstrip(")").strip() or (name if name in table.columns else "hour")
    if function == "copy_from":
        return {"column": source, **keys}
    if function == "convert_to_bucket":
        proposal.notes.append(f"{name}: bins by quantiles stand for {preprocess}")
        return {"kind": "number", "scale": "bins"}
    if (part := re.split(r"[_]", function)[-1]) in TIME_PARTS:
        keys = {"kind": "time", "column": source, "part": TIME_PARTS[part]}
        if source in table.columns:
            known = table[source].drop_nulls().alias("time")
            numeric = bool(known.cast(pl.Float64, strict=False).is_not_null().all())
            return {**keys, "format": time_format(known, numeric) or ""}
        return keys
    proposal.notes.append(f"{name}: preprocess {preprocess} is not translated: its values stay as in the file")
    return keys
