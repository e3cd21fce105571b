"""The rules by which docs/reproduction.md says whether a statement of the paper holds."""

import statistics
from collections.abc import Sequence
from typing import Any

from pipelines import significance

HOLDS = {True: "yes", False: "no", None: "open"}
Table = list[dict[str, Any]]  # a CSV's rows
Row = tuple[str, str, bool | None]  # what the paper says, what we find, whether it holds


def verdict(mean: float | None, std: float | None, paper: float | None, own: float | None) -> tuple[str, bool | None]:
    """In words, and whether the IFM paper's figure is reproduced."""
    if mean is None or paper is None:
        return ("–" if paper is None else "not run yet"), None
    slack = 2 * (std or 0.0)
    best = min(paper, own or paper)
    if mean <= best + slack:
        return "reproduced", True
    if mean <= paper + slack:
        return f"as in this paper; {mean - best:+.4f} to its own", True
    return f"not reproduced: {mean - paper:+.4f}", False


def judge(pair: dict[str, Any] | None, better: str) -> tuple[str, bool | None]:
    """The difference of a pair in words, and whether it is shown that `better` is better."""
    if pair is None:
        return "–", None
    sign = 1 if pair["models"][0] == better else -1
    low, high = sorted(sign * bound for bound in pair["interval"])
    words = f"{sign * pair['difference']:+.4f} ({low:+.4f} … {high:+.4f}), p {significance.shown_p(pair['p'])}"
    return words, pair["differ"] and sign * pair["difference"] < 0


def compared(statement: str, curves: dict[str, Table], better: str, worse: str) -> Row:
    """By the best epochs; open where the run that is behind could catch up: it was best in its last epoch, or is behind
    by no more than it gained in the second half of its epochs."""
    if not {better, worse} <= curves.keys():
        return statement, "–", None
    best = {label: lowest(curves[label]) for label in (better, worse)}
    ours = f"{best[better]:.4f} and {best[worse]:.4f}"
    behind = curves[max(best, key=lambda label: best[label])]
    if still_learning(behind) or abs(best[better] - best[worse]) <= gained_late(behind):
        return statement, f"{ours}, still learning", None
    return statement, ours, best[better] < best[worse]


def nearly_all(statement: str, pairs: Sequence[Row]) -> Row:
    """That eight in ten of the pairs hold; open while it depends on those that are."""
    found = [row[2] for row in pairs]
    wins, left = found.count(True), found.count(None)
    words = f"{wins} of {len(found)}" + (f", {left} still learning" if left else "")
    enough = 0.8 * len(found)
    return statement, words, None if wins < enough <= wins + left else wins >= enough


def gains_from_fm(model: str, dataset: str, curves: dict[str, Table]) -> Row:
    """That a start from an FM's embeddings makes a model better."""
    statement = f"pretraining makes {model} better on {dataset}"
    return compared(statement, curves, f"{model}, from FM", f"{model}, random")


def still_learning(curve: Table) -> bool:
    """Whether the last epoch is the best."""
    return best_epoch(curve)["epoch"] == curve[-1]["epoch"]


def stopped_early(curve: Table, patience: int) -> Table:
    """The epochs that a run would have had that stops after `patience` of them without a better validation RMSE."""
    for last in range(1, len(curve)):
        if last - best_epoch(curve[:last])["epoch"] >= patience:
            return curve[:last]
    return curve


def gained_late(curve: Table) -> float:
    """By how much the second half of the epochs lowered the validation RMSE."""
    return lowest(curve[: (len(curve) + 1) // 2]) - lowest(curve)


def inner(label: str, dataset: str, by_x: dict[float, Table], parameter: str) -> Row:
    """That the best value is neither end; open where a run that would decide otherwise was still learning."""
    best, ends = best_value(by_x), {min(by_x), max(by_x)}
    statement = f"the best {parameter} of {label} on {dataset} is neither the least nor the largest"
    rivals = [curve for x, curve in by_x.items() if (x in ends) != (best in ends)]
    return statement, f"{best:g}", None if any(map(still_learning, rivals)) else best not in ends


def best_value(by_x: dict[float, Table]) -> float:
    """The value whose run has the lowest validation RMSE."""
    return min(by_x, key=lambda x: lowest(by_x[x]))


def lowest(curve: Table) -> float:
    """The lowest validation RMSE of a run."""
    return best_epoch(curve)["valid_rmse"]


def best_epoch(curve: Table) -> dict[str, Any]:
    """The row of the lowest validation RMSE, and the median of the seconds an epoch."""
    best = min(curve, key=lambda row: row["valid_rmse"])
    return {**best, "seconds_per_epoch": statistics.median(row["seconds"] for row in curve)}
