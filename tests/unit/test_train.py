import json
import os
import subprocess
import sys

import pytest
import torch

from models.registry import get_model, hyperparameters, is_closed_form, list_models, why_declined
from pipelines import train
from pipelines.data.catalog import get_dataset, list_datasets
from pipelines.data.prepared import prepare
from pipelines.data.rows import load_rows
from pipelines.download import download
from pipelines.project.cli import run
from pipelines.project.metric import METRICS
from pipelines.project.params import TrainingParams, load_params
from pipelines.project.paths import Paths
from pipelines.training.cell import load_cell
from pipelines.training.metrics import compute_metrics
from pipelines.training.predicting import evaluate, predict

torch.set_num_threads(1)  # for tensors this small, several threads are slower

PARAMS = """
seed: 2019
datasets: [synthetic]
models: [fm]
training: {max_epochs: 2, batch_size: 2048, learning_rate: 0.1}
tune: {num_trials: 1}
"""
EPOCH = {"epoch", "seconds", "train_loss", "valid_rmse", "valid_auc", "valid_logloss"}
LAST = {"best_epoch", "num_params", "peak_memory_mb", *(f"test_{name}" for name in METRICS)}
SMALL = ("--set", "model.embed_dim=4")


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    """Make a params.yaml and the prepared synthetic data."""
    path = tmp_path_factory.mktemp("project") / "params.yaml"
    path.write_text(PARAMS)
    download(get_dataset("synthetic"), path)
    prepare(get_dataset("synthetic"), load_params(path), Paths(path.parent))
    return path


@pytest.fixture
def call(params, monkeypatch, capsys):
    """Return a function that runs `train` and returns exit code, stdout and stderr."""
    monkeypatch.delenv("FACTORBENCH_TRACEBACK", raising=False)

    def call(*arguments, model="fm", dataset="synthetic"):
        words = ["train", "--model", model, "--dataset", dataset, "--params", str(params), *arguments]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as caught:
            run(train.main)
        captured = capsys.readouterr()
        return caught.value.code, captured.out, captured.err

    return call


@pytest.fixture
def records(call):
    """Return a function that runs with --json and returns the records."""

    def records(*arguments, **names):
        code, stdout, stderr = call("--json", *arguments, **names)
        assert (code, stderr) == (0, "")
        return [json.loads(line) for line in stdout.splitlines()]

    return records


def without_measurements(records):
    return [{k: v for k, v in record.items() if k not in ("seconds", "peak_memory_mb")} for record in records]


def test_the_program_prints_an_epoch_a_line_and_then_the_test_metrics(params):
    command = [sys.executable, "-m", "pipelines.train", "--model", "fm", "--dataset", "synthetic", "--json", *SMALL]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "--params", params], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    *epochs, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["epoch"] for record in epochs] == [1, 2]
    assert all(set(record) == EPOCH for record in epochs)
    assert set(last) == LAST
    best = min(epochs, key=lambda record: record["valid_rmse"])
    assert last["best_epoch"] == best["epoch"]
    assert last["test_rmse"] == pytest.approx(best["valid_rmse"], abs=0.1)
    schema = json.loads((Paths(params.parent).processed("synthetic") / "schema.json").read_text())
    assert last["num_params"] == schema["num_features"] * 5 + 1
    assert last["peak_memory_mb"] > 10


def test_the_last_line_is_of_the_test_split_and_the_best_epoch(params, records):
    cell = load_cell("fm", "synthetic", load_params(params), Paths(params.parent))
    model, epochs = cell.train({"model.embed_dim": 4}, cell.seed("train"))
    done = [epoch.row() for epoch in epochs]
    *curve, last = records(*SMALL)
    assert without_measurements(curve) == without_measurements(done)
    rows = load_rows(Paths(params.parent).processed("synthetic"), "test")
    expected = evaluate(model, rows, "squared_error").named("test")
    assert {key: last[key] for key in expected} == expected


