import json
import os
import socket
import statistics

import polars as pl
import pytest
import torch

from pipelines import bundle
from pipelines.data.rows import load_rows
from pipelines.evaluation import final_runs
from pipelines.evaluation.bundles import read_bundle
from pipelines.evaluation.predictions import read_predictions
from pipelines.project.files import locked
from pipelines.project.metric import EVERY_EPOCH, METRICS
from pipelines.project.params import load_params
from pipelines.project.paths import Paths
from pipelines.training.cell import Cell, load_cell
from pipelines.training.metrics import compute_metrics
from pipelines.training.predicting import evaluate
from pipelines.training.start import num_params

FIGURES = {*(f"test_{name}" for name in METRICS), *(f"valid_{name}" for name in EVERY_EPOCH)}
FILES = ("metrics.json", "curves.csv", "resamples.csv")
COUNTS = {"best_epoch", "epochs", "seconds_per_epoch", "peak_memory_mb"}


def metrics(project):
    return json.loads((project.results("fm") / "metrics.json").read_text())


def curves(project):
    return pl.read_csv(project.results("fm") / "curves.csv")


def seed_files(project):
    return sorted(project.study("fm").glob("final-*/seed-*.json"))


def test_metrics_json_has_mean_and_deviation_of_each_figure_over_the_seeds(searched):
    found = metrics(searched)
    seeds = list(found["seeds"].values())
    assert list(found["seeds"]) == ["0", "1"]
    assert found["num_seeds"] == 2
    for figures in seeds:
        assert set(figures) == FIGURES | COUNTS
        assert 50 < figures["peak_memory_mb"] < 2000
    for name in FIGURES | COUNTS:
        first, second = (figures[name] for figures in seeds)
        assert found[f"{name}_mean"] == pytest.approx((first + second) / 2)
        assert found[f"{name}_std"] == pytest.approx(abs(first - second) / 2**0.5)
    assert set(found) == {"num_params", "num_seeds", "made_by", "interactions", "seeds"} | {
        f"{name}_{part}" for name in FIGURES | COUNTS for part in ("mean", "std")
    }
    for name in FIGURES:
        assert seeds[0][name] != seeds[1][name]


def test_curves_have_a_row_an_epoch_and_the_best_is_in_the_metrics(searched):
    rows = curves(searched)
    assert rows.columns == ["seed", "epoch", "seconds", "train_loss", "valid_rmse", "valid_auc", "valid_logloss"]
    assert rows["seed"].unique().to_list() == [0, 1]
    for seed, figures in metrics(searched)["seeds"].items():
        run = rows.filter(pl.col("seed") == int(seed))
        assert run["epoch"].to_list() == list(range(1, figures["epochs"] + 1))
        best = run.sort("valid_rmse").row(0, named=True)
        assert figures["best_epoch"] == best["epoch"]
        assert {name: figures[name] for name in FIGURES if name in best} == {
            name: best[name] for name in FIGURES if name in best
        }
        assert figures["seconds_per_epoch"] == statistics.median(run["seconds"])


def test_the_test_metrics_are_those_of_the_best_setting_trained_with_each_seed(searched):
    best = json.loads((searched.results("fm") / "best.json").read_text())
    paths = Paths(searched.root)
    cell = load_cell("fm", "synthetic", load_params(searched.params), paths)
    test_rows = load_rows(paths.processed("synthetic"), "test")
    found = metrics(searched)
    for seed, figures in found["seeds"].items():
        model, epochs = cell.train(best["setting"], cell.seed("evaluate", int(seed)))
        assert len(epochs) == figures["epochs"]
        expected = evaluate(model, test_rows, "squared_error").named("test")
        assert {name: figures[name] for name in expected} == pytest.approx(expected, rel=1e-4)
        assert found["num_params"] == num_params(model) == 1 + 5 * 530


def test_each_seed_is_tested_on_the_same_resamples_of_the_test_rows(searched):
    table = pl.read_csv(searched.results("fm") / "resamples.csv")
    assert table.columns == ["resample", "seed_0", "seed_1"]
    assert table["resample"].to_list() == list(range(final_runs.NUM_RESAMPLES))
    for seed, figures in metrics(searched)["seeds"].items():
        values = table[f"seed_{seed}"]
        assert values.mean() == pytest.approx(figures["test_rmse"], rel=0.01)
        assert 0 < values.std() < 0.1
    assert table.select(pl.corr("seed_0", "seed_1")).item() > 0.5  # what both share is which rows were drawn


