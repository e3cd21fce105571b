"""Compare the code with the golden files, and ask what edits of it make stale."""

import contextlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.dvcfile import load_file
from dvc.repo import Repo
from trees import run_module

from models.layers.trees import AbsentError
from pipelines import behaviour as command
from pipelines.project import golden_files
from pipelines.project.golden_files import accepted, differences
from pipelines.project.params import TrainingParams
from pipelines.training import behaviour

ROOT = Path(__file__).parents[2]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


@pytest.mark.parametrize("name", command.behaviours())
def test_the_code_behaves_as_accepted(name):
    try:
        today = behaviour.today(command.behaviours()[name])
    except AbsentError as error:
        pytest.skip(str(error))
    found = differences(accepted(name), today)
    assert not found, f"{found[0]}: python -m pipelines.behaviour {name}"


def test_there_is_no_golden_file_but_those():
    files = {str(file.relative_to(golden_files.FOLDER).with_suffix("")) for file in golden_files.FOLDER.rglob("*.json")}
    assert files == command.behaviours().keys()


@pytest.mark.edits
def test_other_instructions_of_the_cpu_give_the_same():
    command = [sys.executable, "-m", "pipelines.behaviour", "ifm", "ffm", "protocol"]
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=300)
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
    """Copy the golden files, for a test to change."""
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
        command.main(["fm", "lr"])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("fm: 2 figures differ, most of all trainings, defaults, train_loss 2: ")
    assert line.endswith("(2.0e-01)")
    command.main(["fm", "lr"], accept=["fm"])
    assert (goldens / "fm.json").read_bytes() == whole
    command.main(["fm", "lr"])


def test_what_has_not_been_accepted_is_said_and_within_the_tolerance_nothing_is_written(goldens):
    (goldens / "lr.json").unlink()
    with pytest.raises(ValueError, match="the behaviour of lr is not accepted"):
        command.main(["lr"])
    content = json.loads((goldens / "fm.json").read_text())
    content["trainings"]["defaults"]["train_loss"][1] *= 1 + 1e-7
    (goldens / "fm.json").write_text(json.dumps(content))
    before = (goldens / "fm.json").read_bytes()
    command.main(["lr", "fm"], accept=["lr", "fm"])
    assert (goldens / "fm.json").read_bytes() == before


def test_wrong_names_and_damaged_files_are_said_in_a_line(goldens):
    with pytest.raises(ValueError, match=r"unknown behaviour 'fmm'; choose one of: .*ifm"):
        command.main(["fmm"])
    (goldens / "fm.json").write_text('{"defaults": ')
    with pytest.raises(ValueError, match=r"fm\.json is damaged \(.*\): run python -m pipelines\.behaviour --accept fm"):
        command.main(["fm"])


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
    """Copy the project into a folder; return it with its stale deps."""
    root = tmp_path_factory.mktemp("tree")
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for file in filter(None, files):
        if (ROOT / file).exists():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, root / file)
    return root, stale(root)


PAPER_CELLS = [  # the stages of paper/ that DVC is asked about: it takes a second for each fifty
    *(f"{stage}@frappe-nfm-{model}" for stage in ("tune", "evaluate") for model in ("fm", "nfm", "ifm", "inn")),
    *(f"experiment@{name}" for name in ("aspect-frappe-fm", "keep-frappe-ifm", "pretrained-nfm-none", "longer-inn")),
    *("pretrain@frappe-nfm", "importance@frappe-nfm"),
]


def stale(root):
    """Map each stage to the deps that DVC finds changed."""
    with contextlib.chdir(root), Repo(str(root)) as repo, repo.lock:
        main, paper = (load_file(repo, file).stages for file in ("dvc.yaml", "paper/dvc.yaml"))  # parse each lock once
        found = {}
        for stage in [*main.values(), *(paper[name] for name in PAPER_CELLS)]:
            found |= stage.status(check_updates=True)
    return {
        stage.rpartition("dvc.yaml:")[2] if stage.startswith("paper") else f"main {stage}": {
            dep
            for problem in problems
            if isinstance(problem, dict)  # else it is "always changed"
            for dep in problem.get("changed deps", ())
        }
        for stage, problems in found.items()
    }


def newly_stale(now, before):
    """Map each stage that trains to the deps that became stale since the copy."""
    changed = {stage: deps - before.get(stage, set()) for stage, deps in now.items()}
    return {stage: deps for stage, deps in changed.items() if deps and TRAINS.match(stage)}


TRAINS = re.compile("(main )?(pretrain|tune|evaluate|experiment|importance)(@|$)")


@contextlib.contextmanager
def changed(root, edits):
    """Replace texts in files for the time of a block; restore them and all golden files at its end."""
    before = {root / file: (root / file).read_text() for file in edits}
    before |= {path: path.read_text() for path in (root / "behaviour").rglob("*.json")}
    try:
        for file, (old, new) in edits.items():
            assert old in before[root / file], f"{file} has no {old!r}"
            (root / file).write_text(before[root / file].replace(old, new, 1))
        yield
    finally:
        for path, text in before.items():
            path.write_text(text)


