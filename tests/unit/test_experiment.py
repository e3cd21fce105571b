import json
import shutil
from pathlib import Path

import experiment
import polars as pl
import pytest
import torch
import yaml
from entries import expand, load_experiments
from projects import Project

from models import registry
from pipelines.project.paths import Paths
from pipelines.project.settings import resolve
from pipelines.training.cell import Cell
from results import write_cell, write_declined

PAPER = Path(experiment.__file__).parent
START = {"dataset": "synthetic", "start": str(PAPER.parent / "behaviour" / "spaces" / "ifm.json")}
EXPERIMENTS = {
    "defaults": {
        "set": {
            "model.embed_dim": 4,
            "model.attention_dim": 2,
            "training.batch_size": 512,
            "training.pretrained": "fm",
        },
        "max_epochs": 2,
        "patience": None,
    },
    "experiments": {
        "fm": {**START, "figure": "aspects", "label": "FM", "model": "fm"},
        "ifm": {**START, "figure": "aspects", "label": "IFM", "model": "ifm"},
        "keep": {**START, "figure": "keep", "label": "IFM", "model": "ifm", "x": 0.5, "set": {"model.dropout": 0.5}},
        "random": {**START, "figure": "p", "label": "r", "model": "ifm", "set": {"training.pretrained": None}},
        "seeds": {**START, "figure": "p", "label": "r", "model": "fm", "num_seeds": 2},
    },
}
COLUMNS = ["epoch", "seconds", "train_loss", "valid_rmse", "valid_auc", "valid_logloss", "valid_rmse_std", "num_seeds"]


@pytest.fixture
def paper(prepared, tmp_path):
    """Make a prepared project with experiments and without test rows."""
    threads, project = torch.get_num_threads(), Project(shutil.copytree(prepared.root, tmp_path / "paper"))
    (project.root / "data" / "processed" / "synthetic" / "test.parquet").unlink()
    (project.root / "experiments.yaml").write_text(yaml.safe_dump(EXPERIMENTS))
    yield project
    torch.set_num_threads(threads)


def run(project, *names):
    experiment.main(list(names), False, project.params)
    return [pl.read_csv(project.root / "results" / "experiments" / name / "run.csv") for name in names]


def change(project, name, **entry):
    content = yaml.safe_load((project.root / "experiments.yaml").read_text())
    content["experiments"][name].update(entry)
    (project.root / "experiments.yaml").write_text(yaml.safe_dump(content))


def setting(project, name):
    defaults, experiments = load_experiments(project.root / "experiments.yaml")
    return experiment.setting_of(experiments[f"{name}/run"], defaults, Paths(project.root))


def test_a_run_has_a_row_an_epoch_and_reads_no_test_rows(paper):
    (table,) = run(paper, "keep")
    assert table.columns == COLUMNS
    assert table["epoch"].to_list() == [1, 2]
    assert table["num_seeds"].to_list() == [1, 1]
    assert table["valid_rmse_std"].to_list() == [None, None]
    assert (table["seconds"] > 0).all()
    assert table["valid_rmse"].is_between(0.3, 1.2).all()


def test_a_run_that_is_done_is_kept_and_shared_by_experiments_of_the_same_setting(paper, monkeypatch):
    (first,) = run(paper, "ifm")
    monkeypatch.setattr(Cell, "train", lambda *_: pytest.fail("trained again"))
    (paper.root / "results" / "experiments" / "ifm" / "run.csv").unlink()
    change(paper, "keep", set={"model.dropout": 0.1})  # the paper's value, from which ifm starts too
    again, shared = run(paper, "ifm", "keep")
    assert first.equals(again)
    assert first.equals(shared)


def test_another_setting_is_another_run(paper):
    ifm, keep = run(paper, "ifm", "keep")
    assert ifm["valid_rmse"][0] != keep["valid_rmse"][0]


def test_means_and_spread_are_over_the_seeds(paper):
    (table,) = run(paper, "seeds")
    files = sorted(paper.study("fm").glob("experiment-*/seed-*.json"))
    runs = [[row["valid_rmse"] for row in json.loads(file.read_text())["epochs"]] for file in files]
    assert len(runs) == 2
    for epoch, (a, b) in enumerate(zip(*runs, strict=True)):
        assert a != b
        assert table["valid_rmse"][epoch] == pytest.approx((a + b) / 2)
        assert table["valid_rmse_std"][epoch] == pytest.approx(abs(a - b) / 2**0.5)


