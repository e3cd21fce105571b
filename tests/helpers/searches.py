"""Cells and trials, and what stands in the journal and the results of a search for lr."""

import json
from datetime import datetime, timedelta

import optuna
import polars as pl
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from pipelines.project.params import load_params
from pipelines.project.paths import Paths
from pipelines.search import journal as study_record
from pipelines.search.journal import INTERRUPTED
from pipelines.training.cell import load_cell


def journal(project):
    return project.study("lr") / "journal.log"


def num_ended(project):
    """How many trials have ended well or by themselves, with little work."""
    return journal(project).read_bytes().count(b'"values":[') if journal(project).exists() else 0


def recorded(project):
    """The trials in the journal."""
    if not num_ended(project):
        return []
    storage = JournalStorage(JournalFileBackend(str(journal(project))))
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage).get_trials()


def finished(project):
    """The trials that count: number, and what came of which setting."""
    states = (TrialState.COMPLETE, TrialState.FAIL)
    counting = [trial for trial in recorded(project) if trial.state in states and INTERRUPTED not in trial.user_attrs]
    return {trial.number: (trial.state, trial.value, trial.params) for trial in counting}


def more_trials(project, number):
    """A budget that leaves so many trials."""
    project.set(tune={"num_trials": len(finished(project)) + number})


def check_whole(project, kept):
    """A search has come to the end of its budget: all trials that were finished before are there, each once."""
    now, rows = finished(project), pl.read_csv(project.results("lr") / "trials.csv")
    best = json.loads((project.results("lr") / "best.json").read_text())
    assert kept.items() <= now.items()
    assert rows["trial"].to_list() == sorted(now)
    assert rows.height == len(now) == best["num_trials"] == load_params(project.params).tune.num_trials
    assert rows.select("training.learning_rate", "training.l2").is_unique().all()
    assert best["valid_rmse"] == rows["valid"].min()


def cell_of(project, model):
    return load_cell(model, "synthetic", load_params(project.params), Paths(project.root))


def made_trial(start, end, interrupted=False):
    """A trial from one second of some day to another."""
    state = TrialState.FAIL if interrupted else TrialState.COMPLETE
    attributes = {study_record.INTERRUPTED: True} if interrupted else {}
    trial = create_trial(state=state, value=None if interrupted else 1.0, user_attrs=attributes)
    noon = datetime(2024, 1, 1, 12)
    trial.datetime_start, trial.datetime_complete = noon + timedelta(seconds=start), noon + timedelta(seconds=end)
    return trial


def table(project, model):
    return pl.read_csv(project.results(model) / "trials.csv")


def best(project, model):
    return json.loads((project.results(model) / "best.json").read_text())
