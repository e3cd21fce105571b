import re

import pytest
from added_model import PICKY, REPOSITORY, TOY, TOY_SPACE, add_model, run_python


def test_an_added_model_is_listed(project):
    add_model(project, "toy", TOY, TOY_SPACE)
    script = "from models.registry import *; print(list_models()); get_model('nope')"
    done = run_python(project, "-c", script)
    assert "'toy'" in done.stdout
    assert "'fm'" in done.stdout
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ValueError: unknown model 'nope'; choose one of: ")
    assert "toy" in last.partition("one of: ")[2].split(", ")


def test_a_model_without_a_space_says_what_to_add(project):
    add_model(project, "toy", TOY, TOY_SPACE)
    (project.root / "search_spaces" / "toy.py").unlink()
    done = run_python(project, "-m", "pipelines.tune", "--model", "toy", "--dataset", "synthetic")
    assert done.returncode == 1
    assert done.stderr == "error: toy has no search space: add search_spaces/toy.py with SPACE and PAPER\n"


def test_a_setting_is_for_a_model_that_takes_the_data(project):
    add_model(project, "picky", PICKY, TOY_SPACE)
    script = "from models.registry import *; create('picky', [2, 3], {}, ['planet', 'user']); print('made'); "
    script += "create('picky', [2, 3], {}, ['star', 'user'])"
    done = run_python(project, "-c", script)
    assert done.stdout == "made\n"
    assert done.stderr.splitlines()[-1] == "ValueError: picky: it needs a field called planet, not star"


@pytest.mark.parametrize("package", ["models", "search_spaces", "pipelines"])
def test_the_packages_are_packages_lest_others_of_their_name_win(package):
    assert (REPOSITORY / package / "__init__.py").exists()


COLUMN = """
import torch
from torch import nn
from models.layers.embeddings import LinearTerms
from models.registry import register_model
@register_model
class Wip(nn.Module):
    def __init__(self, field_dims):
        super().__init__(); self.linear = LinearTerms(field_dims)
    def forward(self, batch):
        return self.linear(batch)[:, None]
"""
WRONG = {
    "def forward(": "models/wip.py, line 1: ",
    "import nothing_of_this_name": "models/wip.py can't be imported: ModuleNotFoundError: No module named 'nothing_of",
    "1 / 0": "models/wip.py can't be imported: ZeroDivisionError: division by zero",
    TOY.replace("@register_model", ""): "models/wip.py registers no model: put @register_model above its class",
    TOY + TOY.replace("class Toy", "class Other"): "Toy and Other are both registered: a file has one model",
}


@pytest.mark.edits
def test_a_wrong_file_is_one_line_that_names_it_and_breaks_no_other_model(project):
    add_model(project, "wip", COLUMN, TOY_SPACE)
    train = ("-m", "pipelines.train", "--dataset", "synthetic", "--model")
    column = run_python(project, *train, "wip")
    assert (column.returncode, column.stdout) == (1, "")
    problem = r"error: models\.wip: forward must return one logit for each row, \[(\d+)\], not \[\1, 1\]\n"
    assert re.fullmatch(problem, column.stderr)
    for text, problem in WRONG.items():
        (project.root / "models" / "wip.py").write_text(text)
        wrong = run_python(project, *train, "wip")
        assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (1, "", 1), text
        assert problem in wrong.stderr
        assert "wip.py" in wrong.stderr
    other = run_python(project, *train, "lr")
    assert (other.returncode, other.stderr) == (0, "")
    unknown = run_python(project, *train, "nope")
    assert unknown.stderr.startswith("error: unknown model 'nope'; choose one of: afm, ")


@pytest.mark.edits
def test_a_models_package_in_the_current_folder_is_not_ours(project):
    (project.root / "models").mkdir()
    (project.root / "models" / "__init__.py").write_text("raise ImportError('another package')")
    train = ("-m", "pipelines.train", "--dataset", "synthetic", "--model", "lr")
    done = run_python(project, *train)
    assert (done.returncode, done.stderr) == (0, "")
