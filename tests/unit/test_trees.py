"""Check that trees are kept whole, and that forged ones are refused."""

import sys

import numpy as np
import pytest
import torch
from bundled import FIELD_DIMS, FIELDS, IDS, keep
from safetensors.torch import load_file, save_file

from models import registry
from models.layers.batch import Batch
from pipelines import export
from pipelines.data.rows import Rows
from pipelines.evaluation.bundles import RECORD, WEIGHTS, read_bundle
from pipelines.project.files import file_digest
from pipelines.project.params import TrainingParams
from pipelines.search.recipes import with_recipes
from pipelines.training.loop import train
from pipelines.training.predicting import predict
from pipelines.training.start import new_model
from search_spaces import shared

BOOSTED = [name for name in registry.list_models() if registry.is_boosted(registry.get_model(name))]
SETTINGS = {
    "lightgbm": {
        "trees_per_epoch": 5,
        "min_data_in_leaf": 2,
        "min_data_per_group": 1,
        "encoding": "both",
        "num_leaves": 4,
    }
}


def rows_of_bundle(num_rows=150):
    rng = np.random.default_rng(0)
    ids = np.stack([rng.integers(size, size=num_rows) for size in FIELD_DIMS], 1)
    labels = np.where((ids[:, 0] + ids[:, 1]) % 3 + rng.normal(size=num_rows) > 1, 1.0, -1.0)
    return Rows(torch.tensor(ids + np.cumsum([0, *FIELD_DIMS[:-1]])).int(), torch.tensor(labels).float())


def arguments_of(name):
    pytest.importorskip(name, reason="the extra [trees] is not installed")
    return SETTINGS.get(name, {"trees_per_epoch": 5, "depth": 3})


@pytest.fixture(params=BOOSTED)
def bundle(request, tmp_path):
    """Bundle a trained model; return its folder and the model."""
    arguments = arguments_of(request.param)
    model = new_model(request.param, {"fields": FIELDS, "field_dims": FIELD_DIMS}, arguments, 0, device="cpu")
    rows = rows_of_bundle()
    train(model, rows, rows, TrainingParams(max_epochs=2, learning_rate=0.3))
    keep(tmp_path / "bundle", request.param, trained=model, arguments=arguments)
    return tmp_path / "bundle", model


def test_a_bundle_needs_no_package_and_gives_the_model_that_was_put_in(bundle, monkeypatch):
    folder, model = bundle
    for name in BOOSTED:
        monkeypatch.setitem(sys.modules, name, None)
    again = read_bundle(folder)[1]
    rows = rows_of_bundle()
    assert torch.equal(predict(again, rows), predict(model, rows))
    assert predict(model, rows).unique().numel() > 5


@pytest.mark.slow
def test_trees_are_exported_like_other_models(bundle):
    folder, model = bundle
    formats = export.Format
    export.main(
        folder, formats.torch if hasattr(model, "statistics") else formats.onnx
    )  # which compares it with the model


def changed(folder, key, change):
    """Change one tensor of a bundle, whose record then has the new digest."""
    weights, file = load_file(folder / WEIGHTS), folder / WEIGHTS
    weights[key] = change(weights[key].clone()).contiguous()
    before = file_digest(file)
    save_file(weights, file)
    record = folder / RECORD
    record.write_text(record.read_text().replace(before, file_digest(file)))


def at(place, value):
    def change(tensor):
        tensor.view(-1)[place] = value
        return tensor

    return change


FORGED = {
    "forest.left": [at(0, 10**6), at(0, -(10**6)), at(0, 0), lambda tensor: tensor[:-1]],
    "forest.roots": [at(0, 10**6), lambda tensor: tensor.repeat(2)],
    "forest.column": [at(0, -1)],
    "forest.first_word": [at(slice(None), 10**6)],
    "forest.leaves": [lambda tensor: tensor[:1], lambda tensor: tensor[:, None]],
    "statistics.parts": [at(1, 99), at(1, 0), lambda tensor: tensor[:0]],
    "statistics.tables": [at(1, 10**6), at(1, -5)],
    "statistics.part_column": [at(0, 99), at(0, -1)],
    "statistics.table": [at(0, 99), at(0, -1)],
    "statistics.counts": [lambda tensor: tensor[:-1]],
    "statistics.numbers": [lambda tensor: tensor[:, :2]],
    "encoded.means": [lambda tensor: tensor[:2]],
}


def test_forged_trees_are_refused_in_one_line(bundle):
    folder, _ = bundle
    whole = {file: file.read_bytes() for file in folder.iterdir()}
    keys = load_file(folder / WEIGHTS).keys()
    for key in FORGED.keys() & keys:
        for change in FORGED[key]:
            changed(folder, key, change)
            with pytest.raises(
                ValueError, match=rf"^{folder / WEIGHTS} does not fit \w+ of this version: .+$"
            ) as caught:
                read_bundle(folder)
            assert len(str(caught.value).splitlines()) == 1, key
            for file, content in whole.items():
                file.write_bytes(content)


def test_a_column_that_rows_lack_is_refused(bundle):
    folder, _ = bundle
    changed(folder, "forest.column", at(0, 10**6))
    with pytest.raises(ValueError, match=r"^the trees ask for 1000001 columns, but rows have \d+$"):
        read_bundle(folder)[1](Batch(IDS))


@pytest.mark.parametrize("name", BOOSTED)
def test_a_package_that_is_absent_is_named_where_training_starts(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    model, rows = new_model(name, {"fields": FIELDS, "field_dims": FIELD_DIMS}, {}, 0), rows_of_bundle()
    said = rf"^to train {name}, its package is needed: pip install 'factorbench\[trees\]'$"
    with pytest.raises(ValueError, match=said):
        train(model, rows, rows, TrainingParams())


@pytest.mark.parametrize("name", BOOSTED)
def test_the_same_seed_grows_the_same_trees_and_another_other_ones(name):
    rows, arguments = rows_of_bundle(), arguments_of(name)
    arguments = {**arguments, **({"bagging_fraction": 0.5} if name == "lightgbm" else {})}
    found = []
    for seed in (1, 1, 2):
        model = new_model(name, {"fields": FIELDS, "field_dims": FIELD_DIMS}, arguments, seed)
        train(model, rows, rows, TrainingParams(max_epochs=2))
        found.append(predict(model, rows))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("name", BOOSTED)
def test_the_trees_of_the_best_epoch_are_left(name):
    rows, valid = rows_of_bundle(), rows_of_bundle(60)
    model = new_model(name, {"fields": FIELDS, "field_dims": FIELD_DIMS}, arguments_of(name), 0)
    training = TrainingParams(max_epochs=8, learning_rate=1.0, metric="logloss", loss="cross_entropy", patience=3)
    valid = Rows(valid.features, -valid.labels)  # so that no later epoch is better
    seen = train(model, rows, valid, training)
    assert [epoch.epoch for epoch in seen] == [1, 2, 3, 4]
    reached = torch.nn.functional.softplus(-valid.labels * predict(model, valid)).mean().item()
    assert reached == pytest.approx(seen[0].valid["logloss"], abs=1e-6)
    assert len(model.forest.roots) == 5 + (name == "catboost")  # and its bias


@pytest.mark.parametrize("name", BOOSTED)
def test_the_recipe_of_gradients_leaves_the_learning_rate_of_trees(name):
    space = shared.get_space(name)
    wide, (paper, ctr) = with_recipes(space, name, "frappe", ["paper", "ctr"], {})
    assert {key: ctr[key] for key in space} == {key: paper[key] for key in space}
    assert {key: wide[key] for key in space} == space
