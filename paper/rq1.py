"""RQ1: which model is best (Table 2), and the questions on it."""

from math import comb

from findings import Findings, not_run, read_json, shown
from verdicts import Row, compared, gains_from_fm, judge, verdict

from pipelines import significance
from pipelines.catalog import get_dataset
from pipelines.tables import markdown_table


def rq1(findings: Findings) -> list[str]:
    """Table 2, the tests between models, and the questions on them."""
    lines = [
        "## RQ1: which model is best (Table 2)",
        "",
        "Test RMSE, mean ± standard deviation over the seeds. *Own paper*: the same model on the same split in the"
        " paper that introduced it. The verdict is *reproduced* where our mean is at most two standard deviations"
        " above the lowest published figure, *as in this paper* where that is so for the IFM paper's figure alone.",
        "",
    ]
    for family in findings.published["test_rmse"]:
        lines += [f"### {family}", ""]
        dataset = next((name for name in findings.params.datasets if get_dataset(name).family == family), None)
        if dataset is None:
            add = f"add `{family}-nfm` to `datasets` in paper/params.yaml and `results/{family}-nfm` to the deps of"
            lines += [not_run(f"{add} the stages that gather, then `cd paper && dvc repro`"), ""]
        elif dataset != f"{family}-nfm":
            lines += [f"`{dataset}` is another release than the paper's: its figures can't be judged by these.", ""]
        lines += table_2(findings, family, dataset)
        lines += all_sampled(findings, dataset)
        lines += claims(findings, family, dataset)
        lines += luck(findings, dataset)
    lines += ["### Which models differ", ""]
    if findings.significance:
        tests = significance.markdown(findings.significance).splitlines()[2:]
        lines += [f"##{line}" if line.startswith("#") else line for line in tests]
        lines += ["", "![Test RMSE, and which models differ](../paper/results/significance.svg)", ""]
    else:
        lines += [not_run("`cd paper && dvc repro significance`"), ""]
    return lines + pretrained(findings)


def table_2(findings: Findings, family: str, dataset: str | None) -> list[str]:
    """A row a model: its size and test RMSE, the published ones, and the verdict."""
    cells = {cell["model"]: cell for cell in findings.board if cell["dataset"] == dataset}
    paper, own = findings.published["test_rmse"][family], findings.published["own_papers"][family]
    rows = []
    for model in dict.fromkeys([*paper, *(findings.params.models if dataset else [])]):
        cell = cells.get(model, {})
        theirs = paper.get(model, {})
        mean, std = cell.get("test_rmse_mean"), cell.get("test_rmse_std")
        judged, holds = verdict(mean, std, theirs.get("rmse"), own.get(model))
        if cell and dataset != f"{family}-nfm":
            judged, holds = "other data", None
        if theirs:
            statement = f"{model} on {family}: {theirs['rmse']:.4f}"
            findings.note("RQ1: Table 2", statement, judged, holds)
        rows.append(
            (
                model,
                f"{cell['num_params']:,}" if cell.get("num_params") else "–",
                theirs.get("num_params", "–"),
                cell.get("declined") or shown(mean, std),
                shown(theirs.get("rmse")),
                shown(own.get(model)),
                judged,
            )
        )
    columns = ("model", "#PARAM", "#PARAM, paper", "test RMSE", "IFM paper", "own paper", "verdict")
    return [*markdown_table(columns, rows), "", *short_searches(findings, dataset, list(cells))]


def short_searches(findings: Findings, dataset: str | None, models: list[str]) -> list[str]:
    """Which models longer trials might have made better: those whose best trial was best in its last epoch."""
    short = []
    for model in models:
        complete = [row for row in findings.csv(f"{dataset}/{model}/trials.csv") or [] if row["state"] == "complete"]
        best = min(complete, key=lambda row: row["valid"], default=None)
        if best and best["best_epoch"] == best["epochs"]:
            short.append(model)
    if not short:
        return []
    return [f"Short searches: {', '.join(short)}. The best trial of each was still learning in its last epoch.", ""]


def all_sampled(findings: Findings, dataset: str | None) -> list[str]:
    """Whether the best setting of ifm_sampling leaves no pair of fields out."""
    best = read_json(findings.results / str(dataset) / "ifm_sampling" / "best.json", {})
    num_sampled = best.get("setting", {}).get("model.num_sampled")
    num_pairs = comb(len(get_dataset(dataset).fields), 2) if dataset else 0
    if num_sampled is None or num_sampled < num_pairs:
        return []
    return [
        f"ifm_sampling's best setting takes all of the {num_pairs} pairs, so here it is IFM with a search of its own:"
        " how far the two are apart is the luck of two searches and of their seeds.",
        "",
    ]


def luck(findings: Findings, dataset: str | None) -> list[str]:
    """What the best trial of a search promised beside what its setting reaches with other seeds."""
    rows = []
    for model in findings.params.models:
        folder = findings.results / str(dataset) / model
        best, metrics = (read_json(folder / name, {}) for name in ("best.json", "metrics.json"))
        if "valid_rmse" in best and metrics:
            promised, reached = best["valid_rmse"], metrics["valid_rmse_mean"]
            seeds = sorted(metrics["seeds"].values(), key=lambda seed: seed["best_epoch"])
            each = ", ".join(f"{seed['test_rmse']:.4f} ({seed['best_epoch']})" for seed in seeds)
            mean = shown(reached, metrics["valid_rmse_std"])
            rows.append((model, shown(promised), mean, f"{reached - promised:+.4f}", each))
    if not rows:
        return []
    columns = ("model", "valid RMSE, best trial", "its setting's seeds", "difference", "test RMSE (epoch) by seed")
    return [
        "A search takes the best of its trials, each of one seed, so part of its lead may be luck; below zero are"
        " models that learned on in the final runs, which may be longer:",
        "",
        *markdown_table(columns, rows),
        "",
    ]


def claims(findings: Findings, family: str, dataset: str | None) -> list[str]:
    """What the paper says of pairs of models, and what the tests say."""
    rows: list[Row] = []
    pairs = {frozenset(pair["models"]): pair for pair in findings.significance.get(dataset, {}).get("pairs", [])}
    for better, worse in findings.published["claims"]:
        ours, holds = judge(pairs.get(frozenset((better, worse))), better)
        rows.append((f"{better} is better than {worse}", ours, holds))
    for a, b in findings.published["similar"]:
        if a in findings.published["test_rmse"][family]:
            pair = pairs.get(frozenset((a, b)))
            rows.append((f"{a} is about as good as {b}", judge(pair, a)[0], None if not pair else not pair["differ"]))
    return findings.statements("RQ1: order of models", rows, f" ({family})")


def pretrained(findings: Findings) -> list[str]:
    """IFM beside AFM and NFM, without a start from FM, and what each gains from it."""
    lines = [
        "### Is IFM still ahead without pretraining?",
        "",
        "The tests above compare IFM with AFM and NFM after the same search. Here each is trained from the"
        " embeddings of a trained FM and from random ones, in the smaller size of the experiments, judged by"
        " validation rows.",
        "",
        *findings.by_label("pretrained"),
    ]
    rows: list[Row] = []
    for dataset, curves in findings.labelled("pretrained").items():
        for other in ("AFM", "NFM"):
            statement = f"without pretraining, IFM is better than {other} on {dataset}"
            rows.append(compared(statement, curves, "IFM, random", f"{other}, random"))
        rows += [gains_from_fm(model, dataset, curves) for model in ("IFM", "AFM", "NFM")]
    return [*lines, *findings.statements("RQ1: without pretraining", rows)]
