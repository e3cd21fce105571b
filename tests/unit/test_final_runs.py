import shutil
import statistics

import numpy as np
import pytest
import torch

from pipelines import evaluate
from pipelines.data.rows import load_rows
from pipelines.evaluation import final_runs
from pipelines.evaluation.results import Run
from pipelines.project import code
from pipelines.project.metric import METRICS
from pipelines.project.params import load_params
from pipelines.project.paths import Paths
from pipelines.project.provenance import made_by
from pipelines.training import metrics
from pipelines.training.cell import load_cell
from pipelines.training.metrics import compute_metrics, on_resamples
from results import write_cell


def made_run(*valid_aucs):
    """Make a run with one epoch per validation AUC. Its RMSE equals its AUC."""
    epochs = [
        {"epoch": n, "seconds": float(n), "train_loss": 0.1, "valid_rmse": auc, "valid_auc": auc, "valid_logloss": 0.2}
        for n, auc in enumerate(valid_aucs, 1)
    ]
    test = {"test_rmse": valid_aucs[0], "test_auc": 0.5, "test_logloss": 0.2}
    return Run(test=test, resamples=[], num_params=7, epochs=epochs, made_by=made_by("behaviour"))


def test_final_runs_by_another_recipe_start_anew_when_the_recipe_changes(prepared, monkeypatch, tmp_path):
    params = load_params(prepared.params)
    cell = load_cell("lr", "synthetic", params, Paths(prepared.root))
    names = []
    for digest in ("a", "b"):
        monkeypatch.setattr(final_runs, "digest", lambda name, digest=digest: digest)
        settings = ({}, {"training.recipe": "ctr"})
        names.append([final_runs.run_files(cell, setting, params, tmp_path)[0].parent.name for setting in settings])
    (paper, ctr), (paper_later, ctr_later) = names
    assert paper == paper_later
    assert len({paper, ctr, ctr_later}) == 3


def test_all_models_of_a_data_set_have_the_same_resamples(prepared):
    paths, params = Paths(prepared.root), load_params(prepared.params)
    test_rows = load_rows(paths.processed("synthetic"), "test")
    cells = (load_cell(model, "synthetic", params, paths) for model in ("lr", "fm"))
    running = code.digest(code.on_disk())
    found = [final_runs.run_seed((cell, test_rows, {}), 0, 1, running)["resamples"] for cell in cells]
    assert np.corrcoef(found)[0, 1] > 0.5  # different rows would give about 0 ± 0.03


def test_the_rmse_of_a_resample_is_that_of_rows_drawn_with_replacement():
    predicted, labels = torch.rand(50) * 2 - 1, torch.randint(0, 2, (50,)) * 2.0 - 1
    found = on_resamples("rmse", predicted, labels, "squared_error", seed=3, num_resamples=4)
    rng = np.random.default_rng(3)
    for rmse in found:
        squares = [(predicted[row].item() - labels[row].item()) ** 2 for row in rng.integers(50, size=50)]
        assert rmse == pytest.approx(statistics.fmean(squares) ** 0.5, abs=1e-6)
    assert found == on_resamples("rmse", predicted, labels, "squared_error", seed=3, num_resamples=4)
    assert len(set(found)) == 4


def test_the_spread_over_resamples_is_the_standard_error():
    labels = torch.ones(400)
    logits = labels + torch.randn(400, generator=torch.Generator().manual_seed(1))
    found = on_resamples("rmse", logits, labels, "squared_error", seed=1, num_resamples=1000)
    predicted = logits.clamp(-1, 1)
    squares = (predicted - labels).square()
    expected = squares.std() / 400**0.5 / (2 * squares.mean().sqrt())  # by the delta method
    assert np.std(found) == pytest.approx(expected.item(), rel=0.1)


