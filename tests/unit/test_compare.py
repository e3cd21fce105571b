import json

import pytest

from pipelines import compare
from pipelines.training.cell import Cell
from results import write_card

MODELS = ["fm", "lr", "mean", "pitf"]  # mean has no gradients; pitf needs a field tag, which the data lacks


@pytest.fixture
def compared(project, monkeypatch):
    """Compare three models in the project, and return the rows and the page."""
    monkeypatch.setattr("models.registry.list_models", lambda: MODELS)
    monkeypatch.setattr(compare, "TRAINING", {**compare.TRAINING, "training.max_epochs": 2})

    def run():
        compare.main("synthetic", project.params)
        results = project.root / "results"
        return json.loads((results / "models.json").read_text()), (results / "models.md").read_text()

    return run


def test_every_model_has_a_row_of_both_recipes_and_one_that_declines_its_reason(compared, project):
    write_card(project.root / "results" / "synthetic", split="random")
    rows, page = compared()
    assert "Data: a.zip is not the released file: it is shorter." in page
    assert rows.keys() == {"fm", "lr"}
    for row in rows.values():
        assert row.keys() == {"paper", "ctr"}
        assert row["paper"]["num_params"] == row["ctr"]["num_params"]
        assert row["paper"]["valid_auc"] != row["ctr"]["valid_auc"]
    num_params = {model: row["paper"]["num_params"] for model, row in rows.items()}
    assert num_params["fm"] == num_params["lr"] * 11 - 10  # one weight and 10 factors per feature, and w_0
    lines = page.splitlines()
    ranked = [line.split(" | ")[0] for line in lines if line.startswith(("| fm", "| lr"))]
    best = {model: max(each["valid_auc"] for each in row.values()) for model, row in rows.items()}
    assert ranked == [f"| {model}" for model in sorted(best, key=best.__getitem__, reverse=True)]
    behind = [
        recipe for recipe in ("paper", "ctr") if rows["fm"][recipe]["valid_auc"] < rows["lr"][recipe]["valid_auc"]
    ]
    for recipe in ("paper", "ctr"):
        said = any(line.startswith(f"By `{recipe}`, these have a lower AUC than lr: fm.") for line in lines)
        assert said == (recipe in behind)
    assert any(line.startswith("pitf is not here: needs a field tag") for line in lines)
    assert "embed_dim 10" in page


def test_a_run_that_was_cut_off_goes_on_with_the_models_that_are_missing(compared, project, monkeypatch):
    train, trained = Cell.train, []

    def train_and_note(cell, *given):
        trained.append(cell.model)
        if trained.count("fm"):
            raise KeyboardInterrupt
        return train(cell, *given)

    monkeypatch.setattr(compare.Run, "cost", lambda each: ["lr", "fm"].index(each.cell.model))
    monkeypatch.setattr(Cell, "train", train_and_note)
    with pytest.raises(KeyboardInterrupt):
        compared()
    assert "Not yet measured: fm." in (project.root / "results" / "models.md").read_text()
    with pytest.raises(KeyboardInterrupt):
        compared()
    assert trained == ["lr", "lr", "fm", "fm"]
