import os
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import vl_convert
import yaml
from matplotlib.colors import to_rgb

from pipelines.project.metric import METRICS
from pipelines.reporting import charts, page_charts, specs, specs_of_models
from pipelines.reporting.line_chart import Panel, line_chart
from pipelines.reporting.tables import far_off

EXPERIMENTS = Path(__file__).parents[2] / "paper" / "experiments.yaml"
DRAW = """
from pathlib import Path
from pipelines.reporting import charts
from pipelines.reporting.line_chart import Panel, line_chart
panel = Panel("title", "epoch", "RMSE", {"FM": [(1, 0.4), (2, 0.3)], "IFM": [(1, 0.2)]}, epochs=True)
charts.save(line_chart([[panel]], 3), Path("chart.svg"), "a name")
"""
# Machado, Oliveira and Fernandes 2009: linear RGB as seen without red cones and without green cones
CONES = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
LAB = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour, cones=None):
    """Convert a colour to CIELAB, in which a distance of 15 is clearly visible."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    if cones:
        linear = np.clip(np.array(CONES[cones]) @ linear, 0, 1)
    x, y, z = np.cbrt(LAB @ linear / np.array([0.9505, 1.0, 1.089]) + 1e-9)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_a_chart_is_the_same_in_another_process_whatever_its_matplotlibrc(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(DRAW, {})
    content = (tmp_path / "chart.svg").read_bytes()
    (tmp_path / "matplotlibrc").write_text("font.size: 20\nxtick.labelsize: 2\n")
    subprocess.run([sys.executable, "-c", DRAW], check=True, env={**os.environ, "PYTHONHASHSEED": "2"})
    assert (tmp_path / "chart.svg").read_bytes() == content
    assert b"<dc:date>" not in content
    assert ElementTree.fromstring(content).find("{http://www.w3.org/2000/svg}title").text == "a name"


def test_nothing_of_matplotlibs_settings_is_left_changed():
    before = dict(charts.mpl.rcParams)
    line_chart([[Panel("", "x", "y", {"FM": [(0, 1)]})]], 2)
    assert dict(charts.mpl.rcParams) == before


def test_a_model_has_one_colour_however_it_is_called():
    names = {"ifm": "IFM, from FM", "ifm_full": "IFM⁻", "fa_ifm": "FA-IFM", "ifm_sampling": "IFM-sampling", "fm": "FM"}
    for model, label in names.items():
        assert charts.colour(label) == charts.colour(model) == charts.COLOURS[model]
    assert charts.colour("my_model") == charts.INK


@pytest.mark.parametrize("cones", [None, *CONES])
def test_colours_of_the_page_can_be_told_from_each_other(cones):
    found = [lab(colour, cones) for colour in specs.PALETTE]
    assert min(np.linalg.norm(a - b) for a, b in combinations(found, 2)) > 15


def test_variants_of_a_model_have_its_colour_and_strokes_of_their_own():
    lines = {label: [(1, 0.5), (2, 0.4)] for label in ("IFM, from FM", "AFM, from FM", "IFM, random")}
    (axis,) = line_chart([[Panel("", "epoch", "RMSE", lines, epochs=True)]], 3).axes
    ifm, afm, other = axis.lines
    assert ifm.get_color() == other.get_color() != afm.get_color()
    assert ifm.get_linestyle() == afm.get_linestyle() != other.get_linestyle()
    assert [text.get_text() for text in axis.get_legend().get_texts()] == list(lines)


@pytest.mark.parametrize("cones", [None, *CONES])
def test_colours_of_models_that_meet_in_a_figure_are_told_apart_by_the_colour_blind(cones):
    experiments = yaml.safe_load(EXPERIMENTS.read_text(encoding="utf-8"))["experiments"].values()
    met = {}
    for entry in experiments:
        met.setdefault(entry["figure"], {})[charts.model_of(entry["label"])] = charts.colour(entry["label"])
    assert any(len(colours) > 3 for colours in met.values())
    for colours in met.values():
        for (a, one), (b, other) in combinations(colours.items(), 2):
            assert np.linalg.norm(lab(one, cones) - lab(other, cones)) > 15, (a, b)


def test_no_line_is_hidden_by_a_legend_and_none_is_cut_off_but_at_its_start():
    lines = {"FM": [(epoch, 1 / epoch) for epoch in range(1, 101)], "IFM": [(epoch, 0.3) for epoch in range(1, 11)]}
    figure = line_chart([[Panel("", "epoch", "RMSE", lines, epochs=True)]], 3)
    (axis,) = figure.axes
    figure.canvas.draw()
    assert axis.get_legend().get_window_extent().y1 < axis.get_window_extent().y0
    low, high = axis.get_ylim()
    assert low < 0.01
    assert high > max(y for line in lines.values() for _, y in line[len(line) // 10 :])


@pytest.mark.parametrize(("last", "leaves"), [(0.978, False), (0.97, True)])
def test_a_model_leaves_the_picture_beyond_seven_times_the_median_distance(last, leaves):
    assert far_off([0.99, 0.989, 0.988, 0.987, last]) == [False, False, False, False, leaves]


@pytest.mark.parametrize(("metric", "sign"), [("rmse", 1), ("auc", -1)])
def test_a_model_far_from_the_best_does_not_squash_the_others(metric, sign):
    means = {name: 0.7 + sign * away for name, away in (("ffm", 0), ("nfm", 1e-4), ("fm", 1e-3), ("mean", 0.2))}
    entries = [
        {"model": model, f"test_{metric}_mean": mean, f"test_{metric}_std": 1e-4, "interval": [mean - 1e-4, mean]}
        for model, mean in means.items()
    ]
    (axis,) = charts.interval_chart({"frappe": {"models": entries, "groups": []}}, METRICS[metric]).axes
    low, high = axis.get_xlim()
    assert high - low < 0.01
    assert [label.get_text() for label in axis.get_yticklabels()] == [*means]
    assert [text.get_text() for text in axis.texts] == [METRICS[metric].format(means["mean"])]
    rows = page_charts.interval_rows({"models": entries}, METRICS[metric])
    picture = vl_convert.vegalite_to_svg(specs_of_models.interval_chart(rows, [*means], METRICS[metric]))
    shown = re.findall(r">([^<>]+)</text>", picture)
    assert [text for text in shown if "±" in text] == ["0.9000 ± 0.0001 ▸" if sign > 0 else "◂ 0.5000 ± 0.0001"]
    ticks = [float(text) for text in shown if text.replace(".", "").isdecimal()]
    assert max(ticks) - min(ticks) < 0.01


def test_bars_join_the_groups_and_stand_right_of_the_axes():
    entries = [
        {"model": model, "test_rmse_mean": rmse, "test_rmse_std": 0.01, "interval": [rmse - 0.02, rmse + 0.02]}
        for model, rmse in (("ifm", 0.3), ("inn", 0.31), ("fm", 0.5))
    ]
    results = {"frappe": {"models": entries, "groups": [["ifm", "inn"]]}, "empty": {"models": [], "groups": []}}
    frappe, empty = charts.interval_chart(results, METRICS["rmse"]).axes
    assert [label.get_text() for label in frappe.get_yticklabels()] == ["ifm", "inn", "fm"]
    (bar,) = [line for line in frappe.lines if not line.get_clip_on()]
    assert min(bar.get_xdata()) > 1
    assert list(bar.get_ydata()) == [-0.25, 1.25]
    assert [text.get_text() for text in empty.texts] == ["no model to compare"]
