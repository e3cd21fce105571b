import re
from xml.etree import ElementTree

import figures
import polars as pl
import pytest
from entries import Experiment

from pipelines.project.paths import Paths
from pipelines.reporting import charts
from results import write_curve

START = {"start": "../search_spaces/ifm.py", "max_epochs": 3}


def entry(figure, label, dataset="frappe-nfm", x=None):
    return Experiment(figure=figure, label=label, model="ifm", dataset=dataset, x=x, **START)


EXPERIMENTS = {
    "fm/run": entry("aspects", "FM"),
    "ifm/run": entry("aspects", "IFM"),
    "ifm-tags/run": entry("aspects", "IFM", "movielens"),
    "keep-9/run": entry("keep", "IFM", x=0.9),
    "keep-1/run": entry("keep", "IFM", x=0.1),
    "keep-fm-1/run": entry("keep", "FM", x=0.1),
    "l2-0/run": entry("l2_field", "IFM", x=0.0),
    "l2-1/run": entry("l2_field", "IFM", x=1.0),
    "sampling-5/run": entry("sampling", "IFM-sampling", x=0.05),
    "sampling-100/run": entry("sampling", "IFM-sampling", x=1.0),
    "code-ifm/run": entry("code", "IFM, τ on the logits"),
    "code-afm-on/run": entry("code", "AFM, attention on"),
    "code-afm-inert/run": entry("code", "AFM, attention inert"),
}
INFORMATIVE = "has_label_information"


@pytest.fixture
def paths(tmp_path):
    """Write results of all experiments.

    Experiment n has RMSE 0.4 + n/100, 0.3 + n/100 and 0.5, and n + 0.1 seconds per epoch.
    """
    paths = Paths(tmp_path / "paper")
    folder = paths.root / "results"
    for n, name in enumerate(EXPERIMENTS):
        write_curve(folder / "experiments" / f"{name}.csv", [0.4 + n / 100, 0.3 + n / 100, 0.5], seconds=n + 0.1)
    sampling = {"share": [0.1, 0.1, 1.0], "seed": [0, 1, 0], "valid_rmse": [0.5, 0.7, 0.4]}
    pl.DataFrame({**sampling, "seconds_per_epoch": [1.0, 2.0, 8.0]}).write_csv(folder / "sampling.csv")
    return paths


def test_curves_stand_side_by_side(paths):
    tables = figures.tables(EXPERIMENTS, paths)
    table = tables["aspects-frappe-nfm"]
    assert table.columns == ["epoch", "FM", "IFM"]
    assert table["epoch"].to_list() == [1, 2, 3]
    assert table["IFM"].to_list() == pytest.approx([0.41, 0.31, 0.5])
    assert tables["aspects-movielens"].columns == ["epoch", "IFM"]


def test_by_a_parameter_the_best_epoch_counts_in_the_order_of_the_values(paths):
    tables = figures.tables(EXPERIMENTS, paths)
    keep = tables["keep-frappe-nfm"]
    assert keep["keep_probability"].to_list() == [0.1, 0.9]
    assert keep["IFM"].to_list() == pytest.approx([0.34, 0.33])
    assert keep["FM"].to_list() == [pytest.approx(0.35), None]
    assert tables["l2_field-frappe-nfm"].columns == ["l2_field", "IFM"]


def test_sampling_has_rmse_and_seconds_and_means_over_seeds(paths):
    tables = figures.tables(EXPERIMENTS, paths)
    assert tables["sampling-frappe-nfm"].rows() == [pytest.approx((0.05, 0.38, 8.1)), pytest.approx((1.0, 0.39, 9.1))]
    assert tables["sampling-generated"].rows() == [pytest.approx((0.1, 0.6, 1.5)), (1.0, 0.4, 8.0)]


def test_a_figure_with_a_missing_result_is_left_out_and_the_command_named(paths, capsys):
    whole = figures.tables(EXPERIMENTS, paths)
    (paths.root / "results" / "experiments" / "keep-9" / "run.csv").unlink()
    (paths.root / "results" / "sampling.csv").unlink()
    assert set(figures.tables(EXPERIMENTS, paths)) == set(whole) - {"keep-frappe-nfm", "sampling-generated"}
    assert re.search(
        r"keep on .* left out: no .*keep-9/run\.csv: run python experiment\.py keep-9/run", capsys.readouterr().out
    )


def test_each_figure_is_drawn_with_a_panel_a_data_set_and_the_same_again(paths, tmp_path):
    pairs = [("user", "item", 3), ("user", "city", 1), ("item", "city", 2)]
    table = [{"i": i, "j": j, **dict.fromkeys(charts.MEASURES, n), INFORMATIVE: "item" in (i, j)} for i, j, n in pairs]
    drawn = {}
    for place in ("one", "two"):
        figures.draw(figures.tables(EXPERIMENTS, paths), pl.DataFrame(table), tmp_path / place)
        drawn[place] = {file.stem: file.read_text() for file in (tmp_path / place).iterdir()}
    assert set(drawn["one"]) == {"aspects", "keep", "l2_field", "sampling", "code", "importance"}
    assert drawn["one"] == drawn["two"]
    words = {
        name: {text.text for text in ElementTree.fromstring(content).iter("{http://www.w3.org/2000/svg}text")}
        for name, content in drawn["one"].items()
    }
    assert {"Frappe", "MovieLens tags", "epoch", "validation RMSE", "FM", "IFM"} <= words["aspects"]
    assert {"Frappe, IFM", "Frappe, AFM", "AFM, attention on", "AFM, attention inert"} <= words["code"]
    assert {"generated, 40 fields", "seconds an epoch", "validation RMSE"} <= words["sampling"]
    assert {"user", "item", "city", "50", "33", "17", "norm of F, % of the sum"} <= words["importance"]
    assert "pairs with the field that negatives replace" in words["importance"]
