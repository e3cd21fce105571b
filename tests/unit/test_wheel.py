"""Build the wheel, and use it from another folder, as after `pip install .`."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USE = """
import sys
from pathlib import Path

import factorbench
from models import registry
from pipelines import fit, prepare, train
from pipelines.data.catalog import list_datasets
from pipelines.evaluation.published import FILE
from pipelines.project.golden_files import FOLDER
from pipelines.project.params import load_params
from pipelines.project.paths import Paths
from pipelines.reporting.pages import TEMPLATES
from pipelines.training.cell import load_cell
from search_spaces.shared import get_space

files = factorbench.__file__, registry.__file__, fit.__file__, FILE, FOLDER, TEMPLATES
places = [Path(each).resolve() for each in files]
assert all(place.is_relative_to(sys.argv[1]) and place.exists() for place in places), places
assert all(map(get_space, registry.list_models()))
assert {"frappe", "movielens", "synthetic"} <= {*list_datasets()}
prepare.main("clicks")
train.main("fm", "clicks", ["training.max_epochs=1", "training.kernels=plain"])
print(load_cell("fm", "clicks", load_params(Path("params.yaml")), Paths(Path())).made_by().behaviour)
"""


def files_of(folder):
    return {file.relative_to(folder) for file in folder.rglob("*.*") if file.is_file() and file.suffix != ".pyc"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Build the wheel without a network, and unpack it as pip does; return the folder."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site-packages")
    return folder / "site-packages"


def test_the_wheel_has_the_code_its_data_and_the_program_alone(installed):
    (about,) = installed.glob("factorbench-*.dist-info")
    assert {each.name for each in installed.iterdir()} == {
        *("models", "search_spaces", "pipelines", "factorbench.py"),
        about.name,
    }
    assert "factorbench = pipelines.main:main" in (about / "entry_points.txt").read_text().splitlines()
    shipped = {"behaviour": "pipelines/shipped/behaviour", "datasets": "pipelines/shipped/datasets"}
    for folder in ("models", "search_spaces", "pipelines", *shipped):
        assert files_of(ROOT / folder) <= files_of(installed / shipped.get(folder, folder))


@pytest.mark.slow
def test_an_installed_package_is_used_from_any_folder(installed, tmp_path):
    (tmp_path / "datasets").mkdir()
    described = {
        "format": "table",
        "files": ["clicks.csv"],
        "label": "click",
        "fields": {"user": "category", "item": "category"},
    }
    (tmp_path / "datasets" / "clicks.yaml").write_text(json.dumps(described))
    (tmp_path / "clicks.csv").write_text("user,item,click\n" + "".join(f"{n % 5},{n % 7},{n % 2}\n" for n in range(70)))
    params = {"seed": 1, "datasets": ["clicks"], "models": ["fm"], "tune": {"num_trials": 1}}
    (tmp_path / "params.yaml").write_text(json.dumps(params))
    command = [sys.executable, "-c", USE, installed.resolve()]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()[-1]) == 12
    helped = subprocess.run(
        [sys.executable, "-m", "pipelines.main", "--help"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "recommend" in helped.stdout
