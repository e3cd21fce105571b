"""Write docs/splits.md: the boards of two splits side by side, and whether the order of models survives."""

from itertools import combinations
from pathlib import Path
from typing import Any

from pipelines.data.card import read_card
from pipelines.evaluation.comparisons import compare
from pipelines.evaluation.results import read_summary
from pipelines.project.cli import ParamsOption, run
from pipelines.project.files import write_text
from pipelines.project.metric import METRICS, Metric
from pipelines.project.params import load_params
from pipelines.project.paths import Paths
from pipelines.reporting.pages import render
from pipelines.reporting.tables import figure

TEMPLATE = Path(__file__).with_name("splits.md.j2")


def main(params: ParamsOption = Path("params.yaml")) -> None:
    """Write ../docs/splits.md from the results of this folder and of the folder above."""
    top = params.resolve().parent.parent
    write_text(top / "docs" / "splits.md", page(params, top))
    print(f"{top / 'docs' / 'splits.md'} written")


def page(params: Path, top: Path) -> str:
    """Render the page. It compares the models that have results on both splits."""
    config = load_params(params)
    here, above, metric = Paths(params.parent), Paths(top), METRICS[config.training.metric]
    parts = {}
    for dataset in config.datasets:
        models = [
            model for model in config.models if all(has_results(paths, dataset, model) for paths in (above, here))
        ]
        boards = [compare(paths, dataset, models, metric) for paths in (above, here)]
        models = [entry["model"] for entry in boards[0]["models"]]
        kinds = {"all": models, "without the baselines": [model for model in models if not is_baseline(model)]}
        parts[dataset] = {
            "rows": [row(model, dataset, boards, (above, here), metric) for model in models],
            "orders": [(name, *order(*boards, kind)) for name, kind in kinds.items()],
            "missing": [model for model in config.models if model not in models],
            "known": [(name, *known(paths, dataset)) for name, paths in (("random", above), ("new pairs", here))],
        }
    return render(TEMPLATE, parts=parts, metric=metric, params=config, above=load_params(top / "params.yaml"))


def has_results(paths: Paths, dataset: str, model: str) -> bool:
    return (paths.results(dataset, model) / "metrics.json").exists()


def is_baseline(model: str) -> bool:
    from models.registry import get_model, is_closed_form  # torch takes time to import

    return is_closed_form(get_model(model))


def row(
    model: str, dataset: str, boards: list[dict[str, Any]], folders: tuple[Paths, Paths], metric: Metric
) -> list[str]:
    """Make a model's row: its rank, deciding metric and AUC on each split."""
    cells = [model]
    for board, paths in zip(boards, folders, strict=True):
        summary = read_summary(paths.results(dataset, model), model, dataset)
        place = [entry["model"] for entry in board["models"]].index(model) + 1
        cells += [
            str(place),
            figure(*(part(f"test_{metric.name}") for part in (summary.mean, summary.std)), metric.decimals),
        ]
        cells += [figure(summary.mean("test_auc"), summary.std("test_auc"))]
    return cells


def known(paths: Paths, dataset: str) -> list[str]:
    """Return what a split gives away: the shares of known positives and negatives, and the AUC of counting."""
    card = read_card(paths, dataset)
    if card is None:
        return ["–", "–", "–"]
    shares = [f"{100 * each.share:.1f} %" for each in (card.known_pairs.positives, card.known_pairs.negatives)]
    return [*shares, "–" if card.auc_of_counting is None else f"{card.auc_of_counting:.4f}"]


def order(before: dict[str, Any], after: dict[str, Any], models: list[str]) -> tuple[str, ...]:
    """Count pairs of models that differ before, and those that do after.

    Returns their number, how many keep their order, and the names of those that are reversed and that no longer differ.
    """
    pairs = [{frozenset(pair["models"]): pair for pair in board["pairs"]} for board in (before, after)]
    kept, reverse, equal = [], [], []
    for names in map(frozenset, combinations(models, 2)):
        first, second = (by_names[names] for by_names in pairs)
        if first["differ"]:
            place = equal if not second["differ"] else kept if second["models"] == first["models"] else reverse
            place.append(" before ".join(first["models"]))
    differing = len(kept) + len(reverse) + len(equal)
    return (
        str(differing),
        str(len(kept)),
        *(f"{len(part)}: {', '.join(part)}" if part else "0" for part in (reverse, equal)),
    )


if __name__ == "__main__":
    run(main)