def test_a_metric_by_group_decides_and_takes_the_values_of_a_field_as_groups(params, records):
    *epochs, last = records(*SMALL, "--set", "training.metric=group_auc", "--set", "training.max_epochs=3")
    assert all(set(record) == {*EPOCH, "valid_group_auc"} for record in epochs)
    best = max(epochs, key=lambda record: record["valid_group_auc"])
    assert last["best_epoch"] == best["epoch"]
    config = load_params(params)
    training = config.training.model_copy(update={"metric": "group_auc", "max_epochs": 3})
    cell = load_cell("fm", "synthetic", config.model_copy(update={"training": training}), Paths(params.parent))
    model, _ = cell.train({"model.embed_dim": 4}, cell.seed("train"))
    rows = load_rows(Paths(params.parent).processed("synthetic"), "test")
    logits, users = predict(model, rows), rows.features[:, cell.schema["fields"].index("user")]
    total, counted = 0.0, 0
    for user in users.unique():
        own = rows.labels[users == user]
        if len(own.unique()) == 2:
            total += len(own) * compute_metrics(logits[users == user], own, "squared_error")["auc"]
            counted += len(own)
    assert last["test_group_auc"] == pytest.approx(total / counted)


def test_several_workers_can_not_compute_a_metric_by_group(call):
    said = the_line(call("--set=training.num_workers=2", "--set=training.metric=group_auc"))
    assert said == "error: training.num_workers is 2: metric group_auc needs one worker; set it to 1\n"


def test_several_workers_can_not_share_a_closed_form_model(call):
    said = the_line(call("--set=training.num_workers=2", model="popularity"))
    assert said == "error: training.num_workers is 2, but popularity is not trained by gradients: set it to 1\n"


def test_without_json_it_prints_words(call):
    code, stdout, stderr = call(model="lr")
    assert (code, stderr) == (0, "")
    lines = stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("epoch 1  seconds ")
    assert "valid_auc 0." in lines[1]
    assert lines[2].startswith("best_epoch ")


def test_the_same_run_gives_the_same_and_another_setting_does_not(records):
    first, second = records(*SMALL), records(*SMALL)
    assert without_measurements(first) == without_measurements(second)
    assert without_measurements(records(*SMALL, "--set", "training.l2=5")) != without_measurements(first)


def test_another_seed_gives_another_run(params, records):
    first = records(*SMALL)
    try:
        params.write_text(PARAMS.replace("2019", "2020"))
        assert without_measurements(records(*SMALL)) != without_measurements(first)
    finally:
        params.write_text(PARAMS)


def test_settings_are_put_into_model_and_training(records):
    settings = ("model.hidden_dims=[6, 3]", "model.embed_dim=2", "model.attention_dim=2", "model.field_embed_dim=2")
    arguments = [word for setting in (*settings, "training.max_epochs=1") for word in ("--set", setting)]
    epoch, last = records(*arguments, model="inn")
    assert epoch["epoch"] == last["best_epoch"] == 1
    pairs, m = 21, last["num_params"]
    of_layers = (pairs * 2 * 6 + 6) + (6 * 3 + 3) + (3 + 1)
    of_aspects = 2 * 2 + 2 * 2 + 7 * 2 + 2 * 2
    assert (m - of_layers - of_aspects - 1) % 3 == 0  # the rest: three numbers per feature
    assert 500 < (m - of_layers - of_aspects - 1) / 3 < 600


def test_cross_entropy_and_another_metric(records):
    arguments = ["training.loss=cross_entropy", "training.metric=auc", "training.learning_rate=1e-1"]
    *epochs, last = records(*SMALL, *(word for a in arguments for word in ("--set", a)))
    assert last["best_epoch"] == max(epochs, key=lambda record: record["valid_auc"])["epoch"]
    assert all(record["train_loss"] < 0.8 for record in epochs)


def the_line(result):
    code, stdout, stderr = result
    assert (code, stdout) == (1, "")
    assert stderr.startswith("error: ")
    assert stderr.count("\n") == 1
    assert stderr.endswith("\n")
    return stderr


