import shutil

import pytest
from added_model import PICKY, REPOSITORY, TOY, TOY_SPACE, add_model, run_python
from projects import Project
from trees import run_module


@pytest.fixture(scope="module")
def copy(prepared, tmp_path_factory):
    """Copy the code into a prepared project, and add models and wrong files."""
    project = Project(shutil.copytree(prepared.root, tmp_path_factory.mktemp("copy") / "project"))
    add_model(project, "toy", TOY, TOY_SPACE)
    (project.root / "search_spaces" / "toy.py").unlink()
    (project.root / "models" / "picky.py").write_text(PICKY)
    for file, text in wrong_files(project).items():
        file.write_text(text)
    return project


def run_script(project, script):
    """Run a script in the project's folder."""
    (project.root / "script.py").write_text(script)
    return run_module(project.root, "script")


def test_an_added_model_is_listed(copy):
    done = run_script(copy, "from models.registry import *; print(list_models()); get_model('nope')")
    assert "'toy'" in done.stdout
    assert "'fm'" in done.stdout
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ValueError: unknown model 'nope'; choose one of: ")
    assert "toy" in last.partition("one of: ")[2].split(", ")


def test_a_model_without_a_space_says_what_to_add(copy):
    done = run_module(copy.root, "pipelines.tune", "--model", "toy", "--dataset", "synthetic")
    assert done.returncode == 1
    assert done.stderr == "error: toy has no search space: add search_spaces/toy.py with SPACE and PAPER\n"


def test_a_setting_is_for_a_model_that_takes_the_data(copy):
    script = "from models.registry import *; create('picky', [2, 3], {}, ['planet', 'user']); print('made'); "
    script += "create('picky', [2, 3], {}, ['star', 'user'])"
    done = run_script(copy, script)
    assert done.stdout == "made\n"
    assert done.stderr.splitlines()[-1] == "ValueError: picky: it needs a field called planet, not star"


@pytest.mark.parametrize("package", ["models", "search_spaces", "pipelines"])
def test_the_packages_are_packages_lest_others_of_their_name_win(package):
    assert (REPOSITORY / package / "__init__.py").exists()


WRONG = {  # what is wrong with a file: its text
    "{file}, line 1: ": "def forward(",
    "{file} can't be imported: ModuleNotFoundError: No module named 'nothing'": "import nothing",
    "{file} can't be imported: ZeroDivisionError: division by zero": "1 / 0",
    "{file} registers no model: put @register_model above its class": TOY.replace("@register_model", ""),
    "{file} can't be imported: ValueError: Toy and Other are both registered: a file has one model": TOY
    + TOY.partition("\n\n\n")[2].replace("Toy", "Other"),
}


def wrong_files(project):
    return {project.root / "models" / f"wrong{number}.py": text for number, text in enumerate(WRONG.values())}


def test_a_wrong_file_is_one_line_that_names_it_and_breaks_no_other_model(copy):
    script = "from models.registry import *\nprint(*list_models())\nfor number in range(5):\n"
    script += "    try: get_model(f'wrong{number}')\n    except ValueError as error: print(error)"
    names, *errors = run_script(copy, script).stdout.splitlines()
    assert "lr" in names.split()
    assert "wrong" not in names
    for file, problem, error in zip(wrong_files(copy), WRONG, errors, strict=True):
        assert error.startswith(problem.format(file=file))
    done = run_module(copy.root, "pipelines.train", "--dataset", "synthetic", "--model", "lr")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.edits
def test_a_models_package_in_the_current_folder_is_not_ours(project):
    (project.root / "models").mkdir()
    (project.root / "models" / "__init__.py").write_text("raise ImportError('another package')")
    done = run_python(project, "-m", "pipelines.train", "--dataset", "synthetic", "--model", "lr")
    assert (done.returncode, done.stderr) == (0, "")
