"""What the paper does not ask: its code against its text, and what the sizes and the protocol chosen here cost."""

import statistics

from findings import Findings
from verdicts import gains_from_fm, lowest, stopped_early


def code(findings: Findings) -> list[str]:
    """What the released code does otherwise, and what that costs."""
    lines = [
        "## Code against paper",
        "",
        "Where the released code does something else than the paper's equations, each way of it with the same"
        " setting: the temperature τ on the logits (equation 5) or inside the hidden layer, and AFM with its"
        " attention or, as its released code has it, with all weights 1.",
        "",
        *findings.by_label("code"),
    ]
    first: dict[str, tuple[str, float]] = {}  # by model: the paper's way, which experiments.yaml names first
    for curves in findings.curves("code").values():
        for name, curve in curves.items():
            entry, rmse = findings.experiments[name], lowest(curve)
            label, start = first.setdefault(entry["model"], (entry["label"], rmse))
            if label != entry["label"]:
                lines += [f"{entry['label']}: {rmse - start:+.4f} of validation RMSE to {label}.", ""]
    return lines


def sizes(findings: Findings) -> list[str]:
    """What the sizes cost that are not the paper's."""
    lines = [
        "## What the sizes chosen here cost",
        "",
        "The paper has batches of 128 and attention_dim 256 on Frappe. The same setting with one of them, all else"
        " as in the other experiments:",
        "",
    ]
    return [*lines, *findings.by_label("sizes")]


def longer(findings: Findings) -> list[str]:
    """What the short searches cost the models that need many epochs."""
    lines = [
        "## What short searches and early stopping cost",
        "",
        "FM and FFM learn for longer than a trial of the search lasts; INN is best after few epochs. So here is their"
        " best setting without early stopping; sizes as in RQ1.",
        "",
        *findings.by_label("longer"),
    ]
    patience = findings.params.training.patience
    for dataset, curves in findings.curves("longer").items():
        for name, curve in curves.items():
            stopped = stopped_early(curve, patience)
            lines += [
                f"Patience {patience} would have ended this run of {findings.experiments[name]['label']} after epoch"
                f" {len(stopped)}, at {lowest(stopped):.4f}; all {len(curve)} epochs reach {lowest(curve):.4f}.",
                "",
            ]
        for model in dict.fromkeys(findings.experiments[name]["model"] for name in curves):
            rows = findings.csv(f"{dataset}/{model}/curves.csv") or []
            seeds = [[row for row in rows if row["seed"] == seed] for seed in {row["seed"] for row in rows}]
            if seeds:
                reached = statistics.mean(lowest(curve) for curve in seeds)
                lines += [f"With early stopping the final runs of {model} on {dataset} reach {reached:.4f}.", ""]
    return lines


def ffm(findings: Findings) -> list[str]:
    """What FFM gains by starting from FM, whose vectors have not its shape."""
    lines = [
        "## What FFM gains from FM",
        "",
        "In RQ1 ffm and afm_ffm start from an FM as the others do, with all n vectors of a feature as the FM's one."
        " Here is FFM's best setting, found with that start, also from random weights. There is no early stopping; K is"
        " that of RQ1.",
        "",
        *findings.by_label("ffm"),
    ]
    rows = [gains_from_fm("FFM", dataset, curves) for dataset, curves in findings.labelled("ffm").items()]
    return [*lines, *findings.statements("RQ1: FFM from FM", rows)]
