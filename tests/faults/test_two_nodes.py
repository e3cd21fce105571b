"""Train on two machines, then let one of them die.

A machine is a set of namespaces: it has its own processes, network and mounts. The second machine sees an empty folder
where the first one has the project. So all data that it trains on has come through Ray.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna
import polars as pl
import psutil
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from projects import ROOT, Project

from pipelines.search.journal import NODE

SPACES = ["--net", "--mount", "--pid", "--uts"]
NEW_MACHINE = ["unshare", *SPACES, "--fork", "--kill-child", "--mount-proc"]
SECONDS = 600  # how long to wait for anything, on a machine that is busy with something else
HEAD, WORKER = "10.77.0.1", "10.77.0.2"
START_RAY = "exec ray start --block --num-cpus=1 --object-store-memory=100000000 --include-log-monitor=false"
# Workers that train together connect to what a machine's name resolves to.
START_HEAD = f"""
hostname {HEAD}
ip link set lo up
ip address add {HEAD}/32 dev lo
{START_RAY} --head --node-ip-address={HEAD} --port=6379 --temp-dir=$FOLDER/ray --include-dashboard=false --no-monitor
"""
CONNECT = f"""
ip link add cable type veth peer name cable netns $WORKER
ip link set cable up
ip route add {WORKER} dev cable src {HEAD}
"""
START_WORKER = f"""
hostname {WORKER}
until ip address add {WORKER}/32 dev cable 2> /dev/null; do sleep 0.05; done
ip link set lo up
ip link set cable up
ip route add {HEAD} dev cable
mount -t tmpfs none $FOLDER
{START_RAY} --address={HEAD}:6379 --node-ip-address={WORKER}
"""


def why_not():
    """Say why this host can't run two machines; None if it can."""
    if not all(map(shutil.which, ("unshare", "nsenter", "setpriv", "ip", "hostname"))):
        return "needs unshare, nsenter, setpriv, ip and hostname"
    script = "ip link add name a type veth peer name b && mount -t tmpfs none /mnt"
    tried = subprocess.run([*NEW_MACHINE, "--map-root-user", "sh", "-c", script], capture_output=True, text=True)
    return f"namespaces are not allowed here: {tried.stderr.strip()}" if tried.returncode else None


def wait_until(condition, process=None):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        assert process is None or process.poll() is None, "it ended before its time"
        time.sleep(0.2)  # most conditions read a journal or the command lines of all processes


class Machines:
    """Start and kill a head, which has the project and runs the commands, and workers."""

    def __init__(self, folder):
        self.folder, self.started, self.worker = folder, [], None
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "TUNE_"))}
        self.environment = environment | {
            "FOLDER": str(folder),
            "TMPDIR": str(folder),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]]),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": os.urandom(32).hex(),
        }
        with_me = ["setpriv", "--pdeathsig", "KILL"]  # the head ends with this process, and the workers with the head
        self.head = self.start(*with_me, *NEW_MACHINE, "--map-root-user", "sh", "-ec", START_HEAD)

    def start(self, *command, **environment):
        process = subprocess.Popen(command, env=self.environment | environment)
        self.started.append(process)
        return process

    def start_on_head(self, *command, **environment):
        return self.start(*self.enter(*SPACES), *command, **environment)

    def enter(self, *spaces):
        first = self.processes(self.head)[0]
        return ["nsenter", "--preserve-credentials", "--user", *spaces, "--target", str(first.pid)]

    def start_worker(self):
        """Return the worker; start one if none runs."""
        if self.worker:
            return self.worker
        wait_until(lambda: self.runs(self.head, "raylet/raylet"), self.head)
        worker = self.start_on_head(*NEW_MACHINE, "sh", "-ec", START_WORKER)
        wait_until(lambda: len(self.processes(worker)) > 1, worker)  # unshare, and its child in the new namespaces
        connect = self.start(*self.enter("--net"), "sh", "-ec", CONNECT, WORKER=str(self.processes(worker)[1].pid))
        assert connect.wait(timeout=SECONDS) == 0
        wait_until(lambda: self.runs(worker, "raylet/raylet"), worker)
        self.worker = worker
        return worker

    def processes(self, machine):
        return psutil.Process(machine.pid).children(recursive=True)

    def runs(self, machine, title):
        """Tell whether a process of the machine has this text in its command line.

        Ray's workers have the name of their task there.
        """
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            return any(title in " ".join(process.cmdline()) for process in self.processes(machine))
        return False

    def what_is_in(self, machine, folder):
        """Return the names in a folder as the machine sees it."""
        seen = Path(f"/proc/{self.processes(machine)[0].pid}/root{folder}")
        return sorted(path.name for path in seen.iterdir())

    def kill_worker(self):
        for process in self.processes(self.worker):
            with contextlib.suppress(psutil.NoSuchProcess):  # it may end with its parent
                process.kill()
        self.worker.wait(timeout=30)
        self.worker = None

    def stop(self):
        for process in reversed(self.started):
            process.kill()
            process.wait(timeout=30)


