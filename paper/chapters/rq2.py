"""Compute RQ2: aspects (Figure 2), importance of pairs (Table 3), sampling (Table 4)."""

import statistics
from typing import Any

from chapters.findings import Findings, read_json
from chapters.verdicts import Statement, Table, best_epoch, is_better, lowest, still_learning
from pipelines.data.catalog import get_dataset
from pipelines.reporting.tables import figure

MEASURES = ("pairs", "norm", "attention", "variance", "product")
SHARES = {  # by key of importance/DATASET.json
    "share_without_label_information": "share on other pairs",
    "spearman": "Spearman",
    "precision_at_k": "precision at k",
}


def rq2(findings: Findings) -> dict[str, Any]:
    """Compute the parts of RQ2."""
    return {"aspects": aspects(findings), "importance": importance(findings), "sampling": sampling(findings)}


def aspects(findings: Findings) -> dict[str, Any]:
    """Compare models with one aspect and both aspects (Figure 2)."""
    rows: list[Statement] = []
    for dataset, curves in findings.labelled("aspects").items():
        ratio = findings.published["aspects"][get_dataset(dataset).family]
        rows.append(is_better(dataset, curves, "FA-IFM", "IA-IFM"))
        rows.append(is_better(dataset, curves, "IFM", "FA-IFM"))
        labels = ("FM", "FA-IFM", "IA-IFM")
        if set(labels) <= curves.keys():
            fm, *others = (lowest(curves[label]) for label in labels)
            gains = [fm - other for other in others]
            holds = gains[1] > 0 and ratio / 2 <= gains[0] / gains[1] <= 2 * ratio
            learning = any(still_learning(curves[label]) for label in labels)
            found = {"ratio": ratio, "gains": gains, "holds": None if learning else holds}
            rows.append({"says": "gains_ratio", "dataset": dataset, **found})
    return {"runs": findings.by_label("aspects"), "statements": findings.statements("RQ2: Figure 2", rows, "aspects")}


def importance(findings: Findings) -> dict[str, Any]:
    """Compare Table 3 with our norms, and check each measure of importance."""
    published = findings.published["norms"]
    table = findings.csv("importance/movielens.csv")
    norms, statements = [], []
    if table is None:
        findings.statements("RQ2: Table 3", [])
    else:
        found = {f"{row['i']}-{row['j']}": row["norm"] for row in table}
        total, ours = sum(published.values()), sum(found.values())
        norms = [
            (pair, f"{found[pair]:.3f}", f"{found[pair] / ours:.1%}", f"{norm:.3f}", f"{norm / total:.1%}")
            for pair, norm in published.items()
        ]
        order = sorted(found, key=lambda pair: found[pair])
        theirs = sorted(published, key=lambda pair: published[pair])
        statement = {"says": "norms_order", "paper": theirs, "ours": order, "holds": order == theirs}
        statements = findings.statements("RQ2: Table 3", [statement])
    missing, rows = [], []
    for dataset in ("frappe-nfm", "movielens", "synthetic"):
        result = read_json(findings.results / "importance" / f"{dataset}.json", {})
        if not result:
            missing.append(dataset)
        for key, name in SHARES.items():
            if key in result:
                values = (result[key].get(column) for column in MEASURES)
                rows.append((dataset, name, *("–" if value is None else f"{value:.3f}" for value in values)))
    return {
        "norms": norms,
        "statements": statements,
        "measures": MEASURES,
        "rows": rows,
        "missing": missing,
        "picture": findings.picture("importance"),
    }


def sampling(findings: Findings) -> dict[str, Any]:
    """Compute what sampling gains and loses, for each share of the pairs."""
    full, sampled = findings.published["sampling"]["full"], findings.published["sampling"]["sampled"]
    speedup, auc = full["minutes"] / sampled["minutes"], full["auc"] - sampled["auc"]
    tables: dict[str, Table] = {
        dataset: [by_share(findings.experiments[name], curve) for name, curve in curves.items()]
        for dataset, curves in findings.curves("sampling").items()
    }
    generated = findings.csv("sampling.csv")
    if generated is not None:
        tables["generated, 40 fields"] = [row | {"learning": row["best_epoch"] == row["epochs"]} for row in generated]
    rows, statements = [], []
    for dataset, table in tables.items():
        means = means_by_share(table)
        for row in means:
            faster = means[0]["seconds_per_epoch"] / row["seconds_per_epoch"]
            cells = (f"{row['l2_field']:g}", figure(row["valid_rmse"], row["valid_rmse_std"]), figure(row["valid_auc"]))
            rows.append((dataset, f"{row['share']:.0%}", *cells, f"{row['seconds_per_epoch']:.2f}", f"{faster:.1f}×"))
            if row["share"] == sampled["share"]:
                lost = means[0]["valid_auc"] - row["valid_auc"]
                found = {"dataset": dataset, "share": row["share"]}
                kept = None if lost > auc and row["learning"] else lost <= auc
                statements += [
                    {"says": "faster", **found, "paper": speedup, "ours": faster, "holds": faster >= speedup},
                    {"says": "auc_lost", **found, "paper": auc, "ours": lost, "holds": kept},
                ]
    return {
        "paper": {"share": sampled["share"], "speedup": speedup, "auc": auc},
        "l2": findings.by_value("sampling_l2"),
        "rows": rows,
        "generated": generated is not None,
        "statements": findings.statements("RQ2: Table 4", statements, "sampling"),
        **findings.part("sampling"),
    }


def by_share(entry: dict[str, Any], curve: Table) -> dict[str, Any]:
    """Describe the run of one share of the pairs by its best epoch."""
    l2_field = entry["set"]["training.l2_field"]
    return {"share": entry["x"], "l2_field": l2_field, "learning": still_learning(curve), **best_epoch(curve)}


def means_by_share(table: Table) -> Table:
    """Average the runs of each share of the pairs, the largest share first.

    A row of several seeds has their deviation already. A share is still learning if one of its runs is.
    """
    names = ("l2_field", "valid_rmse", "valid_auc", "seconds_per_epoch")
    shares = sorted({float(row["share"]) for row in table}, reverse=True)
    runs = {share: [row for row in table if row["share"] == share] for share in shares}
    return [
        {
            "share": share,
            "learning": any(row["learning"] for row in of_share),
            "valid_rmse_std": deviation(of_share),
            **{name: statistics.fmean(row[name] for row in of_share) for name in names},
        }
        for share, of_share in runs.items()
    ]


def deviation(runs: Table) -> float | None:
    """Compute the standard deviation of the RMSE over the seeds (n − 1); None for one seed."""
    return statistics.stdev(row["valid_rmse"] for row in runs) if len(runs) > 1 else runs[0].get("valid_rmse_std")
