"""Measure the importance of each field pair to IFM, and check the measures.

The paper measures the importance of a pair by the norm of its field-aspect vector F_ij (Table 3). The prediction sums
T_ij F_ijᵀ (V_i ⊙ V_j), so norms can be compared only if V_i ⊙ V_j has the same length for all pairs, and nothing in the
model ensures that. Divide U_f by c and multiply the embeddings of field f by c: each F_ijᵀ (V_i ⊙ V_j) stays the same,
but the norms of the pairs with f become 1/c of what they were. (T changes a little, as it depends on V_i ⊙ V_j, but at
the paper's τ it is nearly uniform. λ_F and Adagrad, not the data, choose among such settings.) A common factor of all
of V changes all norms by the same factor, so proportions can be compared with Table 3, norms can't. The contribution of
a pair to the predictions has no such freedom: its variance over the rows, with T (`product`) or without (`variance`).

Check: a negative is a log line with another feature in one field (the item; on MovieLens the tag). Given the features
of all other fields, one row in three is positive, whatever these features are. So a pair without the replaced field
tells nothing about the label by itself; at most it offsets what other pairs add for all items of its context.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from entries import load_experiments
from experiment import load, pretrained, setting_of

from pipelines.data.catalog import get_dataset
from pipelines.project.cli import ParamsOption, run
from pipelines.project.files import write_json, write_text
from pipelines.project.params import load_params
from pipelines.project.paths import Paths
from pipelines.project.records import read_record

MEASURES = ("norm", "attention", "variance", "product")


def main(
    dataset: Annotated[str, typer.Argument(help="A data set: frappe-nfm, movielens or synthetic.")],
    params: ParamsOption = Path("params.yaml"),
) -> None:
    """Train ifm once and measure the importance of each field pair.

    Measures on validation rows; no test row is read.

    Writes results/importance/DATASET.csv, one row for each pair, and
    DATASET.json, which checks each measure.
    """
    config, paths = load_params(params), Paths(params.parent)
    replaced = replaced_field(dataset)
    defaults, experiments = load_experiments(paths.root / "experiments.yaml")
    from pipelines.evaluation.importance import measure_pairs
    from pipelines.training.epochs import best_epoch
    from pipelines.training.process import prepare_process

    prepare_process(1)
    experiment = ifm_on(dataset, experiments)
    setting = setting_of(experiment, defaults, paths)
    cell = pretrained(load("ifm", dataset, config, paths), setting, config, paths)
    origin = cell.made_by().model_dump()
    model, epochs = cell.train(setting, cell.seed("importance"))
    table = measure_pairs(model, cell.valid_rows, cell.schema["fields"]).with_columns(
        has_label_information=(pl.col("i") == replaced) | (pl.col("j") == replaced)
    )
    truth = paths.raw(dataset) / "truth.json"
    if truth.exists():
        strengths = read_record(truth, dict[str, float], f"python -m pipelines.download --dataset {dataset}")
        planted = pl.concat_str("i", "j", separator="-").replace_strict(strengths, return_dtype=pl.Float64)
        table = table.with_columns(planted=planted)
    best = best_epoch(epochs, "rmse")
    result = {"valid_rmse": best.valid["rmse"], "best_epoch": best.epoch, **summary(table), "made_by": origin}
    folder = paths.root / "results" / "importance"
    write_text(folder / f"{dataset}.csv", table.write_csv())
    write_json(folder / f"{dataset}.json", result)
    print(json.dumps(result, indent=2))


def replaced_field(dataset: str) -> str:
    """Return the field that negatives replace.

    A libfm split has the replaced field of its log's data set.
    """
    entry = get_dataset(dataset)
    return entry.replace or get_dataset(entry.family).replace


def ifm_on(dataset: str, experiments: dict[str, Any]) -> Any:
    """Return the first IFM experiment on the data set, without its own keys.

    On a data set without experiments, IFM has the paper's setting.
    """
    first = next(entry for entry in experiments.values() if entry.model == "ifm")
    of_dataset = (entry for entry in experiments.values() if (entry.model, entry.dataset) == ("ifm", dataset))
    plain = {"dataset": dataset, "start": "../behaviour/spaces/ifm.json"}
    return next(of_dataset, first.model_copy(update=plain)).model_copy(update={"set": {}})


def summary(table: pl.DataFrame) -> dict[str, Any]:
    """Check each measure against the pairs without label information and the planted pairs.

    Gives the share of the measure's sum on pairs without label information (`pairs` is the share of such pairs among
    all). If planted strengths are known, also gives Spearman's correlation with them and the precision at k, where k
    is the number of planted pairs.
    """
    without = table.filter(~pl.col("has_label_information"))
    shares = {measure: float(without[measure].sum()) / float(table[measure].sum()) for measure in MEASURES}
    result: dict[str, Any] = {
        "share_without_label_information": {"pairs": without.height / table.height, **shares},
    }
    if "planted" in table.columns:
        k = int((table["planted"] > 0).sum())
        result["spearman"] = {measure: spearman(table, measure) for measure in MEASURES}
        result["k"] = k
        top = {measure: table.sort(measure, descending=True)["planted"].head(k) for measure in MEASURES}
        result["precision_at_k"] = {measure: int((planted > 0).sum()) / k for measure, planted in top.items()}
    return result


def spearman(table: pl.DataFrame, measure: str) -> float:
    """Compute the rank correlation with the planted strengths; equal values share their mean rank."""
    return table.select(pl.corr(pl.col(measure).rank(), pl.col("planted").rank())).item()


if __name__ == "__main__":
    run(main)