@pytest.fixture(scope="module")
def machines():
    """Start a head for all tests of this file: they share it, and a worker until it dies."""
    if reason := why_not():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="fb-", dir="/tmp") as folder:  # short: the paths of sockets are
        machines = Machines(Path(folder))
        try:
            wait_until(lambda: machines.processes(machines.head), machines.head)
            yield machines
        finally:
            machines.stop()


def journal_of(project, model):
    """Return the trials in the journal of a search."""
    path = project.study(model) / "journal.log"
    if not path.exists():
        return []
    storage = JournalStorage(JournalFileBackend(str(path)))
    names = optuna.get_all_study_names(storage)
    return [trial for name in names for trial in optuna.load_study(study_name=name, storage=storage).get_trials()]


def ended(trials):
    """Map the number of each complete trial to its value and setting."""
    return {trial.number: (trial.value, trial.params) for trial in trials if trial.state is TrialState.COMPLETE}


def nodes(trials):
    return {trial.user_attrs[NODE] for trial in trials if trial.state is TrialState.COMPLETE}


def test_two_machines_train_one_model_as_one_does(machines, prepared):
    project = Project(shutil.copytree(prepared.root, machines.folder / "train"))
    project.set(training={"max_epochs": 5, "batch_size": 10_000, "learning_rate": 0.1})  # all rows: the same batches
    worker = machines.start_worker()
    assert machines.what_is_in(worker, project.root.parent) == ["ray"]
    options = ["--json", "--set", "model.embed_dim=4", "--set", "model.dropout=0"]
    command, redirected = [*project.command("train", "fm"), *options], ["sh", "-c", 'exec "$@" > "$0"']
    two = machines.start_on_head(
        *redirected, project.root / "two", *command, "--set", "training.num_workers=2", RAY_ADDRESS=f"{HEAD}:6379"
    )
    wait_until(lambda: machines.runs(worker, "TrainWorker") and machines.runs(machines.head, "TrainWorker"), two)
    assert two.wait(timeout=SECONDS) == 0
    assert machines.start(*redirected, project.root / "one", *command).wait(timeout=SECONDS) == 0
    first, second = (
        [json.loads(line) for line in (project.root / name).read_text().splitlines()] for name in ("one", "two")
    )
    assert len(first) == len(second) == 6
    for a, b in zip(first, second, strict=True):
        for key in a.keys() - {"seconds", "peak_memory_mb"}:
            assert b[key] == pytest.approx(a[key], abs=1e-4), key


def test_a_search_and_its_final_runs_lose_nothing_when_one_of_two_machines_dies(machines, prepared):
    project = Project(shutil.copytree(prepared.root, machines.folder / "search"))
    fixed = {"model.embed_dim": 4, "training.batch_size": 16}  # two seconds a trial: about what a worker takes to start
    # Ray may restart a trial on the dead machine before it knows of the death, and so the trial may die twice
    # (docs/clusters.md).
    tune = {"num_trials": 6, "fixed": fixed, "max_failures": 3}
    project.set(training={"max_epochs": 12, "patience": 12}, tune=tune)
    worker = machines.start_worker()
    assert machines.what_is_in(worker, project.root.parent) == ["ray"]

    search = machines.start_on_head(*project.command("tune", "fm"), RAY_ADDRESS=f"{HEAD}:6379")
    wait_until(lambda: nodes(journal_of(project, "fm")) == {HEAD, WORKER}, search)
    before = journal_of(project, "fm")
    machines.kill_worker()
    assert search.wait(timeout=SECONDS) == 0
    after = journal_of(project, "fm")
    assert 2 <= len(ended(before)) < 6
    assert ended(before).items() <= ended(after).items()
    assert [trial.state for trial in after] == [TrialState.COMPLETE] * 6
    assert len({str(trial.params) for trial in after}) == 6
    assert {trial.user_attrs[NODE] for trial in after if trial.number not in ended(before)} == {HEAD}
    rows = pl.read_csv(project.results("fm") / "trials.csv")
    assert rows["trial"].to_list() == [0, 1, 2, 3, 4, 5]
    assert rows["epochs"].to_list() == [12] * 6

    project.set(evaluate={"num_seeds": 3})
    worker = machines.start_worker()
    final_runs = machines.start_on_head(*project.command("evaluate", "fm"), RAY_ADDRESS=f"{HEAD}:6379")
    wait_until(lambda: machines.runs(worker, "ray::run_seed"), final_runs)
    machines.kill_worker()
    assert final_runs.wait(timeout=SECONDS) == 0
    metrics = json.loads((project.results("fm") / "metrics.json").read_text())
    assert list(metrics["seeds"]) == ["0", "1", "2"]
    assert [figures["epochs"] for figures in metrics["seeds"].values()] == [12] * 3
