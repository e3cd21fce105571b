"""Train one model with several workers of a cluster."""

import json
import subprocess
import sys

import psutil
import pytest
import ray
import torch
from processes import command_line

from pipelines import evaluate, pretrain, train, tune
from pipelines.data import rows as rows_of_splits
from pipelines.data.rows import load_rows
from pipelines.project.cli import run
from pipelines.project.cluster import cluster
from pipelines.project.paths import Paths
from pipelines.training import parallel, predicting
from pipelines.training.metrics import defined
from pipelines.training.parallel import evaluate_file, fetch
from pipelines.training.start import new_model


@pytest.fixture
def call(project, monkeypatch, capsys):
    """Return a function that runs a stage here and returns exit code, stdout, stderr."""

    def call(*arguments, stage=train, model="fm"):
        words = ["", *(() if stage is pretrain else ("--model", model)), "--dataset", "synthetic"]
        monkeypatch.setattr(sys, "argv", [*words, "--params", str(project.params), *arguments])
        with pytest.raises(SystemExit) as caught:
            run(stage.main)
        captured = capsys.readouterr()
        return caught.value.code, captured.out, captured.err

    return call


TWO = ("--set", "training.num_workers=2")


def test_with_ray_two_workers_do_what_one_does_with_the_same_batches(call, project):
    project.set(training={"max_epochs": 4, "batch_size": 10_000, "learning_rate": 0.1, "l2": 0.1})
    options = ("--json", "--set", "model.embed_dim=4", "--set", "model.dropout=0")
    one, two = call(*options), call(*options, *TWO)
    assert (one[0], one[2]) == (two[0], two[2]) == (0, "")
    first, second = ([json.loads(line) for line in out.splitlines()] for _, out, _ in (one, two))
    assert len(first) == len(second) == 5
    for a, b in zip(first, second, strict=True):
        assert b.keys() == a.keys()
        for key in a.keys() - {"seconds", "peak_memory_mb"}:
            assert b[key] == pytest.approx(a[key], abs=1e-4), key
    assert second[-1]["peak_memory_mb"] > 10


def test_a_loss_that_is_not_finite_is_one_line(call):
    code, out, err = call(*TWO, "--set", "training.learning_rate=1e30")
    assert (code, out) == (1, "")
    assert err == "error: the loss is not finite in epoch 1: lower training.learning_rate\n"


def test_a_worker_that_dies_is_one_line(project):
    command = [*project.command("train", "fm"), *TWO]
    long = [word for key in ("max_epochs", "patience") for word in ("--set", f"training.{key}=100000")]
    pipe = subprocess.PIPE
    with subprocess.Popen([*command, *long], stdout=pipe, stderr=pipe, text=True) as run:
        assert run.stdout.readline().startswith("epoch 1 ")
        started = psutil.Process().children(recursive=True)  # the cluster's too, which this process has started
        workers = [process for process in started if "TrainWorker" in command_line(process)]
        assert len(workers) == 2
        workers[0].kill()
        _, err = run.communicate(timeout=300)
    assert run.returncode == 1
    assert err.startswith("error: the workers that trained fm on synthetic failed with: ")
    assert err.count("\n") == 1


def test_rows_come_in_pieces(prepared, ray_cluster, monkeypatch):
    folder = Paths(prepared.root).processed("synthetic")
    for module in (parallel, rows_of_splits):
        monkeypatch.setattr(module, "PIECE", 100)
    rows = load_rows(folder, "train")
    with cluster():
        fetched = fetch(folder / "train.parquet", ray.get_runtime_context().get_node_id(), 150, 420)
    assert torch.equal(fetched.features, rows.features[150:420])
    assert torch.equal(fetched.labels, rows.labels[150:420])
    model = new_model("fm", json.loads((folder / "schema.json").read_text()), {"embed_dim": 2}, 0)
    test_rows = load_rows(folder, "test")
    test = predicting.evaluate(model, test_rows, "squared_error", names=defined(test_rows.labels))
    assert evaluate_file(model, folder, "test", "squared_error") == test


def test_more_workers_than_cpus_are_refused(call):
    code, out, err = call("--set", "training.num_workers=3")
    assert (code, out) == (1, "")
    assert err == "error: training.num_workers is 3, but there are only 2 CPUs\n"


@pytest.mark.parametrize("setting", ["training.batch_size=3", "training.num_workers=100000"])
def test_more_workers_than_a_batch_has_room_for_are_refused(call, setting):
    code, out, err = call(*TWO, "--set", setting)
    assert (code, out) == (1, "")
    assert err.startswith("error: training.num_workers is ")
    assert "too many for batches of " in err
    assert err.count("\n") == 1


def test_wrong_arguments_are_refused_before_ray_starts(call):
    code, out, err = call(*TWO, "--set", "model.embed=8")
    assert (code, out) == (1, "")
    assert err == "error: fm has no hyperparameter 'embed'; it has: embed_dim, dropout, batch_norm\n"


@pytest.mark.parametrize("stage", [tune, evaluate, pretrain])
def test_other_stages_refuse_workers(call, project, stage):
    project.set(training={"num_workers": 2, "pretrained": "fm"})
    code, out, err = call(stage=stage)
    assert (code, out) == (1, "")
    assert err.startswith("error: training.num_workers is 2: only python -m pipelines.train has ")
    assert err.count("\n") == 1


def test_so_does_the_setting_of_pretrain(call, project):
    project.set(training={"pretrained": "fm"}, pretrain={"model": {}, "training": {"num_workers": 2}})
    code, _, err = call(stage=pretrain)
    assert code == 1
    assert err.startswith("error: training.num_workers is 2: ")