@pytest.mark.fault("torn")
def test_a_truncated_run_is_trained_again_with_a_warning(searched_project, caplog):
    project, before = searched_project, metrics(searched_project)
    kept, torn = seed_files(project)
    os.truncate(torn, torn.stat().st_size // 2)
    untouched = kept.stat().st_mtime_ns, kept.read_bytes()
    project.set(evaluate={"num_seeds": 3})
    project.evaluate("fm")
    assert f"{torn}: damaged, trained again" in caplog.text
    assert (kept.stat().st_mtime_ns, kept.read_bytes()) == untouched
    assert [file.name for file in seed_files(project)] == ["seed-0.json", "seed-1.json", "seed-2.json"]
    after = metrics(project)
    assert after["num_seeds"] == 3
    assert after["seeds"]["0"] == before["seeds"]["0"]
    again = {name: after["seeds"]["1"][name] for name in FIGURES}
    assert again == pytest.approx({name: before["seeds"]["1"][name] for name in FIGURES}, rel=1e-4)
    assert len({figures["test_rmse"] for figures in after["seeds"].values()}) == 3
    assert curves(project)["seed"].unique().to_list() == [0, 1, 2]


def test_running_again_trains_nothing_unless_the_setting_or_the_training_is_another(searched_project, monkeypatch):
    class Trained(Exception):  # noqa: N818
        pass

    def refuse():
        raise Trained

    monkeypatch.setattr(final_runs, "cluster", refuse)
    before = {name: (searched_project.results("fm") / name).read_bytes() for name in FILES}
    for name in before:
        (searched_project.results("fm") / name).unlink()
    searched_project.evaluate("fm")
    for name, content in before.items():
        assert (searched_project.results("fm") / name).read_bytes() == content
    searched_project.set(training={"patience": 1})
    with pytest.raises(Trained):
        searched_project.evaluate("fm")
    searched_project.set(training={"patience": 4})
    searched_project.evaluate("fm")
    path = searched_project.results("fm") / "best.json"
    best = json.loads(path.read_text())
    path.write_text(json.dumps({**best, "setting": {**best["setting"], "model.dropout": 0.31}}))
    with pytest.raises(Trained):
        searched_project.evaluate("fm")


def test_what_is_kept_is_of_the_runs_and_made_once_and_a_bundle_takes_the_best_runs_weights(
    searched_project, monkeypatch
):
    project, before = searched_project, metrics(searched_project)
    project.set(evaluate={"num_seeds": 2, "keep": True})
    project.evaluate("fm")
    kept = read_predictions(project.root / "predictions" / "synthetic" / "fm" / "seed-0.npz", "")
    test_rows = load_rows(Paths(project.root).processed("synthetic"), "test")
    found = compute_metrics(torch.from_numpy(kept["test"]), test_rows.labels, "squared_error")
    expected = {name: before["seeds"]["0"][f"test_{name}"] for name in found}
    assert found == pytest.approx(expected, rel=1e-4)
    monkeypatch.setattr(final_runs, "cluster", lambda: pytest.fail("a run was about to be trained"))
    monkeypatch.setattr(Cell, "train", lambda *given: pytest.fail("a run was about to be trained"))
    project.evaluate("fm")
    bundle.main("fm", "synthetic", project.params)
    best, model = read_bundle(project.root / "bundles" / "synthetic" / "fm")
    assert best.seed == min((0, 1), key=lambda seed: before["seeds"][str(seed)]["valid_rmse"])
    assert len(list(project.study("fm").glob("final-*/*.safetensors"))) == 1
    reached = evaluate(model, test_rows, "squared_error").named("test")
    assert reached == pytest.approx({name: before["seeds"][str(best.seed)][name] for name in reached}, rel=1e-4)
    assert best.valid["rmse"] == pytest.approx(before["seeds"][str(best.seed)]["valid_rmse"], rel=1e-4)


def test_an_evaluation_before_the_search_names_the_stage_to_run(project):
    with pytest.raises(ValueError, match=r"no .*best\.json: run python -m pipelines\.tune ") as raised:
        project.evaluate("fm")
    path = project.results("fm") / "best.json"
    assert str(raised.value) == f"no {path}: run python -m pipelines.tune --model fm --dataset synthetic"


@pytest.mark.fault("torn")
def test_a_truncated_best_json_names_the_stage_to_run(searched_project):
    path = searched_project.results("fm") / "best.json"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(ValueError, match=r"is damaged \(.*\): run python -m pipelines\.tune ") as raised:
        searched_project.evaluate("fm")
    assert str(raised.value).startswith(str(path))


@pytest.mark.fault("twice")
def test_an_evaluation_of_a_cell_at_work_is_an_error(searched_project):
    folder = searched_project.study("fm")
    with locked(folder, "another"), pytest.raises(ValueError, match="at work") as raised:
        searched_project.evaluate("fm")
    holder = f"process {os.getpid()} on {socket.gethostname()} holds {folder / 'lock'}"
    assert str(raised.value) == f"fm on synthetic is at work already: {holder}"


def test_a_run_that_fails_is_an_error_with_the_reason_and_no_metrics(searched_project):
    path = searched_project.results("fm") / "best.json"
    best = json.loads(path.read_text())
    path.write_text(json.dumps({**best, "setting": {"model.embed_dim": 4, "model.dropout": 3.0}}))
    (searched_project.results("fm") / "metrics.json").unlink()
    searched_project.set(evaluate={"num_seeds": 1})
    with pytest.raises(ValueError, match=r"dropout must be between 0 and 1, got 3\.0") as raised:
        searched_project.evaluate("fm")
    assert not (searched_project.results("fm") / "metrics.json").exists()
    assert str(raised.value).startswith("a final run of fm on synthetic failed with: ")
    assert 'File "' not in str(raised.value)
