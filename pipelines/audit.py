"""Ask whether committed results agree with published claims that a model is better."""

import json
from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipelines.data.card import read_card
from pipelines.data.catalog import get_dataset, list_datasets
from pipelines.evaluation.comparisons import LEVEL
from pipelines.evaluation.published import PAPER, of_others
from pipelines.project.cli import run
from pipelines.project.files import write_text
from pipelines.project.metric import METRICS
from pipelines.project.paths import Paths
from pipelines.project.records import Record, existing
from pipelines.reporting.pages import TEMPLATES, render

PAGE = Path("docs/audit.md")
SAME_SPLIT = ("frappe-nfm", "movielens-nfm")  # data sets whose split is that of the published figures
FOLDERS = (Path(), Path("paper"), Path("board"))  # each with results/significance.json
BY = ("rmse", "auc", "logloss")  # the first that a source has of both models decides
VERDICTS = ("holds", "not shown", "reversed", "not measured")


class Claim(Record):
    """Hold what a source says of two models, and what the results here say."""

    source: str
    dataset: str
    better: str
    worse: str
    metric: str
    published: float  # by how much
    ours: float | None = None  # by how much, negative where the other is better
    p: float | None = None
    verdict: Literal["holds", "not shown", "reversed", "not measured"] = Field(default="not measured")


def main() -> None:
    """Ask of each published claim whether committed results agree.

    The claims are in datasets/published.csv, and Table 2 of the IFM paper: of two
    models with figures of the same source, the source says that one is better. The results are those of
    significance.json in results/, paper/results/ and board/results/.

    Writes docs/audit.md.
    """
    judged, notes = judge_all()
    write_text(PAGE, page(judged, notes))
    counts = Counter(claim.verdict for claim in judged)
    print(f"{PAGE}: {', '.join(f'{counts[verdict]} {verdict}' for verdict in VERDICTS)}")


def judge_all() -> tuple[list[Claim], dict[str, list[str]]]:
    """Judge every published claim. Returns also the notes on the data of those that are measured."""
    from models.registry import list_models  # torch takes seconds to import

    found = pairs({folder: significance(folder) for folder in FOLDERS})
    judged = [
        judge(claim, found)
        for dataset in list_datasets()
        if dataset in SAME_SPLIT
        for claim in claims(dataset, published_rows(dataset), set(list_models()))
    ]
    notes = {}
    for folder in FOLDERS:
        for dataset in {claim.dataset for claim in judged if claim.verdict != "not measured"}:
            if card := read_card(Paths(folder), dataset):
                notes[dataset] = card.notes
    return judged, notes


def significance(folder: Path) -> dict[str, Any]:
    """Read which models differ; nothing where there is no such file."""
    file = folder / "results" / "significance.json"
    return json.loads(existing(file, "python -m pipelines.significance")) if file.exists() else {}


def published_rows(dataset: str) -> list[dict[str, Any]]:
    """Return all published figures on a data set, the best run of a model first."""
    paper = get_dataset(dataset).published_rmse.items()
    return [{"model": model, "rmse": value, "source": PAPER} for model, value in paper] + of_others(dataset)


def claims(dataset: str, published: list[dict[str, Any]], models: set[str]) -> list[Claim]:
    """Pair models of one source, each with its best run."""
    by_source: dict[str, dict[str, dict[str, Any]]] = {}
    for row in published:
        if row["model"] in models:
            by_source.setdefault(row["source"], {}).setdefault(row["model"], row)
    made = []
    for source, rows in by_source.items():
        for first, second in combinations(rows.values(), 2):
            name = next((name for name in BY if None not in (first.get(name), second.get(name))), None)
            if name is None or first[name] == second[name]:
                continue
            better, worse = sorted((first, second), key=lambda row, name=name: METRICS[name].score(row[name]))
            made.append(
                Claim(
                    source=source,
                    dataset=dataset,
                    better=better["model"],
                    worse=worse["model"],
                    metric=name,
                    published=abs(better[name] - worse[name]),
                )
            )
    return made


def pairs(results: Mapping[Path, dict[str, Any]]) -> dict[tuple[str, str, frozenset[str]], dict[str, Any]]:
    """Find each compared pair by data set, metric and models."""
    found = {}
    for by_dataset in results.values():
        for dataset, result in by_dataset.items():
            names = [name for name in METRICS if any(f"test_{name}_mean" in model for model in result["models"])]
            for pair in result["pairs"]:
                found.update({(dataset, name, frozenset(pair["models"])): pair for name in names})
    return found


def judge(claim: Claim, found: Mapping[tuple[str, str, frozenset[str]], dict[str, Any]]) -> Claim:
    """Compare a claim with results on its data set that its metric decided."""
    pair = found.get((claim.dataset, claim.metric, frozenset((claim.better, claim.worse))))
    if pair is None:
        return claim
    ours = abs(pair["difference"]) * (1 if pair["models"][0] == claim.better else -1)
    verdict = "not shown" if not pair["differ"] else "holds" if ours > 0 else "reversed"
    return claim.model_copy(update={"ours": ours, "p": pair["p"], "verdict": verdict})


def page(judged: list[Claim], notes: Mapping[str, list[str]]) -> str:
    """Render the page: the answer, a table of sources, and one of the claims that are measured."""
    counts = Counter(claim.verdict for claim in judged)
    by_source: dict[tuple[str, str, str], Counter[str]] = {}
    for claim in judged:
        metric = METRICS[claim.metric].title
        by_source.setdefault((claim.source, claim.dataset, metric), Counter())[claim.verdict] += 1
    measured = sorted((claim for claim in judged if claim.ours is not None), key=lambda claim: -claim.published)
    return render(
        TEMPLATES / "audit.md.j2",
        counts={verdict: counts[verdict] for verdict in VERDICTS},
        measured=len(measured),
        verdicts=VERDICTS,
        sources=[[*key, *(found[verdict] for verdict in VERDICTS)] for key, found in by_source.items()],
        claims=[
            [
                f"{claim.better} over {claim.worse}",
                claim.source,
                claim.dataset,
                METRICS[claim.metric].title,
                METRICS[claim.metric].format(claim.published),
                METRICS[claim.metric].format(claim.ours or 0.0, "+"),
                f"{claim.p:.2g}",
                claim.verdict,
            ]
            for claim in measured
        ],
        level=LEVEL,
        notes=notes,
    )


if __name__ == "__main__":
    run(main)
