"""RQ2: the two aspects (Figure 2), the importance of pairs (Table 3) and sampling (Table 4)."""

import statistics

from findings import Findings, not_run, read_json
from verdicts import Row, Table, best_epoch, compared, lowest, statement_table, still_learning

from pipelines.catalog import get_dataset
from pipelines.tables import markdown_table


def rq2(findings: Findings) -> list[str]:
    """One aspect only, then what follows from the aspects."""
    lines = ["## RQ2: the two aspects, and sampling", ""]
    lines += [
        "The parts from here on compare runs of a smaller size (`paper/experiments.yaml`) by validation rows;"
        " they ask what a part or a hyperparameter changes, not how low the RMSE gets. FM starts from random"
        " weights, the others from the embeddings of an FM of their size. `movielens` is the 10M release: the"
        " paper's is no longer published.",
        "",
    ]
    lines += ["### One aspect only (Figure 2)", ""]
    lines += findings.by_label("aspects")
    rows: list[Row] = []
    for dataset, curves in findings.labelled("aspects").items():
        ratio = findings.published["aspects"][get_dataset(dataset).family]
        rows.append(compared(f"FA-IFM is better than IA-IFM on {dataset}", curves, "FA-IFM", "IA-IFM"))
        rows.append(compared(f"IFM is better than FA-IFM on {dataset}", curves, "IFM", "FA-IFM"))
        labels = ("FM", "FA-IFM", "IA-IFM")
        if set(labels) <= curves.keys():
            fm, *others = (lowest(curves[label]) for label in labels)
            gains = [fm - other for other in others]
            statement = f"FA-IFM improves on FM {ratio:g} times as much as IA-IFM on {dataset}"
            ours = f"{gains[0]:+.4f} and {gains[1]:+.4f}"
            ours += f": {gains[0] / gains[1]:.1f} times" if gains[1] > 0 else ""
            holds = gains[1] > 0 and ratio / 2 <= gains[0] / gains[1] <= 2 * ratio
            learning = any(still_learning(curves[label]) for label in labels)
            rows.append((statement, ours, None if learning else holds))
    lines += findings.statements("RQ2: Figure 2", rows, "; a ratio holds where ours is between half and twice it")
    return [*lines, *importance(findings), *sampling(findings)]


def importance(findings: Findings) -> list[str]:
    """Table 3, and how far each measure of importance can be right."""
    lines = ["### How important is a pair of fields (Table 3)", ""]
    published = findings.published["norms"]
    table = findings.csv("importance/movielens.csv")
    if table is None:
        lines += [not_run("`cd paper && python importance.py movielens`"), ""]
        findings.note("RQ2: Table 3", "the order of the norms", "", None)
    else:
        norms = {f"{row['i']}-{row['j']}": row["norm"] for row in table}
        total, ours = sum(published.values()), sum(norms.values())
        rows = (
            (pair, f"{norms[pair]:.3f}", f"{norms[pair] / ours:.1%}", f"{norm:.3f}", f"{norm / total:.1%}")
            for pair, norm in published.items()
        )
        lines += [*markdown_table(("MovieLens", "norm", "proportion", "paper", "proportion"), rows), ""]
        order = sorted(norms, key=lambda pair: norms[pair])
        statement = " < ".join(sorted(published, key=lambda pair: published[pair]))
        holds = order == sorted(published, key=lambda pair: published[pair])
        lines += findings.statements("RQ2: Table 3", [(f"norms: {statement}", " < ".join(order), holds)])
    lines += [
        "Negatives replace one field alone (the item, the tag), so only pairs with that field can say something of"
        " the label. The share of each measure's sum that is on the *other* pairs, beside their share of the pairs,"
        " and on generated data how well each ranks the planted pairs:",
        "",
    ]
    columns, rows = ["data set", "", "pairs", "norm", "attention", "variance", "product"], []
    for dataset in ("frappe-nfm", "movielens", "synthetic"):
        result = read_json(findings.results / "importance" / f"{dataset}.json", {})
        if not result:
            lines += [f"{dataset}: {not_run(f'`cd paper && python importance.py {dataset}`')}", ""]
        for key, name in (("share_without_label_information", "share on other pairs"), ("spearman", "Spearman"),
                          ("precision_at_k", "precision at k")):  # fmt: skip
            if key in result:
                values = (result[key].get(column) for column in columns[2:])
                rows.append((dataset, name, *("–" if value is None else f"{value:.3f}" for value in values)))
    lines += [*markdown_table(columns, rows), ""] if rows else []
    return [*lines, *findings.picture("importance", "The pairs of Frappe by each measure")]


def sampling(findings: Findings) -> list[str]:
    """What sampling gains and loses, by the share sampled."""
    full, sampled = findings.published["sampling"]["full"], findings.published["sampling"]["sampled"]
    speedup = full["minutes"] / sampled["minutes"]
    lines = [
        "### Sampling (Table 4)",
        "",
        f"The paper: with {sampled['share']:.0%} of the interactions DeepIFM trains {speedup:.1f} times as fast, at"
        f" {full['auc'] - sampled['auc']:.4f} of AUC, on a log that is not public. Here IFM-sampling, on Frappe (45"
        " pairs) and on generated rows of 40 fields (780 pairs), by validation rows.",
        "",
    ]
    tables: dict[str, Table] = {
        dataset: [{"share": findings.experiments[name]["x"], **best_epoch(curve)} for name, curve in curves.items()]
        for dataset, curves in findings.curves("sampling").items()
    }
    generated = findings.csv("sampling.csv")
    if generated is not None:
        tables["generated, 40 fields"] = generated
    rows = []
    for dataset, table in tables.items():
        means = means_by_share(table)
        for row in means:
            faster = means[0]["seconds_per_epoch"] / row["seconds_per_epoch"]
            cells = (f"{row[name]:.4f}" for name in ("valid_rmse", "valid_auc"))
            rows.append((dataset, f"{row['share']:.0%}", *cells, f"{row['seconds_per_epoch']:.2f}", f"{faster:.1f}×"))
            if row["share"] == sampled["share"]:
                lost = means[0]["valid_auc"] - row["valid_auc"]
                statement = f"{sampled['share']:.0%} of the pairs: {speedup:.1f} times as fast, on {dataset}"
                findings.note("RQ2: Table 4", statement, f"{faster:.1f} times", faster >= speedup)
                statement = f"at most {full['auc'] - sampled['auc']:.4f} of AUC lost, on {dataset}"
                findings.note("RQ2: Table 4", statement, f"{lost:.4f}", lost <= full["auc"] - sampled["auc"])
    columns = ("data set", "share", "valid RMSE", "valid AUC", "s / epoch", "faster")
    lines += [*markdown_table(columns, rows), ""] if rows else []
    lines += findings.missing("sampling")
    if generated is None:
        lines += [f"40 fields: {not_run('`cd paper && python sampling.py`')}", ""]
    noted = findings.found.get("RQ2: Table 4", [])
    if noted:
        lines += statement_table(noted)
    else:
        findings.note("RQ2: Table 4", "sampling is faster at little loss", "", None)
    return [*lines, *findings.picture("sampling", "RMSE and seconds by the share sampled")]


def means_by_share(table: Table) -> Table:
    """A row a share of the interactions, the largest first, with means over the runs."""
    names = ("valid_rmse", "valid_auc", "seconds_per_epoch")
    shares = sorted({float(row["share"]) for row in table}, reverse=True)
    runs = {share: [row for row in table if row["share"] == share] for share in shares}
    return [
        {"share": share, **{name: statistics.fmean(row[name] for row in runs[share]) for name in names}}
        for share in shares
    ]
