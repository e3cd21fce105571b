"""Make modules of a bundle's model that `torch.export` and ONNX can express, and rows to compare them on."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from models.layers.batch import OnTensors
from pipelines.data.fields import Cells, Fitted, features_of
from pipelines.data.fresh import list_places
from pipelines.evaluation.bundles import Bundle, probabilities
from pipelines.evaluation.calibration import with_prior

NUM_ROWS = 64
LENGTH = 4  # of the lists that are drawn, at most
UNKNOWN = "unknown-to-any-field"


class FromFeatures(nn.Module):
    """Compute probabilities: ids and values `[rows, fields]`, and lists `[rows, list fields, length]` → `[rows]`.

    Lists hold features, and −1 where there are no more; a list of −1 alone is missing. The ids of fields with lists
    don't count. There are no lists where no field holds such. `rates` are the shares of positives that probabilities
    are corrected from and for; None: they are not.
    """

    holds_lists: Tensor
    missing: Tensor

    def __init__(self, model: nn.Module, kept: Bundle, rates: tuple[float, float] | None = None) -> None:
        super().__init__()
        self.loss, self.calibration, self.rates = kept.loss, kept.calibration, rates
        places = list_places(kept.fields, kept.fitted)
        self.logit = OnTensors(model, places)
        missing = [sum(kept.field_dims[:place]) + 1 for place in places]
        self.register_buffer("holds_lists", torch.tensor([place in places for place in range(len(kept.fields))]))
        self.register_buffer("missing", torch.tensor(missing, dtype=torch.int32)[None, :, None])
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, ids: Tensor, values: Tensor, lists: Tensor | None = None) -> Tensor:
        if lists is not None:
            ids = torch.where(self.holds_lists, 0, ids)
            empty = (lists < 0).all(2, keepdim=True)
            lists = torch.cat([lists, torch.where(empty, self.missing, -1)], 2)
        found = probabilities(self.logit(ids, values, lists), self.loss, self.calibration)
        return with_prior(found, *self.rates) if self.rates else found


class FromCells(nn.Module):
    """Compute probabilities of a tensor for each field, in their order → `[rows]`.

    Texts come as numbers of `known_texts` (int64): −1 for the unknown ones, −2 for missing ones. Lists are
    `[rows, length]` of these, filled up with −2. Numbers are float64, and NaN where they are missing.
    """

    def __init__(self, scored: FromFeatures, kept: Bundle, names: Sequence[pl.Series]) -> None:
        super().__init__()
        self.scored, self.kept, self.names = scored, kept, names

    def forward(self, *cells: Tensor) -> Tensor:
        ids, values, lists, first = [], [], [], 0
        for field, given, names in zip(self.kept.fields, cells, self.names, strict=True):
            fitted = self.kept.fitted.get(field)
            ones = torch.ones(given.shape[0])
            if fitted is None:  # a log's: a text that it lacks is left out
                feature, value = given.clamp(min=0), (given >= 0).float()
            elif given.dim() == 2:
                there = given > -2
                there = there & (there.cumsum(1) <= fitted.column.max_length)
                lists.append(torch.where(there, given.clamp(min=0) + first, -1).int())
                feature = torch.zeros_like(given[:, 0])
                value = there.sum(1).clamp(min=1).float() if fitted.column.pooling == "sum" else ones
            elif fitted.edges:
                bins = (given[:, None] > torch.tensor(fitted.edges, dtype=torch.float64)).sum(1)
                feature, value = (
                    torch.where(given.isnan(), 1, torch.tensor(features_of_bins(fitted, names))[bins]),
                    ones,
                )
            elif given.is_floating_point():
                near = given.sign() * given.abs().log1p() if fitted.column.scale == "log" else given
                scaled = ((near - fitted.center) / fitted.spread).float()
                feature, value = given.isnan().long(), torch.where(given.isnan(), 1.0, scaled)
            else:
                feature, value = torch.where(given == -2, 1, given.clamp(min=0)), ones
            ids.append(feature + first)
            values.append(value)
            first += len(names)
        together = torch.stack(ids, 1).int(), torch.stack(values, 1)
        return self.scored(*together, pad(lists)) if lists else self.scored(*together)


def pad(lists: Sequence[Tensor]) -> Tensor:
    """Put lists of several fields together, with −1 after shorter ones: `[rows, length]` → `[rows, lists, length]`."""
    if len(lists) == 1:
        return lists[0][:, None]
    places = [nn.functional.one_hot(torch.tensor(number), len(lists))[None, :, None] for number in range(len(lists))]
    return torch.cat([torch.where(place > 0, each[:, None], -1) for place, each in zip(places, lists, strict=True)], 2)


def known_texts(kept: Bundle, field: str, names: pl.Series) -> dict[str, int]:
    """Give the texts that a field knows their numbers, as `FromCells` takes them."""
    fitted, missing = kept.fitted.get(field), ("", *kept.layout.missing)
    known = dict(zip(names.to_list(), range(len(names)), strict=True))
    if fitted and fitted.column.kind != "list":
        known = {name: number for name, number in known.items() if number > 1}  # the first two are no texts
    return known | dict.fromkeys(missing if fitted and fitted.column.kind != "list" else missing[:1], -2)


def takes_numbers(kept: Bundle, field: str) -> bool:
    """Tell whether the cells of a field are numbers. Raises ValueError for a field whose features ONNX can't find."""
    fitted = kept.fitted.get(field)
    if fitted and fitted.column.hash:
        raise ValueError(f"field {field} has hashed values, and ONNX has no such hash: export without the vocabulary")
    return bool(fitted) and (
        fitted.column.kind == "number" or (fitted.column.kind, fitted.column.part) == ("time", "age")
    )


