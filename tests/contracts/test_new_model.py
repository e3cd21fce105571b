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
