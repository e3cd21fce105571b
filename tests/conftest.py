"""Give tests projects and a Ray cluster, and assign them to workers of pytest-xdist."""

import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: several workers share the cores
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")  # else each cluster starts two processes that idle
os.environ["PYTHONPATH"] = os.pathsep.join(  # processes that tests start run startup/sitecustomize.py
    filter(None, [os.environ.get("PYTHONPATH"), str(Path(__file__).parent / "helpers" / "startup")])
)

import pytest
import yaml
from filelock import FileLock
from projects import PARAMS, Project

from pipelines import download, prepare
from pipelines.data import synthetic
from pipelines.project import cli
from pipelines.project.cluster import CHECKED

gc.disable()  # until all tests are imported: see pytest_collection_finish

HERE = Path(__file__).parent
WITH_RAY = ("cluster", "faults")
ORDER = (  # the longest first, but the worker that takes the few tests of test_two_nodes.py takes another file at once
    *(
        "faults/test_two_nodes.py",
        "cluster/test_search.py",
        "cluster/test_workers.py",
        "cluster",
        "faults/test_disks.py",
    ),
    *("equations/test_data_parallel.py", "faults/test_kills.py", "contracts/test_behaviour.py"),
    *("unit/test_train.py", "unit/test_export.py", "unit/test_report_in_browser.py"),
    *("contracts", "equations", "unit"),
)
EACH_A_CLUSTER = ("test_kills.py", "test_own_log.py")  # each test starts clusters of its own
LONG = (
    "test_search.py",
    "test_workers.py",
    "test_two_nodes.py",
    "test_disks.py",
)  # these files have a cluster each; the other files share one
FORKS = (  # these files share a process that has imported the large packages (helpers/trees.py)
    *("test_behaviour.py", "test_cli.py", "test_dvc.py", "test_new_model.py"),
    *("test_data_parallel.py", "test_benchmarks.py"),
)
HOLD_CLUSTER = "import os, sys; print(os.environ['RAY_ADDRESS'], flush=True); sys.stdin.read()"


def pytest_collection_modifyitems(items):
    """Sort tests by ORDER, and refuse tests that need Ray outside the folders WITH_RAY."""
    for item in items:
        if item.path.parent.name not in WITH_RAY and "ray_address" in item.fixturenames:
            raise pytest.UsageError(f"{item.nodeid} needs Ray: put it into tests/cluster")

    def place(item):
        path = item.path.relative_to(HERE).as_posix()
        return min((n for n, start in enumerate(ORDER) if path.startswith(start)), default=len(ORDER))

    items.sort(key=place)


def pytest_collection_finish():
    """Collect garbage again, but never look at the imported modules and the tests."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Send tests of one cluster, file or forking process to one worker of pytest-xdist."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFixtures(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            path = Path(nodeid.split("::")[0])
            if path.name in EACH_A_CLUSTER:
                return nodeid
            if path.name in FORKS:
                return "forks"
            return "cluster" if path.parent.name in WITH_RAY and path.name not in LONG else str(path)

    config.option.loadscopereorder = False
    return ByFixtures(config, log)


@pytest.fixture(autouse=True)
def _name_fault(request, record_property):
    """Record in --junitxml the rows of the table in docs/reliability.md that a test holds."""
    for mark in request.node.iter_markers("fault"):
        record_property("fault", mark.args[0])


@pytest.fixture(scope="session")
def ray_address():
    """Start a cluster with two CPUs, whatever the machine has; return its address."""
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
    """Make searches and evaluations use the shared cluster, also in processes that the test starts."""
    monkeypatch.setenv("RAY_ADDRESS", ray_address)
    monkeypatch.setenv(CHECKED, ray_address)  # as `pipelines.ray_cluster` does


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Return `made_once(name, make)`, which makes a folder once for all workers of pytest-xdist.

    The first worker that asks calls `make(path)`; all get the folder's path.
    """
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder

    def made_once(name, make):
        with FileLock(folder / f"{name}.lock"):
            if not (folder / name).exists():
                make(folder / f"{name}.part")
                (folder / f"{name}.part").rename(folder / name)
        return folder / name

    return made_once


@pytest.fixture(scope="session")
def prepared(made_once):
    """Make a project with prepared data and no search. Tests must not change it."""

    def make(folder):
        folder.mkdir()
        project = Project(folder)
        project.params.write_text(yaml.safe_dump(PARAMS))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(synthetic, "NUM_LINES", 1500)
            download.main("synthetic", project.params)
        prepare.main("synthetic", project.params)

    return Project(made_once("prepared", make))


@pytest.fixture(scope="session")
def searched(prepared, made_once, ray_address):
    """Make a project with a finished search and evaluation of fm. Tests must not change it."""

    def make(folder):
        project = Project(shutil.copytree(prepared.root, folder))
        project.set(tune={"deterministic": True})  # for the test that repeats the search
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_ADDRESS", ray_address)
            project.tune("fm")
            project.evaluate("fm")
        shutil.copy(prepared.params, project.params)

    return Project(made_once("searched", make))


@pytest.fixture
def project(prepared, tmp_path):
    """Copy the prepared project, for a test to change."""
    return Project(shutil.copytree(prepared.root, tmp_path / "project"))


@pytest.fixture
def searched_project(searched, ray_cluster, tmp_path):
    """Copy the project with a finished search, for a test to change. It goes on with one trial at a time."""
    project = Project(shutil.copytree(searched.root, tmp_path / "project"))
    project.set(tune={"cpus_per_trial": 2})
    return project


@pytest.fixture
def no_cluster(monkeypatch):
    """Fail the test when a search is about to run a trial."""
    monkeypatch.setattr("pipelines.search.tuner.cluster", lambda: pytest.fail("a trial was about to run"))


@pytest.fixture
def program(monkeypatch, capsys):
    """Return a function that runs a command as a program, in this process.

    It returns exit code, stdout and stderr.
    """
    monkeypatch.delenv("FACTORBENCH_TRACEBACK", raising=False)

    def call(command, *arguments):
        monkeypatch.setattr(sys, "argv", ["program", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.run(command)
        captured = capsys.readouterr()
        return caught.value.code, captured.out, captured.err

    return call
