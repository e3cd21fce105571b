"""Check that docs/reproduction.md matches the committed results and the rules for verdicts."""

import importlib.util
import json
import shutil
from pathlib import Path

import importance
import numpy as np
import polars as pl
import pytest
import yaml
from chapters.findings import FEW
from chapters.verdicts import is_equal, is_lower, nearly_all, verdict

from pipelines import leaderboard, significance
from pipelines.data.catalog import PUBLISHED, get_dataset
from results import with_spread, write_cell, write_curve, write_runs, write_trials

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "paper"
SPEC = importlib.util.spec_from_file_location("paper_report", PAPER / "report.py")
report = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(report)

MODELS = ["fm", "nfm", "afm", "ifm", "inn"]
SEEDS = 3


class Study:
    """Fill a paper/ folder through the records of the stages."""

    def __init__(self, root):
        self.root, self.params = root / "paper", root / "paper" / "params.yaml"
        self.root.mkdir()
        shutil.copy(PAPER / "published.yaml", self.root)
        content = yaml.safe_load((PAPER / "params.yaml").read_text())
        self.params.write_text(yaml.safe_dump({**content, "datasets": ["frappe-nfm"], "models": MODELS}))
        self.experiments, self.seeds = {}, {}

    def add(self, model, rmse, std=0.0002, best_epoch=4):
        folder = self.root / "results" / "frappe-nfm" / model
        self.seeds[model] = [
            {"test_rmse": value, "best_epoch": SEEDS - seed, "valid_rmse": value}
            for seed, value in enumerate(with_spread(rmse, std, SEEDS))
        ]
        write_cell(folder, self.seeds[model], num_params=1_383_175, num_trials=2, valid_rmse=0.3)
        write_trials(folder, ("PRUNED", 4, 4, 0.2), ("COMPLETE", best_epoch, 5, 0.3))
        moved = np.random.default_rng(len(model)).normal(0, 1e-5, 50)
        write_runs(folder, [(seed["test_rmse"] + moved).tolist() for seed in self.seeds[model]], seconds=600.0)

    def gather(self):
        leaderboard.main(self.params)
        significance.main(self.params)

    def experiment(self, name, valid_rmse, **entry):
        self.experiments[name] = {"dataset": "frappe-nfm", "model": "ifm", **entry}
        (self.root / "experiments.yaml").write_text(yaml.safe_dump({"experiments": self.experiments}, sort_keys=False))
        if valid_rmse is not None:
            write_curve(self.root / "results" / "experiments" / name / "run.csv", valid_rmse)

    def text(self):
        return report.page(self.params)

    def rows(self, heading):
        """Read the table rows between a heading and the next one as lists."""
        part = self.text().split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
        lines = [line for line in part.splitlines() if line.startswith("| ") and "---" not in line]
        return [line.strip("| ").split(" | ") for line in lines]

    def row(self, heading, first):
        return next(row for row in self.rows(heading) if row[0] == first)


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


def test_the_page_is_made_of_the_committed_results():
    page = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    assert report.page(PAPER / "params.yaml") == page, "run: cd paper && python report.py"


def test_the_published_figures_are_those_that_the_leaderboard_shows():
    for family, models in yaml.safe_load((PAPER / "published.yaml").read_text())["test_rmse"].items():
        shown = get_dataset(f"{family}-nfm").published_rmse
        assert {model: entry["rmse"] for model, entry in models.items()} == shown


def test_the_published_setting_is_that_which_the_leaderboard_names():
    settings = yaml.safe_load((PAPER / "published.yaml").read_text())["settings"]
    for key in ("model.embed_dim", "training.max_epochs"):
        assert set(settings[key].values()) == {PUBLISHED[key.partition(".")[2]]}


def test_without_results_nothing_is_said_but_what_to_run(study):
    text = study.text()
    assert "| ifm | – | 1.46M | – | 0.3080 | – | not run yet |" in text
    assert "Not run yet: `cd paper && dvc repro significance`." in text
    assert {row[2] for row in study.rows("by the rules that each part gives:")} == {"hold", "0"}
    assert "| yes |" not in text
    assert "| no |" not in text


