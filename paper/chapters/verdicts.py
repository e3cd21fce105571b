"""Judge by fixed rules whether a statement of the paper holds.

There is one rule for equality (`is_equal`) and one for order (`is_lower`), for test and validation RMSE alike.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines import significance

Table = list[dict[str, Any]]  # a CSV's rows
# `says`: a macro of templates/claims.md.j2; `holds`: True, False or None (open); the rest: the macro's values
Statement = dict[str, Any]

MARGIN = 0.005  # of the RMSE: models whose RMSE differ by less are about as good


def is_equal(interval: tuple[float, float], rmse: float) -> bool | None:
    """Judge whether an interval of a difference lies within the margin.

    False where it lies outside; None where it has an end on either side. A difference without a test is its own
    interval.
    """
    margin = MARGIN * rmse
    if -margin <= interval[0] and interval[1] <= margin:
        return True
    return False if interval[0] > margin or interval[1] < -margin else None


def is_lower(difference: float, interval: tuple[float, float], rmse: float, shown: bool | None = None) -> bool | None:
    """Judge whether a difference is below zero.

    `shown` says what the tests say of the difference; None where nothing was tested, and then a difference counts that
    is larger than the margin. A difference that is not shown is False where both are equal, else None.
    """
    equal = is_equal(interval, rmse)
    if equal is False if shown is None else shown:
        return difference < 0
    return False if equal else None


def verdict(mean: float | None, paper: float | None, own: float | None) -> tuple[str, bool | None]:
    """Judge in words and as a truth value whether a published test RMSE is reproduced."""
    if mean is None or paper is None:
        return ("–" if paper is None else "not run yet"), None
    best = min(paper, own or paper)
    if is_lower(best - mean, (best - mean, best - mean), best) is not True:
        return "reproduced", True
    if is_lower(paper - mean, (paper - mean, paper - mean), paper) is not True:
        return f"as in this paper; {mean - best:+.4f} to its own", True
    return f"not reproduced: {mean - paper:+.4f}", False


def judge(pair: Mapping[str, Any] | None, first: str, rmse: float, similar: bool = False) -> Statement:
    """Judge by a pair's tests whether model `first` is better, or about as good."""
    if pair is None:
        return {"difference": None, "holds": None}
    sign = 1 if pair["models"][0] == first else -1
    low, high = sorted(sign * bound for bound in pair["interval"])
    difference = sign * pair["difference"]
    holds = is_equal((low, high), rmse) if similar else is_lower(difference, (low, high), rmse, pair["differ"])
    return {"difference": difference, "interval": (low, high), "p": significance.shown_p(pair["p"]), "holds": holds}


def compared(curves: dict[str, Table], better: str, worse: str) -> Statement:
    """Judge by the best epochs whether run `better` is better than run `worse`.

    `equal` says whether both are about as good. Both are open while the run that is behind could catch up: its last
    epoch was its best, or it is behind by no more than it gained in the second half of its epochs.
    """
    if not {better, worse} <= curves.keys():
        return {"best": None, "learning": False, "holds": None, "equal": None}
    best = [lowest(curves[better]), lowest(curves[worse])]
    behind = curves[better if best[0] >= best[1] else worse]
    difference = best[0] - best[1]
    learning = still_learning(behind) or abs(difference) <= gained_late(behind)
    holds = None if learning else is_lower(difference, (difference, difference), best[1])
    equal = None if learning else is_equal((difference, difference), best[1])
    return {"best": best, "learning": learning, "holds": holds, "equal": equal}


def is_better(dataset: str, curves: dict[str, Table], better: str, worse: str) -> Statement:
    """State that one labelled run of a data set is better than another."""
    return {"says": "better", "models": (better, worse), "dataset": dataset, **compared(curves, better, worse)}


def gains_from_fm(model: str, dataset: str, curves: dict[str, Table]) -> Statement:
    """State that starting from an FM's embeddings makes a model better."""
    found = compared(curves, f"{model}, from FM", f"{model}, random")
    return {"says": "gains_from_fm", "model": model, "dataset": dataset, **found}


def nearly_all(pairs: Sequence[bool | None]) -> Statement:
    """Judge whether at least eight in ten pairs hold; open while open pairs decide it."""
    wins, left, enough = pairs.count(True), pairs.count(None), 0.8 * len(pairs)
    holds = None if wins < enough <= wins + left else wins >= enough
    return {"wins": wins, "num_pairs": len(pairs), "learning": left, "holds": holds}


def inner(model: str, dataset: str, by_x: dict[float, Table], parameter: str) -> Statement:
    """State that a value within a hyperparameter's range is better than both ends.

    Open while a run that could change this was still learning.
    """
    best, ends = best_value(by_x), {min(by_x), max(by_x)}
    rivals = [curve for x, curve in by_x.items() if (x in ends) != (best in ends)]
    within, at_end = (min(lowest(by_x[x]) for x in values) for values in (by_x.keys() - ends, ends))
    difference = within - at_end
    holds = None if any(map(still_learning, rivals)) else is_lower(difference, (difference, difference), at_end)
    return {"says": "inner", "model": model, "dataset": dataset, "parameter": parameter, "best": best, "holds": holds}


def still_learning(curve: Table) -> bool:
    """Check whether the last epoch is the best."""
    return best_epoch(curve)["epoch"] == curve[-1]["epoch"]


def stopped_early(curve: Table, patience: int) -> Table:
    """Cut a run where early stopping with this patience would have ended it."""
    for last in range(1, len(curve)):
        if last - best_epoch(curve[:last])["epoch"] >= patience:
            return curve[:last]
    return curve


def gained_late(curve: Table) -> float:
    """Compute how much the second half of the epochs lowered the validation RMSE."""
    return lowest(curve[: (len(curve) + 1) // 2]) - lowest(curve)


def best_value(by_x: dict[float, Table]) -> float:
    """Find the value whose run has the lowest validation RMSE."""
    return min(by_x, key=lambda x: lowest(by_x[x]))


def good_values(by_x: dict[float, Table]) -> list[float]:
    """List the values whose runs are about as good as the best, the best one first."""
    found = {x: lowest(curve) for x, curve in by_x.items()}
    best = min(found.values())
    good = [x for x in found if is_equal((found[x] - best, found[x] - best), best)]
    return sorted(good, key=lambda x: found[x])


def lower(values: Sequence[float], others: Sequence[float]) -> Statement:
    """Judge whether the best of some values is lower than the best of others.

    Each is one of several that are about as good, best first. Open where it depends on which.
    """
    holds = max(values) < min(others)
    return {"best": (values[0], others[0]), "holds": holds or (False if min(values) >= max(others) else None)}


def lowest(curve: Table) -> float:
    """Find the lowest validation RMSE of a run."""
    return best_epoch(curve)["valid_rmse"]


def best_epoch(curve: Table) -> dict[str, Any]:
    """Find the row with the lowest validation RMSE, and add the median seconds per epoch."""
    best = min(curve, key=lambda row: row["valid_rmse"])
    return {**best, "seconds_per_epoch": statistics.median(row["seconds"] for row in curve)}