def test_an_unknown_model_lists_the_known(call):
    line = the_line(call(model="fmm"))
    assert line.startswith("error: unknown model 'fmm'; choose one of: ")
    assert {"fm,", "ifm,", "inn,"} <= set(line.split())


def test_an_unknown_data_set_lists_the_known(call):
    line = the_line(call(dataset="netflix"))
    assert line == f"error: unknown data set 'netflix'; choose one of: {', '.join(list_datasets())}\n"


def test_an_unknown_hyperparameter_lists_the_known(call):
    line = the_line(call("--set", "model.embed=8"))
    assert line == "error: fm has no hyperparameter 'embed'; it has: embed_dim, dropout, batch_norm\n"


def test_an_unknown_training_key_lists_the_known(call):
    line = the_line(call("--set", "training.lr=0.1"))
    assert line == f"error: training.lr: no such key; the keys here are: {', '.join(TrainingParams.model_fields)}\n"


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("embed_dim=8", "unknown key 'embed_dim': keys are model.* and training.*"),
        ("model.embed_dim", "write KEY=VALUE"),
        ("model.embed_dim=[8]", "fm: embed_dim: Input should be a valid integer (got [8])"),
        ("model.embed_dim=0", "fm: embed_dim must be positive, got 0"),
        ("training.loss=hinge", "training.loss: Input should be 'squared_error' or 'cross_entropy' (got 'hinge')"),
        ("training.learning_rate=1e30", "the loss is not finite in epoch 1: lower training.learning_rate"),
    ],
)
def test_a_wrong_setting_is_one_line(call, assignment, words):
    assert words in the_line(call(*SMALL, "--set", assignment))


def test_data_that_is_not_prepared_names_the_stage(call, params):
    hint = f"run python -m pipelines.prepare --params {params} --dataset frappe\n"
    assert hint in the_line(call(dataset="frappe"))


def test_a_model_that_can_not_use_the_fields_says_why(call, monkeypatch):
    from models.fm import FactorizationMachine

    decline = staticmethod(lambda fields: f"needs a field tag, got {', '.join(fields)}")
    monkeypatch.setattr(FactorizationMachine, "decline", decline, raising=False)
    fields = ", ".join(get_dataset("synthetic").fields)
    assert the_line(call()) == f"error: fm: needs a field tag, got {fields}\n"


def test_a_params_file_that_is_not_there(call, params):
    assert "nowhere.yaml" in the_line(call("--params", str(params.with_name("nowhere.yaml"))))


@pytest.mark.slow
@pytest.mark.parametrize("model", list_models())
def test_every_model_trains_for_two_epochs(call, model):
    if why_declined(model, get_dataset("synthetic").fields):
        pytest.skip("it declines this data set")
    small = {"embed_dim": 8, "attention_dim": 8, "num_buckets": 10_000, "hidden_dims": [8]}
    small |= {"hidden_dims_2": [8], "num_heads": 2, "head_dim": 4, "num_attention_layers": 1, "num_neurons": 20}
    small |= {
        "mlp_dropout": 0.0,
        "num_layers": 1,
        "num_rows": 2,
        "cin_dims": [8],
        "trees_per_epoch": 20,
        "layer_norm": False,
    }
    known = hyperparameters(model)
    options = [f"--set=model.{key}={value}" for key, value in small.items() if key in known]
    code, out, err = call("--json", *options, model=model)
    assert (code, err) == (0, "")
    *epochs, last = map(json.loads, out.splitlines())
    closed_form = is_closed_form(get_model(model))
    assert len(epochs) == (1 if closed_form else 2)
    assert closed_form or epochs[1]["train_loss"] < epochs[0]["train_loss"]
    assert 0.5 < last["test_rmse"] < 1.1
    assert last["test_auc"] > 0.5 or (closed_form and last["num_params"] == 1)


def test_a_model_that_does_not_fit_into_memory_is_one_line(call):
    code, out, err = call("--set", "model.embed_dim=100000000000")
    assert (code, out) == (1, "")
    assert err.startswith("error: out of memory for ")
    assert err.endswith(": lower training.batch_size or the model's sizes\n")
    assert err.count("\n") == 1