def test_models_whose_best_trial_ran_out_of_epochs_are_named(study):
    for model in MODELS:
        study.add(model, 0.33, best_epoch=5 if model in ("fm", "ifm") else 4)
    study.gather()
    assert "Short searches: fm, ifm. The best trial of each was still learning in its last epoch." in study.text()


def test_models_whose_paper_setting_a_search_stopped_are_named(study):
    for model in MODELS:
        study.add(model, 0.33)
        first = ("PRUNED" if model == "nfm" else "COMPLETE", 4, 4, 0.2)
        write_trials(
            study.root / "results" / "frappe-nfm" / model, first, ("PRUNED", 1, 1, 0.4), ("COMPLETE", 4, 5, 0.3)
        )
    assert "Searches that stopped the paper's setting early: nfm. They" in study.text()


def test_the_best_trial_is_shown_beside_the_seeds_of_its_setting(study):
    study.add("inn", 0.31, std=0.001)
    row = next(row for row in study.rows("### frappe") if row[:2] == ["inn", "0.3000"])
    assert row[2:] == ["0.3100 ± 0.0010", "+0.0100", "0.3110 (1), 0.3100 (2), 0.3090 (3)"]


@pytest.mark.parametrize(("num_sampled", "said"), [(44, False), (45, True)])
def test_a_sampling_that_leaves_no_pair_out_is_said_to_be_none(study, num_sampled, said):
    study.add("ifm_sampling", 0.31)
    folder = study.root / "results" / "frappe-nfm" / "ifm_sampling"
    write_cell(folder, study.seeds["ifm_sampling"], setting={"model.num_sampled": num_sampled})
    assert ("takes all of the 45 pairs, so here it is IFM with a search of its own" in study.text()) == said


@pytest.mark.parametrize(
    ("mean", "paper", "own", "words", "holds"),
    [
        (0.3305, 0.3321, None, "reproduced", True),
        (0.3337, 0.3321, None, "reproduced", True),  # within 0.5 %
        (0.3339, 0.3321, None, "not reproduced: +0.0018", False),
        (0.3094, 0.3171, 0.3095, "reproduced", True),
        (0.3120, 0.3171, 0.3095, "as in this paper; +0.0025 to its own", True),
        (0.3200, 0.3171, 0.3095, "not reproduced: +0.0029", False),
        (0.3200, None, None, "–", None),
        (None, 0.3171, None, "not run yet", None),
    ],
)
def test_a_figure_is_reproduced_if_it_is_as_good_as_the_published_one(mean, paper, own, words, holds):
    assert verdict(mean, paper, own) == (words, holds)


@pytest.mark.parametrize(
    ("interval", "equal"),
    [((-0.001, 0.0014), True), ((0.0, 0.0), True), ((0.0047, 0.0082), False), ((-0.0034, 0.0004), None)],
)
def test_models_are_about_as_good_if_the_whole_interval_is_within_half_a_percent(interval, equal):
    assert is_equal(interval, 0.3) is equal
    assert is_equal((-interval[1], -interval[0]), 0.3) is equal


@pytest.mark.parametrize(
    ("difference", "interval", "shown", "lower"),
    [
        (-0.002, (-0.003, -0.001), True, True),
        (0.002, (0.001, 0.003), True, False),
        (-0.0005, (-0.001, 0.001), False, False),  # about as good
        (-0.002, (-0.0046, 0.0005), False, None),  # neither is shown
        (-0.002, (-0.002, -0.002), None, True),  # not tested, larger than the margin
        (-0.001, (-0.001, -0.001), None, False),
        (0.002, (0.002, 0.002), None, False),
    ],
)
def test_an_order_is_shown_by_the_tests_or_by_more_than_the_margin(difference, interval, shown, lower):
    assert is_lower(difference, interval, 0.3, shown) is lower


