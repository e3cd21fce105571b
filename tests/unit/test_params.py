import pytest

from pipelines.project.params import EvaluateParams, Params, PrepareParams, PretrainParams, TrainingParams, load_params
from pipelines.project.paths import Paths

MINIMAL = "seed: 1\ndatasets: [synthetic]\nmodels: [lr, fm]\ntune: {num_trials: 3}\n"


@pytest.fixture
def load(tmp_path):
    def write_and_load(text):
        path = tmp_path / "params.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_params(path)

    return write_and_load


@pytest.fixture
def problem(load, tmp_path):
    """Return a function that gives a file's error without the leading file name."""

    def message(text):
        with pytest.raises(ValueError, match=r"params\.yaml: ") as caught:
            load(text)
        file, _, message = str(caught.value).partition(": ")
        assert file == str(tmp_path / "params.yaml")
        return message

    return message


def test_what_is_not_said_has_defaults(load):
    params = load(MINIMAL)
    assert (params.seed, params.datasets, params.models) == (1, ["synthetic"], ["lr", "fm"])
    assert params.tune.num_trials == 3
    assert params.tune.time_budget_s is None
    assert params.prepare == PrepareParams()
    assert params.training == TrainingParams()
    assert params.pretrain == PretrainParams()
    assert params.evaluate == EvaluateParams()


def test_what_is_said_counts(load):
    params = load(
        MINIMAL
        + "prepare: {train: 0.5, num_negatives: 4}\n"
        + "training: {optimizer: ftrl, l1: 1, pretrained: fm}\n"
        + "pretrain: {model: {embed_dim: 8}, training: {l2: 0.1}}\n"
        + "evaluate: {num_seeds: 2}\n"
    )
    assert params.prepare == PrepareParams(train=0.5, num_negatives=4)
    assert params.training == TrainingParams(optimizer="ftrl", l1=1.0, pretrained="fm")
    assert params.pretrain.model == {"embed_dim": 8}
    assert params.pretrain.training == {"l2": 0.1}
    assert params.evaluate.num_seeds == 2


def test_either_budget_will_do(load):
    assert load(MINIMAL.replace("num_trials: 3", "time_budget_s: 60")).tune.time_budget_s == 60
    assert load(MINIMAL.replace("num_trials: 3", "num_trials: 3, time_budget_s: 60")).tune.num_trials == 3


def test_no_budget_is_an_error(problem):
    for tune in ("{}", "{num_trials: null}", "{fixed: {model.embed_dim: 8}}"):
        message = problem(MINIMAL.replace("{num_trials: 3}", tune))
        assert message.startswith("tune: ")
        assert "set num_trials or time_budget_s" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sed: 1\n", f"sed: no such key; the keys here are: {', '.join(Params.model_fields)} (nearest: seed)"),
        (
            "prepare: {negatives: 1}\n",
            "prepare.negatives: no such key; the keys here are: num_negatives, train, valid, split "
            "(nearest: num_negatives)",
        ),
        (
            "evaluate: {seeds: 1}\n",
            "evaluate.seeds: no such key; the keys here are: num_seeds, keep (nearest: num_seeds)",
        ),
        (
            "training: {lr: 1}\n",
            f"training.lr: no such key; the keys here are: {', '.join(TrainingParams.model_fields)}",
        ),
        ("pretrain: {epochs: 1}\n", "pretrain.epochs: no such key; the keys here are: model, training"),
    ],
)  # fmt: skip
def test_a_mistyped_key_is_named_with_those_that_there_are(problem, text, expected):
    assert problem(MINIMAL + text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MINIMAL + "seed: 2\n", "key 'seed' occurs twice, again in line 5"),
        (MINIMAL + "tune: {num_trials: 2}\n", "key 'tune' occurs twice, again in line 5"),
        (
            MINIMAL.replace("3}", "3, fixed: {model.embed_dim: 1,\n model.embed_dim: 2}}"),
            "key 'model.embed_dim' occurs twice, again in line 5",
        ),
        ("# a comment\n" + MINIMAL.replace("models", "seed"), "key 'seed' occurs twice, again in line 4"),
        ("<<<<<<< ours\n" + MINIMAL, "line 1 has a merge conflict, which git left there"),
        (MINIMAL + "=======\n>>>>>>> theirs\n", "line 6 has a merge conflict, which git left there"),
        (MINIMAL.replace("[lr, fm]", "[lr, fm, lr]"), "models: 'lr' occurs twice"),
        (MINIMAL.replace("[synthetic]", "[a, a]"), "datasets: 'a' occurs twice"),
        (
            MINIMAL.replace("[lr, fm]", "[]"),
            "models: List should have at least 1 item after validation, not 0 (got [])",
        ),
        (MINIMAL.replace("[synthetic]", "[]"), "datasets: List should have at least 1 item after validation, not 0"),
        (MINIMAL.replace("3}", "true}"), "tune.num_trials: Input should be a valid integer (got True)"),
        (MINIMAL.replace("3}", "1:30}"), "tune.num_trials: Input should be a valid integer (got '1:30')"),
        (MINIMAL.replace("3}", "'3'}"), "tune.num_trials: Input should be a valid integer (got '3')"),
        (
            MINIMAL.replace("3}", "3, deterministic: yes}"),
            "tune.deterministic: Input should be a valid boolean (got 'yes",
        ),
        (MINIMAL.replace("3}", "3, time_budget_s: .inf}"), "tune.time_budget_s: Input should be a finite number"),
        (MINIMAL + "training: {l2: .inf}\n", "training.l2: Input should be a finite number (got inf)"),
        (MINIMAL + "training: {l2: .nan}\n", "training.l2: Input should be a finite number (got nan)"),
        (MINIMAL + "training: {l1: 0.1}\n", "training: l1 is 0.1, but optimizer adagrad has no l1: set optimizer ftrl"),
        (MINIMAL + "pretrain: {training: {lr: 1}}\n", "pretrain.training.lr: no such key; the keys here are: loss, "),
        (
            MINIMAL + "pretrain: {training: {batch_size: 1.5}}\n",
            "pretrain.training.batch_size: Input should be a valid",
        ),
    ],
)
def test_what_would_be_silently_another_value_is_an_error(problem, text, expected):
    assert problem(text).startswith(expected)


