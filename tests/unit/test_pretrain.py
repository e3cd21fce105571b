import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipelines import pretrain, train
from pipelines.data.catalog import get_dataset
from pipelines.data.prepared import prepare
from pipelines.download import download
from pipelines.project.cli import run
from pipelines.project.params import load_params
from pipelines.project.paths import Paths
from pipelines.training.cell import load_cell
from pipelines.training.start import new_model

torch.set_num_threads(1)  # for tensors this small, several threads are slower

PARAMS = """
seed: 2019
datasets: [synthetic]
models: [fm, ifm]
training: {max_epochs: 2, batch_size: 2048, learning_rate: 0.1, pretrained: fm}
pretrain: {model: {embed_dim: 4, dropout: 0.0}, training: {batch_size: 512, max_epochs: 3}}
tune: {num_trials: 1}
"""
STARTED = ("embedding.weight", "linear.weight", "linear.bias")
SMALL = ("--set", "model.embed_dim=4", "--set", "model.attention_dim=2", "--set", "model.field_embed_dim=2")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    path = tmp_path_factory.mktemp("project") / "params.yaml"
    path.write_text(PARAMS)
    download(get_dataset("synthetic"), path)
    prepare(get_dataset("synthetic"), load_params(path), Paths(path.parent))
    return path.parent


@pytest.fixture(scope="module")
def trained(prepared):
    """Train the FM once that most tests start from; return its folder."""
    pretrain.main("synthetic", prepared / "params.yaml")
    return Paths(prepared).pretrained("synthetic")


@pytest.fixture
def project(tmp_path, prepared):
    """Make a project folder with the prepared data."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "processed").symlink_to(prepared / "data" / "processed")
    return tmp_path


@pytest.fixture
def started_from(project, trained):
    """Put the trained FM into the project; return its folder."""
    folder = Paths(project).pretrained("synthetic")
    return Path(shutil.copytree(trained, folder))


@pytest.fixture
def call(project, monkeypatch, capsys):
    """Return a function that runs a stage and returns exit code, stdout and stderr."""
    monkeypatch.delenv("FACTORBENCH_TRACEBACK", raising=False)

    def call(stage, *arguments):
        words = ["stage", "--dataset", "synthetic", "--params", str(project / "params.yaml"), *arguments]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as caught:
            run(stage.main)
        captured = capsys.readouterr()
        return caught.value.code, captured.out, captured.err

    return call


def load(project, model):
    return load_cell(model, "synthetic", load_params(project / "params.yaml"), Paths(project))


def started(cell, **arguments):
    """Make the cell's model as training starts it, on the CPU."""
    return new_model(cell.model, cell.schema, arguments, cell.seed("train"), cell.pretrained, device="cpu")


def test_the_stage_writes_the_weights_of_the_best_epoch(project, call):
    code, stdout, stderr = call(pretrain)
    assert (code, stderr) == (0, "")
    assert [line.split()[:2] for line in stdout.splitlines()] == [["epoch", "1"], ["epoch", "2"], ["epoch", "3"]]
    folder = Paths(project).pretrained("synthetic")
    assert sorted(path.name for path in folder.iterdir()) == ["fm.pt", "recipe.json", "summary.json"]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary.keys() == {"pretrained", "best_epoch", "rmse", "auc", "logloss", "made_by"}
    assert summary["pretrained"] == "fm"
    assert f"valid rmse {summary['rmse']:.4f}" in stdout.splitlines()[summary["best_epoch"] - 1]
    weights = torch.load(folder / "fm.pt", weights_only=True)
    assert weights.keys() == set(STARTED)
    assert weights["embedding.weight"].shape[1] == 4
    assert weights["linear.weight"].any()


def test_a_second_run_gives_the_same(project, call):
    contents = []
    for _ in range(2):
        assert call(pretrain)[0] == 0
        folder = Paths(project).pretrained("synthetic")
        texts = [(folder / name).read_text() for name in ("summary.json", "recipe.json")]
        contents.append((torch.load(folder / "fm.pt"), texts))
    (first, texts), (second, again) = contents
    assert all(torch.equal(first[key], second[key]) for key in STARTED)
    assert texts == again


@pytest.mark.parametrize("change", ["seed: 2020", "embed_dim: 8", "batch_size: 1024", "patience: 9"])
def test_the_recipe_is_another_when_anything_is_that_decides_the_weights(project, call, started_from, change):
    path = started_from / "recipe.json"
    before = path.read_text()
    key = change.split(":")[0]
    changed = PARAMS.replace("max_epochs: 3", f"max_epochs: 3, {change}") if key == "patience" else PARAMS
    (project / "params.yaml").write_text(re.sub(rf"{key}: \d+(?=[,}}\n])", change, changed))
    assert call(pretrain)[0] == 0
    assert path.read_text() != before


