"""Compute RQ3: factorisation of the field aspect (Figure 3)."""

from typing import Any

from chapters.findings import Findings
from chapters.verdicts import Statement, compared, is_better, is_lower, lowest
from pipelines.data.catalog import get_dataset


def rq3(findings: Findings) -> dict[str, Any]:
    """Compare IFM with IFM⁻."""
    rows: list[Statement] = []
    for dataset, curves in findings.labelled("factorization").items():
        if {"IFM", "IFM⁻"} <= curves.keys():
            best = {label: lowest(curve) for label, curve in curves.items()}
            last, family = curves["IFM⁻"][-1], get_dataset(dataset).family
            if family in findings.published["overfit"]:
                rows.append(is_better(dataset, curves, "IFM", "IFM⁻"))
                start, fall = findings.published["overfit"][family], best["IFM⁻"] - last["valid_rmse"]
                rises = is_lower(fall, (fall, fall), best["IFM⁻"])
                holds = rises or (False if last["epoch"] > start else None)
                found = {"best": best["IFM⁻"], "last": last["valid_rmse"], "epoch": last["epoch"], "holds": holds}
                rows.append({"says": "worse_again", "dataset": dataset, "start": start, **found})
            else:
                found = compared(curves, "IFM", "IFM⁻")
                rows.append({"says": "as_good", "dataset": dataset, **found, "holds": found["equal"]})
    return {
        "runs": findings.by_label("factorization"),
        "statements": findings.statements("RQ3: Figure 3", rows, "factorization"),
    }
