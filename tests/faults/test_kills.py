"""Kill and interrupt processes, and run them twice: no finished work is lost.

FAULT_MOMENTS is the number of random moments at which each process is killed. `make faults` tries more than a test run.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import psutil
import pytest
from optuna.trial import TrialState
from searches import check_whole, finished, more_trials, num_ended, recorded

from pipelines.project.params import load_params

MOMENTS = int(os.environ.get("FAULT_MOMENTS", "1"))
ROOT = Path(__file__).parents[2]
DVC = Path(sys.prefix) / "bin" / "dvc"
REPRO = [DVC, "repro", "--single-item", "tune@lr"]
WAIT = 600  # seconds, on a machine that is busy
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")


class Run:
    """Run a command on a project in a new session, as a terminal does."""

    def __init__(self, project, command):
        self.project, self.before, self.started = project, num_ended(project), time.monotonic()
        self.errors = project.root / f"stderr-{time.monotonic_ns()}.txt"
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        with self.errors.open("w") as stderr:
            self.process = subprocess.Popen(
                command, cwd=project.root, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True
            )
        signal.signal(signal.SIGINT, handler)

    def below(self):
        """Return all descendants of the command's process."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def below_at_work(self):
        """Return the descendants that work: all but two agents of Ray.

        When their cluster is gone, the agents try for a minute to reach it before they end. They hold no lock and use
        no core.
        """
        return [process for process in self.below() if process.name() not in AGENTS]

    def wait_for(self, found):
        """Return what a function finds as soon as it finds something; None if the run ends first."""
        deadline = time.monotonic() + WAIT
        while self.process.poll() is None and time.monotonic() < deadline:
            if result := found():
                return result
            time.sleep(0.02)
        assert self.process.poll() is not None, "nothing happened"
        return None

    def at_a_moment(self, dice, name):
        """Wait for a random moment, then return the process of that name.

        A quarter of the moments are in the first five seconds of the run, the others just after a trial has ended.
        """
        if dice.random() < 0.25:
            time.sleep(dice.uniform(0, 5))
        else:
            self.wait_for(lambda: num_ended(self.project) > self.before)
            time.sleep(dice.uniform(0, 0.5))
        return self.wait_for(lambda: self.process_called(name))

    def process_called(self, name):
        """Return a descendant whose name starts so, or None. "driver" is the command's own process."""
        if name == "driver":
            return psutil.Process(self.process.pid)
        for process in self.below():
            try:
                if process.name().startswith(name):
                    return process
            except psutil.NoSuchProcess:
                continue
        return None

    def end(self):
        """Wait for the end; return exit code and stderr."""
        code = self.process.wait(WAIT)
        return code, self.errors.read_text()


