"""Write a bundle's model in a format that needs neither factorbench nor its code."""

import inspect
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.project.cli import run
from pipelines.project.files import written_whole

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pipelines.evaluation.bundles import Bundle
    from pipelines.evaluation.exports import FromFeatures

TOLERANCE = 1e-5
Exported = tuple[bytes, "Tensor", "Tensor"]  # the file, and the probabilities of drawn rows by it and by the model


class Format(StrEnum):
    """Name a format: ONNX, or a program of torch.export."""

    onnx = "onnx"
    torch = "torch"


class Vocabulary(StrEnum):
    """Say where texts become features: by vocabulary.parquet, or in the exported model."""

    beside = "beside"
    inside = "inside"


def main(
    bundle: Annotated[Path, typer.Option(help="Folder that `factorbench bundle` wrote.")],
    format: Annotated[Format, typer.Option(help="onnx, or torch for a program of torch.export.")] = Format.onnx,
    out: Annotated[Path | None, typer.Option(help="File to write; otherwise in the bundle's folder.")] = None,
    prior: Annotated[
        float | None, typer.Option(help="Share of positives among the rows to score, where training had another.")
    ] = None,
    vocabulary: Annotated[
        Vocabulary, typer.Option(help="inside: the model takes the fields' texts and numbers, not feature ids.")
    ] = Vocabulary.beside,
) -> None:
    """Write a bundle's model in a format that other programs read.

    The exported model takes feature ids (int32) and values (float32) of any
    number of rows, one column for each field, and returns the probability of
    the label +1, calibrated if the bundle is, and corrected for --prior. A value
    of 0 leaves a feature out. Where fields hold lists, it also takes lists
    (int32, one for each row and field), with -1 after the shorter ones.

    With the vocabulary inside, it takes an input for each field instead: texts,
    float64 numbers, or a row of texts for a list; "" and NaN are missing.

    It is compared with the model on random rows before it is written.
    Writes model.onnx, names.onnx (with the vocabulary) or model.pt2.
    """
    from pipelines.evaluation.bundles import read_bundle  # torch takes seconds to import
    from pipelines.evaluation.exports import NUM_ROWS, FromFeatures
    from pipelines.predict import rates_of

    inside = vocabulary == Vocabulary.inside
    if inside and format == Format.torch:
        raise ValueError("--vocabulary inside: torch.export knows no texts; choose --format onnx")
    kept, model = read_bundle(bundle)
    scored = FromFeatures(model, kept, None if prior is None else rates_of(kept, prior))
    with quiet():
        if inside:
            content, again, expected = to_onnx_of_cells(scored, kept, bundle)
        else:
            content, again, expected = (to_onnx if format == Format.onnx else to_torch)(scored, kept)
    difference = float((again - expected).abs().max())
    if not difference < TOLERANCE:
        raise ValueError(f"{kept.model} as {format} gives other probabilities: they differ by {difference:.1e}")
    file = out or bundle / ("names.onnx" if inside else {"onnx": "model.onnx", "torch": "model.pt2"}[format])
    with written_whole(file) as partial:
        partial.write_bytes(content)
    print(f"{file}: {kept.model}, {len(content):,} bytes, within {difference:.1e} of the model on {NUM_ROWS} rows")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what torch says of what it tries while it exports."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(logging.NOTSET)


def program_of(module: "nn.Module", given: tuple["Tensor", ...], lists: list[int]) -> Any:
    """Trace a module with any number of rows, and lists of any length in the last dimension of tensors `lists`."""
    import torch

    rows = torch.export.Dim("rows")
    shapes: list[dict[int, Any]] = [{0: rows} for _ in given]
    for number in lists:
        shapes[number][given[number].dim() - 1] = torch.export.Dim(f"length_{number}")
    few = tuple(tensor[:3] for tensor in given)
    variadic = "cells" in inspect.signature(module.forward).parameters
    return torch.export.export(module, few, dynamic_shapes=(tuple(shapes),) if variadic else tuple(shapes))


def to_torch(scored: "FromFeatures", kept: "Bundle") -> Exported:
    """Write a program of torch.export."""
    import io

    import torch

    from pipelines.evaluation.exports import draw_features

    rows, content = draw_features(kept), io.BytesIO()
    torch.export.save(program_of(scored, rows, [2] if len(rows) > 2 else []), content)
    content.seek(0)
    return content.getvalue(), torch.export.load(content).module()(*rows), scored(*rows)


def to_onnx(scored: "FromFeatures", kept: "Bundle") -> Exported:
    """Write an ONNX model of features."""
    from pipelines.evaluation.exports import draw_features

    rows = draw_features(kept)
    content = onnx_of(program_of(scored, rows, [2] if len(rows) > 2 else [])).SerializeToString()
    named = zip(("ids", "values", "lists"), (tensor.numpy() for tensor in rows), strict=False)
    return content, said_by_onnx(content, dict(named)), scored(*rows)


def to_onnx_of_cells(scored: "FromFeatures", kept: "Bundle", bundle: Path) -> Exported:
    """Write an ONNX model of cells."""
    import torch

    from pipelines.data.fresh import features_of_cells, names_by_field, padded
    from pipelines.evaluation import exports
    from pipelines.evaluation.bundles import read_vocabulary

    names = names_by_field(read_vocabulary(bundle, kept))
    numeric = {field: exports.takes_numbers(kept, field) for field in kept.fields}
    texts = {field: exports.known_texts(kept, field, names[field]) for field in kept.fields if not numeric[field]}
    cells = exports.draw_cells(kept, names)
    given = exports.arrays_of(kept, cells)
    encoded = exports.numbers_of(given, texts)
    module = exports.FromCells(scored, kept, list(names.values()))
    lists = [number for number, tensor in enumerate(encoded) if tensor.dim() == 2]
    content = exports.with_texts(onnx_of(program_of(module, encoded, lists)), texts, kept.fields)
    ids, values, found = features_of_cells(cells, kept.fitted, names)
    rows = [torch.from_numpy(ids), torch.from_numpy(values)]
    if found is not None:
        places = exports.list_places(kept.fields, kept.fitted)
        rows.append(torch.from_numpy(padded(ids[:, places], found, sum(kept.field_dims))))
    return content, said_by_onnx(content, given), scored(*rows)


def onnx_of(program: Any) -> Any:
    """Turn a program of torch.export into ONNX. Raises ValueError that says what ONNX lacks."""
    import torch

    try:
        import onnxruntime  # noqa: F401 - said before any work
        import onnxscript  # noqa: F401 - torch needs it
    except ImportError as error:
        raise ValueError(f"--format onnx needs {error.name}: pip install 'factorbench[onnx]'") from error
    try:
        made = torch.onnx.export(program, dynamo=True, verbose=False, output_names=["probability"])
        assert made is not None
    except torch.onnx.errors.OnnxExporterError as error:
        cause: BaseException = error
        while cause.__cause__:
            cause = cause.__cause__
        raise ValueError(f"ONNX can't express the model: {str(cause).splitlines()[0]}; try --format torch") from error
    for node in (model := made.model_proto).graph.node:
        del node.metadata_props[:]  # paths of this machine, which take more bytes than a small model
    return model


def said_by_onnx(content: bytes, given: dict[str, Any]) -> "Tensor":
    """Return the probabilities that ONNX Runtime computes."""
    import onnxruntime
    import torch

    return torch.from_numpy(onnxruntime.InferenceSession(content).run(None, given)[0])


if __name__ == "__main__":
    run(main)
