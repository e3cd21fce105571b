"""Compute RQ4: hyperparameters (Figures 4 to 6)."""

from typing import Any

from chapters.findings import Findings
from chapters.verdicts import (
    MARGIN,
    Statement,
    best_value,
    compared,
    good_values,
    inner,
    lower,
    lowest,
    nearly_all,
    still_learning,
)
from pipelines.data.catalog import get_dataset


def rq4(findings: Findings) -> dict[str, Any]:
    """Compute the RMSE by one hyperparameter, for Figures 4 to 6."""
    figures = {"keep": keep(findings), "l2_field": l2_field(findings), "field_embed_dim": field_embed_dim(findings)}
    return {
        figure: {
            "runs": findings.by_value(figure),
            "statements": findings.statements(f"RQ4: Figure {number}", rows, figure),
        }
        for number, (figure, rows) in enumerate(figures.items(), 4)
    }


def keep(findings: Findings) -> list[Statement]:
    """Judge the keep probabilities of Figure 4."""
    rows: list[Statement] = []
    for dataset, table in findings.values("keep").items():
        if {"FM", "IFM"} <= table.keys():
            both = table["FM"].keys() & table["IFM"].keys()
            curves = ({label: table[label][x] for label in ("IFM", "FM")} for x in both)
            pairs = [compared(by_label, "IFM", "FM")["holds"] for by_label in curves]
            rows.append({"says": "nearly_all", "dataset": dataset, **nearly_all(pairs)})
        rows += [inner(label, dataset, by_x, "keep probability") for label, by_x in table.items()]
    return rows


def l2_field(findings: Findings) -> list[Statement]:
    """Judge the L2 of the field aspect, Figure 5."""
    rows: list[Statement] = []
    for dataset, table in findings.values("l2_field").items():
        by_x = table.get("IFM", {})
        if 0 in by_x and len(by_x) > 1:
            best = best_value(by_x)
            gain = 1 - lowest(by_x[best]) / lowest(by_x[0])
            paper = findings.published["l2_field"].get(get_dataset(dataset).family)
            holds = gain >= (paper / 2 if paper else MARGIN)
            learning = any(still_learning(curve) for x, curve in by_x.items() if (x > 0) != holds)
            found = {"paper": paper, "gain": gain, "best": best, "holds": None if learning else holds}
            rows.append({"says": "l2_improves", "dataset": dataset, **found})
    return rows


def field_embed_dim(findings: Findings) -> list[Statement]:
    """Judge the number of factors of the field aspect, Figure 6."""
    rows: list[Statement] = []
    best_of: dict[str, list[float]] = {}
    for dataset, table in findings.values("field_embed_dim").items():
        if by_x := table.get("IFM"):
            rows.append(inner("IFM", dataset, by_x, "K_F"))
            best_of[get_dataset(dataset).family] = good_values(by_x)
    if {"frappe", "movielens"} <= best_of.keys():
        rows.append({"says": "lower_on_movielens", **lower(best_of["movielens"], best_of["frappe"])})
    return rows
