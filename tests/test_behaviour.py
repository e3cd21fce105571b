"""The golden files of behaviour/ say what the code does, and name what is stale when that changes."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo
from pipelines.golden_stages import behaviours

from pipelines import behaviour
from pipelines.project import golden_files
from pipelines.project.golden_files import accepted, differences
from pipelines.project.params import TrainingParams
from pipelines.training import behaviour

ROOT = Path(__file__).parent.parent
MODELS = {file.stem for file in (ROOT / "behaviour").glob("*.json")} & {file.stem for file in ROOT.glob("models/*.py")}


@pytest.mark.parametrize("name", behaviours())
def test_the_code_behaves_as_accepted(name):
    found = differences(accepted(name), behaviour.today(behaviours()[name]))
    assert not found, f"{found[0]}: python -m pipelines.behaviour {name}"


def test_there_is_no_golden_file_but_those():
    files = {str(file.relative_to(golden_files.FOLDER).with_suffix("")) for file in golden_files.FOLDER.rglob("*.json")}
    assert files == behaviours().keys()


def run_behaviour(root, *arguments, **environment):
    """Run the command on a tree, with that tree's code."""
    command = [sys.executable, "-m", "pipelines.behaviour", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(root), **environment}
    return subprocess.run(command, cwd=root, capture_output=True, text=True, env=environment, timeout=300)


def test_other_instructions_of_the_cpu_give_the_same():
    done = run_behaviour(ROOT, "ifm", "nfm", "ffm", "protocol", ATEN_CPU_CAPABILITY="default")
    assert done.returncode == 0, done.stdout + done.stderr


def test_figures_differ_where_they_are_a_millionth_apart():
    then = {"losses": [0.5, 1.0], "norm": 2.0, "rows": 3, "name": "fm"}
    assert not differences(then, {**then, "losses": [0.5 + 4e-7, 1.0]})
    (found,) = differences(then, {**then, "losses": [0.5, 1.0 + 2e-6]})
    assert (found.place, found.accepted, found.today) == ("losses 2", 1.0, 1.0 + 2e-6)
    assert found.distance == pytest.approx(2e-6, rel=1e-3)
    assert [d.place for d in differences(then, {**then, "norm": math.nan})] == ["norm"]
    assert [d.place for d in differences(then, {**then, "norm": 2})] == []
    assert [d.place for d in differences(then, {**then, "rows": 4, "norm": 1.0})] == ["rows", "norm"]
    assert [d.place for d in differences(then, {**then, "losses": [0.5]})] == ["losses"]
    assert [d.place for d in differences(then, {"losses": [0.5, 1.0], "norm": 2.0, "name": "fm"})] == ["rows"]
    assert [d.place for d in differences(then, {**then, "more": 1})] == ["more"]


def test_a_new_default_is_no_other_behaviour_but_another_value_is():
    then = {"defaults": {"dropout": 0.3}, "trainings": {"loss": 0.5}}
    assert not differences(then, {**then, "defaults": {"dropout": 0.3, "batch_norm": False}})
    assert [d.place for d in differences(then, {**then, "defaults": {"dropout": 0.4}})] == ["defaults, dropout"]
    assert [d.place for d in differences(then, {**then, "defaults": {}})] == ["defaults, dropout"]


@pytest.fixture
def goldens(tmp_path, monkeypatch):
    """A copy of the golden files, for a test to change."""
    folder = Path(shutil.copytree(golden_files.FOLDER, tmp_path / "behaviour"))
    monkeypatch.setattr(golden_files, "FOLDER", folder)
    return folder


