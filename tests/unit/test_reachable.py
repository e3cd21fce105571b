"""Check the best that a model can reach on the generated log."""

import json

import numpy as np
import polars as pl
import pytest

from pipelines.data.card import read_card
from pipelines.data.catalog import get_dataset
from pipelines.data.prepared import prepare
from pipelines.data.reachable import probabilities, read_rows
from pipelines.data.synthetic import NUM_ITEMS, item_scores, write_log
from pipelines.project.metric import METRICS
from pipelines.project.params import Params, PrepareParams, TuneParams
from pipelines.project.paths import Paths
from pipelines.project.predicted import Predicted


class Log:
    """Hold a generated log, and what its truth says of the test rows."""

    def __init__(self, root):
        self.paths = Paths(root)
        write_log(self.paths.raw("synthetic"), 2019)
        prepare(
            get_dataset("synthetic"),
            Params(
                seed=1,
                datasets=["synthetic"],
                models=["fm"],
                prepare=PrepareParams(split="random"),  # so that training rows have some rows of a test row's line
                tune=TuneParams(num_trials=1),
            ),
            self.paths,
        )
        vectors = json.loads((self.paths.raw("synthetic") / "vectors.json").read_text())
        self.vectors = {field: np.array(each) for field, each in vectors.items()}
        self.rows = read_rows(self.paths.processed("synthetic"))
        self.train, self.test = (self.rows.filter(split=name) for name in ("train", "test"))
        self.labels = self.test["label"].to_numpy().astype(float)

    def known(self, seen):
        return probabilities(self.vectors, self.rows, self.test, seen)

    def value(self, metric, known):
        return METRICS[metric].value(Predicted(known, 2 * known - 1, self.labels))


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return Log(tmp_path_factory.mktemp("synthetic"))


def test_the_card_has_what_was_planted_and_the_best_figures(log):
    planted = read_card(log.paths, "synthetic").planted
    assert planted.strengths["user-item"] == 2.4
    for metric in ("rmse", "auc", "logloss"):
        assert planted.reachable.best[metric] == pytest.approx(log.value(metric, log.known(log.train)))
        assert planted.reachable.without_rows[metric] == pytest.approx(log.value(metric, log.known(log.train.clear())))
        assert planted.reachable.best[metric] == round(planted.reachable.best[metric], 12)  # the same on all CPUs
    assert "planted" not in read_card(log.paths, "synthetic").model_copy(update={"planted": None}).model_dump()


def test_the_truth_as_it_was_planted_gives_the_items_of_the_log(log):
    positives = log.rows.filter(label=1)
    scores = item_scores({field: positives[field].to_numpy() for field in positives.columns[1:-2]}, log.vectors)
    rank = (scores > scores[np.arange(len(scores)), positives["item"].to_numpy()][:, None]).sum(axis=1)
    assert np.median(rank) < NUM_ITEMS / 20  # of a random item it would be half


@pytest.mark.parametrize("seen", ["all training rows", "none"])
def test_no_distortion_of_the_probabilities_is_better(log, seen):
    known = np.clip(log.known(log.train if seen != "none" else log.train.clear()), 1e-6, 1 - 1e-6)
    odds = np.log(known / (1 - known))
    best = log.value("logloss", known)
    for distorted in (odds * 0.6, odds * 1.6, odds + 0.5, odds - 0.5):
        assert log.value("logloss", 1 / (1 + np.exp(-distorted))) > best
    assert log.value("ece", known) < 0.04  # of 2,400 rows, by chance alone about 0.02


def test_what_the_training_rows_say_is_known_for_certain(log):
    known = pl.Series(log.known(log.train))
    pairs = log.train.select("user", "item", seen="label").unique()
    seen = log.test.join(pairs, on=["user", "item"], how="left", maintain_order="left")["seen"]
    assert seen.drop_nulls().n_unique() == 2
    for label in (1, -1):
        assert known.filter(seen == label).unique().round(6).to_list() == [max(label, 0)]
        assert log.test.filter(seen == label)["label"].unique().to_list() == [label]
    context = log.train.filter(label=1).columns[1:-2]
    others = log.test.join(log.train.filter(label=1), on=context, how="semi", maintain_order="left")
    assert (others["label"] == -1).mean() > 0.98  # the line's positive is in train, so its other rows are negatives


def test_memory_of_the_rows_is_worth_something_and_the_truth_more_than_guessing(log):
    planted = read_card(log.paths, "synthetic").planted
    assert planted.reachable.best["rmse"] < planted.reachable.without_rows["rmse"] < 0.7
    assert planted.reachable.without_rows["auc"] > 0.9