def test_table_2_and_the_order_of_models(study):
    for model, rmse in {"fm": 0.3320, "nfm": 0.3085, "afm": 0.3130, "ifm": 0.3085, "inn": 0.3200}.items():
        study.add(model, rmse)
    study.gather()
    assert study.row("### frappe", "fm") == [
        "fm", "1,383,175", "1.38M", "0.3320 ± 0.0002", "0.3321", "–", "reproduced",
    ]  # fmt: skip
    assert study.row("### frappe", "afm")[-1] == "as in this paper; +0.0028 to its own"
    assert study.row("### frappe", "inn")[-1] == "not reproduced: +0.0129"
    assert study.row("### frappe", "deepfm")[-1] == "not run yet"
    assert study.row("### frappe", "ifm is better than afm")[2] == "yes"
    assert study.row("### frappe", "ifm is better than nfm")[2] == "no"
    assert study.row("### frappe", "inn is better than ifm")[1].startswith("+0.0115 (+0.01")
    assert study.row("### frappe", "inn is better than ifm")[2] == "no"
    assert study.row("### frappe", "ffm is better than fm")[1:] == ["–", "open"]
    assert study.row("by the rules that each part gives:", "RQ1: Table 2") == ["RQ1: Table 2", "15", "4", "1", "10"]
    assert "![Test RMSE, and which models differ](../paper/results/significance.svg)" in study.text()


def test_another_release_is_not_judged(study):
    study.add("fm", 0.3)
    content = yaml.safe_load(study.params.read_text())
    study.params.write_text(yaml.safe_dump({**content, "datasets": ["movielens"], "models": ["fm"]}))
    (study.root / "results" / "frappe-nfm").rename(study.root / "results" / "movielens")
    study.gather()
    assert study.row("### movielens", "fm")[3:] == ["0.3000 ± 0.0002", "0.4671", "–", "other data"]
    prices = study.rows("### What the open statements would cost")
    assert ["RQ1: Table 2", "7", "the data set `movielens-nfm`", "–"] in prices


def test_experiments_that_are_missing_are_named_with_their_command(study):
    study.experiment("one", None, figure="aspects", label="IFM")
    study.experiment("two", [0.4], figure="aspects", label="FM")
    study.experiment("three", None, figure="aspects", label="FA-IFM")
    assert "Not run yet: `cd paper && python experiment.py one/run three/run`." in study.text()
    for number in range(FEW):
        study.experiment(f"more-{number}", None, figure="aspects", label=str(number))
    assert "Not run yet: `cd paper && dvc repro experiment`, 6 of 7 runs." in study.text()


def test_figure_2_is_judged_by_the_best_epochs(study):
    for label, curve in {"FM": [0.4, 0.5], "FA-IFM": [0.3, 0.31], "IA-IFM": [0.39, 0.4], "IFM": [0.32, 0.35]}.items():
        study.experiment(label, curve, figure="aspects", label=label)
    heading = "### One aspect only (Figure 2)"
    assert study.row(heading, "frappe-nfm")[1:] == ["FM", "0.4000", "1", "0.5000", "2"]
    assert study.row(heading, "FA-IFM is better than IA-IFM on frappe-nfm")[1:] == ["0.3000 and 0.3900", "yes"]
    assert study.row(heading, "IFM is better than FA-IFM on frappe-nfm")[2] == "no"
    ratio = study.row(heading, "FA-IFM improves on FM 9 times as much as IA-IFM on frappe-nfm")
    assert ratio[1:] == ["+0.1000 and +0.0100: 10.0 times", "yes"]


def test_what_was_behind_and_still_learning_leaves_a_statement_open(study):
    for label, curve in {"FM": [0.4, 0.5], "FA-IFM": [0.31, 0.3], "IA-IFM": [0.4, 0.39], "IFM": [0.32, 0.35]}.items():
        study.experiment(label, curve, figure="aspects", label=label)
    heading = "### One aspect only (Figure 2)"
    behind = study.row(heading, "FA-IFM is better than IA-IFM on frappe-nfm")
    assert behind[1:] == ["0.3000 and 0.3900, still learning", "open"]
    ahead = study.row(heading, "IFM is better than FA-IFM on frappe-nfm")
    assert ahead[1:] == ["0.3200 and 0.3000", "no"]
    assert study.row(heading, "FA-IFM improves on FM 9 times as much as IA-IFM on frappe-nfm")[2] == "open"


