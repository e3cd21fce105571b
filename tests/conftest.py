"""A small prepared project, and one Ray cluster for all tests: starting one takes seconds."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from projects import PARAMS, Project

from pipelines import download, prepare
from pipelines.data import synthetic

HERE = Path(__file__).parent
WITH_RAY = ("cluster", "faults")
HOLD_CLUSTER = "import os, sys; print(os.environ['RAY_ADDRESS'], flush=True); sys.stdin.read()"


def pytest_collection_modifyitems(items):
    """Refuse tests that need Ray in folders whose tests shall not."""
    for item in items:
        if item.path.parent.name not in WITH_RAY and "ray_address" in item.fixturenames:
            raise pytest.UsageError(f"{item.nodeid} needs Ray: put it into tests/cluster")


@pytest.fixture(autouse=True)
def _name_fault(request, record_property):
    """Which row of the table in docs/reliability.md a test holds stands in --junitxml."""
    for mark in request.node.iter_markers("fault"):
        record_property("fault", mark.args[0])


@pytest.fixture(scope="session")
def ray_address():
    """The address of a cluster with room for two trials at a time, whatever the machine."""
    command = [sys.executable, "-m", "pipelines.ray_cluster", sys.executable, "-c", HOLD_CLUSTER]
    environment = {**os.environ, "RAY_OVERRIDE_RESOURCES": '{"CPU": 2}'}
    environment.pop("RAY_ADDRESS", None)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as holder:
        try:
            yield holder.stdout.readline().strip()
        finally:
            holder.stdin.close()


@pytest.fixture
def ray_cluster(ray_address, monkeypatch):
    """Searches and evaluations of the test, and of processes that it starts, use the cluster of all tests."""
    monkeypatch.setenv("RAY_ADDRESS", ray_address)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A project as it is before the first search: not to be changed."""
    project = Project(tmp_path_factory.mktemp("prepared"))
    project.params.write_text(yaml.safe_dump(PARAMS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "NUM_LINES", 1500)
        download.main("synthetic", project.params)
    prepare.main("synthetic", project.params)
    return project


@pytest.fixture(scope="session")
def searched(prepared, ray_address, tmp_path_factory):
    """A project with a finished search and evaluation of fm: not to be changed."""
    root = tmp_path_factory.mktemp("searched") / "project"
    project = Project(shutil.copytree(prepared.root, root))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", ray_address)
        project.tune("fm")
        project.evaluate("fm")
    return project


@pytest.fixture
def project(prepared, tmp_path):
    """A copy of the prepared project, for a test to change."""
    return Project(shutil.copytree(prepared.root, tmp_path / "project"))


@pytest.fixture
def searched_project(searched, ray_cluster, tmp_path):
    """A copy of the project with a finished search, for a test to change."""
    return Project(shutil.copytree(searched.root, tmp_path / "project"))


@pytest.fixture
def no_cluster(monkeypatch):
    """A search that wants to run a trial fails."""
    monkeypatch.setattr("pipelines.search.cluster", lambda: pytest.fail("a trial was about to run"))
