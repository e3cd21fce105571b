"""Check that exported models give the probabilities of their bundles."""

import os

import numpy as np
import onnxruntime
import pytest
import torch
from bundled import IDS, keep

from models import registry
from models.layers.batch import Batch
from pipelines import export
from pipelines.evaluation.bundles import probabilities, read_bundle
from pipelines.evaluation.calibration import Calibration
from pipelines.export import Format

NOT_IN_ONNX = ("lookup", "catboost")  # torch.searchsorted
MODELS = (
    [name for name in registry.list_models() if name not in NOT_IN_ONNX]
    if os.environ.get("EXPORT_ALL")
    else ["ifm", "nfm"]
)
MAPS = {
    "platt": Calibration(method="platt", rate=0.5, slope=2.0, intercept=-1.0),
    "isotonic": Calibration(method="isotonic", rate=0.5, logits=[-0.1, 0.0, 0.2], points=[0.1, 0.3, 0.8]),
}
CASES = [("fm", "onnx", "cross_entropy", "isotonic"), ("fm", "torch", "squared_error", "platt")]
CASES += [(name, "onnx", "squared_error", None) for name in MODELS]


def expected(folder, ids, values):
    bundle, model = read_bundle(folder)
    with torch.no_grad():
        return probabilities(
            model(Batch(torch.tensor(ids), torch.tensor(values))), bundle.loss, bundle.calibration
        ).numpy()


def exported(folder, format, **options):
    export.main(folder, format, **options)
    if format == "torch":
        model = torch.export.load(folder / "model.pt2").module()
        return lambda ids, values: model(torch.tensor(ids), torch.tensor(values)).detach().numpy()
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    return lambda ids, values: session.run(["probability"], {"ids": ids, "values": values})[0]


@pytest.mark.parametrize(("name", "format", "loss", "method"), CASES)
def test_an_exported_model_gives_the_probabilities_of_its_bundle(tmp_path, name, format, loss, method):
    keep(tmp_path / "bundle", name, loss=loss, calibration=MAPS.get(method))
    score = exported(tmp_path / "bundle", Format(format))
    rows = np.tile(IDS.numpy(), (3, 1))[:7]  # another number than it was traced with
    values = np.random.default_rng(0).random(rows.shape, dtype=np.float32)
    values[0, 1] = 0
    for ids, weights in ((rows, values), (rows[:1], np.ones((1, 3), np.float32))):
        assert score(ids, weights) == pytest.approx(expected(tmp_path / "bundle", ids, weights), abs=1e-5)


def test_what_onnx_lacks_is_one_line_and_nothing_is_written(tmp_path):
    keep(tmp_path / "bundle", "lookup")
    with pytest.raises(ValueError, match=r"^ONNX can't express the model: .*searchsorted.*; try --format torch$"):
        export.main(tmp_path / "bundle")
    assert not (tmp_path / "bundle" / "model.onnx").exists()


def test_a_model_that_comes_out_differently_is_not_written(tmp_path, monkeypatch):
    keep(tmp_path / "bundle")
    real = export.to_torch
    monkeypatch.setattr(export, "to_torch", lambda *given: (b"", real(*given)[1] + 0.01))
    with pytest.raises(ValueError, match=r"^fm as torch gives other probabilities: they differ by 1\.0e-02$"):
        export.main(tmp_path / "bundle", Format.torch)
    assert not (tmp_path / "bundle" / "model.pt2").exists()
