"""Check the means of final runs: which are chosen, what they reach, and where they are shown."""

import json
import shutil

import numpy as np
import pytest
from projects import Project
from searches import cell_of

from pipelines import cells, ensemble, leaderboard
from pipelines.data.rows import load_rows
from pipelines.evaluation import ensembles, final_runs
from pipelines.evaluation.board import mixture_row
from pipelines.evaluation.ensembles import Member, alike, greedy, mean_of
from pipelines.evaluation.predictions import copy_predictions, read_predictions, write_predictions
from pipelines.evaluation.results import Mixture, Run
from pipelines.project import code
from pipelines.project.golden_files import accepted_behaviour
from pipelines.project.metric import METRICS
from pipelines.project.params import TrainingParams, load_params
from pipelines.project.paths import Paths
from pipelines.project.provenance import made_by
from pipelines.project.records import write_record
from pipelines.search.spaces import fixed_setting
from results import write_cell, write_trials
from search_spaces.shared import paper_setting

MODELS, SEEDS = ("lr", "fm"), 2
SETTINGS = {
    "lr": {"training.learning_rate": 0.1, "training.batch_size": 64},
    "fm": {"training.learning_rate": 0.1, "training.batch_size": 64, "model.embed_dim": 4, "model.dropout": 0.2},
}


@pytest.fixture(scope="module")
def evaluated(prepared, made_once):
    """Make a project with kept predictions of two models, trained in this process."""

    def make(folder):
        project = Project(shutil.copytree(prepared.root, folder))
        project.set(evaluate={"num_seeds": SEEDS, "keep": True}, training={"max_epochs": 4})
        paths = Paths(project.root)
        for model in MODELS:
            cell, test_rows = cell_of(project, model), load_rows(paths.processed("synthetic"), "test")
            shared, running, runs = (cell, test_rows, SETTINGS[model]), code.digest(code.at_start()), []
            for seed in range(SEEDS):
                found = final_runs.run_seed(shared, seed, 1, running, keep=True)
                write_predictions(paths.predictions("synthetic", model) / f"seed-{seed}.npz", found.pop("predictions"))
                found.pop("weights")
                runs.append(Run(**found, made_by=made_by("")))
            behaviour = accepted_behaviour(model, TrainingParams())
            write_cell(project.results(model), [{}], behaviour=behaviour, setting=SETTINGS[model])
            write_record(project.results(model) / "metrics.json", final_runs.summary(runs, "rmse"))

    return Project(made_once("evaluated", make))


@pytest.fixture
def copied(evaluated, tmp_path):
    return Project(shutil.copytree(evaluated.root, tmp_path / "project"))


def record(project):
    return json.loads(Paths(project.root).ensembles("synthetic").read_text())


def seeds(project, model):
    return json.loads((project.results(model) / "metrics.json").read_text())["seeds"]


def test_means_of_seeds_and_of_chosen_runs_are_tested_once_and_named_on_the_board(copied, capsys):
    ensemble.main("synthetic", copied.params)
    found = {each["name"]: each for each in record(copied)["mixtures"]}
    assert list(found)[:2] == ["lr, mean of 2 seeds", "fm, mean of 2 seeds"]
    of_models = next(each for each in found.values() if each["kind"] == "models")
    single = [figures["valid_rmse"] for model in MODELS for figures in seeds(copied, model).values()]
    assert of_models["valid"]["rmse"] <= min(single) + 1e-9
    fm = found["fm, mean of 2 seeds"]
    paths = Paths(copied.root)
    kept = [read_predictions(paths.predictions("synthetic", "fm") / f"seed-{n}.npz", "")["test"] for n in range(SEEDS)]
    labels = load_rows(paths.processed("synthetic"), "test").labels.numpy()
    mean = np.clip(np.mean(kept, axis=0), -1, 1)
    assert fm["test"]["rmse"] == pytest.approx(np.sqrt(np.mean((mean - labels) ** 2)), rel=1e-5)
    assert fm["members"] == {"fm 0": 1, "fm 1": 1}
    summary = json.loads((copied.results("fm") / "metrics.json").read_text())
    assert fm["num_params"] == 2 * summary["num_params"]
    assert fm["seconds_per_epoch"] == pytest.approx(2 * summary["seconds_per_epoch_mean"])
    for epochs, model in enumerate(MODELS, 1):
        write_trials(copied.results(model), ("COMPLETE", 1, epochs, 0.3))
    leaderboard.main(copied.params)
    rows = json.loads((copied.root / "results" / "leaderboard.json").read_text())
    assert {row["model"]: row.get("kind") for row in rows} == {
        "lr": None, "fm": None, **{name: each["kind"] for name, each in found.items()}
    }  # fmt: skip
    assert rows == sorted(rows, key=lambda row: row["test_rmse_mean"])
    searches = {row["model"]: row["search_seconds"] for row in rows}
    assert searches["fm, mean of 2 seeds"] == searches["fm"] > 0
    models = {member.split()[0] for member in of_models["members"]}
    assert searches[of_models["name"]] == pytest.approx(sum(searches[model] for model in models))
    page = (copied.root / "results" / "leaderboard.md").read_text()
    assert f"| fm, mean of 2 seeds | {fm['test']['rmse']:.4f} | " in page
    assert "chosen on validation rows" in page
    cells.main("synthetic", copied.params)
    assert "ensembles.json" in json.loads((copied.root / "results" / "cells" / "synthetic.json").read_text())["data"]