def test_each_model_is_set_beside_ifm_without_pretraining_and_beside_itself_with_it(study):
    for label, rmse in {"IFM, random": 0.32, "IFM, from FM": 0.31, "AFM, random": 0.31, "AFM, from FM": 0.33}.items():
        study.experiment(label, [rmse, rmse + 0.01], figure="pretrained", label=label)
    study.experiment("NFM, random", [0.35, 0.34], figure="pretrained", label="NFM, random")
    heading = "### Is IFM still ahead without pretraining?"
    assert study.rows(heading)[-5:] == [
        ["without pretraining, IFM is better than AFM on frappe-nfm", "0.3200 and 0.3100", "no"],
        ["without pretraining, IFM is better than NFM on frappe-nfm", "0.3200 and 0.3400, still learning", "open"],
        ["pretraining makes IFM better on frappe-nfm", "0.3100 and 0.3200", "yes"],
        ["pretraining makes AFM better on frappe-nfm", "0.3300 and 0.3100", "no"],
        ["pretraining makes NFM better on frappe-nfm", "–", "open"],
    ]


@pytest.mark.parametrize(("behind", "holds"), [(0.36, "yes"), (0.34, "open")])
def test_a_run_that_gained_as_much_of_late_as_it_is_behind_could_catch_up(study, behind, holds):
    study.experiment("fa", [behind + 0.05, behind + 0.05, behind, behind], figure="aspects", label="FA-IFM")
    study.experiment("ifm", [0.30, 0.30, 0.30, 0.30], figure="aspects", label="IFM")
    assert study.row("### One aspect only (Figure 2)", "IFM is better than FA-IFM on frappe-nfm")[2] == holds


@pytest.mark.parametrize(
    ("epochs", "rise", "holds"), [(51, 0.002, "yes"), (51, 0.0012, "no"), (20, 0.0, "open"), (20, 0.002, "yes")]
)
def test_whether_the_full_model_overfits_needs_as_many_epochs_as_the_paper_had(study, epochs, rise, holds):
    study.experiment("ifm", [0.3] * epochs, figure="factorization", label="IFM")
    study.experiment("full", [0.31] * (epochs - 1) + [0.31 + rise], figure="factorization", label="IFM⁻")
    heading = "## RQ3: factorisation (Figure 3)"
    assert study.row(heading, "IFM⁻ gets worse again on frappe-nfm, from epoch 50")[2] == holds
    assert study.row(heading, "IFM is better than IFM⁻ on frappe-nfm")[2] == "yes"


@pytest.mark.parametrize(
    ("found", "wins", "learning", "holds"),
    [
        ([True] * 8 + [False] * 2, 8, 0, True),
        ([True] * 7 + [False] * 3, 7, 0, False),
        ([True] * 8 + [None] * 2, 8, 2, True),
        ([True] * 7 + [None] + [False] * 2, 7, 1, None),
        ([None] * 2 + [False] * 8, 0, 2, False),
    ],
)
def test_nearly_all_are_eight_in_ten_and_what_is_open_counts_only_where_it_decides(found, wins, learning, holds):
    assert nearly_all(found) == {"wins": wins, "num_pairs": 10, "learning": learning, "holds": holds}