def test_numbers_are_those_of_yaml_1_2(load):
    params = load(MINIMAL.replace("seed: 1", "seed: 010").replace("3}", "0o10}") + "training: {l2: 1e-8}\n")
    assert (params.seed, params.tune.num_trials, params.training.l2) == (10, 8, 1e-8)


def test_a_mistyped_budget(problem):
    assert problem(MINIMAL.replace("num_trials: 3", "num_trials: 3, trials: 3")).startswith(
        "tune.trials: no such key; the keys here are: num_trials, time_budget_s, max_epochs, max_rows, fixed, "
    )


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        (MINIMAL.replace("seed: 1", "seed: one"), "seed: ", "(got 'one')"),
        (MINIMAL.replace("num_trials: 3", "num_trials: 0"), "tune.num_trials: ", "greater than 0 (got 0)"),
        (MINIMAL.replace("num_trials: 3", "time_budget_s: soon"), "tune.time_budget_s: ", "(got 'soon')"),
        (MINIMAL.replace("[lr, fm]", "fm"), "models: ", "list (got 'fm')"),
        (MINIMAL.replace("[lr, fm]", "[lr, 3]"), "models.1: ", "string (got 3)"),
        (MINIMAL + "training: {loss: hinge}\n", "training.loss: ", "'cross_entropy' (got 'hinge')"),
        (MINIMAL + "training: {batch_size: 1.5}\n", "training.batch_size: ", "(got 1.5)"),
        (MINIMAL + "prepare: {train: 1.0}\n", "prepare.train: ", "less than 1 (got 1.0)"),
        (MINIMAL + "prepare: {split: rows}\n", "prepare.split: ", "'lines', 'random' or 'new_pairs' (got 'rows')"),
        (MINIMAL + "evaluate: 5\n", "evaluate: ", "(got 5)"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(problem, text, start, end):
    message = problem(text)
    assert message.startswith(start)
    assert message.endswith(end)


def test_shares_that_leave_no_test_rows(problem):
    message = problem(MINIMAL + "prepare: {train: 0.8, valid: 0.2}\n")
    assert message.startswith("prepare: ")
    assert "train + valid must be under 1, got 0.8 + 0.2" in message


def test_epochs_in_which_nothing_is_stopped_are_some_of_a_trial_s(load, problem):
    text = MINIMAL + "training: {max_epochs: 9}\n"
    assert load(text.replace("3}", "3, scheduler: asha, grace_epochs: 8}")).tune.grace_epochs == 8
    wrong = "tune.grace_epochs must be under a trial's most epochs, 9, got 9"
    assert wrong in problem(text.replace("3}", "3, scheduler: asha, grace_epochs: 9}"))
    wrong = "tune.grace_epochs must be under a trial's most epochs, 3, got 8"
    assert wrong in problem(text.replace("3}", "3, scheduler: asha, grace_epochs: 8, max_epochs: 3}"))
    wrong = "tune: grace_epochs is 8, but scheduler none stops no trial"
    assert problem(text.replace("3}", "3, grace_epochs: 8}")).startswith(wrong)


def test_a_missing_key_is_named(problem):
    assert problem(MINIMAL.replace("seed: 1\n", "")) == "seed: Field required"
    assert problem("seed: 1\ndatasets: [a]\nmodels: [b]\n") == "tune: Field required"


@pytest.mark.parametrize("text", ["", "- a\n", "just text\n"])
def test_a_file_without_keys(problem, text):
    assert "dictionary" in problem(text)


@pytest.mark.parametrize("text", ["seed: [1\n", "seed: 1\n\tmodels: x\n", b"seed: \xff\xfe\n"])
def test_a_file_that_is_not_yaml(problem, text):
    assert problem(text).startswith("not YAML: ")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(OSError, match=r"nowhere\.yaml"):
        load_params(tmp_path / "nowhere.yaml")


def test_params_do_not_change(load):
    params = load(MINIMAL)
    with pytest.raises(ValueError, match="frozen"):
        params.training.l2 = 1.0


def test_all_paths_are_below_the_folder_of_the_file(tmp_path):
    paths = Paths(tmp_path)
    all_paths = [
        *(method("synthetic") for method in (paths.raw, paths.processed, paths.pretrained)),
        *(method("synthetic", "fm") for method in (paths.study, paths.results)),
        paths.leaderboard,
        paths.significance,
    ]
    assert len(set(all_paths)) == 7
    assert all(path.is_relative_to(tmp_path) for path in all_paths)


@pytest.mark.parametrize("training", ["l2_rows: touched", "optimizer: lazy_adam"])
def test_what_knows_touched_rows_needs_fast_kernels(load, problem, training):
    assert "need kernels fast" in problem(MINIMAL + f"training: {{{training}, kernels: plain}}\n")
    assert load(MINIMAL + f"training: {{{training}}}\n").training.kernels == "fast"
