import sys

import pytest
from searches import cell_of

import search_spaces
from models import registry
from pipelines.search.spaces import check_space
from search_spaces import shared

HEAD = """
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from search_spaces.shared import TRAINING, PAPER_TRAINING
"""
FAULT = """
SPACE = {
    "model.hidden_dims": CategoricalDistribution(([5], [8, 8])),
    "training.learning_rate": FloatDistribution(1e-3, 1, log=True),
}
PAPER = {"model.hidden_dims": [5], "training.learning_rate": 0.1}
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Return a function that makes search_spaces/nfm.py from text, and loads it."""
    monkeypatch.setattr(search_spaces, "__path__", [str(tmp_path), *search_spaces.__path__])
    shared.load.cache_clear()

    def write_and_load(text):
        monkeypatch.delitem(sys.modules, "search_spaces.nfm", raising=False)
        (tmp_path / "nfm.py").write_text(HEAD + text)
        return shared.get_space("nfm")

    yield write_and_load
    shared.load.cache_clear()


@pytest.mark.parametrize("model", registry.list_models())
def test_every_space_of_the_project_fits_its_model(prepared, model):
    cell = cell_of(prepared, "lr")
    if registry.why_declined(model, cell.schema["fields"]):
        cell.schema["fields"][:] = ["user", "item", "tag"]
    object.__setattr__(cell, "model", model)
    known = [shared.known_settings(model, family, list(shared.KNOWN)) for family in ("frappe", "movielens")]
    check_space(cell, shared.get_space(model), {}, *(setting for each in known for setting in each.values()))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (FAULT, r"SPACE\['model.hidden_dims'\] has the choice \[5\]: write a list as text, such as \"\[64, 32\]\""),
        ("SPACE = TRAINING\n", "must have SPACE and PAPER, two dicts by key"),
        ("SPACE, PAPER = [], {}\n", "must have SPACE and PAPER, two dicts by key"),
        ("SPACE = {**TRAINING, 'model.dropout': (0, 0.9)}\nPAPER = PAPER_TRAINING\n",
         r"SPACE\['model.dropout'\] must be a distribution of Optuna, got \(0, 0.9\)"),
        ("SPACE = {**TRAINING, 'model.dropout': FloatDistribution(0, 0.9)}\nPAPER = PAPER_TRAINING\n",
         "PAPER lacks 'model.dropout', a key of SPACE"),
        ("SPACE = TRAINING\nPAPER = {**PAPER_TRAINING, 'training.l2': 2.0}\n",
         r"PAPER\['training.l2'\] is 2.0, outside of SPACE: FloatDistribution\("),
        ("SPACE = TRAINING\nPAPER = {**PAPER_TRAINING, 'training.l2': 'none'}\n",
         r"PAPER\['training.l2'\] is 'none', outside of SPACE: "),
        ("SPACE = TRAINING\nPAPER = {**PAPER_TRAINING, 'training.batch_size': 100}\n",
         r"PAPER\['training.batch_size'\] is 100, outside of SPACE: Categorical"),
        ("SPACE = {**TRAINING, 'model.drop': FloatDistribution(0, 0.9)}\nPAPER = {**PAPER_TRAINING, 'model.drop': 0}\n",
         "nfm has no hyperparameter 'drop'; it has: embed_dim, "),
        ("SPACE = {'embed_dim': IntDistribution(1, 2)}\nPAPER = {'embed_dim': 1}\n",
         r"unknown key 'embed_dim': keys are model\.\* and training\.\*"),
        ("SPACE = TRAINING\nPAPER = {**PAPER_TRAINING, 'model.dropout': 0.5}\n",
         "PAPER has 'model.dropout', which is no key of SPACE"),
        ("SPACE = {\n", "can't be imported: SyntaxError: "),
        ("import no_such_module\n", "can't be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("SPACE = {'training.l2': FloatDistribution(1, 0)}\n", "can't be imported: ValueError: "),
    ],
)  # fmt: skip
def test_a_mistake_in_a_space_is_one_line_that_names_its_file(load, text, problem):
    with pytest.raises(ValueError, match=rf"^search_spaces/nfm\.py:? {problem}") as caught:
        load(text)
    assert len(str(caught.value).splitlines()) == 1


