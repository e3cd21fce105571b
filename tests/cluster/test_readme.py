"""Paste the README's example of a model, and search with it."""

import json
import re

from added_model import REPOSITORY, add_model, run_python


def test_the_example_of_a_model_can_be_pasted_and_run(project):
    section = (REPOSITORY / "README.md").read_text().partition("## Add a model")[2]
    model, space = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[:2]
    add_model(project, "my_model", model, space)
    accepted = run_python(project, "-m", "pipelines.behaviour", "--accept", "my_model")
    assert accepted.returncode == 0, accepted.stderr
    assert {file.name for file in (project.root / "behaviour").rglob("*.json")} == {"my_model.json"}
    project.set(tune={"num_trials": 1})
    done = run_python(project, "-m", "pipelines.tune", "--model", "my_model", "--dataset", "synthetic")
    assert done.returncode == 0, done.stderr
    best = json.loads((project.results("my_model") / "best.json").read_text())
    assert best["setting"].keys() >= {"model.embed_dim", "training.l2"}