def test_the_board_leaves_out_ensembles_of_other_runs_and_says_so(copied):
    ensemble.main("synthetic", copied.params)
    metrics = copied.results("fm") / "metrics.json"
    metrics.write_text(metrics.read_text().replace("0", "0 ", 1).replace("0 ", "0", 1) + "\n")
    leaderboard.main(copied.params)
    page = (copied.root / "results" / "leaderboard.md").read_text()
    assert "mean of 2 seeds" not in page
    assert "ensembles on synthetic failed: they are of other final runs; run python -m pipelines.ensemble" in page


def test_predictions_that_are_missing_damaged_or_of_other_runs_name_the_command(copied, capsys):
    folder = Paths(copied.root).predictions("synthetic", "fm")
    whole = (folder / "seed-0.npz").read_bytes()
    again = "run python -m pipelines.evaluate --model fm --dataset synthetic"
    (folder / "seed-0.npz").write_bytes(whole[:300])
    with pytest.raises(ValueError, match=rf"seed-0\.npz is damaged \(.*\): {again}"):
        ensemble.main("synthetic", copied.params)
    (folder / "seed-0.npz").write_bytes((folder / "seed-1.npz").read_bytes())
    with pytest.raises(ValueError, match=rf"seed-0\.npz is of another run than .*metrics\.json: {again}"):
        ensemble.main("synthetic", copied.params)
    (folder / "seed-0.npz").unlink()
    ensemble.main("synthetic", copied.params)
    assert list(record(copied)["left_out"]) == ["fm"]
    assert f"note: no {folder / 'seed-0.npz'}: {again}" in capsys.readouterr().err
    shutil.rmtree(folder.parent)
    Paths(copied.root).ensembles("synthetic").unlink()
    with pytest.raises(ValueError, match=r"no predictions of synthetic \(.*\); set evaluate\.keep to true in "):
        ensemble.main("synthetic", copied.params)


def test_without_the_predictions_the_ensembles_of_the_same_runs_stay(copied, capsys):
    ensemble.main("synthetic", copied.params)
    before, paths = record(copied), Paths(copied.root)
    shutil.rmtree(paths.predictions("synthetic", "fm"))
    ensemble.main("synthetic", copied.params)
    assert record(copied) == before
    note = f"{paths.ensembles('synthetic')} stays as it is: it has fm, of which there are no predictions"
    assert f"note: {note}" in capsys.readouterr().err
    metrics = copied.results("fm") / "metrics.json"
    metrics.write_text(metrics.read_text() + "\n")  # as of another evaluation
    ensemble.main("synthetic", copied.params)
    assert record(copied)["of"].keys() == {"lr"}


def member(name, values, loss="squared_error"):
    return Member(name, 0, {"valid": np.array(values, dtype=float)}, loss, 1, 1.0)


def test_the_greedy_choice_takes_what_helps_the_mean_and_may_take_it_twice():
    labels = np.array([1.0, 1.0, -1.0, -1.0])
    high, low = member("high", [1.0, 1.0, 0.0, 0.0]), member("low", [-0.5, -0.5, -1.0, -1.0])
    useless = member("useless", [-1.0, -1.0, 1.0, 1.0])
    chosen = greedy([useless, low, high], labels, METRICS["rmse"])
    assert {each.model for each in chosen} == {"high", "low"}
    assert chosen.count(high) > chosen.count(low)
    assert len(chosen) <= ensembles.MOST_STEPS
    value = METRICS["rmse"].value(mean_of(chosen, "valid", labels))
    assert value < METRICS["rmse"].value(mean_of([high], "valid", labels))
    assert greedy([useless, member("perfect", labels)], labels, METRICS["rmse"])[0].model == "perfect"
    assert len(greedy([member("perfect", labels)], labels, METRICS["auc"])) == 1  # what adds nothing is left out


def test_a_constant_does_not_dilute_the_choice_where_only_small_shares_help():
    labels = np.array([1.0, 1.0, -1.0, -1.0])
    constant, good = member("mean", [0, 0, 0, 0]), member("good", [3, 0, 1, -3])
    other = member("other", [-4, 3.5, 0, 0])
    auc = METRICS["auc"]
    assert auc.value(mean_of([good, other], "valid", labels)) == auc.value(mean_of([good], "valid", labels)) == 0.75
    chosen = greedy([constant, good, other], labels, auc)
    assert [each.model for each in chosen] == ["good", "good", "other", "good"]
    assert auc.value(mean_of(chosen, "valid", labels)) == 1.0