@pytest.fixture
def run(project, monkeypatch):
    """Return a function that runs a command with a cluster of its own.

    Each trial takes about half a second.
    """
    project.set(training={"max_epochs": 60, "patience": 60}, tune={"num_trials": 6})
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", '{"CPU": 2}')
    runs = []

    def start(command=None):
        runs.append(Run(project, command or project.command("tune", "lr")))
        return runs[-1]

    yield start
    for each in runs:
        for process in [*each.below(), each.process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        each.process.wait()


@pytest.fixture
def one_at_a_time(run, monkeypatch):
    """Give the clusters one CPU, so that a run starts one worker and not two."""
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", '{"CPU": 1}')


@pytest.fixture
def dvc(project, one_at_a_time):
    """Add the demo's DVC stages to the project."""
    shutil.copy(ROOT / "demo" / "dvc.yaml", project.root)
    shutil.copytree(ROOT / "demo" / ".dvc", project.root / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    return project


def is_recorded(project):
    lock = project.root / "dvc.lock"
    return lock.exists() and "tune@lr" in lock.read_text()


def all_ended(processes):
    return not psutil.wait_procs(processes, WAIT)[1]


@pytest.mark.fault("driver")
@pytest.mark.fault("raylet")
@pytest.mark.usefixtures("one_at_a_time")
def test_a_search_killed_again_and_again_ends_as_if_it_had_not_been(project, run, record_property):
    record_property("moments", MOMENTS)
    kept, cut_off = {}, []
    for victim in ("driver", "raylet"):
        dice, killed = random.Random(victim), 0
        while killed < MOMENTS:
            more_trials(project, 8)
            search = run()
            found = search.at_a_moment(dice, victim)
            if found is None:  # too late
                continue
            below, killed = search.below_at_work(), killed + 1
            found.kill()
            assert search.end()[0] != 0
            assert all_ended(below)
            now = finished(project)
            assert kept.items() <= now.items()
            kept = now
            running = [trial.params for trial in recorded(project) if trial.state is TrialState.RUNNING]
            cut_off += [params for params in running if len(params) == 2]
    more_trials(project, 4)
    assert run().end()[0] == 0
    check_whole(project, kept)
    settings = [params for _, _, params in finished(project).values()]
    assert all(params in settings for params in cut_off)


@pytest.mark.fault("worker")
def test_trials_whose_workers_are_killed_are_run_again_or_have_failed(project, run, record_property):
    record_property("moments", MOMENTS)
    dice = random.Random("worker")
    project.set(tune={"num_trials": 2 * MOMENTS + 4})
    search = run()
    for _ in range(MOMENTS):
        search.before = num_ended(project)
        search.wait_for(lambda: num_ended(project) > search.before)
        time.sleep(dice.uniform(0, 0.5))
        worker = search.wait_for(lambda: search.process_called("ray::ImplicitFunc"))
        assert worker, "the search ended before its workers were killed"
        worker.kill()
    assert search.end()[0] == 0
    check_whole(project, {})
    failed = pl.read_csv(project.results("lr") / "trials.csv").filter(pl.col("state") == "fail")
    assert failed.height <= MOMENTS // 2
    assert set(failed["reason"]) <= {"its worker died, or hung and was killed"}


@pytest.mark.fault("dvc")
def test_what_a_killed_dvc_leaves_running_and_a_second_one_are_never_both_at_work(dvc, run, record_property):
    record_property("moments", MOMENTS)
    dice, killed, kept = random.Random("dvc"), 0, {}
    while killed < MOMENTS:
        more_trials(dvc, 8)
        first = run(REPRO)
        if (found := first.at_a_moment(dice, "driver")) is None:
            continue
        below, killed = first.below_at_work(), killed + 1
        found.kill()
        first.end()  # DVC takes a zombie for a live process
        code, errors = run(REPRO).end()
        assert code == 0 or "lr on synthetic is at work already: process " in errors
        assert all_ended(below)
        now = finished(dvc)
        assert kept.items() <= now.items()
        assert len(now) <= load_params(dvc.params).tune.num_trials
        kept = now
    assert run(REPRO).end()[0] == 0
    check_whole(dvc, kept)
    assert is_recorded(dvc)


@pytest.mark.fault("interrupt")
def test_ctrl_c_is_an_error_to_dvc_too_and_the_search_goes_on_when_run_again(dvc, run):
    """Press Ctrl-C once, and twice in the run that goes on."""
    kept = {}
    for times in (1, 2):
        more_trials(dvc, 6)
        repro = run(REPRO)
        assert repro.wait_for(lambda repro=repro: num_ended(dvc) > repro.before)
        below = repro.below_at_work()
        for _ in range(times):
            os.killpg(repro.process.pid, signal.SIGINT)
            time.sleep(0.2)
        assert repro.end()[0] != 0
        assert not is_recorded(dvc)
        assert all_ended(below)
        now = finished(dvc)
        assert kept.items() < now.items()
        assert len(now) < load_params(dvc.params).tune.num_trials
        kept = now
    assert run(REPRO).end()[0] == 0
    assert is_recorded(dvc)
    check_whole(dvc, kept)