@pytest.mark.edits
def test_comments_renames_and_moves_make_nothing_that_trains_stale(tree):
    root, before = tree
    files = [file for folder in ("pipelines", "models", "search_spaces") for file in (root / folder).rglob("*.py")]
    edits = {str(file.relative_to(root)): ("\n", "\n# a comment\n") for file in files if file.read_text()}
    for file in (root / "models" / "kernels" / "loops").glob("*.py"):
        if "models.kernels.code_cache import" in file.read_text():
            names = ("models.kernels.code_cache import", "models.kernels.kept_code import")
            edits[str(file.relative_to(root))] = names
    cache, renamed = (root / "models" / "kernels" / f"{name}.py" for name in ("code_cache", "kept_code"))
    with changed(root, edits):
        cache.rename(renamed)
        try:
            now = stale(root)
            assert newly_stale(now, before) == {}
            assert "pipelines/data" in now["main prepare@frappe"]  # DVC has seen the edits
            assert run_module(root, "pipelines.behaviour", "ifm", "fm").returncode == 0
        finally:
            renamed.rename(cache)


# The golden files that stand for all others that a change does not concern
OTHERS = {
    "fm",
    "nfm",
    "spaces/fm",
    "optimizers/adagrad",
    "optimizers/ftrl",
    "protocol",
    "search",
    "evaluate",
    "prepare",
}
ALL = {"pretrain", "tune", "evaluate", "experiment", "importance"}


SOME = {"fm", "nfm", "ifm", "inn", "lr"}  # of the models that an optimizer trains
CHANGES = {  # file, old and new text, the golden files that are red, the stages that become stale
    "default": ("models/nfm.py", "hidden_dropout: float = 0.2", "hidden_dropout: float = 0.25", {"nfm"},
                {"tune", "evaluate", "experiment"}),
    "equation": ("models/inn.py", "return self.linear", "return 1.001 * self.linear", {"inn"},
                 {"tune", "evaluate", "experiment"}),
    "ftrl": ("pipelines/training/optimizers/ftrl.py", "BETA = 1.0", "BETA = 1.1", {"optimizers/ftrl"}, set()),
    "adagrad": ("pipelines/training/optimizers/adagrad.py", "INITIAL_ACCUMULATOR = 1e-8", "INITIAL_ACCUMULATOR = 1e-3",
                {"optimizers/adagrad", *SOME}, ALL),
    "space": ("search_spaces/nfm.py", "FloatDistribution(0.0", "FloatDistribution(0.1", {"spaces/nfm"}, {"tune"}),
    "seed rule": ("pipelines/search/tuner.py", '"sampler", drawn', '"sampler", drawn + 1', {"search"}, {"tune"}),
    "split": ("pipelines/data/splitting.py", "rng.permutation(num_rows)", "rng.permutation(num_rows)[::-1]",
              {"prepare"}, set()),
}  # fmt: skip


@pytest.mark.edits
@pytest.mark.parametrize("names", [("default", "ftrl", "seed rule"), ("equation", "space", "split"), ("adagrad",)])
def test_a_change_is_red_until_accepted_and_then_makes_stale_what_it_concerns(tree, names):
    """Make changes at once that concern different golden files."""
    root, before = tree
    changes = [CHANGES[name] for name in names]
    files = set().union(*(files for *_, files, _ in changes))
    with changed(root, {file: (old, new) for file, old, new, *_ in changes}):
        asked = (word for name in sorted(files | OTHERS) for word in ("--accept", name))
        done = run_module(root, "pipelines.behaviour", *asked)
        assert done.returncode == 0, done.stderr
        red = {line.partition(":")[0] for line in done.stdout.splitlines() if " differ, most of all " in line}
        assert red == files
        every = newly_stale(stale(root), before)
    reasons = {stage: {dep.removeprefix("../") for dep in deps} for stage, deps in every.items()}
    assert set().union(*reasons.values()) <= {f"behaviour/{name}.json" for name in files}
    for *_, files, stages in changes:
        golden = {f"behaviour/{name}.json" for name in files}
        found = {stage for stage, deps in reasons.items() if deps & golden}
        assert {stage.removeprefix("main ").partition("@")[0] for stage in found} == stages
        models = {stage.rpartition("-")[2] for stage in found if "@" in stage and not stage.startswith("experiment")}
        assert stages in (set(), ALL) or files == {"search"} or models <= {name.rpartition("/")[2] for name in files}
        if stages == ALL or files == {"search"}:  # all of these
            assert {f"main tune@{dataset}-{model}" for dataset in PARAMS["datasets"] for model in PARAMS["models"]} <= (
                found
            )


@pytest.mark.edits
def test_another_split_has_another_digest_and_that_alone_makes_stale_what_is_trained_on_it(tree, tmp_path):
    root, _ = tree
    digests, options = [], ["--dataset", "synthetic", "--params", str(tmp_path / "params.yaml")]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**PARAMS, "datasets": ["synthetic"]}))
    assert run_module(root, "pipelines.download", *options).returncode == 0
    for edits in (
        {},
        {"pipelines/data/splitting.py": ("rng.permutation(num_rows)", "rng.permutation(num_rows)[::-1]")},
    ):
        with changed(root, edits):
            assert run_module(root, "pipelines.prepare", *options).returncode == 0
        schema = json.loads((tmp_path / "data" / "processed" / "synthetic" / "schema.json").read_text())
        digests.append(schema["values"])
    assert all(digests[0][split] != digests[1][split] for split in ("train", "valid", "test"))