def test_epochs_that_some_seeds_have_not_reached_are_left_out():
    rows = [{"epoch": epoch, "valid_rmse": 1 / epoch} for epoch in (1, 2, 3)]
    assert experiment.mean_by_epoch([rows, rows[:2]])["epoch"].to_list() == [1, 2]


def test_embeddings_start_from_an_fm_of_the_experiments_size(paper, monkeypatch):
    cells = []
    original = Cell.train
    monkeypatch.setattr(Cell, "train", lambda cell, *rest: cells.append(cell) or original(cell, *rest))
    run(paper, "ifm", "random", "fm")
    by_start = [(cell.model, cell.pretrained is not None) for cell in cells]
    assert by_start == [("fm", False), ("ifm", True), ("ifm", False), ("fm", False)]
    (file,) = paper.study("fm").glob("experiment-*.pt")
    weights = torch.load(file, weights_only=True)
    assert weights["embedding.weight"].shape[1] == 4
    torch.testing.assert_close(cells[1].pretrained["embedding.weight"], weights["embedding.weight"])


def test_what_an_experiment_sets_is_on_top_of_the_defaults_and_these_on_top_of_the_start(paper):
    change(paper, "keep", set={"model.embed_dim": 8}, max_epochs=7)
    keep = setting(paper, "keep")
    assert keep["model.embed_dim"] == 8
    assert keep["model.attention_dim"] == 2
    assert keep["model.field_embed_dim"] == 26
    assert keep["training.learning_rate"] == 0.1
    assert keep["training.max_epochs"] == keep["training.patience"] == 7  # no early stopping
    assert keep["training.pretrained"] == "fm"
    fm = setting(paper, "fm")
    assert "model.attention_dim" not in fm
    assert fm["training.pretrained"] is None
    change(paper, "keep", patience=3)
    assert setting(paper, "keep")["training.patience"] == 3


def test_an_experiment_starts_from_the_best_setting_of_a_search(paper):
    best = paper.results("ifm") / "best.json"
    change(paper, "keep", start="results/synthetic/ifm/best.json")
    with pytest.raises(ValueError, match=r"no .*best\.json: run the search first, or start from .*spaces/ifm\.json"):
        setting(paper, "keep")
    write_cell(best.parent, [], setting={"model.temperature": 3.0, "model.embed_dim": 256})
    keep = setting(paper, "keep")
    assert (keep["model.temperature"], keep["model.embed_dim"], keep["model.dropout"]) == (3.0, 4, 0.5)
    write_declined(best.parent, "needs a field tag")
    with pytest.raises(ValueError, match="has no setting: needs a field tag"):
        setting(paper, "keep")


def test_mistakes_are_named(paper):
    with pytest.raises(ValueError, match="unknown experiment 'kep'; choose one of: fm, ifm, keep"):
        run(paper, "kep")
    with pytest.raises(ValueError, match=r"name an experiment of experiments\.yaml"):
        run(paper)
    change(paper, "keep", set={"model.droput": 0.5})
    with pytest.raises(ValueError, match="ifm has no hyperparameter 'droput'"):
        run(paper, "keep")
    change(paper, "keep", modle="ifm")
    with pytest.raises(ValueError, match=r"experiments\.yaml: experiments\.keep\.modle: no such key"):
        run(paper, "keep")
    assert not (paper.root / "results" / "experiments").exists()


def test_the_list_has_all_and_counts_what_is_shared_once(paper, capsys):
    change(paper, "keep", set={"model.dropout": 0.1}, x=0.9)
    experiment.main(None, True, paper.params)
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ") for line in lines[2:-2]}
    assert list(rows) == ["fm/run", "ifm/run", "keep/run", "random/run", "seeds/run"]
    assert rows["seeds/run"][1:5] == ["fm", "synthetic", "2", "2"]
    assert float(rows["ifm/run"][5]) == float(rows["keep/run"][5]) > 0
    assert rows["keep/run"][6] == "0.0"
    assert lines[-1].endswith("minutes of one core in all")
    assert not (paper.root / "results" / "experiments").exists()


REAL = load_experiments(PAPER / "experiments.yaml")