def test_one_run_alone_is_as_good_as_its_model_also_where_predictions_are_clipped():
    of_squares, labels = member("fm", [2.0, 1.5, 1.2, -3.0]), np.array([1.0, -1.0, -1.0, -1.0])
    alone = mean_of([of_squares], "valid", labels)
    assert METRICS["auc"].value(alone) == 1.0
    assert alone.predicted.tolist() == [1.0, 1.0, 1.0, -1.0]


def test_the_mean_is_one_of_log_odds_and_of_labels_where_losses_differ():
    labels, odds = np.array([1.0, -1.0]), [np.log([9.0, 1 / 4]), np.log([1.0, 1 / 9])]
    of_odds = [member(str(number), each, "cross_entropy") for number, each in enumerate(odds)]
    mean = mean_of(of_odds, "valid", labels)
    assert mean.scores == pytest.approx(np.log([3.0, 1 / 6]))
    assert mean.predicted == pytest.approx([0.5, 2 / 7 - 1])  # of probabilities 3/4 and 1/7
    mean = mean_of(alike([of_odds[0], member("fm", [0.2, -1.4])]), "valid", labels)
    assert mean.scores == pytest.approx([(0.8 + 0.2) / 2, (-0.6 - 1.4) / 2])
    assert mean.predicted == pytest.approx(mean.scores)


def test_seeds_that_predict_the_same_have_no_mean(copied):
    folder = Paths(copied.root).predictions("synthetic", "lr")
    first, second = (folder / f"seed-{seed}.npz" for seed in range(SEEDS))
    shutil.copy(first, second)
    summary = json.loads((copied.results("lr") / "metrics.json").read_text())
    summary["seeds"]["1"] = summary["seeds"]["0"]
    (copied.results("lr") / "metrics.json").write_text(json.dumps(summary))
    ensemble.main("synthetic", copied.params)
    names = [each["name"] for each in record(copied)["mixtures"]]
    assert "fm, mean of 2 seeds" in names
    assert "lr, mean of 2 seeds" not in names


def test_the_seconds_of_many_searches_do_not_depend_on_their_order():
    names = [f"model_{number}" for number in range(10)]
    mixed = Mixture(name="ensemble", kind="models", members={f"{name} 0": 1 for name in names}, valid={}, test={},
                    num_params=1, seconds_per_epoch=1.0, num_trials=1)  # fmt: skip
    assert mixture_row("synthetic", mixed, dict.fromkeys(names, 0.1))["search_seconds"] == 1.0


def test_a_folder_of_predictions_has_those_of_the_runs_alone(tmp_path):
    file = tmp_path / "studies" / "seed-0.npz"
    write_predictions(file, {"valid": np.zeros(2), "test": np.ones(3)})
    folder = tmp_path / "predictions"
    folder.mkdir()
    (folder / "seed-7.npz").write_text("of another evaluation")
    copy_predictions([file], folder)
    assert [each.name for each in folder.iterdir()] == ["seed-0.npz"]
    assert read_predictions(folder / "seed-0.npz", "")["test"].tolist() == [1.0, 1.0, 1.0]


@pytest.fixture
def asked(monkeypatch):
    """Train with one seed in this process, and note model and setting."""
    asked = []

    def run_seeds(cell, test_rows, setting, params, folder):
        asked.append((cell.model, setting))
        shared, running = (cell, test_rows, setting), code.digest(code.at_start())
        return [Run(**final_runs.run_seed(shared, 0, 1, running), made_by=made_by(""))]

    monkeypatch.setattr(final_runs, "run_seeds", run_seeds)
    return asked


def test_the_papers_setting_has_a_row_with_its_spread_over_seeds(copied, asked):
    ensemble.main("synthetic", copied.params, default=True)
    (row,) = [each for each in record(copied)["mixtures"] if each["kind"] == "default"]
    ((model, setting),) = asked
    assert row["name"] == f"{model}, paper's setting"
    assert setting["training.batch_size"] == 256  # tune.fixed holds for the paper's setting too
    assert (row["num_trials"], row["spread"]) == (1, {})  # of one seed


@pytest.mark.parametrize(("found", "taken"), [({}, True), ({"training.learning_rate": 0.123}, False)])
def test_final_runs_of_the_papers_setting_are_not_trained_again(copied, asked, found, taken):
    searched = {}
    for model in MODELS:
        file = copied.results(model) / "best.json"
        paper = {**paper_setting(model, "synthetic"), **fixed_setting(model, load_params(copied.params))}
        searched[model] = {**paper, "training.recipe": "paper", **found}  # the paper's setting alone names no recipe
        file.write_text(json.dumps({**json.loads(file.read_text()), "setting": searched[model]}))
    ensemble.main("synthetic", copied.params, default=True)
    ((model, setting),) = asked
    assert (setting == searched[model]) is taken  # run_seeds knows runs by their whole setting
