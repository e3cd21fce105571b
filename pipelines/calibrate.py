"""Calibrate a bundle's probabilities on validation rows."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.project.cli import ParamsOption, run
from pipelines.project.metric import METRICS, NUM_BINS, equal_bins
from pipelines.project.paths import Paths
from pipelines.project.predicted import Predicted
from pipelines.project.records import write_record
from pipelines.project.seeds import seed_for

if TYPE_CHECKING:
    import numpy as np


class Method(StrEnum):
    """Name a method: a logistic curve, or steps that never fall."""

    platt = "platt"
    isotonic = "isotonic"


def main(
    bundle: Annotated[Path, typer.Option(help="Folder that `factorbench bundle` wrote.")],
    method: Annotated[Method, typer.Option(help="platt: a logistic curve. isotonic: any curve that rises.")] = (
        Method.platt
    ),
    params: ParamsOption = Path("params.yaml"),
) -> None:
    """Calibrate a bundle's probabilities on validation rows.

    `predict` and `export` then use the map, which bundle.json keeps; one
    that is there already is replaced. Draws calibration.svg, the share of
    positives by predicted probability before and after. No test row is read.
    """
    from pipelines.evaluation.bundles import RECORD, prepared_rows, probabilities, read_bundle  # torch takes seconds
    from pipelines.evaluation.calibration import calibrate_by_folds, fit_calibration
    from pipelines.reporting import charts
    from pipelines.training.predicting import predict

    kept, model = read_bundle(bundle)
    rows = prepared_rows(kept, Paths(params.parent), "valid")
    logits, labels = predict(model, rows).double(), rows.labels.double().numpy()
    calibration = fit_calibration(logits.numpy(), labels, method.value)
    seed = seed_for(kept.seed, "calibrate", kept.dataset, kept.model)
    sides = {
        "before": probabilities(logits, kept.loss).numpy(),
        "after": calibrate_by_folds(logits.numpy(), labels, method.value, seed),
    }
    write_record(bundle / RECORD, kept.model_copy(update={"calibration": calibration}))
    curves = {name: reliability(found, labels) for name, found in sides.items()}
    title = f"{kept.model} on {kept.dataset}, {len(rows):,} validation rows"
    charts.save(charts.reliability_chart(curves, title), bundle / "calibration.svg", f"Calibration of {title}")
    figures = []
    for name in ("ece", "logloss"):
        metric = METRICS[name]
        values = [metric.value(Predicted(found, 2 * found - 1, labels)) for found in sides.values()]
        figures.append(f"{metric.title} {' → '.join(map(metric.format, values))}")
    print(
        f"{bundle}: {method.value} on {len(rows):,} validation rows: {', '.join(figures)} (after: fitted on other rows)"
    )


def reliability(probabilities: "np.ndarray", labels: "np.ndarray") -> list[tuple[float, float]]:
    """Compute the mean probability and the share of positives of each bin."""
    import numpy as np

    _, bins = np.unique(equal_bins(probabilities, NUM_BINS), return_inverse=True)
    means = (np.bincount(bins, each) / np.bincount(bins) for each in (probabilities, labels > 0))
    return list(zip(*(mean.tolist() for mean in means), strict=True))


if __name__ == "__main__":
    run(main)