def test_others_start_from_it(project, started_from):
    path = started_from / "fm.pt"
    weights = torch.load(path, weights_only=True)
    cell = load(project, "ifm")
    model = started(cell, embed_dim=4, attention_dim=2)
    assert all(torch.equal(model.state_dict()[key].cpu(), weights[key]) for key in STARTED)
    assert cell.digests["pretrained"] == json.loads((path.parent / "recipe.json").read_text())["fingerprint"]


@pytest.mark.parametrize("model", ["ffm", "afm_ffm"])
def test_all_vectors_of_field_aware_models_start_from_it(project, started_from, model):
    weights = torch.load(started_from / "fm.pt", weights_only=True)
    cell = load(project, model)
    own = started(cell, embed_dim=4).state_dict()
    vectors = own["embedding.weight"].unflatten(1, (-1, 4))
    assert all(torch.equal(vectors[:, field], weights["embedding.weight"]) for field in range(vectors.shape[1]))
    assert torch.equal(own["linear.weight"], weights["linear.weight"])
    assert len(cell.train({"model.embed_dim": 4}, cell.seed("train"))[1]) == 2


@pytest.mark.usefixtures("started_from")
def test_a_model_without_embeddings_starts_afresh(project):
    cell = load(project, "lr")
    weights = started(cell).state_dict()
    assert len(cell.train({}, cell.seed("train"))[1]) == 2
    afresh = started(replace(cell, pretrained=None)).state_dict()
    assert all(torch.equal(weights[key], afresh[key]) for key in afresh)


@pytest.mark.usefixtures("started_from")
def test_training_from_it_is_ahead_in_the_first_epoch(call):
    def first_loss(*arguments):
        code, stdout, stderr = call(train, "--model", "ifm", "--json", *SMALL, *arguments)
        assert (code, stderr) == (0, "")
        return json.loads(stdout.splitlines()[0])["train_loss"]

    assert first_loss() < first_loss("--set", "training.pretrained=null") - 0.005


def test_the_pretrained_model_itself_starts_afresh(project):
    assert load(project, "fm").pretrained is None
    assert "pretrained" not in load(project, "fm").digests


def test_a_model_that_needs_it_names_the_stage_that_is_missing(project, call):
    code, stdout, stderr = call(train, "--model", "ifm", *SMALL)
    path, params = Paths(project).pretrained("synthetic") / "fm.pt", project / "params.yaml"
    assert (code, stdout) == (1, "")
    assert stderr == f"error: no {path}: run python -m pipelines.pretrain --params {params} --dataset synthetic\n"


@pytest.mark.usefixtures("started_from")
def test_another_embed_dim_is_one_line(call):
    code, stdout, stderr = call(train, "--model", "ifm", "--set", "model.embed_dim=8")
    assert (code, stdout) == (1, "")
    assert stderr.startswith("error: pretrained embedding.weight is [")
    assert stderr.count("\n") == 1


def test_it_does_nothing_where_no_model_is_named(project, call):
    (project / "params.yaml").write_text(PARAMS.replace("pretrained: fm", "pretrained: null"))
    assert call(pretrain) == (0, "training.pretrained is null: nothing to train\n", "")
    folder = Paths(project).pretrained("synthetic")
    assert sorted(path.name for path in folder.iterdir()) == ["recipe.json", "summary.json"]
    assert all(json.loads(path.read_text()) == {"pretrained": None} for path in folder.iterdir())


@pytest.mark.parametrize("pretrained", ["fm", "null"])
@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("embed_dim: 4", "embed: 4", "fm has no hyperparameter 'embed'; it has: embed_dim"),
        ("embed_dim: 4", "embed_dim: many", "pretrain.model: fm: embed_dim: Input should be a valid integer"),
        ("dropout: 0.0", "dropout: .nan", "pretrain.model: fm: dropout: Input should be a finite number"),
        ("max_epochs: 3", "learning_rate: .inf", "pretrain.training.learning_rate: Input should be a finite number"),
        ("max_epochs: 3", "epochs: 3", "pretrain.training.epochs: no such key; the keys here are: loss, "),
    ],
)
def test_a_mistyped_setting_is_one_line_whether_or_not_it_is_used(project, call, pretrained, before, after, words):
    content = PARAMS.replace(before, after).replace("pretrained: fm", f"pretrained: {pretrained}")
    (project / "params.yaml").write_text(content)
    for stage, arguments in ((pretrain, ()), (train, ("--model", "lr"))):
        code, stdout, stderr = call(stage, *arguments)
        assert (code, stdout) == (1, "")
        assert words in stderr
        assert stderr.count("\n") == 1


def test_an_unknown_data_set_is_one_line(call):
    code, _, stderr = call(pretrain, "--dataset", "netflix")
    assert code == 1
    assert stderr.startswith("error: unknown data set 'netflix'; choose one of: ")
