"""RQ3: factorisation of the field aspect (Figure 3)."""

from typing import Any

from chapters.findings import Findings
from chapters.verdicts import Row, compared, lowest
from pipelines.data.catalog import get_dataset


def rq3(findings: Findings) -> dict[str, Any]:
    """Compare IFM with IFM⁻."""
    rows: list[Row] = []
    for dataset, curves in findings.labelled("factorization").items():
        if {"IFM", "IFM⁻"} <= curves.keys():
            best = {label: lowest(curve) for label, curve in curves.items()}
            last, family = curves["IFM⁻"][-1], get_dataset(dataset).family
            if family in findings.published["overfit"]:
                rows.append(compared(f"IFM is better than IFM⁻ on {dataset}", curves, "IFM", "IFM⁻"))
                start, rise = findings.published["overfit"][family], last["valid_rmse"] - best["IFM⁻"]
                ours = f"{best['IFM⁻']:.4f} at its best, {last['valid_rmse']:.4f} in epoch {last['epoch']}"
                holds = rise > 0.001 or (False if last["epoch"] > start else None)
                rows.append((f"IFM⁻ gets worse again on {dataset}, from epoch {start}", ours, holds))
            else:
                statement = f"IFM and IFM⁻ are about as good on {dataset} (within 0.5 %)"
                _, ours, better = compared(statement, curves, "IFM", "IFM⁻")
                close = abs(best["IFM"] / best["IFM⁻"] - 1) < 0.005
                rows.append((statement, ours, None if better is None else close))
    return {"runs": findings.by_label("factorization"), "statements": findings.statements("RQ3: Figure 3", rows)}