@pytest.mark.parametrize("name", REAL[1])
def test_the_papers_experiments_have_settings_that_their_models_take(name):
    defaults, experiments = REAL
    entry = experiments[name]
    if entry.start.endswith("best.json"):
        dataset, model = Path(entry.start).parts[1:3]
        assert dataset == entry.dataset
        entry = entry.model_copy(update={"start": f"../behaviour/spaces/{model}.json"})
    if "model.inert_attention" in entry.set and "inert_attention" not in registry.hyperparameters("afm"):
        pytest.skip("afm has no inert_attention yet")
    given = experiment.setting_of(entry, defaults, Paths(PAPER))
    arguments, training = resolve(given, experiment.load_params(PAPER.parent / "params.yaml").training)
    registry.create(entry.model, (3, 3, 3), arguments)
    assert training.max_epochs == training.patience == entry.max_epochs
    if entry.figure == "keep":
        assert arguments["dropout"] == pytest.approx(1 - entry.x)
    if entry.figure in ("l2_field", "sampling_l2"):
        assert training.l2_field == entry.x
    if entry.figure == "field_embed_dim":
        assert arguments["field_embed_dim"] == entry.x
    if entry.figure == "sampling":
        assert arguments["num_sampled"] == pytest.approx(entry.x * 45, abs=0.5)


def test_the_papers_experiments_are_told_apart_in_their_figure():
    seen = [(entry.figure, entry.dataset, entry.label, entry.x) for entry in REAL[1].values()]
    assert len(seen) == len(set(seen))


def test_a_grid_is_a_run_for_each_x():
    grid = {"figure": "keep", "vary": "model.dropout", "x": [0.1, 1], "values": [0.9, 0.0], "set": {"training.l2": 0.1}}
    assert dict(expand({"keep": grid, "one": {"figure": "p"}})) == {
        "keep/0.1": {"figure": "keep", "x": 0.1, "set": {"training.l2": 0.1, "model.dropout": 0.9}},
        "keep/1": {"figure": "keep", "x": 1, "set": {"training.l2": 0.1, "model.dropout": 0.0}},
        "one/run": {"figure": "p"},
    }
    assert [entry["set"] for _, entry in expand({"k": {"vary": "model.k", "x": [1, 4]}})] == [
        {"model.k": 1},
        {"model.k": 4},
    ]


def test_sampling_has_the_l2_that_is_best_on_average_over_the_shares():
    found, used = {}, set()
    for name, entry in REAL[1].items():
        if entry.figure == "sampling_l2":
            curve = pl.read_csv(PAPER / "results" / "experiments" / f"{name}.csv")
            found.setdefault(entry.x, []).append(curve["valid_rmse"].min())
        if entry.figure == "sampling":
            used.add(entry.set["training.l2_field"])
    assert used == {min(found, key=lambda l2: sum(found[l2]))}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("max_epochs: 2", "max_epochs: 2\n  max_epochs: 3", "key 'max_epochs' occurs twice, again in line 8"),
        ("max_epochs: 2", "max_epochs: 010x", "defaults.max_epochs: Input should be a valid integer (got '010x')"),
        (
            "max_epochs: 2",
            "epochs: 2",
            "defaults.epochs: no such key; the keys here are: set, max_epochs, ",
        ),
        ("num_seeds: 2", "seeds: 2", "experiments.seeds.seeds: no such key; the keys here are: set, max_epochs, "),
        ("experiments:", "experiment:", "it must have the keys defaults and experiments"),
        ("x: 0.5", "x: 0.5\n    vary: model.dropout", "experiments.keep.x: a grid needs a list of numbers, got 0.5"),
        (
            "x: 0.5",
            "x: [1, 1.0]\n    vary: model.dropout",
            "experiments.keep: a grid needs different x and as many values",
        ),
        (
            "x: 0.5",
            "x: [1]\n    values: [1, 2]\n    vary: model.dropout",
            "experiments.keep: a grid needs different x and",
        ),
    ],
)
def test_a_mistake_in_the_experiments_is_one_line(tmp_path, old, new, problem):
    file = tmp_path / "experiments.yaml"
    content = yaml.safe_dump(EXPERIMENTS, sort_keys=False)
    assert old in content
    file.write_text(
        content.replace(f"  {old}", f"  {new}", 1) if f"  {old}" in content else content.replace(old, new, 1)
    )
    with pytest.raises(ValueError, match=r"experiments\.yaml: ") as caught:
        load_experiments(file)
    assert str(caught.value).startswith(f"{file}: {problem}")
    assert len(str(caught.value).splitlines()) == 1


def test_the_settings_of_the_committed_runs_are_those_that_their_entries_ask_for_now():
    # Older runs may also have L2 weights that no layer of the model uses; they had no effect.
    defaults, experiments = REAL
    for name, entry in experiments.items():
        committed = json.loads((PAPER / "results" / "experiments" / f"{name}.json").read_text())["setting"]
        now = experiment.setting_of(entry, defaults, Paths(PAPER))
        assert {key: value for key, value in committed.items() if key in now or "l2_" not in key} == now, name
