import json

import pytest

from pipelines import bundle
from pipelines.data.rows import load_rows
from pipelines.evaluation.bundles import read_bundle
from pipelines.training.metrics import compute_metrics
from pipelines.training.predicting import predict


def test_the_best_runs_bundle_scores_the_test_rows_as_evaluate_did(searched_project, capsys):
    bundle.main("fm", "synthetic", searched_project.params)
    kept, model = read_bundle(searched_project.root / "bundles" / "synthetic" / "fm")
    seeds = json.loads((searched_project.results("fm") / "metrics.json").read_text())["seeds"]
    assert min(seeds.values(), key=lambda seed: seed["valid_rmse"]) == seeds[str(kept.seed)]
    rows = load_rows(searched_project.root / "data" / "processed" / "synthetic", "test")
    schema = json.loads((searched_project.root / "data" / "processed" / "synthetic" / "schema.json").read_text())
    assert kept.data == schema["values"]
    assert kept.rate == schema["num_positives"]["train"] / schema["num_rows"]["train"]
    assert (kept.replace, kept.given) == ("item", ["user"])
    reached = compute_metrics(predict(model, rows), rows.labels, kept.loss)
    assert {name: seeds[str(kept.seed)][name] for name in reached.named("test")} == pytest.approx(
        reached.named("test"), abs=1e-6
    )
    assert "note" not in capsys.readouterr().err
