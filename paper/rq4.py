"""RQ4: hyperparameters (Figures 4 to 6)."""

from findings import Findings
from verdicts import Row, best_value, compared, inner, lowest, nearly_all, still_learning

from pipelines.catalog import get_dataset


def rq4(findings: Findings) -> list[str]:
    """Figures 4 to 6: the RMSE by one hyperparameter."""
    lines = ["## RQ4: hyperparameters", "", "Best validation RMSE of a run, the lowest of a column in bold.", ""]
    lines += ["### Keep probability (Figure 4)", "", *findings.by_value("keep", "keep probability")]
    rows: list[Row] = []
    for dataset, table in findings.values("keep").items():
        if {"FM", "IFM"} <= table.keys():
            both = table["FM"].keys() & table["IFM"].keys()
            curves = ({label: table[label][x] for label in ("IFM", "FM")} for x in both)
            pairs = [compared("IFM is better", by_label, "IFM", "FM") for by_label in curves]
            rows.append(nearly_all(f"IFM is better than FM for nearly all keep probabilities on {dataset}", pairs))
        rows += [inner(label, dataset, by_x, "keep probability") for label, by_x in table.items()]
    lines += findings.statements("RQ4: Figure 4", rows, "; nearly all: eight in ten")
    lines += ["### L2 of the field aspect (Figure 5)", "", *findings.by_value("l2_field", "λ_F")]
    rows = []
    for dataset, table in findings.values("l2_field").items():
        by_x = table.get("IFM", {})
        if 0 in by_x and len(by_x) > 1:
            best = best_value(by_x)
            gain = 1 - lowest(by_x[best]) / lowest(by_x[0])
            paper = findings.published["l2_field"].get(get_dataset(dataset).family)
            statement = f"λ_F improves IFM on {dataset}" + (f", by {paper:.1%}" if paper else "")
            holds = gain >= (paper / 2 if paper else 1e-9)
            learning = any(still_learning(curve) for x, curve in by_x.items() if (x > 0) != holds)
            rows.append((statement, f"by {gain:.1%}, with λ_F {best:g}", None if learning else holds))
    lines += findings.statements("RQ4: Figure 5", rows, "; by an amount: at least half of it")
    lines += ["### Factors of the field aspect (Figure 6)", "", *findings.by_value("field_embed_dim", "K_F")]
    rows, best_of = [], {}
    for dataset, table in findings.values("field_embed_dim").items():
        if by_x := table.get("IFM"):
            rows.append(inner("IFM", dataset, by_x, "K_F"))
            best_of[get_dataset(dataset).family] = best_value(by_x)
    if {"frappe", "movielens"} <= best_of.keys():
        ours = f"{best_of['movielens']:g} and {best_of['frappe']:g}"
        statement = "the best K_F is lower on MovieLens than on Frappe"
        rows.append((statement, ours, best_of["movielens"] < best_of["frappe"]))
    return [*lines, *findings.statements("RQ4: Figure 6", rows)]
