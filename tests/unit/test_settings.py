import pytest

from pipelines.project.params import TrainingParams
from pipelines.project.settings import parse, parse_assignments, resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("64", 64),
        ("-3", -3),
        ("0.25", 0.25),
        ("1e-4", 1e-4),
        ("1E+3", 1e3),
        ("5e-1", 0.5),
        ("[64, 32]", [64, 32]),
        ("[]", []),
        ("true", True),
        ("yes", "yes"),
        ("off", "off"),
        ("010", 10),
        ("1:30", "1:30"),
        ("[1:30, 010]", ["1:30", 10]),
        ("false", False),
        ("null", None),
        ("adam", "adam"),
        ("cross_entropy", "cross_entropy"),
        ("[64", "[64"),
        ("a: b: c", "a: b: c"),
    ],
)
def test_text_is_read_as_what_it_looks_like(text, value):
    assert parse(text) == value
    assert type(parse(text)) is type(value)


@pytest.mark.parametrize("value", [64, 1e-4, [64, 32], (5,), True, None])
def test_what_is_not_text_stays(value):
    assert parse(value) is value


def test_assignments():
    assignments = ["model.embed_dim=256", "training.l2 = 1e-4", "model.hidden_dims=[64, 32]", "training.loss=a=b"]
    assert parse_assignments(assignments) == {
        "model.embed_dim": 256,
        "training.l2": 1e-4,
        "model.hidden_dims": [64, 32],
        "training.loss": "a=b",
    }
    assert parse_assignments([]) == {}
    assert parse_assignments(["model.a=1", "model.a=2"]) == {"model.a": 2}


def test_an_assignment_without_a_value_shows_one_with():
    with pytest.raises(ValueError, match=r"^--set model.embed_dim: write KEY=VALUE, such as --set model.embed_dim=64$"):
        parse_assignments(["training.l2=0", "model.embed_dim"])


def test_a_setting_is_split_into_the_models_arguments_and_training():
    before = TrainingParams(patience=7, l2=0.5)
    setting = {
        "model.embed_dim": 8,
        "model.hidden_dims": "[64, 32]",
        "training.l2": "1e-3",
        "training.loss": "cross_entropy",
    }
    arguments, training = resolve(setting, before)
    assert arguments == {"embed_dim": 8, "hidden_dims": [64, 32]}
    assert training == TrainingParams(patience=7, l2=1e-3, loss="cross_entropy")
    assert before == TrainingParams(patience=7, l2=0.5)
    assert resolve({}, before) == ({}, before)


def test_null_takes_a_start_from_a_trained_model_back():
    assert resolve({"training.pretrained": "null"}, TrainingParams(pretrained="fm"))[1].pretrained is None


@pytest.mark.parametrize("key", ["embed_dim", "tune.num_trials", "model", "model.", "training", "", ".embed_dim"])
def test_a_key_of_another_part_is_an_error(key):
    with pytest.raises(ValueError, match=r"^unknown key '.*': keys are model\.\* and training\.\*$") as caught:
        resolve({key: 1}, TrainingParams())
    assert repr(key) in str(caught.value)


def test_an_unknown_training_key_lists_the_known():
    with pytest.raises(ValueError, match=r"^training\.lr: no such key; the keys here are: ") as caught:
        resolve({"training.lr": 0.1}, TrainingParams())
    assert str(caught.value).endswith(": " + ", ".join(TrainingParams.model_fields))


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("learning_rate", "fast", r"number.* \(got 'fast'\)"),
        ("learning_rate", "0", r"greater than 0 \(got 0\)"),
        ("learning_rate", "nan", r"number \(got 'nan'\)"),
        ("learning_rate", ".nan", r"finite number \(got nan\)"),
        ("learning_rate", "true", r"number \(got True\)"),
        ("l2", ".inf", r"finite number \(got inf\)"),
        ("patience", "1:30", r"integer \(got '1:30'\)"),
        ("patience", "true", r"integer \(got True\)"),
        ("batch_size", "2.5", r"integer.* \(got 2.5\)"),
        ("l2", "-1", r"greater than or equal to 0 \(got -1\)"),
        ("loss", "hinge", r"'squared_error' or 'cross_entropy' \(got 'hinge'\)"),
        ("optimizer", "sgd", r"'adagrad', 'adam', 'adamw', 'lazy_adam' or 'ftrl' \(got 'sgd'\)"),
        ("l2_rows", "some", r"'all' or 'touched' \(got 'some'\)"),
        ("kernels", "slow", r"'fast' or 'plain' \(got 'slow'\)"),
        ("metric", "mae", "unknown metric 'mae'; choose one of: rmse, auc, logloss, pr_auc, ece, group_auc"),
        ("pretrained", "ifm", r"'fm' \(got 'ifm'\)"),
        ("patience", "null", r"integer \(got None\)"),
    ],
)
def test_a_wrong_training_value_names_key_problem_and_value(key, value, problem):
    with pytest.raises(ValueError, match=rf"^training\.{key}: .*{problem}$"):
        resolve({f"training.{key}": value}, TrainingParams())
