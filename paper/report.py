"""docs/reproduction.md: our figures beside the published ones, with verdicts by rule, from committed files alone."""

import json
import statistics
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from verdicts import (
    Row,
    Table,
    best_epoch,
    best_value,
    compared,
    inner,
    judge,
    lowest,
    statement_table,
    still_learning,
    stopped_early,
    verdict,
)

from pipelines import significance
from pipelines.catalog import get_dataset
from pipelines.cli import ParamsOption, run
from pipelines.files import write_text
from pipelines.params import load_params
from pipelines.paths import Paths
from pipelines.tables import markdown_table

FEW = 4  # missing experiments, which are named


def main(params: ParamsOption = Path("params.yaml")) -> None:
    """Write ../docs/reproduction.md from the results beside params.yaml; names what is not run, with its command."""
    page = params.resolve().parent.parent / "docs" / "reproduction.md"
    write_text(page, Report(params).text())
    print(f"{page} written")


class Report:
    """The page and what it is made from: params.yaml, published.yaml, experiments.yaml and results/."""

    def __init__(self, params: Path) -> None:
        self.params, self.paths = load_params(params), Paths(params.parent)
        self.results = self.paths.root / "results"
        self.published = read_yaml(self.paths.root / "published.yaml")
        self.experiments = read_yaml(self.paths.root / "experiments.yaml").get("experiments", {})
        self.board = read_json(self.results / "leaderboard.json", [])
        self.significance = read_json(self.results / "significance.json", {})
        self.found: dict[str, list[Row]] = {}  # by part of the paper

    def text(self) -> str:
        parts = [
            self.rq1(),
            self.rq2(),
            self.rq3(),
            self.rq4(),
            self.code(),
            self.sizes(),
            self.longer(),
            self.budget(),
        ]
        return "\n".join([*self.head(), *(line for part in parts for line in part)]).rstrip("\n") + "\n"

    def head(self) -> list[str]:
        cite = [f"- {source}" for source in self.published["sources"].values()]
        summary = [
            (part, len(rows), *(sum(row[2] is holds for row in rows) for holds in (True, False, None)))
            for part, rows in self.found.items()
        ]
        return [
            "# The IFM paper, reproduced and audited",
            "",
            "Each table and figure of the paper, with our figures beside its own. `cd paper && dvc repro` runs all"
            " that is not there yet and writes this page (`paper/report.py`); no figure in it is typed by hand. The"
            " published ones are in `paper/published.yaml`:",
            "",
            *cite,
            "",
            "A statement is open where a run is missing, or is behind but was still learning in its last epoch. How"
            " many of the paper's statements hold here, by the rules that each part gives:",
            "",
            *markdown_table(("part", "statements", "hold", "do not", "open"), summary),
            "",
            "## What is different here",
            "",
            *self.settings(),
            "",
        ]

    def settings(self) -> list[str]:
        """The sizes beside the paper's."""
        params, fixed = self.params, self.params.tune.fixed
        training = {f"training.{key}": value for key, value in params.training.model_dump().items()}
        rows = []
        for key, paper in self.published["settings"].items():
            searched = "searched" if key.startswith("model.") or key == "training.batch_size" else training[key]
            rows.append((f"`{key}`", fixed.get(key, searched), paper["frappe"], paper["movielens"]))
        budget = f"{params.tune.num_trials or 'any number of'} trials"
        if params.tune.time_budget_s:
            budget += f" in {params.tune.time_budget_s:g} s"
        stopping = "" if params.tune.scheduler == "none" else f", those behind stopped by {params.tune.scheduler}"
        return [
            *markdown_table(("", "here", "paper, Frappe", "paper, MovieLens"), rows),
            "",
            f"Each model has the same search first: {budget} of at most"
            f" {params.tune.max_epochs or params.training.max_epochs} epochs{stopping}. Its best setting is trained"
            f" with {params.evaluate.num_seeds} seeds, each tested once, at its best validation epoch.",
            f"Embeddings and linear terms start from: {params.training.pretrained or 'random values'}.",
        ]

    def rq1(self) -> list[str]:
        """Table 2, the tests between models, and the questions on them."""
        lines = [
            "## RQ1: which model is best (Table 2)",
            "",
            "Test RMSE, mean ± standard deviation over the seeds. *Own paper*: the same model on the same split in the"
            " paper that introduced it. The verdict is *reproduced* where our mean is at most two standard deviations"
            " above the lowest published figure, *as in this paper* where that is so for the IFM paper's figure alone.",
            "",
        ]
        for family in self.published["test_rmse"]:
            lines += [f"### {family}", ""]
            dataset = next((name for name in self.params.datasets if get_dataset(name).family == family), None)
            if dataset is None:
                add = f"add `{family}-nfm` to `datasets` in paper/params.yaml and `results/{family}-nfm` to the deps of"
                lines += [not_run(f"{add} the stages that gather, then `cd paper && dvc repro`"), ""]
            elif dataset != f"{family}-nfm":
                lines += [f"`{dataset}` is another release than the paper's: its figures can't be judged by these.", ""]
            lines += self.table_2(family, dataset)
            lines += self.claims(family, dataset)
            lines += self.luck(dataset)
        lines += ["### Which models differ", ""]
        if self.significance:
            shown = significance.markdown(self.significance).splitlines()[2:]
            lines += [f"##{line}" if line.startswith("#") else line for line in shown]
            lines += ["", "![Test RMSE, and which models differ](../paper/results/significance.svg)", ""]
        else:
            lines += [not_run("`cd paper && dvc repro significance`"), ""]
        return lines + self.pretrained()

    def table_2(self, family: str, dataset: str | None) -> list[str]:
        cells = {cell["model"]: cell for cell in self.board if cell["dataset"] == dataset}
        paper, own = self.published["test_rmse"][family], self.published["own_papers"][family]
        rows = []
        for model in dict.fromkeys([*paper, *(self.params.models if dataset else [])]):
            cell = cells.get(model, {})
            theirs = paper.get(model, {})
            mean, std = cell.get("test_rmse_mean"), cell.get("test_rmse_std")
            judged, holds = verdict(mean, std, theirs.get("rmse"), own.get(model))
            if cell and dataset != f"{family}-nfm":
                judged, holds = "other data", None
            if theirs:
                statement = f"{model} on {family}: {theirs['rmse']:.4f}"
                self.note("RQ1: Table 2", statement, judged, holds)
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
        return [*markdown_table(columns, rows), "", *self.short_searches(dataset, list(cells))]

    def short_searches(self, dataset: str | None, models: list[str]) -> list[str]:
        """Which models longer trials might have made better: those whose best trial was best in its last epoch."""
        short = []
        for model in models:
            complete = [row for row in self.csv(f"{dataset}/{model}/trials.csv") or [] if row["state"] == "complete"]
            best = min(complete, key=lambda row: row["valid"], default=None)
            if best and best["best_epoch"] == best["epochs"]:
                short.append(model)
        if not short:
            return []
        return [f"Short searches: {', '.join(short)}. The best trial of each was still learning in its last epoch.", ""]

    def luck(self, dataset: str | None) -> list[str]:
        """What the best trial of a search promised beside what its setting reaches with other seeds."""
        rows = []
        for model in self.params.models:
            folder = self.results / str(dataset) / model
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

    def claims(self, family: str, dataset: str | None) -> list[str]:
        """What the paper says of pairs of models, and what the tests say."""
        rows: list[Row] = []
        pairs = {frozenset(pair["models"]): pair for pair in self.significance.get(dataset, {}).get("pairs", [])}
        for better, worse in self.published["claims"]:
            ours, holds = judge(pairs.get(frozenset((better, worse))), better)
            rows.append((f"{better} is better than {worse}", ours, holds))
        for a, b in self.published["similar"]:
            if a in self.published["test_rmse"][family]:
                pair = pairs.get(frozenset((a, b)))
                rows.append(
                    (f"{a} is about as good as {b}", judge(pair, a)[0], None if not pair else not pair["differ"])
                )
        return self.statements("RQ1: order of models", rows, f" ({family})")

    def pretrained(self) -> list[str]:
        """IFM beside AFM and NFM, without a start from FM."""
        lines = [
            "### Is IFM still ahead without pretraining?",
            "",
            "The tests above compare IFM with AFM and NFM after the same search. Here each is trained from the"
            " embeddings of a trained FM and from random ones, in the smaller size of the experiments, judged by"
            " validation rows.",
            "",
            *self.by_label("pretrained"),
        ]
        rows = [
            compared(f"without pretraining, IFM is better than {other} on {dataset}", curves, *labels)
            for dataset, curves in self.labelled("pretrained").items()
            for other, labels in (("AFM", ("IFM, random", "AFM, random")), ("NFM", ("IFM, random", "NFM, random")))
        ]
        return [*lines, *self.statements("RQ1: without pretraining", rows)]

    def rq2(self) -> list[str]:
        lines = ["## RQ2: the two aspects, and sampling", ""]
        lines += [
            "The parts from here on compare runs of a smaller size (`paper/experiments.yaml`) by validation rows;"
            " they ask what a part or a hyperparameter changes, not how low the RMSE gets. FM starts from random"
            " weights, the others from the embeddings of an FM of their size. `movielens` is the 10M release: the"
            " paper's is no longer published.",
            "",
        ]
        lines += ["### One aspect only (Figure 2)", ""]
        lines += self.by_label("aspects")
        rows: list[Row] = []
        for dataset, curves in self.labelled("aspects").items():
            ratio = self.published["aspects"][get_dataset(dataset).family]
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
        lines += self.statements("RQ2: Figure 2", rows, "; a ratio holds where ours is between half and twice it")
        return [*lines, *self.importance(), *self.sampling()]

    def importance(self) -> list[str]:
        """Table 3, and how far each measure of importance can be right."""
        lines = ["### How important is a pair of fields (Table 3)", ""]
        published = self.published["norms"]
        table = self.csv("importance/movielens.csv")
        if table is None:
            lines += [not_run("`cd paper && python importance.py movielens`"), ""]
            self.note("RQ2: Table 3", "the order of the norms", "", None)
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
            lines += self.statements("RQ2: Table 3", [(f"norms: {statement}", " < ".join(order), holds)])
        lines += [
            "Negatives replace one field alone (the item, the tag), so only pairs with that field can say something of"
            " the label. The share of each measure's sum that is on the *other* pairs, beside their share of the pairs,"
            " and on generated data how well each ranks the planted pairs:",
            "",
        ]
        columns, rows = ["data set", "", "pairs", "norm", "attention", "variance", "product"], []
        for dataset in ("frappe-nfm", "movielens", "synthetic"):
            result = read_json(self.results / "importance" / f"{dataset}.json", {})
            if not result:
                lines += [f"{dataset}: {not_run(f'`cd paper && python importance.py {dataset}`')}", ""]
            for key, name in (("share_without_label_information", "share on other pairs"), ("spearman", "Spearman"),
                              ("precision_at_k", "precision at k")):  # fmt: skip
                if key in result:
                    values = (result[key].get(column) for column in columns[2:])
                    rows.append((dataset, name, *("–" if value is None else f"{value:.3f}" for value in values)))
        lines += [*markdown_table(columns, rows), ""] if rows else []
        return [*lines, *self.picture("importance", "The pairs of Frappe by each measure")]

    def sampling(self) -> list[str]:
        full, sampled = self.published["sampling"]["full"], self.published["sampling"]["sampled"]
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
            dataset: [{"share": self.experiments[name]["x"], **best_epoch(curve)} for name, curve in curves.items()]
            for dataset, curves in self.curves("sampling").items()
        }
        generated = self.csv("sampling.csv")
        if generated is not None:
            tables["generated, 40 fields"] = generated
        rows = []
        for dataset, table in tables.items():
            means = means_by_share(table)
            for row in means:
                faster = means[0]["seconds_per_epoch"] / row["seconds_per_epoch"]
                cells = (f"{row[name]:.4f}" for name in ("valid_rmse", "valid_auc"))
                rows.append(
                    (dataset, f"{row['share']:.0%}", *cells, f"{row['seconds_per_epoch']:.2f}", f"{faster:.1f}×")
                )
                if row["share"] == sampled["share"]:
                    lost = means[0]["valid_auc"] - row["valid_auc"]
                    statement = f"{sampled['share']:.0%} of the pairs: {speedup:.1f} times as fast, on {dataset}"
                    self.note("RQ2: Table 4", statement, f"{faster:.1f} times", faster >= speedup)
                    statement = f"at most {full['auc'] - sampled['auc']:.4f} of AUC lost, on {dataset}"
                    self.note("RQ2: Table 4", statement, f"{lost:.4f}", lost <= full["auc"] - sampled["auc"])
        columns = ("data set", "share", "valid RMSE", "valid AUC", "s / epoch", "faster")
        lines += [*markdown_table(columns, rows), ""] if rows else []
        lines += self.missing("sampling")
        if generated is None:
            lines += [f"40 fields: {not_run('`cd paper && python sampling.py`')}", ""]
        noted = self.found.get("RQ2: Table 4", [])
        if noted:
            lines += statement_table(noted)
        else:
            self.note("RQ2: Table 4", "sampling is faster at little loss", "", None)
        return [*lines, *self.picture("sampling", "RMSE and seconds by the share sampled")]

    def rq3(self) -> list[str]:
        lines = ["## RQ3: factorisation (Figure 3)", "", "IFM⁻ has F itself, not its factors. No early stopping.", ""]
        lines += self.by_label("factorization")
        rows: list[Row] = []
        for dataset, curves in self.labelled("factorization").items():
            if {"IFM", "IFM⁻"} <= curves.keys():
                best = {label: lowest(curve) for label, curve in curves.items()}
                last, family = curves["IFM⁻"][-1], get_dataset(dataset).family
                if family in self.published["overfit"]:
                    rows.append(compared(f"IFM is better than IFM⁻ on {dataset}", curves, "IFM", "IFM⁻"))
                    start, rise = self.published["overfit"][family], last["valid_rmse"] - best["IFM⁻"]
                    ours = f"{best['IFM⁻']:.4f} at its best, {last['valid_rmse']:.4f} in epoch {last['epoch']}"
                    holds = rise > 0.001 or (False if last["epoch"] > start else None)
                    rows.append((f"IFM⁻ gets worse again on {dataset}, from epoch {start}", ours, holds))
                else:
                    statement = f"IFM and IFM⁻ are about as good on {dataset} (within 0.5 %)"
                    _, ours, better = compared(statement, curves, "IFM", "IFM⁻")
                    close = abs(best["IFM"] / best["IFM⁻"] - 1) < 0.005
                    rows.append((statement, ours, None if better is None else close))
        return [*lines, *self.statements("RQ3: Figure 3", rows, "; worse means by more than 0.001")]

    def rq4(self) -> list[str]:
        """Figures 4 to 6: the RMSE by one hyperparameter."""
        lines = ["## RQ4: hyperparameters", "", "Best validation RMSE of a run, the lowest of a column in bold.", ""]
        lines += ["### Keep probability (Figure 4)", "", *self.by_value("keep", "keep probability")]
        rows: list[Row] = []
        for dataset, table in self.values("keep").items():
            if {"FM", "IFM"} <= table.keys():
                both = table["FM"].keys() & table["IFM"].keys()
                wins = sum(lowest(table["IFM"][x]) < lowest(table["FM"][x]) for x in both)
                statement = f"IFM is better than FM for nearly all keep probabilities on {dataset}"
                learning = any(still_learning(curve) for by_x in table.values() for curve in by_x.values())
                rows.append((statement, f"{wins} of {len(both)}", None if learning else wins >= 0.8 * len(both)))
            rows += [inner(label, dataset, by_x, "keep probability") for label, by_x in table.items()]
        lines += self.statements("RQ4: Figure 4", rows, "; nearly all: eight in ten")
        lines += ["### L2 of the field aspect (Figure 5)", "", *self.by_value("l2_field", "λ_F")]
        rows = []
        for dataset, table in self.values("l2_field").items():
            by_x = table.get("IFM", {})
            if 0 in by_x and len(by_x) > 1:
                best = best_value(by_x)
                gain = 1 - lowest(by_x[best]) / lowest(by_x[0])
                paper = self.published["l2_field"].get(get_dataset(dataset).family)
                statement = f"λ_F improves IFM on {dataset}" + (f", by {paper:.1%}" if paper else "")
                holds = gain >= (paper / 2 if paper else 1e-9)
                learning = any(still_learning(curve) for x, curve in by_x.items() if (x > 0) != holds)
                rows.append((statement, f"by {gain:.1%}, with λ_F {best:g}", None if learning else holds))
        lines += self.statements("RQ4: Figure 5", rows, "; by an amount: at least half of it")
        lines += ["### Factors of the field aspect (Figure 6)", "", *self.by_value("field_embed_dim", "K_F")]
        rows, best_of = [], {}
        for dataset, table in self.values("field_embed_dim").items():
            if by_x := table.get("IFM"):
                rows.append(inner("IFM", dataset, by_x, "K_F"))
                best_of[get_dataset(dataset).family] = best_value(by_x)
        if {"frappe", "movielens"} <= best_of.keys():
            ours = f"{best_of['movielens']:g} and {best_of['frappe']:g}"
            statement = "the best K_F is lower on MovieLens than on Frappe"
            rows.append((statement, ours, best_of["movielens"] < best_of["frappe"]))
        return [*lines, *self.statements("RQ4: Figure 6", rows)]

    def code(self) -> list[str]:
        """What the released code does otherwise, and what that costs."""
        lines = [
            "## Code against paper",
            "",
            "Where the released code does something else than the paper's equations, each way of it with the same"
            " setting: the temperature τ on the logits (equation 5) or inside the hidden layer, and AFM with its"
            " attention or, as its released code has it, with all weights 1.",
            "",
            *self.by_label("code"),
        ]
        first: dict[str, tuple[str, float]] = {}  # by model: the paper's way, which experiments.yaml names first
        for curves in self.curves("code").values():
            for name, curve in curves.items():
                entry, rmse = self.experiments[name], lowest(curve)
                label, start = first.setdefault(entry["model"], (entry["label"], rmse))
                if label != entry["label"]:
                    lines += [f"{entry['label']}: {rmse - start:+.4f} of validation RMSE to {label}.", ""]
        return lines

    def sizes(self) -> list[str]:
        """What the sizes cost that are not the paper's."""
        lines = [
            "## What the sizes chosen here cost",
            "",
            "The paper has batches of 128 and attention_dim 256 on Frappe. The same setting with one of them, all else"
            " as in the other experiments:",
            "",
        ]
        return [*lines, *self.by_label("sizes")]

    def longer(self) -> list[str]:
        """What the short searches cost the models that need many epochs."""
        lines = [
            "## What short searches and early stopping cost",
            "",
            "FM and FFM learn for longer than a trial of the search lasts, and asha stops those first that learn"
            " slowly; some seeds of INN were stopped after two or three epochs. So here is their best setting without"
            " early stopping, and FFM's with more dropout; sizes as in RQ1.",
            "",
            *self.by_label("longer"),
        ]
        patience = self.params.training.patience
        for dataset, curves in self.curves("longer").items():
            for name, curve in curves.items():
                stopped = stopped_early(curve, patience)
                lines += [
                    f"Patience {patience} would have ended this run of {self.experiments[name]['label']} after epoch"
                    f" {len(stopped)}, at {lowest(stopped):.4f}, not {lowest(curve):.4f}.",
                    "",
                ]
            for model in dict.fromkeys(self.experiments[name]["model"] for name in curves):
                rows = self.csv(f"{dataset}/{model}/curves.csv") or []
                seeds = [[row for row in rows if row["seed"] == seed] for seed in {row["seed"] for row in rows}]
                if seeds:
                    reached = statistics.mean(lowest(curve) for curve in seeds)
                    lines += [f"With early stopping the final runs of {model} on {dataset} reach {reached:.4f}.", ""]
        return lines

    def budget(self) -> list[str]:
        """Time by cell, from trials.csv, curves.csv and the experiments."""
        rows: list[tuple[str, str, str, int, float]] = []
        for dataset, model in product(self.params.datasets, self.params.models):
            for file, stage, run_column in (("trials", "search", "trial"), ("curves", "final runs", "seed")):
                table = self.csv(f"{dataset}/{model}/{file}.csv") or []
                epochs = sum(row["epochs"] for row in table) if file == "trials" else len(table)
                runs = f"{len({row[run_column] for row in table})} {run_column}s"
                if table:
                    seconds = sum(row["seconds"] or 0.0 for row in table)
                    rows.append((f"{model} on {dataset}", stage, runs, epochs, seconds))
        for figure in dict.fromkeys(entry["figure"] for entry in self.experiments.values()):
            for dataset, curves in self.curves(figure).items():
                done = [row for curve in curves.values() for row in curve]
                epochs = sum(row.get("num_seeds", 1) for row in done)
                seconds = sum(row["seconds"] * row.get("num_seeds", 1) for row in done)
                rows.append((f"{figure} on {dataset}", "experiments", f"{len(curves)} curves", epochs, seconds))
        total = sum(row[-1] for row in rows) / 3600
        cells = ((*row[:4], f"{row[4] / max(row[3], 1):.2f}", f"{row[4] / 3600:.2f}") for row in rows)
        lines = ["## Budget", ""]
        if rows:
            lines += [*markdown_table(("cell", "stage", "runs", "epochs", "s / epoch", "hours"), cells), ""]
            lines += [f"In all {total:.1f} hours of one core, as measured; a search's seconds include validation.", ""]
        else:
            lines += [not_run("`cd paper && dvc repro`"), ""]
        return [
            *lines,
            "With a GPU: set `model.attention_dim` and `training.batch_size` under `tune.fixed` in `paper/params.yaml`"
            " to the paper's sizes above, leave `tune.max_epochs` out, raise `tune.num_trials`, add `movielens-nfm` to"
            " `datasets`, and run `cd paper && dvc repro`. Searches go on where they were cut off.",
            "",
        ]

    # Experiments

    def curves(self, figure: str) -> dict[str, dict[str, Table]]:
        """The runs of a figure that are there, by data set and name."""
        found: dict[str, dict[str, Table]] = {}
        for name, entry in self.experiments.items():
            curve = self.csv(f"experiments/{name}.csv") if entry["figure"] == figure else None
            if curve is not None:
                found.setdefault(entry["dataset"], {})[name] = curve
        return found

    def labelled(self, figure: str) -> dict[str, dict[str, Table]]:
        """The same, by data set and label."""
        return {
            dataset: {self.experiments[name]["label"]: curve for name, curve in curves.items()}
            for dataset, curves in self.curves(figure).items()
        }

    def values(self, figure: str) -> dict[str, dict[str, dict[float, Table]]]:
        """The same, by data set, label and value of the hyperparameter."""
        found: dict[str, dict[str, dict[float, Table]]] = {}
        for dataset, curves in self.curves(figure).items():
            for name, curve in curves.items():
                entry = self.experiments[name]
                found.setdefault(dataset, {}).setdefault(entry["label"], {})[float(entry["x"])] = curve
        return found

    def by_label(self, figure: str) -> list[str]:
        """A row a curve: the best epoch and the last one."""
        rows = []
        for dataset, curves in self.labelled(figure).items():
            for label, curve in curves.items():
                best = best_epoch(curve)
                rmse = shown(best["valid_rmse"], best.get("valid_rmse_std"))
                rows.append((dataset, label, rmse, best["epoch"], shown(curve[-1]["valid_rmse"]), len(curve)))
        columns = ("data set", "", "best valid RMSE", "in epoch", "last valid RMSE", "epochs")
        table = [*markdown_table(columns, rows), ""] if rows else []
        return [*table, *self.missing(figure), *self.picture(figure, "Validation RMSE by epoch")]

    def by_value(self, figure: str, parameter: str) -> list[str]:
        """A row a value of the hyperparameter, a column a data set and label."""
        columns = {
            (dataset, label): {x: lowest(curve) for x, curve in by_x.items()}
            for dataset, table in self.values(figure).items()
            for label, by_x in table.items()
        }
        rows = (
            [f"{x:g}", *(bold(by_x[x], min(by_x.values())) if x in by_x else "–" for by_x in columns.values())]
            for x in sorted({x for by_x in columns.values() for x in by_x})
        )
        head = [parameter, *(f"{label}, {dataset}" for dataset, label in columns)]
        table = [*markdown_table(head, rows), ""] if columns else []
        return [*table, *self.missing(figure), *self.picture(figure, f"Validation RMSE by {parameter}")]

    def missing(self, figure: str) -> list[str]:
        """The experiments of a figure that are not there, with the command that runs them."""
        names = [name for name, entry in self.experiments.items() if entry["figure"] == figure]
        left = [name for name in names if not (self.results / "experiments" / f"{name}.csv").exists()]
        if 0 < len(left) <= FEW:
            return [not_run(f"`cd paper && python experiment.py {' '.join(left)}`"), ""]
        if left or not names:
            return [not_run(f"`cd paper && dvc repro experiment`, {len(left)} of {len(names)} runs"), ""]
        return []

    def picture(self, name: str, title: str) -> list[str]:
        there = (self.paths.root.resolve().parent / "docs" / "figures" / f"{name}.svg").exists()
        return [f"![{title}](figures/{name}.svg)", ""] if there else []

    # Statements

    def note(self, part: str, statement: str, ours: str, holds: bool | None) -> None:
        self.found.setdefault(part, []).append((statement, ours, holds))

    def statements(self, part: str, rows: list[Row], note: str = "") -> list[str]:
        """A table of what the paper says and what we find; all of it counts in the summary."""
        for row in rows or [("", "", None)]:
            self.note(part, *row)
        return [f"What the paper says, and what we find{note}:", "", *statement_table(rows)] if rows else []

    def csv(self, name: str) -> Table | None:
        path = self.results / name
        return pl.read_csv(path).rows(named=True) if path.exists() and path.stat().st_size > 1 else None


def means_by_share(table: Table) -> Table:
    """A row a share of the interactions, the largest first, with means over the runs."""
    names = ("valid_rmse", "valid_auc", "seconds_per_epoch")
    shares = sorted({float(row["share"]) for row in table}, reverse=True)
    runs = {share: [row for row in table if row["share"] == share] for share in shares}
    return [
        {"share": share, **{name: statistics.fmean(row[name] for row in runs[share]) for name in names}}
        for share in shares
    ]


def shown(mean: float | None, std: float | None = None) -> str:
    if mean is None:
        return "–"
    return f"{mean:.4f}" if std is None else f"{mean:.4f} ± {std:.4f}"


def bold(value: float, least: float) -> str:
    return f"**{value:.4f}**" if value == least else f"{value:.4f}"


def not_run(command: str) -> str:
    return f"Not run yet: {command}."


def read_yaml(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}


def read_json(path: Path, default: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else default


if __name__ == "__main__":
    run(main)
