"""Compute RQ1: which model is best (Table 2), and related questions."""

from math import comb
from typing import Any

from chapters.findings import Findings, read_json
from chapters.verdicts import Statement, compared, gains_from_fm, judge, verdict
from pipelines import significance
from pipelines.data.card import read_card
from pipelines.data.catalog import get_dataset
from pipelines.reporting.pages import nested
from pipelines.reporting.tables import figure as shown


def rq1(findings: Findings) -> dict[str, Any]:
    """Compare Table 2 with our figures, test the order of models, and check pretraining."""
    tests = (
        nested(significance.markdown(findings.significance, findings.metric, {}), 2) if findings.significance else None
    )
    families = [family_of(findings, family) for family in findings.published["test_rmse"]]
    return {"families": families, "tests": tests, "pretrained": pretrained(findings)}


def family_of(findings: Findings, family: str) -> dict[str, Any]:
    """Compare one column of Table 2 with the family's data set in params.yaml."""
    dataset = next((name for name in findings.params.datasets if get_dataset(name).family == family), None)
    table, card = table_2(findings, family, dataset), read_card(findings.paths, dataset) if dataset else None
    return {
        "family": family,
        "dataset": dataset,
        "is_the_papers": dataset == f"{family}-nfm",
        "other_data": card.notes if card else [],
        "table": table,
        "short": short_searches(findings, dataset),
        "stopped": stopped_papers(findings, dataset),
        "all_pairs": all_sampled(findings, dataset),
        "statements": claims(findings, family, dataset),
        "luck": luck(findings, dataset),
    }


def table_2(findings: Findings, family: str, dataset: str | None) -> list[tuple[object, ...]]:
    """Make one row for each model: size, test RMSE, published figures and verdict."""
    cells = {cell["model"]: cell for cell in findings.board if cell["dataset"] == dataset}
    paper, own = findings.published["test_rmse"][family], findings.published["own_papers"][family]
    rows = []
    for model in dict.fromkeys([*paper, *(findings.params.models if dataset else [])]):
        cell = cells.get(model, {})
        theirs = paper.get(model, {})
        mean, std = cell.get("test_rmse_mean"), cell.get("test_rmse_std")
        judged, holds = verdict(mean, theirs.get("rmse"), own.get(model))
        if cell and dataset != f"{family}-nfm":
            judged, holds = "other data", None
        if theirs:
            needs = {} if dataset == f"{family}-nfm" else {"needs": f"{family}-nfm"}
            findings.statements("RQ1: Table 2", [{"holds": holds, "models": (model,), "dataset": dataset, **needs}])
        rows.append(
            (
                model,
                f"{cell['num_params']:,}" if cell.get("num_params") else "–",
                theirs.get("num_params", "–"),
                cell.get("declined") or shown(mean, std),
                shown(theirs.get("rmse")),
                shown(own.get(model)),
                judged,
            )
        )
    return rows


def short_searches(findings: Findings, dataset: str | None) -> list[str]:
    """Name the models whose best trial was still learning in its last epoch."""
    short = []
    for cell in findings.board:
        trials = findings.csv(f"{dataset}/{cell['model']}/trials.csv") if cell["dataset"] == dataset else None
        complete = [row for row in trials or [] if row["state"] == "complete"]
        best = min(complete, key=lambda row: row["valid"], default=None)
        if best and best["best_epoch"] == best["epochs"]:
            short.append(cell["model"])
    return short


def stopped_papers(findings: Findings, dataset: str | None) -> list[str]:
    """Name the models whose search stopped the paper's setting, which is its first trial."""
    trials = {model: findings.csv(f"{dataset}/{model}/trials.csv") or [] for model in findings.params.models}
    return [
        model for model, rows in trials.items() if any(row["trial"] == 0 and row["state"] == "pruned" for row in rows)
    ]


def all_sampled(findings: Findings, dataset: str | None) -> int | None:
    """Count the field pairs if ifm_sampling's best setting uses all of them, else return None."""
    best = read_json(findings.results / str(dataset) / "ifm_sampling" / "best.json", {})
    num_sampled = best.get("setting", {}).get("model.num_sampled")
    num_pairs = comb(len(get_dataset(dataset).fields), 2) if dataset else 0
    return None if num_sampled is None or num_sampled < num_pairs else num_pairs


def luck(findings: Findings, dataset: str | None) -> list[tuple[str, ...]]:
    """Compare the best trial of each search with other seeds of its setting."""
    rows = []
    for model in findings.params.models:
        folder = findings.results / str(dataset) / model
        best, metrics = (read_json(folder / name, {}) for name in ("best.json", "metrics.json"))
        if "valid_rmse" in best and metrics:
            promised, reached = best["valid_rmse"], metrics["valid_rmse_mean"]
            seeds = sorted(metrics["seeds"].values(), key=lambda seed: seed["best_epoch"])
            each = ", ".join(f"{seed['test_rmse']:.4f} ({seed['best_epoch']})" for seed in seeds)
            mean = shown(reached, metrics["valid_rmse_std"])
            rows.append((model, shown(promised), mean, f"{reached - promised:+.4f}", each))
    return rows


def claims(findings: Findings, family: str, dataset: str | None) -> list[Statement]:
    """Judge the paper's statements about pairs of models by the tests."""
    rows: list[Statement] = []
    pairs = {frozenset(pair["models"]): pair for pair in findings.significance.get(dataset, {}).get("pairs", [])}
    rmse = {cell["model"]: cell["test_rmse_mean"] for cell in findings.board if cell["dataset"] == dataset}
    for says, similar in (("claims", False), ("similar", True)):
        for first, second in findings.published[says]:
            if first in findings.published["test_rmse"][family]:
                found = judge(pairs.get(frozenset((first, second))), first, rmse.get(second) or 0.0, similar)
                of = {"dataset": dataset} if dataset else {"needs": f"{family}-nfm"}
                rows.append({"says": f"tested_{says}", "models": (first, second), **of, **found})
    return findings.statements("RQ1: order of models", rows)


def pretrained(findings: Findings) -> dict[str, Any]:
    """Compare IFM, AFM and NFM from random weights, and measure what each gains from FM."""
    rows: list[Statement] = []
    for dataset, curves in findings.labelled("pretrained").items():
        for other in ("AFM", "NFM"):
            found = compared(curves, "IFM, random", f"{other}, random")
            rows.append({"says": "better_unpretrained", "models": ("IFM", other), "dataset": dataset, **found})
        rows += [gains_from_fm(model, dataset, curves) for model in ("IFM", "AFM", "NFM")]
    return {
        "runs": findings.by_label("pretrained"),
        "statements": findings.statements("RQ1: without pretraining", rows, "pretrained"),
    }