@pytest.mark.parametrize("metric", ["rmse", "auc", "logloss", "pr_auc"])
@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_a_metric_on_resamples_is_that_of_the_drawn_rows(metric, loss):
    generator = torch.Generator().manual_seed(2)
    labels = torch.randint(2, (60,), generator=generator) * 2.0 - 1
    logits = (torch.randn(60, generator=generator) + labels / 2).round(decimals=1)  # some scores are equal
    rng, expected = np.random.default_rng(5), []
    for _ in range(6):
        drawn = torch.tensor(rng.integers(60, size=60))
        expected.append(compute_metrics(logits[drawn], labels[drawn], loss, [metric])[metric])
    assert on_resamples(metric, logits, labels, loss, seed=5, num_resamples=6) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_resamples_of_many_rows_spread_as_those_of_few_rows(metric, monkeypatch):
    generator = torch.Generator().manual_seed(4)
    labels = torch.randint(2, (40_000,), generator=generator) * 2.0 - 1
    logits = (torch.randn(40_000, generator=generator) + labels / 2).round(decimals=2)  # so that some tie
    rows = (logits, labels, "squared_error")
    groups = torch.arange(40_000) // 2 * 7  # of two rows, half of them with both classes
    exact = on_resamples(metric, *rows, seed=5, num_resamples=400, groups=groups)
    monkeypatch.setattr(metrics, "MOST_ROWS", 5_000)
    in_blocks = on_resamples(metric, *rows, seed=5, num_resamples=400, groups=groups)
    whole = compute_metrics(*rows, [metric], groups)[metric]
    assert np.std(in_blocks) == pytest.approx(np.std(exact), rel=0.1)  # each known to 3.5 %
    assert np.mean(in_blocks) == pytest.approx(whole, abs=np.std(exact) / 5)
    assert in_blocks == on_resamples(metric, *rows, seed=5, num_resamples=400, groups=groups)
    assert in_blocks != exact


def test_the_calibration_error_of_a_resample_keeps_the_bins():
    labels = torch.tensor([1.0, -1, 1, 1, -1, -1, 1, -1, -1, 1])
    logits = torch.tensor([0.4] * 5 + [-0.6] * 5)
    found = on_resamples("ece", logits, labels, "squared_error", seed=3, num_resamples=3)
    rng = np.random.default_rng(3)
    for value in found:
        drawn = rng.integers(10, size=10)
        halves = [[(labels[row].item() + 1) / 2 - (logits[row].item() + 1) / 2 for row in drawn if half == row // 5]
                  for half in (0, 1)]  # fmt: skip
        assert value == pytest.approx(sum(abs(sum(half)) for half in halves) / 10, abs=1e-6)


def test_of_a_metric_by_group_groups_are_drawn():
    scores = torch.tensor([0.9, 0.1, 0.2, 0.8, 0.7, 0.3, 0.6])
    labels, groups = torch.tensor([1.0, -1, 1, -1, -1, 1, 1]), torch.tensor([0, 0, 1, 1, 1, 2, 2])
    found = on_resamples("group_auc", scores, labels, "squared_error", seed=1, num_resamples=5, groups=groups)
    rng = np.random.default_rng(1)
    for value in found:
        drawn = rng.integers(2, size=2)  # the third group has one class
        aucs, rows = np.array([1.0, 0.0])[drawn], np.array([2, 3])[drawn]
        assert value == pytest.approx((aucs * rows).sum() / rows.sum(), abs=1e-6)


def test_the_best_epoch_is_that_of_the_metric():
    run = made_run(0.7, 0.9, 0.6)
    assert final_runs.seed_figures(run, "auc").best_epoch == 2
    figures = final_runs.seed_figures(run, "rmse")
    assert (figures.best_epoch, figures.valid_auc, figures.epochs) == (3, 0.6, 3)
    assert figures.seconds_per_epoch == 2.0
    assert "peak_memory_mb" not in figures.model_dump()
    with_memory = final_runs.seed_figures(run.model_copy(update={"peak_memory_mb": 400.0}), "rmse")
    assert with_memory.model_dump()["peak_memory_mb"] == 400.0


def test_one_seed_has_no_deviation_and_three_have_that_of_a_sample():
    single = final_runs.summary([made_run(0.5)], "rmse").model_dump()
    assert (single["test_rmse_mean"], single["test_rmse_std"], single["num_seeds"]) == (0.5, None, 1)
    three = final_runs.summary([made_run(0.5), made_run(0.6), made_run(0.7)], "rmse").model_dump()
    assert three["test_rmse_mean"] == pytest.approx(0.6)
    assert three["test_rmse_std"] == pytest.approx(0.1)
    assert three["num_params"] == 7


def test_a_summary_without_runs_says_only_that_it_has_none():
    assert final_runs.summary([], "rmse").model_dump() == {"num_seeds": 0}


def test_a_best_setting_that_another_metric_chose_is_refused(prepared, tmp_path):
    project = shutil.copytree(prepared.root, tmp_path / "project")
    folder = Paths(project).results("synthetic", "lr")
    write_cell(folder, [{}], metric="auc")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(ValueError, match=r"auc.* rmse.*python -m pipelines\.tune") as raised:
        evaluate.main("lr", "synthetic", project / "params.yaml")
    assert "\n" not in str(raised.value)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
