import ast
import os
import re
import shutil
import subprocess
from itertools import product
from pathlib import Path

import pytest
import yaml
from dvc.utils.serialize import load_yaml
from trees import run_module

from pipelines.project.golden_files import golden_names
from pipelines.project.metric import METRICS
from pipelines.project.params import Params, TrainingParams, load_params
from pipelines.project.records import read_yaml

ROOT = Path(__file__).parents[2]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
DEMO_STAGES = yaml.safe_load((ROOT / "demo" / "dvc.yaml").read_text())["stages"]
PAPER_STAGES = yaml.safe_load((ROOT / "paper" / "dvc.yaml").read_text())["stages"]
SPLITS_STAGES = yaml.safe_load((ROOT / "splits" / "dvc.yaml").read_text())["stages"]
BOARD_STAGES = yaml.safe_load((ROOT / "board" / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
SPLITS_PARAMS = yaml.safe_load((ROOT / "splits" / "params.yaml").read_text())
PAPER_PARAMS = yaml.safe_load((ROOT / "paper" / "params.yaml").read_text())

CODE = (".py", ".j2")
TEMPLATES = "pipelines/reporting/templates"
PLUMBING = {
    f"pipelines/project/{name}.py" for name in ("cli", "code", "paths", "files", "metric", "predicted")
}  # only show and store
GATHER = ("leaderboard", "significance", "report")  # the stages that read the cells of all data sets
TRAIN = ("pretrain", "tune", "evaluate", "experiment", "importance")  # these take hours
OWN = "data/own/${item.dataset}.json"  # the list of a user's own files
RECIPES = "behaviour/recipes.json"
ENSEMBLES = "results/ensembles/${item.dataset}.json"  # of the board alone: elsewhere no predictions are kept
CHEAP = [stage for stage in STAGES if stage not in TRAIN]


def imported_files(path):
    """Return the repository's files that a file imports, and the templates that it names.

    Imports inside functions count. A script of paper/ may import the files beside it.
    """
    if not path.endswith(".py"):
        return set()
    found, places = set(), ["", "paper/"] if path.startswith("paper/") else [""]
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports are not followed"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and str(node.value).endswith(".j2"):
            found |= {file for file in (f"{TEMPLATES}/{node.value}",) if (ROOT / file).exists()}
            continue
        else:
            continue
        files = (f"{place}{name.replace('.', '/')}.py" for name in names for place in places)
        found |= {file for file in files if (ROOT / file).exists()}
    return found


def closure(*paths):
    """Return the files with all that they import, directly or not."""
    found, pending = set(), set(paths)
    while pending:
        path = pending.pop()
        found.add(path)
        pending |= imported_files(path) - found
    return found


def assert_code_is_named(code, deps):
    """Assert that each file is in a dep, and that no dep is other code."""
    named = {dep for dep in deps if dep.endswith(CODE) or dep.startswith(("pipelines/", "paper/chapters"))}
    of_file = {file: {dep for dep in named if file == dep or file.startswith(f"{dep}/")} for file in code}
    assert not [file for file, found in of_file.items() if not found]
    assert named == set().union(*of_file.values())


def stage_names(stages, params):
    """Return DVC's names of the stages.

    A plain stage is NAME, one of a matrix is NAME@VALUE-VALUE, one of a foreach is NAME@KEY.
    """
    names = set()
    for stage, content in stages.items():
        if each := content.get("foreach"):
            names |= {f"{stage}@{key}" for key in (params[each.strip("${}")] if isinstance(each, str) else each)}
            continue
        axes = [params[axis.strip("${}")] for axis in content.get("matrix", {}).values()]
        names |= {f"{stage}@{'-'.join(values)}" for values in product(*axes)} if axes else {stage}
    return names


def test_the_walk_over_imports_finds_those_inside_functions_and_of_modules():
    assert imported_files("pipelines/pretrain.py") >= {"pipelines/training/epochs.py", "pipelines/data/catalog.py"}
    assert "pipelines/data/libfm.py" in closure("pipelines/prepare.py")
    assert f"{TEMPLATES}/leaderboard.md.j2" in closure("pipelines/leaderboard.py")


@pytest.mark.parametrize("stage", CHEAP)
def test_the_deps_of_a_cheap_stage_are_the_code_that_it_imports(stage):
    program = STAGES[stage]["cmd"].split()[2]
    assert STAGES[stage]["cmd"].startswith(f"python -m pipelines.{stage}")
    assert_code_is_named(closure(f"{program.replace('.', '/')}.py") - PLUMBING, STAGES[stage]["deps"])


@pytest.mark.parametrize("stage", TRAIN)
def test_what_trains_depends_on_golden_files_and_on_no_code(stage):
    content = PAPER_STAGES[stage].get("do", PAPER_STAGES[stage])
    deps = {dep.removeprefix("../") for dep in content["deps"]}
    assert not [dep for dep in deps if dep.endswith(".py")]
    model = {"pretrain": "fm", "importance": "ifm"}.get(stage, "${item.model}")
    training = {f"behaviour/{model}.json", "behaviour/optimizers/${training.optimizer}.json", "behaviour/protocol.json"}
    own = {
        "tune": {"behaviour/search.json", "behaviour/spaces/${item.model}.json"},
        "evaluate": {"behaviour/evaluate.json"},
        "experiment": {"behaviour/fm.json"},  # whose embeddings they start from
        "importance": {"behaviour/fm.json"},
    }
    assert {dep for dep in deps if dep.startswith("behaviour/")} == training | own.get(stage, set())


def test_results_hang_on_the_files_that_name_their_studies():
    names = golden_names("${item.model}", TrainingParams())
    assert [f"behaviour/{name}.json".replace("adagrad", "${training.optimizer}") for name in names] == [
        dep for dep in STAGES["evaluate"]["deps"] if dep.startswith("behaviour/") and "evaluate" not in dep
    ]


def test_what_a_metric_beside_those_of_every_epoch_decides_hangs_on_its_golden_file_too():
    names = {metric: golden_names("fm", TrainingParams(metric=metric)) for metric in METRICS}
    assert {metric for metric in METRICS if "metrics" in names[metric]} == {"pr_auc", "ece", "group_auc"}
    assert names["auc"] == names["rmse"]


@pytest.mark.parametrize("stage", STAGES)
def test_the_other_deps_are_outputs_of_earlier_stages(stage):
    earlier = set()
    for name, content in STAGES.items():
        if name == stage:
            break
        outs = [*content["outs"], *content.get("metrics", [])]
        earlier |= {out if isinstance(out, str) else next(iter(out)) for out in outs}
    if stage == "cells":  # a folder with the outputs of all its cells
        earlier = {"results/${item.dataset}"}
    if stage in GATHER:  # a folder with the lists of all cells
        earlier = {str(Path(next(iter(out))).parent) for out in STAGES["cells"]["outs"]}
    deps = {dep for dep in STAGES[stage].get("deps", []) if not dep.endswith(CODE) and "behaviour" not in dep} - {OWN}
    deps = {dep for dep in deps if not dep.startswith(("pipelines/", "datasets", "models", "search_spaces"))}
    assert {dep.removesuffix("/recipe.json").removesuffix("/schema.json") for dep in deps} <= earlier


@pytest.mark.parametrize("stage", ["tune", "evaluate"])
def test_what_starts_from_trained_weights_depends_on_their_recipe_not_on_their_last_digits(stage):
    deps = [dep for dep in STAGES[stage]["deps"] if "pretrained" in dep]
    assert deps == [STAGES["pretrain"]["outs"][0] + "/recipe.json"]


@pytest.mark.parametrize("stage", STAGES)
def test_no_dep_is_missing_or_listed_twice(stage):
    deps = STAGES[stage]["deps"]
    assert len(deps) == len(set(deps))
    for model in PARAMS["models"]:
        named = [dep.replace("${item.model}", model).replace("${training.optimizer}", "adagrad") for dep in deps]
        assert all((ROOT / dep).exists() for dep in named if dep.endswith(".py") or dep.startswith("behaviour/"))


@pytest.mark.parametrize("stage", GATHER)
def test_what_gathers_the_cells_names_no_data_set_and_keeps_its_page_when_it_fails(stage):
    folders = {dep for dep in STAGES[stage]["deps"] if dep.startswith("results/")}
    assert folders == {"results/cells"}
    assert all(options["persist"] for out in STAGES[stage]["outs"] for options in out.values())
    every = {*Params.model_fields} - {"datasets", "models"}
    shown = {"leaderboard": {"training", "tune"}, "significance": {"training.metric"}, "report": every}
    assert set(STAGES[stage]["params"]) == {"datasets", "models"} | shown[stage]


@pytest.mark.parametrize("name", [".", "board"])
def test_pages_come_after_the_cells_of_all_data_sets_of_params(tmp_path, name):
    folder = copy_of_pipeline(tmp_path, name)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params |= {"datasets": ["frappe", "frappe-nfm", "movielens"], "models": ["lr", "nfm"]}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    for stage in GATHER:
        before = run_dvc(folder, "dag", "--mermaid", stage)
        assert before.returncode == 0, before.stderr
        cells = {f"evaluate@{'-'.join(cell)}" for cell in product(params["datasets"], params["models"])}
        assert {*re.findall(r"evaluate@[\w-]+", before.stdout)} == cells
        ensembles = {f"ensemble@{dataset}" for dataset in params["datasets"]} if name == "board" else set()
        assert {*re.findall(r"ensemble@[\w-]+", before.stdout)} == ensembles


def test_ensembles_of_a_clone_without_predictions_stay_and_make_nothing_stale_that_trains():
    stage = BOARD_STAGES["ensemble"]
    assert not [dep for dep in stage["deps"] if dep.endswith(CODE) or "data/" in dep or "predictions" in dep]
    assert stage["outs"] == [{ENSEMBLES: {"cache": False, "persist": True}}]
    for each in (*TRAIN, *CHEAP):
        for dep in BOARD_STAGES.get(each, {}).get("deps", []):
            assert each == "cells" or not dep.startswith("results/ensembles")


@pytest.mark.parametrize(
    ("folder", "stages"),
    [
        (ROOT, STAGES),
        (ROOT / "demo", DEMO_STAGES),
        (ROOT / "paper", PAPER_STAGES),
        (ROOT / "splits", SPLITS_STAGES),
        (ROOT / "board", BOARD_STAGES),
    ],
    ids=["root", "demo", "paper", "splits", "board"],
)
def test_params_are_valid_and_have_the_keys_that_stages_depend_on(folder, stages):
    load_params(folder / "params.yaml")
    content = yaml.safe_load((folder / "params.yaml").read_text())
    for stage in stages.values():
        for key in filter(lambda key: isinstance(key, str), stage.get("do", stage).get("params", [])):
            value = content
            for part in key.split("."):
                assert part in value, key
                value = value[part]


@pytest.mark.parametrize("file", sorted(file for file in ROOT.rglob("*.yaml") if not {".venv", "data"} & {*file.parts}))
def test_dvc_reads_a_file_of_yaml_as_the_commands_do(file):
    assert load_yaml(str(file)) == read_yaml(file)


def test_dvc_reads_odd_values_as_the_commands_do(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("a: [010, 1:30, yes, off, 1e-8, 0o10, 1_000, .inf, null, '1', on, 0x1f]\n")
    assert load_yaml(str(file)) == read_yaml(file)


def test_one_reader_reads_all_configuration():
    files = [
        file for folder in ("pipelines", "models", "search_spaces", "paper") for file in ROOT.glob(f"{folder}/**/*.py")
    ]
    readers = {str(file.relative_to(ROOT)) for file in files if re.search(r"import (yaml|.*YAML)\b", file.read_text())}
    assert readers == {"pipelines/project/records.py"}


@pytest.mark.parametrize("stage", ["prepare", "tune", "evaluate"])
def test_the_demo_runs_the_commands_of_the_benchmark(stage):
    def words(stages):
        return set(stages[stage]["cmd"].replace("${item.dataset}", "synthetic").split())

    assert words(DEMO_STAGES) == words(STAGES)
    assert set(DEMO_STAGES[stage]["params"]) == set(STAGES[stage]["params"])


@pytest.mark.parametrize(
    ("folder", "stage"),
    [
        (folder, stage)
        for folder in ("paper", "splits", "board")
        for stage in STAGES
        if stage not in ("own_files", *(["report"] if folder != "board" else []))  # a report of its own, no own files
    ],
)
def test_other_folders_run_the_stages_of_the_benchmark_on_their_own_data_sets(stage, folder):
    def deps(content):
        return set(content.get("deps", [])) - {RECIPES, ENSEMBLES}

    stages = yaml.safe_load((ROOT / folder / "dvc.yaml").read_text().replace("- ../", "- "))["stages"]
    assert deps(stages[stage]) == deps(STAGES[stage]) - {OWN}
    rest = stages[stage].keys() - {"deps"}
    assert {key: stages[stage][key] for key in rest} == {
        key: value for key, value in STAGES[stage].items() if key in rest
    }
    assert rest == STAGES[stage].keys() - {"deps"}


@pytest.mark.parametrize(("folder", "stages"), [("", STAGES), ("paper", PAPER_STAGES), ("board", BOARD_STAGES)])
def test_what_trains_by_other_recipes_than_the_papers_depends_on_them(folder, stages):
    recipes = load_params(ROOT / folder / "params.yaml").tune.recipes != ["paper"]
    for stage in ("tune", "evaluate"):
        deps = {dep.removeprefix("../") for dep in stages[stage].get("do", stages[stage])["deps"]}
        assert (RECIPES in deps) == recipes


def test_the_report_waits_for_the_code_and_the_results_that_it_shows():
    deps = PAPER_STAGES["report"]["deps"]
    assert PAPER_STAGES["report"]["cmd"] == "python report.py"
    places = {os.path.normpath(f"paper/{dep}") for dep in deps}
    assert_code_is_named(
        closure("paper/report.py") - PLUMBING, {place for place in places if not place.startswith("paper/results")}
    )
    results = {
        "templates",
        "results/experiments",
        "results/importance",
        "results/sampling.csv",
        "../docs/figures",
        "experiments.yaml",
    }
    assert set(deps) >= {"results/cells"} | results | {
        "published.yaml",
        "results/leaderboard.json",
        "results/significance.json",
    }


def test_the_report_on_splits_waits_for_the_code_and_the_results_that_it_shows():
    deps, datasets = SPLITS_STAGES["report"]["deps"], SPLITS_PARAMS["datasets"]
    assert SPLITS_STAGES["report"]["cmd"] == "python report.py"
    places = {os.path.normpath(f"splits/{dep}") for dep in deps}
    results = {f"{folder}results/{dataset}" for folder in ("", "splits/") for dataset in datasets}
    assert places >= results | {"params.yaml", "splits/splits.md.j2"}
    code = closure("splits/report.py") - PLUMBING
    assert_code_is_named(code, places - results - {"params.yaml", "splits/splits.md.j2"})


def test_the_two_boards_have_the_same_budget():
    assert {**SPLITS_PARAMS["prepare"], "split": "random"} == PARAMS["prepare"]
    assert set(SPLITS_PARAMS["datasets"]) <= set(PARAMS["datasets"])
    assert set(SPLITS_PARAMS["models"]) <= set(PARAMS["models"])
    for key in ("seed", "training", "tune"):
        assert SPLITS_PARAMS[key] == PARAMS[key]


@pytest.mark.parametrize(
    "stages",
    [STAGES, DEMO_STAGES, PAPER_STAGES, SPLITS_STAGES],
    ids=["root", "demo", "paper", "splits"],
)
def test_what_a_search_goes_on_from_is_no_output(stages):
    """Check this because DVC deletes outputs before it runs a stage."""
    for stage in stages.values():
        stage = stage.get("do", stage)
        outs = [*stage["outs"], *stage.get("metrics", [])]
        assert not any("studies" in str(out) for out in outs)


def run_dvc(folder, *arguments, **environment):
    return run_module(folder, "dvc", *arguments, DVC_NO_ANALYTICS="1", **environment)


def copy_of_pipeline(tmp_path, name):
    """Copy a pipeline without its results: the real one may be at work."""
    folder = tmp_path / "pipeline"
    folder.mkdir()
    for file in ROOT.joinpath(name).glob("*.yaml"):
        shutil.copy(file, folder)
    project = ROOT / name if (ROOT / name / ".dvc").exists() else ROOT  # paper/ is a folder of the project above it
    (tmp_path / ".dvc").mkdir()
    shutil.copy(project / ".dvc" / "config", tmp_path / ".dvc")
    return folder


@pytest.mark.parametrize(
    ("name", "stages"),
    [(".", STAGES), ("demo", DEMO_STAGES), ("paper", PAPER_STAGES), ("splits", SPLITS_STAGES)],
    ids=["root", "demo", "paper", "splits"],
)
def test_dvc_reads_the_pipeline_and_finds_a_stage_a_cell(tmp_path, name, stages):
    folder = copy_of_pipeline(tmp_path, name)
    listed = run_dvc(folder, "stage", "list", "--name-only")
    assert listed.returncode == 0, listed.stderr
    params = {}
    for file in {"experiments.yaml", "params.yaml"} & {file.name for file in folder.iterdir()}:
        params |= yaml.safe_load((folder / file).read_text())
    assert set(listed.stdout.split()) == stage_names(stages, params)
    status = run_dvc(folder, "status")
    assert status.returncode == 0, status.stderr


@pytest.mark.edits
def test_dvc_keeps_a_users_own_files_without_a_git_repository(tmp_path):
    for name in ("pipelines", "datasets", "dvc.yaml", "params.yaml", ".dvcignore", ".dvc/config"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**PARAMS, "datasets": ["mine"]}))
    described = yaml.safe_load((ROOT / "datasets" / "movielens.yaml").read_text())
    (tmp_path / "datasets" / "mine.yaml").write_text(yaml.safe_dump({**described, "sources": []}))
    file = tmp_path / "data" / "raw" / "mine" / "log.csv"
    file.parent.mkdir(parents=True)
    (file.parent / "notes.txt").write_text("precious")
    refused = run_dvc(tmp_path, "repro", "download@mine", PYTHONPATH=str(tmp_path))
    assert refused.returncode != 0
    assert f"at {file.relative_to(tmp_path)}, and run this command again" in refused.stderr
    for content in ("the first", "another"):
        file.write_text(content)
        done = run_dvc(tmp_path, "repro", "download@mine", PYTHONPATH=str(tmp_path))
        assert done.returncode == 0, done.stderr
        assert file.read_text() == content
    assert (file.parent / "notes.txt").read_text() == "precious"


@pytest.mark.edits
def test_dvc_notices_a_change_of_a_users_own_files_and_deletes_none(tmp_path):
    for name in ("pipelines", "dvc.yaml", ".dvcignore", ".dvc/config"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "datasets").mkdir()
    for name in ("mine", "other"):
        described = {"format": "table", "files": [f"{name}*.csv"], "label": "click"}
        described |= {"fields": {"user": "category", "item": "category"}}
        (tmp_path / "datasets" / f"{name}.yaml").write_text(yaml.safe_dump(described))
        rows = "".join(f"u{n % 20},i{n % 7},{n % 2}\n" for n in range(200))
        (tmp_path / f"{name}.csv").write_text(f"user,item,click\n{rows}")

    def ran(*arguments, datasets):
        (tmp_path / "params.yaml").write_text(yaml.safe_dump({**PARAMS, "datasets": datasets}))
        stages = [f"prepare@{name}" for name in datasets]
        done = run_dvc(tmp_path, "repro", "--ignore-errors", *arguments, *stages, PYTHONPATH=str(tmp_path))
        return set(re.findall(r"Running stage '(.+?)'", done.stdout)) - {"own_files"}, done.stderr

    assert ran(datasets=["mine"])[0] == {"download@mine", "prepare@mine"}
    assert ran(datasets=["mine", "other"])[0] == {"download@other", "prepare@other"}
    shutil.copy(tmp_path / "other.csv", tmp_path / "mine-2.csv")
    (tmp_path / "other.csv").rename(tmp_path / "elsewhere.csv")
    before = {file: file.read_bytes() for file in tmp_path.glob("*.csv")}
    stale, errors = ran(datasets=["mine", "other"])
    assert stale == {"prepare@mine", "prepare@other"}
    assert "data set 'other': no file" in errors
    ran("--force", datasets=["mine"])
    assert {file: file.read_bytes() for file in tmp_path.glob("*.csv")} == before


def test_the_demo_has_a_stage_a_model_and_the_benchmark_one_a_data_set_and_model():
    demo = yaml.safe_load((ROOT / "demo" / "params.yaml").read_text())
    assert {"download", "tune@fm", "evaluate@inn", "leaderboard"} <= stage_names(DEMO_STAGES, demo)
    assert {"download@frappe", "tune@frappe-fm", "evaluate@movielens-inn"} <= stage_names(STAGES, PARAMS)
    assert demo["datasets"] == ["synthetic"]


def test_git_ignores_data_and_searches_but_no_code_or_results(tmp_path):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    ignored = ["data/raw/frappe/frappe.csv", "studies/frappe/fm/journal.log", ".venv/bin/python"]
    ignored += ["paper/data/raw/frappe-nfm/frappe.test.libfm", "paper/studies/frappe-nfm/fm/journal.log"]
    ignored += ["splits/data/raw/frappe/frappe.csv", "splits/studies/frappe/fm/journal.log"]
    ignored += ["demo/data/raw/synthetic/log.csv", "demo/studies/synthetic/fm/lock", "demo/results/leaderboard.md"]
    kept = [
        "models/fm.py",
        "pipelines/data/rows.py",
        "search_spaces/fm.py",
        "dvc.lock",
        "params.yaml",
        "demo/params.yaml",
    ]
    ignored += ["board/predictions/frappe-nfm/fm/seed-0.npz", "board/results/report.html"]
    kept += ["board/dvc.lock", "board/results/frappe-nfm/fm/metrics.json", "board/results/leaderboard.json"]
    kept += ["splits/dvc.lock", "splits/results/frappe/fm/metrics.json"]
    kept += ["paper/dvc.lock", "paper/results/frappe-nfm/fm/metrics.json", "paper/results/leaderboard.json"]
    kept += ["results/frappe/fm/best.json", "results/frappe/fm/metrics.json", "results/leaderboard.json"]
    command = ["git", "check-ignore", "--no-index", *ignored, *kept]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.stdout.split() == ignored


def test_no_pattern_for_models_reaches_below_the_top():
    """Check this because hatchling would leave the package out."""
    patterns = (ROOT / ".gitignore").read_text().splitlines()
    assert not [pattern for pattern in patterns if pattern.strip("/*") == "models"]


def test_what_python_keeps_of_code_is_no_dep():
    done = run_dvc(ROOT, "check-ignore", "pipelines/data/__pycache__/rows.pyc", "pipelines/data/rows.py")
    assert done.stdout.split() == ["pipelines/data/__pycache__/rows.pyc"]
