"""Read the journal and results of a search for lr; make cells and trials."""

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
    """Count the trials with a value by searching the journal's bytes, which is fast."""
    return journal(project).read_bytes().count(b'"values":[') if journal(project).exists() else 0


def recorded(project):
    """Return the trials in the journal."""
    if not num_ended(project):
        return []
    storage = JournalStorage(JournalFileBackend(str(journal(project))))
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage).get_trials()


def finished(project):
    """Map the number of each trial that counts to its state, value and setting."""
    states = (TrialState.COMPLETE, TrialState.FAIL)
    counting = [trial for trial in recorded(project) if trial.state in states and INTERRUPTED not in trial.user_attrs]
    return {trial.number: (trial.state, trial.value, trial.params) for trial in counting}


def more_trials(project, number):
    """Set the budget so that `number` trials are left."""
    project.set(tune={"num_trials": len(finished(project)) + number})


def check_whole(project, kept):
    """Assert that a search has spent its budget, and has each trial of `kept` once."""
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
    """Make a trial that ran between two seconds of some day."""
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
