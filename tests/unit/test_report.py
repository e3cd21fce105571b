"""Check what the page of all results says and draws."""

import html
import json
import re
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import polars as pl
import pytest
import vl_convert
from optuna.distributions import FloatDistribution

from models.registry import list_models
from pipelines.data.catalog import get_dataset, list_datasets
from pipelines.data.own import OwnDataset
from pipelines.evaluation.published import FILE
from pipelines.project.files import file_digest, noted_failure, write_json, write_text
from pipelines.project.metric import METRICS
from pipelines.project.params import Params, TuneParams
from pipelines.project.paths import Paths
from pipelines.report import main
from pipelines.reporting import specs, specs_of_models, specs_of_searches
from pipelines.reporting.page_boards import negatives
from pipelines.search.journal import open_journal
from results import with_spread, write_cell, write_declined, write_runs, write_trials

HOSTILE = "<script>document.title = 'taken'</script>"
LOG = f"title: {HOSTILE}\nformat: table\nfiles: [log.csv]\nlabel: click\nfields: {{user: category, item: category}}\n"


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


class Project:
    """Fill a results folder through the records of the stages."""

    def __init__(self, root):
        self.paths, self.models = Paths(root), []
        (root / "datasets").mkdir()
        (root / "datasets" / "mine.yaml").write_text(LOG)
        self.moved = np.random.default_rng(1).normal(0, 0.001, 40)

    def add(self, model, rmse, figures=(), dataset="mine", **best):
        folder = self.paths.results(dataset, model)
        values = with_spread(rmse, 0.0002, 3)
        write_cell(folder, [{"test_rmse": value, **dict(figures)} for value in values], **best)
        write_trials(folder, ("COMPLETE", 2, 3, rmse + 0.2), ("PRUNED", 1, 1, rmse), ("COMPLETE", 1, 2, 0.9))
        write_runs(folder, [(value + self.moved).tolist() for value in values])
        if model not in self.models:
            self.models.append(model)

    def page(self, datasets=("mine",), **training):
        content = {"seed": 1, "datasets": list(datasets), "models": self.models, "tune": {"num_trials": 3}}
        content["training"] = training
        (self.paths.root / "params.yaml").write_text(json.dumps(content))
        main(self.paths.root / "params.yaml")
        return self.paths.report.read_text(encoding="utf-8")

    def charts(self, **more):
        """Return each chart's specification, with its rows."""
        page = self.page(**more)
        content = json.loads(re.search(r'<script type="application/json" id="charts">(.*?)</script>', page)[1])
        kinds = content["kinds"]
        return {
            name: {**kinds[chart["kind"]], "data": {"values": chart["rows"]}}
            for name, chart in content["charts"].items()
        }


def visible(page):
    """Return the page's words, without scripts and styles."""
    return html.unescape(" ".join(re.sub(r"(?s)<(script|style).*?</\1>|<[^>]*>", " ", page).split()))


def test_the_first_sentence_says_who_wins_by_how_much_and_who_may_be_as_good(project):
    project.add("lr", 0.5)
    project.add("fm", 0.4)
    project.add("nfm", 0.4)
    said = "is best on mine: test RMSE 0.4000 ± 0.0002."
    assert f"fm {said} nfm can't be told from it. lr, the next, is worse by 0.1000." in visible(project.page())


def test_what_is_missing_failed_or_declined_is_named(project):
    project.add("fm", 0.4)
    write_declined(project.paths.results("mine", "ifm"), "needs three fields")
    with pytest.raises(ValueError, match="too hot"), noted_failure(project.paths.study("mine", "nfm")):
        raise ValueError("too hot")
    project.models += ["ifm", "nfm", "lr"]
    words = visible(project.page())
    assert "ifm is not here: needs three fields" in words
    assert "nfm: too hot" in words
    assert "lr: not run yet" in words


def test_a_metric_that_runs_had_only_at_their_test_has_no_curves(project):
    project.add("fm", 0.4, figures={"test_ece": 0.123456})
    project.page(metric="ece")
    assert "test ECE 0.12346 ± 0.00000" in visible(project.paths.report.read_text(encoding="utf-8"))


def test_without_results_the_page_says_so(project):
    project.models = ["fm"]
    assert "No model has results on mine yet." in visible(project.page())


