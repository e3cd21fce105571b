"""Compute what the paper leaves out: its code against its text, and our sizes and protocol."""

import statistics
from typing import Any

from chapters.findings import Findings
from chapters.verdicts import gains_from_fm, lowest, stopped_early


def code(findings: Findings) -> dict[str, Any]:
    """Compare what the released code does with what the paper says."""
    differences = []
    first: dict[str, tuple[str, float]] = {}  # by model: the paper's variant comes first in experiments.yaml
    for curves in findings.curves("code").values():
        for name, curve in curves.items():
            entry, rmse = findings.experiments[name], lowest(curve)
            label, start = first.setdefault(entry["model"], (entry["label"], rmse))
            if label != entry["label"]:
                differences.append({"label": entry["label"], "rmse": f"{rmse - start:+.4f}", "paper": label})
    return {"runs": findings.by_label("code"), "differences": differences}


def sizes(findings: Findings) -> dict[str, Any]:
    """Compare our sizes with the paper's."""
    return {"runs": findings.by_label("sizes")}


def longer(findings: Findings) -> dict[str, Any]:
    """Measure what short searches and early stopping cost models that need many epochs."""
    patience = findings.params.training.patience
    stopped, final = [], []
    for dataset, curves in findings.curves("longer").items():
        for name, curve in curves.items():
            early = stopped_early(curve, patience)
            figures = {"epoch": len(early), "early": lowest(early), "epochs": len(curve), "rmse": lowest(curve)}
            stopped.append({"label": findings.experiments[name]["label"], **figures})
        for model in dict.fromkeys(findings.experiments[name]["model"] for name in curves):
            rows = findings.csv(f"{dataset}/{model}/curves.csv") or []
            seeds = [[row for row in rows if row["seed"] == seed] for seed in {row["seed"] for row in rows}]
            if seeds:
                reached = statistics.mean(lowest(curve) for curve in seeds)
                final.append({"model": model, "dataset": dataset, "rmse": reached})
    return {"runs": findings.by_label("longer"), "patience": patience, "stopped": stopped, "final": final}


def ffm(findings: Findings) -> dict[str, Any]:
    """Measure what FFM gains by starting from FM."""
    rows = [gains_from_fm("FFM", dataset, curves) for dataset, curves in findings.labelled("ffm").items()]
    return {"runs": findings.by_label("ffm"), "statements": findings.statements("RQ1: FFM from FM", rows, "ffm")}
