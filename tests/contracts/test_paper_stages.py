"""Check the stages of paper/dvc.yaml that make its figures."""

import shutil

import yaml
from entries import load_experiments
from test_dvc import ROOT, run_dvc

PIPELINE = yaml.safe_load((ROOT / "paper" / "dvc.yaml").read_text())
STAGES = PIPELINE["stages"]


def test_dvc_finds_a_stage_an_experiment(tmp_path):
    for file in (ROOT / "paper").glob("*.yaml"):
        shutil.copy(file, tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\nno_scm = true\nanalytics = false\n")
    text = (tmp_path / "dvc.yaml").read_text().replace("- ../docs/", "- docs/")  # the original is outside tmp_path
    (tmp_path / "dvc.yaml").write_text(text)
    listed = run_dvc(tmp_path, "stage", "list", "--name-only")
    assert listed.returncode == 0, listed.stderr
    names = set(listed.stdout.split())
    for name in load_experiments(ROOT / "paper" / "experiments.yaml")[1]:
        assert f"experiment@{name.partition('/')[0]}" in names
    assert {"importance@frappe-nfm", "importance@movielens", "importance@synthetic", "sampling", "figures"} <= names


def test_plots_are_tables_of_the_figures():
    experiments = load_experiments(ROOT / "paper" / "experiments.yaml")[1].values()
    labels = {}
    for entry in experiments:
        labels.setdefault(f"results/figures/{entry.figure}-{entry.dataset}.csv", set()).add(entry.label)
    for plot in PIPELINE["plots"]:
        ((path, axes),) = plot.items()
        if "sampling" not in path:
            assert set([axes["y"]] if isinstance(axes["y"], str) else axes["y"]) == labels[path], path