def test_every_chart_is_a_valid_specification_with_its_figures(project):
    project.add("lr", 0.5)
    project.add("fm", 0.4)
    charts = project.charts()
    names = {"intervals", "pairs", "pareto-search", "pareto-epoch", "pareto-parameters", "curves", "search"}
    assert charts.keys() == {f"mine/{name}" for name in names}
    for spec in charts.values():
        assert vl_convert.vegalite_to_svg(spec).startswith("<svg")
    best = [(row["model"], row["trial"], row["best"]) for row in charts["mine/search"]["data"]["values"]]
    assert best[:3] == [("fm", 0, 0.6000000000000001), ("fm", 1, 0.4), ("fm", 2, 0.4)]
    assert {row["model"]: row["front"] for row in charts["mine/pareto-epoch"]["data"]["values"]} == {
        "fm": True,
        "lr": False,
    }


def test_a_model_has_one_colour_in_all_charts(project):
    project.add("lr", 0.5)
    project.add("fm", 0.4)
    scales = re.findall(r'"domain": \["lr", "fm"\], "range": \["(#\w+)", "(#\w+)"\]', json.dumps(project.charts()))
    assert len(scales) > 5
    assert len({*scales}) == 1
    for model, colour in zip(("lr", "fm"), scales[0], strict=True):
        row = re.search(f'<tr data-model="{model}".*?</tr>', project.page(), re.DOTALL)[0]
        assert {*re.findall(r"--colour: (#\w+)", row)} == {colour}


def test_a_model_s_own_curve_has_its_colour_too(project):
    for model in ("lr", "fm"):
        project.add(model, 0.5)
        write_runs(project.paths.results("mine", model), [[0.5, 0.6]] * 3, num_epochs=2)
    charts = project.charts()
    colours = [
        {layer["mark"]["color"] for layer in charts[f"mine/model/{model}/curve"]["layer"]} for model in ("lr", "fm")
    ]
    assert colours == [{colour} for colour in specs.colours(["lr", "fm"]).values()]


def test_figures_of_pairs_that_would_overlap_are_left_out():
    models = [f"m{number}" for number in range(9)]
    pairs = {"difference": 0.1, "interval": "", "p": 0.5, "differ": "differ", "shown": "-0.1234"}
    rows = [{"a": a, "b": b, **pairs} for a, b in combinations(models, 2)]
    chart = specs_of_models.pair_chart(rows, models, METRICS["rmse"])
    for width, opacity in ((900, "1"), (300, "0")):
        drawn = vl_convert.vegalite_to_svg({**chart, "width": width})
        assert {*re.findall(r'opacity="(\d)"[^>]*>[-−]0.1234<', drawn)} == {opacity}


def test_epochs_are_whole_numbers():
    rows = [{"epoch": epoch, "value": 1 / epoch, "best": epoch == 2} for epoch in (1, 2)]
    drawn = vl_convert.vegalite_to_svg(
        {**specs_of_searches.single_curve(rows, METRICS["rmse"], "#000000"), "width": 900}
    )
    assert re.findall(r">(\d)</text>", drawn) == ["1", "2"]


def test_memory_is_a_cost_of_the_models_whose_results_have_it(project):
    project.add("lr", 0.5)
    project.add("fm", 0.4, figures={"peak_memory_mb": 400.0})
    rows = project.charts()["mine/pareto-memory"]["data"]["values"]
    assert [(row["model"], row["memory"]) for row in rows] == [("fm", 400.0)]


def test_the_same_results_give_the_same_page(project):
    project.add("fm", 0.4)
    assert project.page() == project.page()


def test_texts_of_data_are_shown_and_not_executed(project):
    project.add("fm", 0.4, setting={"model.kind": HOSTILE})
    page = project.page()
    assert HOSTILE not in page
    assert "&lt;script&gt;document.title" in page


def test_the_front_has_the_models_that_no_other_beats_in_quality_and_cost():
    found = {"a": (0.5, 1), "b": (0.4, 2), "c": (0.45, 3), "d": (0.3, 9), "e": (0.3, 8)}
    for name, sign in (("rmse", 1), ("auc", -1)):
        rows = [
            {"model": model, "mean": sign * mean, "epoch": cost, "setting": ""} for model, (mean, cost) in found.items()
        ]
        chart = specs_of_models.pareto_chart(rows, list(found), METRICS[name], "epoch", "seconds")
        assert [row["model"] for row in chart["data"]["values"] if row["front"]] == ["a", "b", "e"]
        names = {**chart, "layer": [{**chart["layer"][2], "transform": chart["layer"][0]["transform"]}], "width": 300}
        drawn = re.findall(r">([abcde])</text>", vl_convert.vegalite_to_svg(names))
        assert sorted(drawn) == ["a", "b", "e"]


