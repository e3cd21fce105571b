"""Check calibrated probabilities against the chances that generated labels were drawn with."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from bundled import keep_prepared

from pipelines import calibrate, predict
from pipelines.data.rows import load_rows
from pipelines.evaluation.bundles import RECORD, read_bundle
from pipelines.evaluation.calibration import Calibration, calibrate_by_folds, fit_calibration, with_prior
from pipelines.project.metric import METRICS
from pipelines.project.predicted import Predicted
from pipelines.training.predicting import predict as logits_of

METHODS = ("platt", "isotonic")


def drawn(num_rows=20_000, seed=0, truth=lambda logits: 1 / (1 + np.exp(1.5 - 0.5 * logits))):
    """Draw logits, and labels that are positive as often as the truth says."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, num_rows)
    chance = truth(logits)
    return logits, np.where(rng.random(num_rows) < chance, 1.0, -1.0), chance


def ece(found, labels):
    return METRICS["ece"].value(Predicted(found, 2 * found - 1, labels))


def of(calibration, logits):
    return calibration.probabilities(torch.from_numpy(logits)).numpy()


@pytest.mark.parametrize("method", METHODS)
def test_a_map_finds_the_chance_that_labels_were_drawn_with(method):
    logits, labels, _ = drawn()
    calibration = fit_calibration(logits, labels, method)
    new, new_labels, chance = drawn(seed=1)
    found = of(calibration, new)
    assert np.abs(found - chance).mean() < 0.015
    assert ece(found, new_labels) < 0.015 < 0.2 < ece(1 / (1 + np.exp(-new)), new_labels)
    assert (np.diff(found[np.argsort(new)]) >= 0).all()
    assert calibration.rate == np.mean(labels > 0)