def test_a_hyperparameter_has_a_row_a_value_and_the_best_in_bold(study):
    for x, fm, ifm in ((0.1, 0.5, 0.4), (0.5, 0.35, 0.3), (1.0, 0.33, 0.31)):
        study.experiment(f"fm-{x}", [fm, fm + 0.1], figure="keep", label="FM", x=x)
        study.experiment(f"ifm-{x}", [ifm, ifm + 0.1], figure="keep", label="IFM", x=x)
    heading = "### Keep probability (Figure 4)"
    assert study.rows(heading)[:4] == [
        ["keep probability", "FM, frappe-nfm", "IFM, frappe-nfm"],
        ["0.1", "0.5000", "0.4000"],
        ["0.5", "0.3500", "**0.3000**"],
        ["1", "**0.3300**", "0.3100"],
    ]
    assert study.row(heading, "IFM is better than FM for nearly all keep probabilities on frappe-nfm")[1:] == [
        "3 of 3",
        "yes",
    ]
    study.experiment("fm-0.1", [0.6, 0.5], figure="keep", label="FM", x=0.1)
    assert study.row(heading, "IFM is better than FM for nearly all keep probabilities on frappe-nfm")[1:] == [
        "2 of 3, 1 still learning",
        "open",
    ]
    inner = "the best keep probability of {} on frappe-nfm is neither the least nor the largest"
    assert study.row(heading, inner.format("FM"))[1:] == ["1", "no"]
    assert study.row(heading, inner.format("IFM"))[1:] == ["0.5", "yes"]
    study.experiment("fm-0.5", [0.36, 0.35], figure="keep", label="FM", x=0.5)
    study.experiment("ifm-1.0", [0.32, 0.31], figure="keep", label="IFM", x=1.0)
    assert study.row(heading, inner.format("FM"))[1:] == ["1", "open"]
    assert study.row(heading, inner.format("IFM"))[1:] == ["0.5", "open"]


@pytest.mark.parametrize(
    ("without", "penalised", "found"),
    [
        ([0.30, 0.31], [0.29, 0.30], ["by 3.3%, with λ_F 0.1", "yes"]),
        ([0.31, 0.30], [0.29, 0.30], ["by 3.3%, with λ_F 0.1", "open"]),
        ([0.30, 0.31], [0.31, 0.32], ["by 0.0%, with λ_F 0", "no"]),
        ([0.30, 0.31], [0.32, 0.31], ["by 0.0%, with λ_F 0", "open"]),
    ],
)
def test_the_penalty_of_the_field_aspect_is_set_against_none(study, without, penalised, found):
    study.experiment("none", without, figure="l2_field", label="IFM", x=0.0)
    study.experiment("some", penalised, figure="l2_field", label="IFM", x=0.1)
    rows = study.rows("### L2 of the field aspect (Figure 5)")
    assert [row[1:] for row in rows if row[0].startswith("λ_F improves IFM on frappe-nfm")] == [found]


@pytest.mark.parametrize(
    ("frappe", "movielens", "found"),
    [
        ({1: 0.32, 8: 0.31, 16: 0.30}, {1: 0.70, 8: 0.60, 16: 0.65}, ["8 and 16", "yes"]),
        ({1: 0.32, 8: 0.30, 16: 0.31}, {1: 0.70, 8: 0.65, 16: 0.60}, ["16 and 8", "no"]),
        ({1: 0.32, 8: 0.3001, 16: 0.30}, {1: 0.70, 8: 0.60, 16: 0.65}, ["8 and 16", "open"]),
        ({1: 0.32, 8: 0.30, 16: 0.3001}, {1: 0.70, 8: 0.6001, 16: 0.60}, ["16 and 8", "open"]),
    ],
)
def test_the_best_of_values_that_are_about_as_good_may_be_another(study, frappe, movielens, found):
    for dataset, by_x in (("frappe-nfm", frappe), ("movielens", movielens)):
        for x, rmse in by_x.items():
            entry = {"figure": "field_embed_dim", "label": "IFM", "x": x, "dataset": dataset}
            study.experiment(f"{dataset}-{x}", [rmse, rmse + 0.1], **entry)
    heading = "### Factors of the field aspect (Figure 6)"
    assert study.row(heading, "the best K_F is lower on MovieLens than on Frappe")[1:] == found