def row_of(page, model):
    """Return the texts of a model's row of the board."""
    row = re.search(f'<tr[^>]* data-model="{model}".*?</tr>', page, re.DOTALL)[0]
    return [visible(cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]


def test_family_year_and_size_of_a_model_are_shown_and_filtered_by(project):
    project.add("fm", 0.4, num_params=1234)
    page = project.page()
    assert 'data-family="factorization machine" data-year="2010" data-size="1234"' in page
    assert row_of(page, "fm")[-2:] == ["factorization machine", "2010"]
    assert "<option>factorization machine</option>" in page
    assert '<option value="2010">from 2010</option>' in page
    assert "at most 10,000</option>" in page


def test_models_that_are_not_shown_to_differ_from_the_best_are_marked(project):
    project.add("lr", 0.5)
    project.add("fm", 0.4)
    project.add("nfm", 0.4)
    page = project.page()
    assert re.findall(r'<tr class="equal" data-model="(\w+)"', page) == ["nfm"]
    assert row_of(page, "nfm")[0] == "nfm † tie"


def test_the_bars_run_from_the_best_to_the_worst(project):
    project.add("lr", 0.6)
    project.add("fm", 0.4)
    project.add("nfm", 0.5)
    bars = re.findall(r"--low: ([\d.]+); --at: ([\d.]+); --high: ([\d.]+)", project.page())
    low, at, high = (list(map(float, each)) for each in zip(*bars, strict=True))
    assert (low[0], high[2]) == (0, 100)
    assert at == pytest.approx([0.1, 50, 99.9], abs=0.01)


def test_published_figures_stand_beside_with_their_sources(project):
    for model in ("fm", "dcnv2"):
        project.add(model, 0.3, dataset="frappe-nfm")
    page = project.page(datasets=["frappe-nfm"])
    words = visible(page)
    assert "published RMSE" in words
    assert "0.3321" in row_of(page, "fm")
    assert row_of(page, "dcnv2")[2:5] == ["–", "0.9845", "0.1491"]
    assert "dcnv2 AUC 0.9845 DCNv2 BARS (Zhu et al. 2022), run log" in words
    assert "best of all AUC 0.9872 TF4CTRv2" in words


def test_ensembles_stand_on_the_board_of_the_runs_that_they_are_of(project):
    project.add("fm", 0.3)
    mixture = {"name": "fm, mean of 3 seeds", "kind": "seeds", "members": {"fm 0": 1}, "valid": {"rmse": 0.2}}
    mixture |= {"test": {"rmse": 0.2, "auc": 0.9}, "num_params": 9, "seconds_per_epoch": 1.0, "num_trials": 3}
    metrics = project.paths.results("mine", "fm") / "metrics.json"
    record = {"dataset": "mine", "metric": "rmse", "mixtures": [mixture], "of": {"fm": file_digest(metrics)}}
    write_json(project.paths.ensembles("mine"), {**record, "left_out": {}})
    page = project.page()
    assert row_of(page, "fm, mean of 3 seeds")[1].startswith("0.2000")
    assert 'data-family="ensemble"' in page
    assert "fm is best on mine" in visible(page)  # of the models
    write_text(metrics, metrics.read_text() + "\n")
    page = project.page()
    assert "mean of 3 seeds" not in page
    assert "they are of other final runs" in visible(page)


def test_each_published_figure_is_of_a_known_data_set_and_model():
    table = pl.read_csv(FILE).fill_null("")
    assert {*table["dataset"]} <= {*list_datasets()}
    assert {*table["model"]} <= {"", *list_models()}
    assert not table.select("dataset", "name", "source").is_duplicated().any()
    assert table["auc"].is_between(0.5, 1).all()
    assert (table["source"] != "").all()


def test_trials_that_failed_or_were_stopped_are_listed_and_the_papers_setting_is_marked(project):
    project.add("fm", 0.4)
    assert "fm stopped 1" in visible(project.page())
    drawn = {row["trial"]: row["drawn"] for row in project.charts()["mine/search"]["data"]["values"]}
    assert drawn == {0: "paper's setting", 1: "at random", 2: "at random"}


def test_what_two_fields_do_together_is_drawn_beside_what_was_planted(project):
    strengths = {"user-item": 2.0, "item-city": 0.5, "user-city": 0.0}
    for name, dims in {"mine": 3, "other": 2}.items():
        fields = dict(zip(("user", "item", "city"), (5, 4, 3)[:dims], strict=False))
        known = {"fields": ["user", "item"], "positives": {"known": 0, "rows": 1}, "negatives": {"known": 0, "rows": 1}}
        rows = {"train": 6, "valid": 3, "test": 3, "total": 12}
        figures = {"rmse": 0.1234, "auc": 0.9876, "logloss": 0.0567}
        planted = {"strengths": strengths, "reachable": {"best": figures, "without_rows": {**figures, "rmse": 0.3456}}}
        card = {"dataset": name, "split": "random", "field_dims": fields, "num_rows": rows, "num_positives": rows}
        card |= {"known_pairs": known, "raw_files": []}
        card |= {"planted": planted, "auc_of_counting": 0.75} if name == "mine" else {}
        write_json(project.paths.card(name), card)
    (project.paths.root / "datasets" / "other.yaml").write_text(LOG)
    for dataset in ("mine", "other"):
        project.add("fm", 0.4, dataset=dataset, interactions=strengths)
        project.add("lr", 0.5, dataset=dataset)
    page, charts = project.page(("mine", "other")), project.charts(datasets=("mine", "other"))
    assert [row["strength"] for row in charts["mine/model/fm/pairs"]["data"]["values"]] == [2.0, 0.0, 0.5]
    assert len(charts["other/model/fm/pairs"]["data"]["values"]) == 1
    assert "mine/planted" in charts
    assert "other/planted" not in charts
    assert "mine/model/lr/pairs" not in charts
    assert "No model can be better than RMSE 0.1234, AUC 0.9876, logloss 0.0567." in visible(page)
    assert visible(page).count("test rows have AUC 0.7500; 0.5 would give nothing away.") == 1
    assert row_of(page, "fm")[2] == "0.2766"  # 0.4 − 0.1234
    assert [each["at"] for each in charts["mine/intervals"]["layer"][-1]["data"]["values"]] == [0.1234, 0.3456]
    assert vl_convert.vegalite_to_svg(charts["mine/model/fm/pairs"]).startswith("<svg")


def test_the_settings_of_trials_stand_where_they_are_in_their_ranges(project):
    project.add("fm", 0.4)
    trials = {
        "trial": range(8),
        "state": ["complete"] * 8,
        "valid": [0.5 - number / 100 for number in range(8)],
        "best_epoch": [1] * 8,
        "epochs": [1] * 8,
        "seconds": [1.0] * 8,
        "training.learning_rate": [3e-3, *[0.5] * 7],
        "model.embed_dim": [8, 16, 32, 64, 128, 256, 8, 8],
        "reason": [None] * 8,
    }
    write_text(project.paths.results("mine", "fm") / "trials.csv", pl.DataFrame(trials).write_csv())
    charts = project.charts()
    first = [(row["key"], row["at"]) for row in charts["mine/model/fm/settings"]["data"]["values"][:4]]
    assert first == [("learning_rate", 0.0), ("embed_dim", 0.0), ("learning_rate", 1.0), ("embed_dim", 0.2)]
    shares = [row["share"] for row in charts["mine/model/fm/importances"]["data"]["values"]]
    assert sum(shares) == pytest.approx(1)
    for name in ("settings", "importances"):
        assert vl_convert.vegalite_to_svg(charts[f"mine/model/fm/{name}"]).startswith("<svg")


def test_three_data_sets_have_a_critical_difference_and_two_do_not(project):
    names = ("mine", "second", "third")
    for name in names[1:]:
        (project.paths.root / "datasets" / f"{name}.yaml").write_text(LOG)
    for name in names:
        for model, rmse in {"lr": 0.5, "fm": 0.4, "nfm": 0.3}.items():
            project.add(model, rmse, dataset=name)
    two = visible(project.page(names[:2]))
    assert "ranks over data sets need at least 3 data sets" in two
    assert "fm 0.4000 0.4000 2.00 2.0 … 2.0 25.0 %" in two
    assert "nfm has the best mean rank of 3 data sets." in visible(project.page(names))
    assert "lr 0.5000 0.5000 0.5000 3.00" in visible(project.page(names))
    chart = project.charts(datasets=names)["ranks"]
    assert [(row["model"], row["rank"]) for row in chart["data"]["values"]] == [("nfm", 1), ("fm", 2), ("lr", 3)]
    assert vl_convert.vegalite_to_svg(chart).startswith("<svg")


def test_code_of_other_behaviour_versions_and_hours_are_said(project):
    project.add("fm", 0.4, behaviour="other")
    words = visible(project.page())
    assert "† Made by code that behaved differently from today's: fm." in words
    assert "no † 0.02 0.00" in words  # 60 s of search, 3 s of final runs


def test_a_picture_of_the_board_can_be_written_beside(project, tmp_path):
    project.add("lr", 0.5)
    project.add("fm", 0.4)
    project.page()
    main(project.paths.root / "params.yaml", picture=tmp_path / "board.svg")
    assert (tmp_path / "board.svg").read_text().startswith("<svg")
    with pytest.raises(ValueError, match=r"board.gif: its name must end with .svg or .png"):
        main(project.paths.root / "params.yaml", picture=tmp_path / "board.gif")


def test_while_it_watches_the_page_has_what_came_in_between_and_loads_itself_again(project, monkeypatch):
    project.add("fm", 0.4)
    project.models += ["lr"]
    seen = [project.page()]

    def between(seconds):
        seen.append(project.paths.report.read_text(encoding="utf-8"))
        if len(seen) == 3:
            raise KeyboardInterrupt
        project.add("lr", 0.3)

    monkeypatch.setattr("pipelines.report.time", SimpleNamespace(sleep=between))
    with pytest.raises(KeyboardInterrupt):
        main(project.paths.root / "params.yaml", watch=True)
    assert ["lr: not run yet" in visible(page) for page in seen] == [True, True, False]
    assert ['http-equiv="refresh" content="10"' in page for page in seen] == [False, True, True]
    assert "lr is best on mine" in visible(seen[2])


def test_the_page_is_opened_once_if_asked(project, monkeypatch):
    project.add("fm", 0.4)
    project.page()
    opened = []
    monkeypatch.setattr("pipelines.report.webbrowser.open", opened.append)
    main(project.paths.root / "params.yaml", show=True)
    assert opened == [project.paths.report.resolve().as_uri()]


def test_a_search_that_runs_is_shown_with_its_trials(project):
    project.models = ["fm"]
    journal = project.paths.study("mine", "fm") / "journal.log"
    journal.parent.mkdir(parents=True)
    study = optuna.create_study(storage=open_journal(journal), study_name="study")
    space = {"training.learning_rate": FloatDistribution(1e-3, 1.0, log=True)}
    for number, value in enumerate((0.5, 0.4)):
        asked = study.ask(space)
        asked.report(value, 1)
        study.tell(asked, value)
        words = visible(project.page())
        assert f"fm: not finished: {number + 1} trials, the best with valid RMSE {value:.4f}" in words
    study.ask(space)
    assert [row["value"] for row in project.charts()["mine/search"]["data"]["values"]] == [0.5, 0.4]


def test_how_negatives_were_made_is_said():
    config = Params(seed=1, datasets=["frappe"], models=["fm"], tune=TuneParams(num_trials=1))
    said = negatives(get_dataset("frappe"), config)
    assert said == (
        "A negative is a row of the log with another item, one that never occurs with the row's user; each row has 2."
    )
    assert negatives(get_dataset("movielens-nfm"), config).endswith("with the row's user and movie.")
    own = {"name": "mine", "format": "table", "folder": Path(), "files": ["a.csv"], "fields": {"user": "category"}}
    assert negatives(OwnDataset(**own, label="click"), config) == ""
    drawn = {"replace": "item", "given": ["user"], "count": 5}
    both = {"user": "category", "item": "category"}
    table = OwnDataset(**{**own, "fields": both}, label="all positive", negatives=drawn)
    assert negatives(table, config).endswith("; each row has 5.")
