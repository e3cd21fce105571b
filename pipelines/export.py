"""Write a bundle's model in a format that needs neither factorbench nor its code."""

import logging
import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.project.cli import run
from pipelines.project.files import written_whole

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pipelines.evaluation.bundles import Bundle

NUM_ROWS = 64  # on which the exported model is compared
TOLERANCE = 1e-5


class Format(StrEnum):
    """Name a format: ONNX, or a program of torch.export."""

    onnx = "onnx"
    torch = "torch"


def main(
    bundle: Annotated[Path, typer.Option(help="Folder that `factorbench bundle` wrote.")],
    format: Annotated[Format, typer.Option(help="onnx, or torch for a program of torch.export.")] = Format.onnx,
    out: Annotated[Path | None, typer.Option(help="File to write; otherwise model.onnx or model.pt2 there.")] = None,
) -> None:
    """Write a bundle's model in a format that other programs read.

    The exported model takes feature ids (int32) and values (float32) of any
    number of rows, one column for each field, and returns the probability of
    the label +1, calibrated if the bundle is. A value of 0 leaves a feature out. It is compared with the
    model on random rows before it is written.
    """
    from pipelines.evaluation.bundles import read_bundle  # torch takes seconds to import

    kept, model = read_bundle(bundle)
    scored = probability_of(model, kept)
    rows = random_rows(kept.field_dims)
    file = out or bundle / {"onnx": "model.onnx", "torch": "model.pt2"}[format]
    with warnings.catch_warnings(action="ignore"):
        logging.disable(logging.WARNING)  # torch's, on what it tries while it exports
        try:
            content, again = (to_onnx if format == "onnx" else to_torch)(scored, rows)
        finally:
            logging.disable(logging.NOTSET)
    difference = float((again - scored(*rows)).abs().max())
    if not difference < TOLERANCE:
        raise ValueError(f"{kept.model} as {format} gives other probabilities: they differ by {difference:.1e}")
    with written_whole(file) as partial:
        partial.write_bytes(content)
    print(f"{file}: {kept.model}, {len(content):,} bytes, within {difference:.1e} of the model on {NUM_ROWS} rows")


def probability_of(model: "nn.Module", kept: "Bundle") -> "nn.Module":
    """Make a module of a model that returns probabilities: ids and values `[rows, fields]` → `[rows]`."""
    from torch import nn

    from models.layers.batch import OnTensors
    from pipelines.evaluation.bundles import probabilities

    class Probability(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.logit = OnTensors(model)

        def forward(self, ids: "Tensor", values: "Tensor") -> "Tensor":
            return probabilities(self.logit(ids, values), kept.loss, kept.calibration)

    return Probability().eval().requires_grad_(requires_grad=False)


def random_rows(field_dims: list[int]) -> tuple["Tensor", "Tensor"]:
    """Draw features and values, some of them 0; the same at each call."""
    import torch

    generator = torch.Generator().manual_seed(0)
    ends = torch.tensor(field_dims).cumsum(0)
    drawn = [torch.randint(size, (NUM_ROWS,), generator=generator) for size in field_dims]
    ids = torch.stack(drawn, 1) + ends - torch.tensor(field_dims)
    values = torch.rand(ids.shape, generator=generator)
    return ids.int(), values.where(values > 0.1, 0.0)


def program_of(model: "nn.Module", rows: tuple["Tensor", "Tensor"]) -> Any:
    """Trace a model with any number of rows."""
    import torch

    any_number = {0: torch.export.Dim("rows")}
    few = tuple(tensor[:3] for tensor in rows)
    return torch.export.export(model, few, dynamic_shapes={"ids": any_number, "values": any_number})


def to_torch(model: "nn.Module", rows: tuple["Tensor", "Tensor"]) -> tuple[bytes, "Tensor"]:
    """Return a program of torch.export as bytes, and what it says of the rows."""
    import io

    import torch

    content = io.BytesIO()
    torch.export.save(program_of(model, rows), content)
    content.seek(0)
    return content.getvalue(), torch.export.load(content).module()(*rows)


def to_onnx(model: "nn.Module", rows: tuple["Tensor", "Tensor"]) -> tuple[bytes, "Tensor"]:
    """Return an ONNX model as bytes, and what ONNX Runtime says of the rows."""
    import torch

    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch needs it
    except ImportError as error:
        raise ValueError(f"--format onnx needs {error.name}: pip install 'factorbench[onnx]'") from error
    try:
        program = torch.onnx.export(program_of(model, rows), dynamo=True, verbose=False, output_names=["probability"])
        assert program is not None
    except torch.onnx.errors.OnnxExporterError as error:
        cause: BaseException = error
        while cause.__cause__:
            cause = cause.__cause__
        raise ValueError(f"ONNX can't express the model: {str(cause).splitlines()[0]}; try --format torch") from error
    content = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content)
    given = {name: tensor.numpy() for name, tensor in zip(("ids", "values"), rows, strict=True)}
    return content, torch.from_numpy(session.run(None, given)[0])


if __name__ == "__main__":
    run(main)