def features_of_bins(fitted: Fitted, names: pl.Series) -> list[int]:
    """Find the feature of each bin of numbers, from 0."""
    within = np.array([*fitted.edges, np.nextafter(fitted.edges[-1], np.inf)])
    return features_of(within, fitted, names, 0)[0].tolist()


def draw_features(kept: Bundle) -> tuple[Tensor, ...]:
    """Draw features, values, some of them 0, and lists, some of them empty; the same at each call."""
    generator = torch.Generator().manual_seed(0)

    def drawn(place: int, *shape: int) -> Tensor:
        size = kept.field_dims[place]
        return torch.randint(size, shape, generator=generator) + sum(kept.field_dims[:place])

    ids = torch.stack([drawn(place, NUM_ROWS) for place in range(len(kept.fields))], 1).int()
    values = torch.rand(ids.shape, generator=generator)
    rows = ids, values.where(values > 0.1, 0.0)
    if not (places := list_places(kept.fields, kept.fitted)):
        return rows
    lists = torch.stack([drawn(place, NUM_ROWS, LENGTH) for place in places], 1)
    ends = torch.randint(LENGTH + 1, (NUM_ROWS, len(places), 1), generator=generator)
    return *rows, torch.where(torch.arange(LENGTH) < ends, lists, -1).int()


def draw_cells(kept: Bundle, names: Mapping[str, pl.Series]) -> dict[str, Cells]:
    """Draw cells of each field as `read_cells` returns them, some of them missing; the same at each call."""
    rng = np.random.default_rng(0)
    missing, cells = rng.random((len(kept.fields), NUM_ROWS)) < 0.1, dict[str, Cells]()
    for field, without in zip(kept.fields, missing, strict=True):
        fitted = kept.fitted.get(field)
        if fitted and takes_numbers(kept, field):
            cells[field] = np.where(without, np.nan, draw_numbers(fitted, rng))
            continue
        is_list = fitted is not None and fitted.column.kind == "list"
        texts = rng.choice([*names[field][2 if fitted else 0 :], UNKNOWN], (NUM_ROWS, LENGTH if is_list else 1))
        ends = rng.integers(1, texts.shape[1] + 1, NUM_ROWS)
        joined = [
            (fitted.column.separator if fitted else "").join(row[:end]) for row, end in zip(texts, ends, strict=True)
        ]
        cells[field] = pl.Series(joined, dtype=pl.String).set(pl.Series(without), None)
    return cells


def draw_numbers(fitted: Fitted, rng: np.random.Generator) -> np.ndarray:
    """Draw numbers as far from each other as those that a field was fitted on."""
    if fitted.edges:
        return rng.choice([*fitted.edges, fitted.edges[0] - 1, fitted.edges[-1] + 1], NUM_ROWS)
    numbers = rng.normal(fitted.center, fitted.spread, NUM_ROWS)
    return np.sign(numbers) * np.expm1(np.abs(numbers)) if fitted.column.scale == "log" else numbers


def arrays_of(kept: Bundle, cells: Mapping[str, Cells]) -> dict[str, np.ndarray]:
    """Write cells as an exported model takes them: numbers, texts, and lists of texts, with "" for what is missing."""
    found = {}
    for field, given in cells.items():
        if isinstance(given, np.ndarray):
            found[field] = given
            continue
        fitted, texts = kept.fitted.get(field), given.fill_null("")
        if fitted and fitted.column.kind == "list":
            rows = [text.split(fitted.column.separator) for text in texts.to_list()]
            width = max(map(len, rows))
            found[field] = np.array([row + [""] * (width - len(row)) for row in rows], dtype=object)
        else:
            found[field] = texts.to_numpy().astype(object)
    return found


def numbers_of(given: Mapping[str, np.ndarray], texts: Mapping[str, Mapping[str, int]]) -> tuple[Tensor, ...]:
    """Turn texts into their numbers, as `with_texts` lets ONNX do."""
    numbers = {
        field: np.vectorize(lambda text, known=known: known.get(text, -1), [np.int64]) for field, known in texts.items()
    }
    return tuple(torch.from_numpy(numbers[field](cells) if field in texts else cells) for field, cells in given.items())


def with_texts(model: Any, texts: Mapping[str, Mapping[str, int]], fields: Sequence[str]) -> bytes:
    """Name the inputs of an ONNX model of `FromCells` as the fields, and let it find the numbers of texts."""
    import onnx
    from onnx import TensorProto, helper

    if "probability" in fields:
        raise ValueError("field probability is called as the exported model's output is: export without the vocabulary")
    inner = onnx.compose.add_prefix(model, "model/", rename_outputs=False)
    graph = inner.graph
    inputs, nodes = [], []
    for field, given in zip(fields, graph.input, strict=True):
        takes = TensorProto.STRING if field in texts else TensorProto.DOUBLE
        shape = ["rows", f"length of {field}"][: len(given.type.tensor_type.shape.dim)]
        inputs.append(helper.make_tensor_value_info(field, takes, shape))
        if field in texts:
            known = texts[field]
            numbers = {"keys_strings": [*known], "values_int64s": [*known.values()], "default_int64": -1}
            nodes.append(helper.make_node("LabelEncoder", [field], [given.name], domain="ai.onnx.ml", **numbers))
        else:
            nodes.append(helper.make_node("Identity", [field], [given.name]))
    nodes += graph.node
    for kept, new in ((graph.input, inputs), (graph.node, nodes)):
        del kept[:]
        kept.extend(new)
    inner.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    return inner.SerializeToString()
