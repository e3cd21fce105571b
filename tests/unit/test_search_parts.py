"""Check the questions that a search asks before trials, and its study's records."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import PartialFixedSampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial
from searches import cell_of, made_trial

from pipelines import studies
from pipelines.project import code
from pipelines.project.cli import describe
from pipelines.project.cluster import resources_per_run
from pipelines.project.golden_files import accepted_behaviour, digest_of
from pipelines.project.metric import METRICS
from pipelines.project.params import TrainingParams, TuneParams, load_params
from pipelines.project.seeds import seed_for
from pipelines.search import journal as study_record
from pipelines.search import sampling, scheduling, spaces, tuner
from pipelines.search.behaviour import Reporting
from pipelines.search.sampling import make_sampler
from pipelines.search.scheduling import METRIC
from pipelines.search.study_search import OTHER_CODE, StudySearch
from pipelines.search.trial import trial_seed
from pipelines.training.cell import fingerprint, generated_cell
from search_spaces import shared


@pytest.mark.fault("changed")
def test_what_decides_a_result_changes_the_name_of_the_study(prepared):
    cell = cell_of(prepared, "fm")
    space, fixed = {"training.l2": FloatDistribution(0.0, 1.0)}, {"model.embed_dim": 4}
    training = cell.training.model_copy
    variants = [
        (cell, space, fixed),
        (replace(cell, training=training(update={"max_epochs": 9})), space, fixed),
        (replace(cell, training=training(update={"loss": "cross_entropy"})), space, fixed),
        (replace(cell, root_seed=1), space, fixed),
        (replace(cell, digests={**cell.digests, "train": "0"}), space, fixed),
        (replace(cell, behaviour="0123456789ab"), space, fixed),
        (cell, {"training.l2": FloatDistribution(0.0, 2.0)}, fixed),
        (cell, {"training.l1": FloatDistribution(0.0, 1.0)}, fixed),
        (cell, space, {"model.embed_dim": 8}),
        (cell, space, {}),
    ]
    assert len({fingerprint(*variant) for variant in variants}) == len(variants)
    assert fingerprint(*variants[0]) == fingerprint(cell_of(prepared, "fm"), dict(space), dict(fixed))


SPACE = {
    "training.learning_rate": FloatDistribution(3e-3, 0.5, log=True),
    "model.dropout": FloatDistribution(0.0, 0.9, step=0.1),
    "model.field_embed_dim": IntDistribution(4, 64, log=True),
    "training.batch_size": CategoricalDistribution((128, 256)),
    "model.hidden_dims": CategoricalDistribution(("[64]", "[64, 32]")),
    "model.batch_norm": CategoricalDistribution((False, True)),
    "model.width": CategoricalDistribution((1,)),
}


@pytest.mark.fault("changed")
def test_names_and_seeds_are_the_same_with_every_version_of_python_and_optuna(monkeypatch):
    monkeypatch.setattr(BaseDistribution, "__repr__", lambda self: "as another version writes it")
    digests = {"train": "0123", "valid": "4567", "test": "89ab", "pretrained": "0123456789ab"}
    training = TrainingParams(learning_rate=1e-4, l2=0.1 + 0.2, max_epochs=27, metric="auc", pretrained="fm")
    cell = replace(
        generated_cell(), model="ifm", dataset="größe", digests=digests, training=training, behaviour="fedcba987654"
    )
    setting = {"training.l2": 1e-8, "model.embed_dim": 64, "model.hidden_dims": "[64]", "model.batch_norm": True}
    assert fingerprint(cell, SPACE, setting) == "36225c859a25"
    assert fingerprint(cell, {}, {"training.loss": None}) == "92d635ae56d9"
    assert trial_seed(cell, setting) == 4030249810
    assert seed_for(2019, "prepare", "größe", "split", 3) == 136206348
    assert digest_of({"losses": [0.1 + 0.2, 1e-8, 1e22], "name": "größe", "none": None}) == "1f5b4a78d79b"


@pytest.mark.fault("changed")
def test_the_behaviour_of_a_cell_is_that_of_its_model_and_optimizer(prepared, project):
    assert cell_of(prepared, "fm").behaviour == accepted_behaviour("fm", TrainingParams())
    assert cell_of(prepared, "lr").behaviour != cell_of(prepared, "fm").behaviour
    project.set(training={"optimizer": "adam"})
    assert cell_of(project, "fm").behaviour == accepted_behaviour("fm", TrainingParams(optimizer="adam"))
    assert cell_of(project, "fm").behaviour != cell_of(prepared, "fm").behaviour


@pytest.mark.fault("disk")
def test_a_folder_that_can_t_be_written_is_an_error_that_names_it(project, no_cluster):
    (project.root / "studies").write_text("a file is in the way")
    with pytest.raises(OSError, match=r"studies"):
        project.tune("lr")
    assert not project.results("lr").exists()


@pytest.mark.fault("trial")
def test_all_trials_having_failed_is_an_error_with_a_reason_when_run_again(project, no_cluster):
    project.set(tune={"num_trials": 1})
    made_failed_study(project, "lr")
    with pytest.raises(ValueError, match="all trials of lr on synthetic failed") as raised:
        project.tune("lr")
    assert str(raised.value).endswith("failed, the first with: the reason it had")


def made_failed_study(project, model):
    """Make a study as `search` does, with one failed trial."""
    cell, fixed = cell_of(project, model), spaces.fixed_setting(model, load_params(project.params))
    space = {key: value for key, value in shared.get_space(model).items() if key not in fixed}
    project.study(model).mkdir(parents=True)
    storage = study_record.open_journal(project.study(model) / "journal.log")
    study = optuna.create_study(storage=storage, study_name=fingerprint(cell, space, fixed))
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={study_record.REASON: "the reason it had"}))


@pytest.mark.fault("torn")
@pytest.mark.parametrize("damage", ['{"op_code', "", "\\xff", "{}", "[]", "3", '{"op_code": 99}', '{"op_code": 4}'])
def test_a_damaged_line_within_a_journal_is_named_with_the_remedy(project, no_cluster, capsys, damage):
    for model in ("lr", "fm"):
        made_failed_study(project, model)
    journal = project.study("lr") / "journal.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    kept, damaged = b"".join(lines[:1]), damage.encode().replace(b"\\xff", b"\xff") + b"\n"
    journal.write_bytes(kept + damaged + b"".join(lines[1:]))
    remedy = r"keep only the lines before it \(head -n 1\) to go on from there, or delete the file to search anew"
    for command in (lambda: project.tune("lr"), lambda: studies.main(project.params)):
        with pytest.raises(ValueError, match=rf"^{journal}:2: the line is damaged; {remedy}$"):
            command()
    assert " fm " in capsys.readouterr().out
    journal.write_bytes(kept)
    studies.main(project.params)


def test_a_line_that_a_search_is_writing_is_no_damage(project, capsys):
    made_failed_study(project, "lr")
    with (project.study("lr") / "journal.log").open("ab") as journal:
        journal.write(b'{"op_code": 4, "tri')
    studies.main(project.params)
    assert " lr " in capsys.readouterr().out


def test_an_unknown_fixed_key_lists_the_known_ones(project, no_cluster):
    project.set(tune={"fixed": {"model.embed_dims": 4}})
    with pytest.raises(ValueError, match=r"tune\.fixed: 'model\.embed_dims' is in no search space; known: ") as raised:
        project.tune("lr")
    known = str(raised.value).partition("known: ")[2].split(", ")
    assert {"model.embed_dim", "model.attention_dim", "training.l2_field"} < {*known}
    assert known == sorted(known)


def test_a_fixed_key_of_a_model_that_is_not_compared_is_left_out(project, no_cluster):
    fixed = {"model.embed_dim": 4, "model.attention_dim": 16, "training.batch_size": 256}
    project.set(models=["lr", "fm"], tune={"fixed": fixed})
    params = load_params(project.params)
    assert spaces.fixed_setting("lr", params) == {"training.batch_size": 256}
    assert spaces.fixed_setting("fm", params) == {"model.embed_dim": 4, "training.batch_size": 256}


def test_fixing_a_whole_space_is_an_error(project, no_cluster):
    project.set(tune={"fixed": {"training.learning_rate": 0.1, "training.l2": 0.0, "training.batch_size": 256}})
    with pytest.raises(ValueError, match=r"nothing to search for lr: tune\.fixed has every key of its space"):
        project.tune("lr")


def test_a_quarter_of_a_gpu_is_asked_for_where_there_are_some_and_nothing_else_is_said():
    assert resources_per_run(1, None, {"CPU": 2.0}) == {"cpu": 1.0, "gpu": 0.0}
    assert resources_per_run(2, None, {"CPU": 2.0, "GPU": 1.0}) == {"cpu": 2.0, "gpu": 0.25}
    assert resources_per_run(1, 1, {"CPU": 2.0, "GPU": 1.0}) == {"cpu": 1.0, "gpu": 1.0}
    assert resources_per_run(1, 0, {"CPU": 2.0, "GPU": 1.0}) == {"cpu": 1.0, "gpu": 0.0}


@pytest.mark.fault("resources")
def test_more_gpus_a_trial_than_there_are_is_an_error():
    with pytest.raises(ValueError, match=r"tune\.gpus_per_trial is 2, but there are only 1"):
        resources_per_run(1, 2, {"CPU": 2.0, "GPU": 1.0})


def made_study(*trials):
    study = optuna.create_study()
    study.add_trials(trials)
    return study


def test_a_search_whose_scheduler_stopped_all_trials_says_so(prepared):
    stopped = create_trial(state=TrialState.PRUNED, value=0.5, intermediate_values={3: 0.5})
    failed = create_trial(state=TrialState.FAIL, user_attrs={study_record.REASON: "FloatingPointError: too large"})
    with pytest.raises(ValueError, match=r"^tune\.scheduler stopped all trials of fm on synthetic that did not fail"):
        tuner.check_result(cell_of(prepared, "fm"), TuneParams(num_trials=2), made_study(stopped, failed))


def test_the_budget_left_is_what_finished_trials_have_not_used():
    spans = [(20, 25), (0, 10), (5, 12), (6, 7)]
    study = made_study(*(made_trial(*span) for span in spans), made_trial(30, 90, interrupted=True))
    assert study_record.budget_left(study, TuneParams(num_trials=6)) == (2, None)
    assert study_record.budget_left(study, TuneParams(num_trials=3)) == (0, None)
    assert study_record.budget_left(study, TuneParams(time_budget_s=30)) == (-1, 13.0)
    assert study_record.budget_left(study, TuneParams(num_trials=6, time_budget_s=30)) == (2, 13.0)
    assert study_record.budget_left(study, TuneParams(num_trials=6, time_budget_s=17)) == (0, 0.0)
    assert study_record.budget_left(made_study(), TuneParams(num_trials=6, time_budget_s=17)) == (6, 17.0)


def test_the_best_epoch_is_the_first_that_reached_the_value():
    trial = SimpleNamespace(intermediate_values={3: 0.4, 1: 0.7, 2: 0.4, 4: 0.4}, value=0.4)
    assert study_record.best_step(trial) == 2
    assert study_record.best_step(SimpleNamespace(intermediate_values={}, value=None)) is None


def complete(value, **params):
    distributions = {key: FloatDistribution(0.0, 1.0) for key in params}
    return create_trial(state=TrialState.COMPLETE, value=value, params=params, distributions=distributions)


def failed(reason, x, **attributes):
    attributes[study_record.REASON] = reason
    distribution = {"x": FloatDistribution(0.0, 1.0)}
    return create_trial(state=TrialState.FAIL, params={"x": x}, distributions=distribution, user_attrs=attributes)


def test_a_lowered_budget_has_the_best_of_the_trials_that_it_has():
    study = made_study(complete(0.5), complete(0.4), complete(0.1), complete(0.2))
    for num_trials, number in ((1, 0), (2, 1), (3, 2), (9, 2), (None, 2)):
        budget = TuneParams(num_trials=num_trials, time_budget_s=9)
        trials = study_record.counted_trials(study, budget)
        assert len(trials) == min(num_trials or 4, 4)
        assert study_record.best_of(trials)[0].number == number


@pytest.mark.fault("trial")
def test_what_failed_for_its_surroundings_is_tried_again_in_others():
    here, there = {"trial_timeout_s": 0.1}, {"trial_timeout_s": 600}
    diverged = failed("FloatingPointError: too large", 0.1)
    late = failed("TimeoutError: too late", 0.2, **{study_record.SURROUNDINGS: here})
    study = made_study(diverged, late, complete(0.5, x=0.3))
    study_record.requeue_failed(study, here)
    assert [trial.number for trial in study_record.finished_trials(study)] == [0, 1, 2]
    study_record.requeue_failed(study, there)
    assert [trial.number for trial in study_record.finished_trials(study)] == [0, 2]
    study_record.requeue_failed(study, there)
    assert study.ask({"x": FloatDistribution(0.0, 1.0)}).params == {"x": 0.2}
    assert not study.get_trials(states=(TrialState.WAITING,))
    assert study_record.budget_left(study, TuneParams(num_trials=3)) == (1, None)


@pytest.mark.fault("trial")
def test_any_failed_trial_is_tried_again_where_that_is_asked_for():
    study = made_study(failed("FloatingPointError: too large", 0.1), complete(0.5, x=0.3))
    study_record.requeue_failed(study, {}, all_failed=True)
    assert [trial.number for trial in study_record.finished_trials(study)] == [1]
    assert study.ask({"x": FloatDistribution(0.0, 1.0)}).params == {"x": 0.1}


def searcher(study, space, known=()):
    found = StudySearch(study, space, known, {"cpus": 2})
    found.set_search_properties(None, None, {})
    return found


FINITE = {"a": CategoricalDistribution(("x", "y")), "b": IntDistribution(1, 3)}


def test_no_setting_is_drawn_twice_while_there_are_others():
    study = optuna.create_study(sampler=TPESampler(seed=1))
    search, drawn = searcher(study, FINITE), []
    for name in "123456":
        drawn.append(search.suggest(name))
        search.on_trial_complete(name, {METRIC: 0.5 + (drawn[-1]["a"] == "y"), "epoch": 1, "done": True})
    assert spaces.num_settings(FINITE) == 6 == len({tuple(setting.values()) for setting in drawn})
    assert len(study_record.finished_trials(study)) == 6
    assert not list(spaces.settings_left(FINITE, study_record.tried_settings(study)))
    assert spaces.num_settings({**FINITE, "c": FloatDistribution(0.0, 1.0)}) == float("inf")


@pytest.mark.parametrize("c", [FloatDistribution(0.0, 1.0), FloatDistribution(0.1, 0.7, step=0.1)])
def test_where_the_sampler_draws_one_setting_again_and_again_others_are_tried(c):
    space = {"a": CategoricalDistribution(("x", "y")), "c": c}
    stubborn = PartialFixedSampler({"a": "x", "c": 0.7}, RandomSampler(1))
    study, drawn = optuna.create_study(sampler=stubborn), []
    for number in range(14):
        search = searcher(study, space)
        drawn.append(search.suggest(str(number)))
        search.on_trial_complete(str(number), {METRIC: 0.5, "epoch": 1, "done": True})
    assert drawn[0] == {"a": "x", "c": 0.7}
    assert len({tuple(setting.items()) for setting in drawn}) == 14 == len(study_record.finished_trials(study))
    assert spaces.num_settings(space) == (14 if c.step else float("inf"))


def test_the_seconds_of_a_trial_are_those_of_its_training_without_its_wait_for_a_worker():
    study = optuna.create_study(sampler=TPESampler(seed=1))
    search = searcher(study, FINITE)
    for name in ("ends", "waits", "is cut"):
        search.suggest(name)
    search.on_trial_complete("ends", {METRIC: 0.5, "epoch": 2, "time_total_s": 3.25})
    for name in ("waits", "is cut"):
        search.on_trial_result(name, {METRIC: 0.5, "epoch": 1, "time_total_s": 1.5})
    search.on_trial_complete("waits", {METRIC: 0.4, "epoch": 2, "time_total_s": 4.0})
    search.end_by_budget()
    assert study_record.trials_table(study.trials, METRICS["rmse"])["seconds"].to_list() == [3.25, 4.0, 1.5]


def test_a_space_without_a_setting_left_ends_the_search(prepared, monkeypatch):
    monkeypatch.setattr(tuner, "cluster", lambda: pytest.fail("a trial was about to run"))
    study = optuna.create_study()
    for _ in range(6):
        search = searcher(study, FINITE)
        search.suggest("trial")
        search.on_trial_complete("trial", {METRIC: 0.5, "epoch": 1, "done": True})
    budget, cell = TuneParams(num_trials=10), cell_of(prepared, "fm")
    tuner.spend_budget(cell, FINITE, {}, budget, study, [])
    tuner.check_result(cell, budget, study, spaces.num_settings(FINITE))
    with pytest.raises(ValueError, match="ended early"):
        tuner.check_result(cell, budget, study)


def test_trials_train_on_as_many_rows_as_they_may_have_and_such_a_search_has_its_own_study(
    prepared, monkeypatch, tmp_path
):
    seen = []
    monkeypatch.setattr(
        tuner, "spend_budget", lambda cell, space, fixed, budget, study, known: seen.append((cell, study))
    )
    monkeypatch.setattr(tuner, "check_result", lambda *given: None)
    cells = {name: cell_of(prepared, name) for name in ("fm", "lr")}
    num_rows = len(cells["fm"].train_rows)
    for name, most in (("fm", None), ("fm", num_rows), ("fm", 50), ("lr", 50)):
        params = load_params(prepared.params)
        params = params.model_copy(update={"tune": params.tune.model_copy(update={"max_rows": most})})
        tuner.search(cells[name], "synthetic", params, tmp_path / name)
    sizes, names = [len(cell.train_rows) for cell, _ in seen], [study.study_name for _, study in seen]
    assert sizes == [num_rows, num_rows, 50, 50]
    assert names[0] == names[1] != names[2]
    assert seen[2][0].train_rows.features.equal(seen[3][0].train_rows.features)  # the same rows for all models
    assert len(cells["fm"].train_rows) == num_rows


@pytest.mark.parametrize("sampler", ["random", "tpe", "gp", "auto"])
def test_a_resumed_search_draws_as_well_as_an_undisturbed_one_and_spreads_its_parallel_trials(sampler):
    space, budget = {"x": FloatDistribution(0.0, 1.0)}, TuneParams(num_trials=20, sampler=sampler, random_trials=4)
    drawn = []
    for seed in range(4):
        study = made_study(*(complete((x - 0.3) ** 2, x=x) for x in np.linspace(0.01, 0.97, 9)))
        for half in range(2):  # each is drawn by a new search; the first still runs when the second is drawn
            study.sampler = make_sampler(budget, 10 * seed + half)
            drawn.append(study.ask(space).params["x"])
    near = [abs(x - 0.3) < 0.2 for x in drawn]
    assert all(near) if sampler != "random" else sum(near) < 5
    assert min(abs(first - second) for first, second in zip(drawn[::2], drawn[1::2], strict=True)) > 1e-3


@pytest.mark.parametrize(
    ("budget", "name", "num_random"),
    [
        ({"num_trials": 9}, "tpe", 10),
        ({"num_trials": 9, "sampler": "gp"}, "gp", 4),
        ({"num_trials": 100, "sampler": "auto"}, "gp", 4),
        ({"num_trials": 101, "sampler": "auto"}, "tpe", 4),
        ({"time_budget_s": 60, "sampler": "auto"}, "tpe", 4),
        ({"num_trials": 9, "sampler": "auto", "scheduler": "asha", "random_trials": 6}, "tpe", 6),
        ({"num_trials": 9, "sampler": "random"}, "random", float("inf")),
    ],
)
def test_the_sampler_that_auto_stands_for(budget, name, num_random):
    asked = TuneParams(**budget)
    assert (sampling.named(asked), asked.num_random) == (name, num_random)
    assert name in type(make_sampler(asked, 1)).__name__.lower()


def test_only_what_is_not_the_default_of_a_search_is_in_the_name_of_its_study():
    assert tuner.chosen(TuneParams(num_trials=3)) == {}
    chosen = {"scheduler": "asha", "grace_epochs": 5, "sampler": "gp", "random_trials": 4, "known": ["ctr"]}
    assert tuner.chosen(TuneParams(num_trials=3, **chosen)) == {f"tune.{key}": value for key, value in chosen.items()}


def test_a_search_by_two_recipes_starts_with_both_and_asks_for_a_metric_that_compares_losses(
    prepared, monkeypatch, tmp_path
):
    seen = []
    monkeypatch.setattr(
        tuner, "spend_budget", lambda cell, space, fixed, budget, study, known: seen.append((fixed, study, known))
    )
    monkeypatch.setattr(tuner, "check_result", lambda *given: None)
    params = load_params(prepared.params)

    def search(metric, recipes, model="fm", **changes):
        cell = cell_of(prepared, model)
        cell = replace(cell, training=cell.training.model_copy(update={"metric": metric, **changes}))
        changed = params.model_copy(update={"tune": params.tune.model_copy(update={"recipes": recipes})})
        tuner.search(cell, "synthetic", changed, tmp_path / metric / model)
        return seen[-1]

    both = search("auc", ["paper", "ctr"])
    assert [setting["training.recipe"] for setting in both[2]] == ["paper", "ctr"]
    assert [trial.system_attrs["fixed_params"] for trial in both[1].trials] == both[2]
    (only,) = search("auc", ["paper", "ctr"], "lookup", loss="cross_entropy")[2]  # to lookup both are the same
    assert only["training.recipe"] == "paper"
    (fixed, study, (first,)) = search("auc", ["ctr"])
    assert fixed["training.recipe"] == "ctr"
    assert first["training.l2"] == pytest.approx(5e-6 * fixed["training.batch_size"])
    assert len({study.study_name, both[1].study_name, search("auc", ["paper"])[1].study_name}) == 3
    with pytest.raises(
        ValueError, match=r"^training.metric is rmse, but trials would train by cross_entropy and squared"
    ):
        search("rmse", ["paper", "ctr"])


@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_no_scheduler_stops_a_known_setting(scheduler):
    study = optuna.create_study()
    study.enqueue_trial({"a": "x", "b": 1})
    search = searcher(study, FINITE, [{"a": "x", "b": 1}])
    asked = scheduling.scheduler(scheduler, 9, search.stopped, search.kept)
    asked.set_search_properties(METRIC, "min")
    trials = [Reporting(name) for name in "012345"]
    for trial in trials:
        search.suggest(trial.trial_id)
        asked.on_trial_add(SimpleNamespace(get_live_trials=list), trial)
    for epoch in range(1, 9):
        for trial in reversed(trials):  # the known setting reports last, and is the worst
            if trial.trial_id not in search.stopped:
                score = 0.9 - int(trial.trial_id) / 10
                asked.on_trial_result(SimpleNamespace(get_live_trials=list), trial, {METRIC: score, "epoch": epoch})
    assert search.stopped
    assert "0" not in search.stopped


@pytest.mark.parametrize("scheduler", ["asha", "median"])
@pytest.mark.parametrize(("grace", "first"), [(None, 2), (6, 6)])
def test_no_scheduler_stops_a_trial_in_its_first_epochs(scheduler, grace, first):
    stopped, controller, seen = set(), SimpleNamespace(get_live_trials=list), []
    asked = scheduling.scheduler(scheduler, 18, stopped, grace=grace)
    asked.set_search_properties(METRIC, "min")
    trials = [Reporting(name) for name in "012345"]
    for trial in trials:
        asked.on_trial_add(controller, trial)
    for epoch in range(1, 18):
        for trial in trials:  # each is worse than those before
            if trial.trial_id not in stopped:
                asked.on_trial_result(controller, trial, {METRIC: 0.1 + int(trial.trial_id) / 10, "epoch": epoch})
        seen.append(len(stopped))
    assert not any(seen[: first - 1])
    assert seen[first - 1]


@pytest.mark.fault("trial")
def test_what_the_time_budget_ends_counts_with_its_best_epoch_and_is_marked():
    study = optuna.create_study()
    search = searcher(study, {"x": FloatDistribution(0.0, 1.0)})
    for name, scores in {"one": [0.5, 0.3], "two": [0.4], "none": []}.items():
        search.suggest(name)
        for epoch, score in enumerate(scores, 1):
            search.on_trial_result(name, {METRIC: score, "epoch": epoch})
    search.on_trial_complete("two", {METRIC: 0.4, "epoch": 1, "done": True})
    search.end_by_budget()
    rows = study_record.trials_table(study_record.finished_trials(study), METRICS["rmse"]).sort("trial")
    assert rows["trial"].to_list() == [0, 1]
    assert rows["state"].to_list() == ["complete"] * 2
    assert rows["valid"].to_list() == [0.3, 0.4]
    assert rows["epochs"].to_list() == [2, 1]
    assert rows["reason"].to_list() == ["ended by tune.time_budget_s", None]
    assert study.trials[2].state is TrialState.FAIL


def test_a_search_draws_nothing_more_when_the_code_is_edited(monkeypatch):
    study = optuna.create_study()
    search = searcher(study, FINITE)
    search.suggest("before")
    monkeypatch.setattr(code, "on_disk", lambda: {**code.at_start(), "models/fm.py": "0"})
    assert search.suggest("after") == search.FINISHED
    assert search.ended.startswith("models/fm.py changed while this ran")
    assert len(study.trials) == 1


def test_a_trial_of_a_worker_with_other_code_is_no_part_of_the_study():
    study = optuna.create_study()
    search = searcher(study, FINITE)
    search.suggest("trial")
    reason = "the code in /x is not that of the command that started this: run it again"
    result = {METRIC: float("inf"), "epoch": 0, "reason": reason, OTHER_CODE: True, "node_ip": "10.0.0.2"}
    search.on_trial_complete("trial", result)
    assert study_record.finished_trials(study) == []
    assert search.suggest("next") == search.FINISHED
    assert search.ended == f"10.0.0.2: {reason}"
    with pytest.raises(ValueError, match="is not that of the command"):
        code.check_same("0123456789ab")
    code.check_same(code.digest(code.on_disk()))


def test_an_error_of_the_journal_keeps_its_text_and_names_the_file(tmp_path):
    for error, line in (
        (OSError("no number"), f"no number: {tmp_path}"),
        (OSError(28, "No space left on device", "file"), "[Errno 28] No space left on device: 'file'"),
    ):
        with pytest.raises(OSError, match=error.args[-1]) as raised, tuner.named_errors(tmp_path):
            raise error
        assert describe(raised.value) == line


def test_the_time_budget_counts_from_the_start_of_the_first_trial(monkeypatch):
    now = 100.0
    monkeypatch.setattr(scheduling.time, "monotonic", lambda: now)
    clock, endless = scheduling.TimeBudget(10), scheduling.TimeBudget(None)
    now = 1000.0  # Ray and a worker start
    assert not clock.stop_all()
    assert clock.spent() == 0
    for each in (clock, endless):
        each.on_trial_start(0, [], None)
    now = 1006.0
    clock.on_trial_start(1, [], None)  # a second trial
    assert (clock.spent(), clock.stop_all()) == (6, False)
    now = 1010.0
    assert (clock.spent(), clock.stop_all(), endless.stop_all()) == (10, True, False)