def test_platt_finds_the_line_and_isotonic_any_curve_that_rises():
    logits, labels, _ = drawn()
    line = fit_calibration(logits, labels, "platt")
    assert (line.slope, line.intercept) == pytest.approx((0.5, -1.5), abs=0.05)
    logits, labels, chance = drawn(truth=lambda logits: np.where(logits < 1, 0.1, 0.7))
    errors = {method: np.abs(of(fit_calibration(logits, labels, method), logits) - chance).mean() for method in METHODS}
    assert errors["isotonic"] < 0.02 < 0.05 < errors["platt"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("logits", [np.zeros(6), np.array([1e6, -1e6, 0, 0, 0, 1e-9])], ids=["equal", "far apart"])
def test_odd_logits_have_probabilities_too(method, logits):
    labels = np.array([1.0, -1, -1, 1, -1, 1])
    found = of(fit_calibration(logits, labels, method), logits)
    assert ((found > 0) & (found < 1)).all()
    assert found.mean() == pytest.approx(0.5, abs=0.1)


def test_rows_of_one_class_are_refused():
    with pytest.raises(ValueError, match=r"^a calibration needs rows of both classes$"):
        fit_calibration(np.zeros(3), np.ones(3), "platt")


def test_each_row_of_the_folds_has_a_map_of_the_others():
    logits, labels, _ = drawn(200)
    found = calibrate_by_folds(logits, labels, "isotonic", seed=0)
    row = int(np.argmax(found))
    flipped = labels.copy()
    flipped[row] *= -1
    changed = calibrate_by_folds(logits, flipped, "isotonic", seed=0)
    assert changed[row] == found[row]
    assert (changed != found).any()


def test_the_prior_gives_the_chance_before_negatives_were_sampled():
    """Keep all positives, and a tenth of the negatives."""
    logits, labels, chance = drawn(200_000, truth=lambda logits: 1 / (1 + np.exp(4 - logits)))
    kept = (labels > 0) | (np.random.default_rng(1).random(len(labels)) < 0.1)
    sampled = fit_calibration(logits[kept], labels[kept], "platt")
    before = torch.from_numpy(of(sampled, logits))
    after = with_prior(before, sampled.rate, float(np.mean(labels > 0))).numpy()
    assert np.abs(after - chance).mean() < 0.003 < 0.05 < np.abs(before.numpy() - chance).mean()
    assert torch.allclose(with_prior(before, 0.3, 0.3), before)
    edges = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    assert with_prior(edges, 0.5, 0.01).tolist() == pytest.approx([0, 0.01, 1])


@pytest.mark.parametrize("method", calibrate.Method)
def test_the_bundle_keeps_the_map_and_predict_uses_it(prepared, tmp_path, capsys, method):
    folder = keep_prepared(prepared, tmp_path / "bundle")
    calibrate.main(folder, method, prepared.params)
    said = capsys.readouterr().out
    before, after = (float(said.split("ECE ")[1].split(",")[0].split(" → ")[place]) for place in (0, 1))
    assert after < before / 3
    assert b"share of positives" in (folder / "calibration.svg").read_bytes()
    kept, model = read_bundle(folder)
    rows = load_rows(prepared.root / "data" / "processed" / "synthetic", "valid")
    expected = kept.calibration.probabilities(logits_of(model, rows).double()).numpy()
    assert ece(expected, rows.labels.double().numpy()) < after
    texts_of(folder, rows).write_csv(tmp_path / "rows.csv")
    predict.main(str(tmp_path / "rows.csv"), folder, tmp_path / "scores.csv", keep="")
    scores = np.loadtxt(tmp_path / "scores.csv", skiprows=1)
    assert scores == pytest.approx(expected, abs=1e-6)
    predict.main(str(tmp_path / "rows.csv"), folder, tmp_path / "rare.csv", keep="", prior=0.01)
    rate = float((rows.labels > 0).double().mean())
    rare = with_prior(torch.from_numpy(expected), rate, 0.01).numpy()
    assert np.loadtxt(tmp_path / "rare.csv", skiprows=1) == pytest.approx(rare, abs=1e-6)


def texts_of(folder, rows):
    """Return rows as the texts that their features stand for."""
    kept, _ = read_bundle(folder)
    names = pl.read_parquet(folder / "vocabulary.parquet")["raw_value"]
    return pl.DataFrame({field: names[rows.features[:, place].numpy()] for place, field in enumerate(kept.fields)})


def test_other_data_than_the_bundles_is_refused(prepared, tmp_path):
    folder = keep_prepared(prepared, tmp_path / "bundle", data={"train": "another"})
    with pytest.raises(ValueError, match=r"synthetic has other data than the bundle was trained on: .*bundle again$"):
        calibrate.main(folder, params=prepared.params)
    assert not (folder / "calibration.svg").exists()
    with pytest.raises(ValueError, match=r"^no prepared data in .*: run python -m pipelines.prepare"):
        calibrate.main(folder, params=tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("prior", "rate", "message"),
    [
        (1.0, 0.5, r"^--prior 1\.0: write the share of positives, a number between 0 and 1$"),
        (0.1, None, r"^--prior: the bundle does not say which share of its rows is positive; bundle the model again$"),
    ],
)
def test_a_prior_that_can_t_be_used_is_refused_before_a_row_is_read(prepared, tmp_path, prior, rate, message):
    folder = keep_prepared(prepared, tmp_path / "bundle", rate=rate)
    with pytest.raises(ValueError, match=message):
        predict.main(str(tmp_path / "no such file.csv"), folder, tmp_path / "scores.csv", prior=prior)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "other"},
        {"points": [0.2]},
        {"points": [0.4, 0.2]},
        {"points": [0.2, 1.2]},
        {"logits": [1.0, 1.0]},
        {"logits": [0.0, float("nan")]},
        {"rate": 0.0},
    ],
)
def test_a_map_that_is_none_is_refused(prepared, tmp_path, change):
    folder = keep_prepared(prepared, tmp_path / "bundle")
    record = json.loads((folder / RECORD).read_text())
    whole = {"method": "isotonic", "rate": 0.5, "logits": [0.0, 1.0], "points": [0.2, 0.4]}
    for calibration in (whole, whole | change):
        (folder / RECORD).write_text(json.dumps(record | {"calibration": calibration}))
        if calibration is whole:
            assert read_bundle(folder)[0].calibration == Calibration(**whole)
            continue
        with pytest.raises(
            ValueError, match=r"^.*bundle\.json is damaged \(calibration.*run factorbench bundle again$"
        ):
            read_bundle(folder)
