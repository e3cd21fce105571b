import json

import pytest

from pipelines import compare

MODELS = ["fm", "lr", "mean", "pitf"]  # mean has no gradients; pitf needs a field tag, which the data lacks


@pytest.fixture
def compared(project, monkeypatch):
    """Compare three models in the project, and return the rows and the page."""
    monkeypatch.setattr("models.registry.list_models", lambda: MODELS)
    monkeypatch.setattr(compare, "TRAINING", {**compare.TRAINING, "max_epochs": 2})

    def run():
        compare.main("synthetic", project.params)
        results = project.root / "results"
        return json.loads((results / "models.json").read_text()), (results / "models.md").read_text()

    return run


def test_every_model_has_a_row_and_one_that_declines_its_reason(compared):
    (fm, lr, pitf), page = compared()
    assert (fm["model"], lr["model"]) == ("fm", "lr")
    assert fm["num_params"] == lr["num_params"] * 65 - 64  # one weight and 64 factors per feature, and w_0
    assert all(0 < row["seconds_per_epoch"] < 10 and row["best_epoch"] in (1, 2) for row in (fm, lr))
    lines = page.splitlines()
    ranked = [line.split(" | ")[0] for line in lines if line.startswith(("| fm", "| lr"))]
    assert ranked == [f"| {row['model']}" for row in sorted((fm, lr), key=lambda row: row["valid_rmse"])]
    assert f"pitf is not here: {pitf['declined']}" in lines
    assert "needs a field tag" in pitf["declined"]
    assert "model.embed_dim 64" in page
    assert "learning_rate 0.02" in page


def test_models_already_done_are_kept(compared, monkeypatch):
    before = compared()
    monkeypatch.setattr(compare, "train_once", lambda cell: pytest.fail(f"{cell.model} was about to be trained"))
    assert compared() == before
