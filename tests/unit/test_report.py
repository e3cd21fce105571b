"""Check what the page of all results says and draws."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import vl_convert

from pipelines.project.files import noted_failure
from pipelines.project.metric import METRICS
from pipelines.project.paths import Paths
from pipelines.report import main
from pipelines.reporting import specs
from results import with_spread, write_cell, write_declined, write_runs, write_trials

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
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

    def add(self, model, rmse, figures=(), **best):
        folder = self.paths.results("mine", model)
        values = with_spread(rmse, 0.0002, 3)
        write_cell(folder, [{"test_rmse": value, **dict(figures)} for value in values], **best)
        write_trials(folder, ("COMPLETE", 2, 3, rmse + 0.2), ("PRUNED", 1, 1, rmse), ("COMPLETE", 1, 2, 0.9))
        write_runs(folder, [(value + self.moved).tolist() for value in values])
        self.models.append(model)

    def page(self, **training):
        content = {"seed": 1, "datasets": ["mine"], "models": self.models, "tune": {"num_trials": 3}}
        content["training"] = training
        (self.paths.root / "params.yaml").write_text(json.dumps(content))
        main(self.paths.root / "params.yaml")
        return self.paths.report.read_text(encoding="utf-8")

    def charts(self):
        return json.loads(re.search(r'<script type="application/json" id="charts">(.*?)</script>', self.page())[1])


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
    assert charts.keys() == {f"mine-{name}" for name in names}
    for spec in charts.values():
        assert vl_convert.vegalite_to_svg(spec).startswith("<svg")
    best = [(row["model"], row["trial"], row["best"]) for row in charts["mine-search"]["data"]["values"]]
    assert best[:3] == [("fm", 0, 0.6000000000000001), ("fm", 1, 0.4), ("fm", 2, 0.4)]
    assert {row["model"]: row["front"] for row in charts["mine-pareto-epoch"]["data"]["values"]} == {
        "fm": True,
        "lr": False,
    }


def test_a_model_has_one_colour_in_all_charts(project):
    project.add("lr", 0.5)
    project.add("fm", 0.4)
    scales = re.findall(r'"domain": \["lr", "fm"\], "range": \["(#\w+)", "(#\w+)"\]', json.dumps(project.charts()))
    assert len(scales) > 5
    assert len({*scales}) == 1


def test_the_same_results_give_the_same_page(project):
    project.add("fm", 0.4)
    assert project.page() == project.page()


def test_texts_of_data_are_shown_and_not_executed(project):
    project.add("fm", 0.4, setting={"model.kind": HOSTILE})
    page = project.page()
    assert HOSTILE not in page
    assert "&lt;script&gt;document.title" in page


@pytest.mark.skipif(BROWSER is None, reason="no browser")
def test_a_browser_draws_sorts_and_filters_without_an_error_or_a_network(project, tmp_path):
    project.add("lr", 0.5)
    project.add("fm", 0.4, setting={"model.kind": HOSTILE})
    probe = """<script type="module">
    const shown = () => [...document.querySelectorAll("tbody tr[data-model]")].filter((row) => !row.hidden);
    const names = () => shown().map((row) => row.dataset.model).join(" ");
    const steps = [names()];
    const head = document.querySelector(".sortable th:nth-child(2)");
    for (let click = 0; click < 2; click++) { head.firstChild.click(); steps.push(names() + " " + head.ariaSort); }
    const filter = document.querySelector("[data-filter]");
    filter.value = "fm"; filter.dispatchEvent(new Event("input"));
    steps.push(names());
    const others = performance.getEntriesByType("resource").map((each) => each.name).join(" ");
    addEventListener("load", () => setTimeout(() => {
      const drawn = document.querySelectorAll(".chart svg").length;
      document.body.dataset.seen = [...steps, drawn, "fetched:" + others, document.title].join("; ");
    }, 3000));
    </script>"""
    file = tmp_path / "probed.html"
    file.write_text(project.page() + probe)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=9000"]
    command = [BROWSER, *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in seen.stderr
    found = re.search(r'data-seen="([^"]*)"', seen.stdout)[1]
    assert found == "fm lr; fm lr ascending; lr fm descending; fm; 7; fetched:; factorbench"


def test_the_front_has_the_models_that_no_other_beats_in_quality_and_cost():
    found = {"a": (0.5, 1), "b": (0.4, 2), "c": (0.45, 3), "d": (0.3, 9), "e": (0.3, 8)}
    for name, sign in (("rmse", 1), ("auc", -1)):
        rows = [
            {"model": model, "mean": sign * mean, "epoch": cost, "setting": ""} for model, (mean, cost) in found.items()
        ]
        chart = specs.pareto_chart(rows, list(found), METRICS[name], "epoch", "seconds")
        assert [row["model"] for row in chart["data"]["values"] if row["front"]] == ["a", "b", "e"]