def test_a_family_s_own_values_replace_those_that_the_space_has(load):
    choices = "'training.batch_size': CategoricalDistribution(({}))"
    for sizes, size in (("128, 256", 128), ("128, 4096", 4096)):
        shared.load.cache_clear()
        load(f"SPACE = {{**TRAINING, {choices.format(sizes)}}}\nPAPER = PAPER_TRAINING\n")
        assert shared.paper_setting("nfm", "movielens")["training.batch_size"] == size
        assert shared.paper_setting("nfm", "frappe")["training.batch_size"] == 128


@pytest.mark.parametrize(
    ("space", "paper", "problem"),
    [
        ("'training.lr': FloatDistribution(0.1, 1)", "'training.lr': 0.1", "PAPER: training.lr: no such key; the keys"),
        ("'training.l1': FloatDistribution(0, 1)", "'training.l1': 0", "SPACE['training.l1']: training.l1 is 1, but "),
        ("'training.learning_rate': FloatDistribution(0, 1)", "", "SPACE['training.learning_rate']: training.learning"),
        ("'training.batch_size': FloatDistribution(64, 128)", "", "SPACE['training.batch_size']: training.batch"),
        ("'model.embed_dim': FloatDistribution(4, 8)", "'model.embed_dim': 4.0", "PAPER: nfm: embed_dim: Input "),
        ("'model.embed_dim': IntDistribution(0, 8)", "'model.embed_dim': 4", "SPACE['model.embed_dim']: nfm: embed"),
        ("'model.hidden_dims': CategoricalDistribution(('[4]', '4'))", "'model.hidden_dims': '[4]'",
         "SPACE['model.hidden_dims']: nfm: hidden_dims: "),
    ],
)  # fmt: skip
def test_a_search_does_not_start_with_values_that_model_or_training_refuse(
    project, no_cluster, load, space, paper, problem
):
    load(f"SPACE = {{**TRAINING, {space}}}\nPAPER = {{**PAPER_TRAINING, {paper}}}\n".replace("128,", "128.0,"))
    project.set(tune={"fixed": {}}, models=["nfm"])
    content = (
        project.params.read_text().replace("    model.embed_dim: 4\n", "").replace("    training.batch_size: 256\n", "")
    )
    project.params.write_text(content.replace("  fixed:\n", ""))
    with pytest.raises(ValueError, match=r"^search_spaces/nfm\.py: ") as caught:
        project.tune("nfm")
    assert str(caught.value).startswith(f"search_spaces/nfm.py: {problem}")


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("model.embed_dim", 0, "fm: embed_dim must be positive, got 0"),
        ("model.embed_dim", "many", "fm: embed_dim: Input should be a valid integer (got 'many')"),
        ("training.batch_size", 2.5, "training.batch_size: Input should be a valid integer (got 2.5)"),
        ("training.l2", -1, "training.l2: Input should be greater than or equal to 0 (got -1)"),
    ],
)
def test_a_search_does_not_start_with_fixed_values_that_are_refused(project, no_cluster, key, value, problem):
    project.set(tune={"fixed": {key: value}})
    with pytest.raises(ValueError, match=r"^tune\.fixed: ") as caught:
        project.tune("fm")
    assert str(caught.value).startswith(f"tune.fixed: {problem}")


def test_known_settings_follow_the_papers_and_are_completed_by_it(monkeypatch):
    known = {
        "mine": {"any": {"training.l2": 0.5, "model.depth": 3}, "fm": {"model.dropout": 0.25}},
        "frappe": {"fm": {}},
    }
    monkeypatch.setattr(shared, "KNOWN", known)
    found, paper = shared.known_settings("fm", "movielens", ["mine"]), shared.paper_setting("fm", "movielens")
    assert list(found) == ["paper", "mine"]
    assert found == {"paper": paper, "mine": {**paper, "training.l2": 0.5, "model.dropout": 0.25}}
    assert list(shared.known_settings("fm", "frappe")) == ["paper"]
    with pytest.raises(ValueError, match=r"tune\.known: unknown setting 'yours'; choose from: frappe, mine$"):
        shared.known_settings("fm", "frappe", ["yours"])
    monkeypatch.setitem(known, "mine", {"fm": {"model.dropout": 2.0}})
    with pytest.raises(ValueError, match=r"KNOWN\['mine'\] has model\.dropout 2\.0: FloatDistribution"):
        shared.known_settings("fm", "frappe", ["mine"])


def test_no_search_is_told_what_a_search_of_its_own_family_found():
    assert "movielens" in shared.known_settings("fm", "frappe", ["movielens"])
    assert list(shared.known_settings("fm", "movielens", ["movielens"])) == ["paper"]