def test_sampling_is_set_beside_all_pairs(study):
    entry = {"figure": "sampling", "label": "IFM-sampling", "set": {"training.l2_field": 0.5}}
    study.experiment("tenth", [0.32, 0.33], x=0.1, **entry)
    study.experiment("all", [0.31, 0.32], x=1.0, **entry)
    table = {"share": [1.0, 1.0, 0.1, 0.1], "valid_rmse": [0.2, 0.4, 0.3, 0.3], "valid_auc": [0.9] * 4}
    table |= {"l2_field": [0.1] * 4, "best_epoch": [3] * 4, "epochs": [3] * 4}
    pl.DataFrame({**table, "seconds_per_epoch": [9.0, 11.0, 2.0, 2.0]}).write_csv(study.root / "results/sampling.csv")
    rows = [row for row in study.rows("### Sampling (Table 4)") if row[0] in ("frappe-nfm", "generated, 40 fields")]
    assert rows == [
        ["frappe-nfm", "100%", "0.5", "0.3100", "0.6900", "2.00", "1.0×"],
        ["frappe-nfm", "10%", "0.5", "0.3200", "0.6800", "2.00", "1.0×"],
        ["generated, 40 fields", "100%", "0.1", "0.3000 ± 0.1414", "0.9000", "10.00", "1.0×"],
        ["generated, 40 fields", "10%", "0.1", "0.3000 ± 0.0000", "0.9000", "2.00", "5.0×"],
    ]
    found = {row[0]: row[2] for row in study.rows("### Sampling (Table 4)") if row[-1] in ("yes", "no")}
    assert list(found.values()) == ["no", "no", "yes", "yes"]


@pytest.mark.parametrize(
    ("tenth", "holds"), [([0.32, 0.319], "open"), ([0.319, 0.32], "no"), ([0.32, 0.3116], "yes"), ([0.305], "yes")]
)
def test_auc_lost_by_sampling_is_open_while_the_sampled_run_learns(study, tenth, holds):
    entry = {"figure": "sampling", "label": "IFM-sampling", "set": {"training.l2_field": 0.5}}
    study.experiment("tenth", tenth, x=0.1, **entry)
    study.experiment("all", [0.31, 0.32], x=1.0, **entry)
    assert study.row("### Sampling (Table 4)", "at most 0.0016 of AUC lost, on frappe-nfm")[-1] == holds


def test_the_l2_of_sampling_is_shown_by_share(study):
    for share, rmse in (("10 %", 0.4), ("100 %", 0.3)):
        for x in (0.1, 1.0):
            name = f"{share}-{x}"
            study.experiment(name, [rmse + x / 100], figure="sampling_l2", label=share, x=x)
    rows = study.rows("### Sampling (Table 4)")
    assert rows == [
        ["λ_F", "10 %, frappe-nfm", "100 %, frappe-nfm"],
        ["0.1", "**0.4010**", "**0.3010**"],
        ["1", "0.4100", "0.3100"],
    ]


def test_the_codes_way_is_set_beside_the_papers(study):
    study.experiment("logits", [0.31, 0.30], figure="code", label="τ on the logits")
    study.experiment("on", [0.5], figure="code", label="attention on", model="afm")
    study.experiment("hidden", [0.305], figure="code", label="τ in the hidden layer")
    study.experiment("inert", [0.49], figure="code", label="attention inert", model="afm")
    assert "τ in the hidden layer: +0.0050 of validation RMSE to τ on the logits." in study.text()
    assert "attention inert: -0.0100 of validation RMSE to attention on." in study.text()


def test_importance_has_the_norms_beside_those_of_table_3(study):
    folder = study.root / "results" / "importance"
    folder.mkdir(parents=True)
    figures = {measure: [1.0, 3.0, 6.0] for measure in importance.MEASURES}
    pairs = {"i": ["user", "user", "movie"], "j": ["movie", "tag", "tag"]}
    table = pl.DataFrame({**pairs, **figures, "has_label_information": [False, True, True], "planted": [0.0, 2.0, 1.0]})
    (folder / "movielens.csv").write_text(table.write_csv())
    (folder / "movielens.json").write_text(json.dumps(importance.summary(table)))
    heading = "### How important is a pair of fields (Table 3)"
    assert study.row(heading, "user-tag") == ["user-tag", "3.000", "30.0%", "5.938", "35.8%"]
    assert study.row(heading, "norms: user-movie < user-tag < movie-tag")[2] == "yes"
    assert study.rows(heading)[-3:] == [
        ["movielens", "share on other pairs", "0.333", "0.100", "0.100", "0.100", "0.100"],
        ["movielens", "Spearman", "–", "0.500", "0.500", "0.500", "0.500"],
        ["movielens", "precision at k", "–", "1.000", "1.000", "1.000", "1.000"],
    ]