def test_another_behaviour_is_named_with_its_worst_figure_until_it_is_accepted(goldens, capsys):
    content = json.loads((goldens / "fm.json").read_text())
    whole = (goldens / "fm.json").read_bytes()
    content["trainings"]["defaults"]["train_loss"][1] *= 1.25
    content["trainings"]["values"]["valid_rmse"][0] *= 1.01
    (goldens / "fm.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"the behaviour of fm is not accepted: --accept NAME accepts it"):
        behaviour.main(["fm", "lr"])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("fm: 2 figures differ, most of all trainings, defaults, train_loss 2: ")
    assert line.endswith("(2.0e-01)")
    behaviour.main(["fm", "lr"], accept=["fm"])
    assert (goldens / "fm.json").read_bytes() == whole
    behaviour.main(["fm", "lr"])


def test_what_has_not_been_accepted_is_said_and_within_the_tolerance_nothing_is_written(goldens):
    (goldens / "lr.json").unlink()
    with pytest.raises(ValueError, match="the behaviour of lr is not accepted"):
        behaviour.main(["lr"])
    content = json.loads((goldens / "fm.json").read_text())
    content["trainings"]["defaults"]["train_loss"][1] *= 1 + 1e-7
    (goldens / "fm.json").write_text(json.dumps(content))
    before = (goldens / "fm.json").read_bytes()
    behaviour.main(["lr", "fm"], accept=["lr", "fm"])
    assert (goldens / "fm.json").read_bytes() == before


def test_wrong_names_and_damaged_files_are_said_in_a_line(goldens):
    with pytest.raises(ValueError, match="unknown behaviour 'fmm'; choose one of: .*ifm"):
        behaviour.main(["fmm"])
    (goldens / "fm.json").write_text('{"defaults": ')
    with pytest.raises(ValueError, match=r"fm\.json is damaged: run python -m pipelines\.behaviour --accept fm"):
        behaviour.main(["fm"])


def test_digits_stand_for_the_golden_file_or_for_what_the_code_does_instead(goldens, caplog):
    behaviour.digest.cache_clear()
    training = TrainingParams()
    same = behaviour.behaviour_of("lr", training)
    assert same == golden_files.accepted_behaviour("lr", training)
    content = json.loads((goldens / "lr.json").read_text())
    content["trainings"]["defaults"]["train_loss"][1] *= 2
    (goldens / "lr.json").write_text(json.dumps(content))
    behaviour.digest.cache_clear()
    assert behaviour.behaviour_of("lr", training) == same != golden_files.accepted_behaviour("lr", training)
    assert "the behaviour of lr is not that of" in caplog.text
    (goldens / "lr.json").unlink()
    behaviour.digest.cache_clear()
    assert behaviour.behaviour_of("lr", training) == same
    assert golden_files.accepted_behaviour("lr", training) is None
    behaviour.digest.cache_clear()


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the project, which DVC takes for a repository, and its status as it stands."""
    root = tmp_path_factory.mktemp("tree")
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for file in filter(None, files):
        if (ROOT / file).exists():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, root / file)
    config = root / ".dvc" / "config"
    config.write_text(config.read_text().replace("[core]", "[core]\n    no_scm = true"))
    return root, status(root)


def status(root):
    """The deps that DVC finds changed, by stage."""
    with Repo(str(root)) as repo:
        found = repo.status()
    changed = {}
    for stage, problems in found.items():
        deps = [problem["changed deps"] for problem in problems if "changed deps" in problem]
        changed[stage.removeprefix("paper/dvc.yaml:").removeprefix("dvc.yaml:")] = {
            os.path.relpath(root / "paper" / path if stage.startswith("paper") else root / path, root)
            for part in deps
            for path in part
        }
    return changed


def newly_stale(tree):
    """The stages whose deps have changed since the copy, each with those deps."""
    root, before = tree
    now = status(root)
    return {stage: deps - before.get(stage, set()) for stage, deps in now.items() if deps - before.get(stage, set())}


def changed(root, edits):
    """Change files, by texts to replace, for the time of a block."""
    before = {file: (root / file).read_text() for file in edits}
    for file, (old, new) in edits.items():
        assert old in before[file], f"{file} has no {old!r}"
        (root / file).write_text(before[file].replace(old, new, 1))
    return before


def is_expensive(stage):
    return stage.partition("@")[0] in ("pretrain", "tune", "evaluate", "experiment", "importance")


def test_comments_renames_and_moves_make_nothing_expensive_stale(tree):
    root, _ = tree
    files = [file for folder in ("pipelines", "models", "search_spaces") for file in (root / folder).glob("**/*.py")]
    before = {file: file.read_text() for file in files}
    for file, text in before.items():
        file.write_text(f"{text}\n# a comment\n")
    moved = root / "models" / "pairs_of_rows.py"
    (root / "models" / "row_kernels.py").rename(moved)
    pair_kernels = root / "models" / "pair_kernels.py"
    pair_kernels.write_text(
        pair_kernels.read_text().replace("models.row_kernels import", "models.pairs_of_rows import")
    )
    try:
        stale = newly_stale(tree)
        assert not [stage for stage in stale if is_expensive(stage)]
        assert any(stage.startswith("prepare") for stage in stale)  # DVC has looked
        assert run_behaviour(root, "ifm", "fm").returncode == 0
    finally:
        moved.rename(root / "models" / "row_kernels.py")
        for file, text in before.items():
            file.write_text(text)


@pytest.mark.parametrize(
    ("file", "old", "new", "files", "stages", "models"),
    [
        ("models/nfm.py", "hidden_dropout: float = 0.2", "hidden_dropout: float = 0.25", {"nfm"},
         {"tune", "evaluate", "experiment"}, {"nfm"}),
        ("models/inn.py", "return self.linear", "return 1.001 * self.linear", {"inn"}, {"tune", "evaluate", "experiment"}, {"inn"}),
        ("pipelines/training/optimizers.py", "BETA = 1.0", "BETA = 1.1", {"optimizers/ftrl"}, set(), set()),
        ("pipelines/training/optimizers.py", "INITIAL_ACCUMULATOR = 1e-8", "INITIAL_ACCUMULATOR = 1e-3",
         {"optimizers/adagrad", *MODELS}, {"pretrain", "tune", "evaluate", "experiment", "importance"}, None),
        ("search_spaces/nfm.py", "FloatDistribution(0.0", "FloatDistribution(0.1", {"spaces/nfm"}, {"tune"}, {"nfm"}),
        ("pipelines/search/tuner.py", '"sampler", drawn', '"sampler", drawn + 1', {"search"}, {"tune"}, None),
        ("pipelines/data/encoding.py", "rng.permutation(num_rows)", "rng.permutation(num_rows)[::-1]", {"prepare"},
         set(), set()),
    ],
    ids=["model", "equation", "ftrl", "adagrad", "space", "seed rule", "split"],
)  # fmt: skip
def test_a_change_is_red_until_accepted_and_then_makes_stale_what_it_concerns(
    tree, file, old, new, files, stages, models
):
    root, _ = tree
    texts = changed(root, {file: (old, new)})
    goldens = {path: path.read_text() for path in (root / "behaviour").rglob("*.json")}
    try:
        first = sorted(files)[0]
        red = run_behaviour(root, first.removeprefix("spaces/"))
        assert red.returncode == 1
        assert f"the behaviour of {first} is not accepted" in red.stderr
        assert f"{first}: " in red.stdout
        done = run_behaviour(root, "--accept", "all")
        assert done.returncode == 0
        assert {line.split(":")[0] for line in done.stdout.splitlines() if ": accepted" in line} == files
        stale = newly_stale(tree)
        expensive = {stage for stage in stale if is_expensive(stage)}
        assert {stage.partition("@")[0] for stage in expensive} == stages
        known = [stage for stage in status(root) if stage.partition("@")[0] in stages]
        if models is None:
            assert expensive >= {stage for stage in known if not stage.startswith("importance")}
        else:
            for stage in expensive:
                assert any(f"behaviour/{path}.json" in stale[stage] for path in files)
    finally:
        for path, text in texts.items():
            (root / path).write_text(text)
        for path, text in goldens.items():
            path.write_text(text)