def test_the_budget_adds_up_what_was_measured(study):
    study.add("fm", 0.33)
    study.experiment("one", [0.4, 0.3], figure="aspects", label="IFM")
    rows = study.rows("## Budget")
    assert rows[1:] == [
        ["fm on frappe-nfm", "search", "2 trials", "9", "10.00", "0.03"],
        ["fm on frappe-nfm", "final runs", "3 seeds", "3", "600.00", "0.50"],
        ["aspects on frappe-nfm", "experiments", "1 curves", "2", "2.00", "0.00"],
    ]
    assert "In all 0.5 hours of one core" in study.text()


def test_what_is_open_has_the_price_of_twice_the_runs(study):
    for label, curve in {"FM": [0.4, 0.5], "FA-IFM": [0.31, 0.3], "IA-IFM": [0.4, 0.39], "IFM": [0.32, 0.35]}.items():
        study.experiment(label, curve, figure="aspects", label=label)
        write_curve(study.root / "results" / "experiments" / label / "run.csv", curve, seconds=900.0)
    heading = "### What the open statements would cost"
    assert study.row(heading, "RQ2: Figure 2")[1:] == ["2", "aspects on frappe-nfm", "4.00"]
    assert study.row(heading, "RQ3: Figure 3")[1:] == ["1", "factorization on frappe-nfm", "–"]


def test_an_open_order_of_models_has_the_price_of_as_many_seeds_more(study):
    rmse = {"fm": 0.34, "ffm": 0.33, "deepfm": 0.335, "nfm": 0.32, "afm": 0.315, "ifm": 0.308, "ifm_sampling": 0.308}
    content = yaml.safe_load(study.params.read_text())
    study.params.write_text(yaml.safe_dump({**content, "models": [*rmse, "inn"]}))
    for model, value in rmse.items():
        study.add(model, value)
    study.add("inn", 0.305, std=0.004)
    study.gather()
    assert study.row("### frappe", "inn is better than ifm")[2] == "open"
    prices = [row[1:] for row in study.rows("### What the open statements would cost") if "order" in row[0]]
    assert prices == [
        ["1", "inn on frappe-nfm, ifm on frappe-nfm", "1.00"],  # 3 seeds of 600 s each
        ["7", "the data set `movielens-nfm`", "–"],
    ]


def test_a_run_without_early_stopping_is_shown_beside_what_patience_would_have_made_of_it(study):
    study.experiment("longer-ifm", [0.40, 0.35, 0.36, 0.36, 0.36, 0.36, 0.30], figure="longer", label="IFM")
    study.experiment("longer-fm", [0.40, 0.39, 0.38], figure="longer", label="FM", model="fm")
    text = study.text()
    assert "Patience 4 would have ended this run of IFM after epoch 6, at 0.3500; all 7 epochs reach 0.3000." in text
    assert "this run of FM after epoch 3, at 0.3800; all 3 epochs reach 0.3800." in text


def test_ffm_from_fm_is_shown_beside_its_random_start(study):
    study.experiment("ffm-none", [0.35, 0.36], figure="ffm", label="FFM, random", model="ffm")
    study.experiment("ffm-fm", [0.40, 0.33, 0.34], figure="ffm", label="FFM, from FM", model="ffm")
    heading = "## What FFM gains from FM"
    assert study.rows(heading)[1:3] == [
        ["frappe-nfm", "FFM, random", "0.3500", "1", "0.3600", "2"],
        ["frappe-nfm", "FFM, from FM", "0.3300", "2", "0.3400", "3"],
    ]
    assert study.row(heading, "pretraining makes FFM better on frappe-nfm")[1:] == ["0.3300 and 0.3500", "yes"]
