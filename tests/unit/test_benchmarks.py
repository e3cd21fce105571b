"""Check that benchmarks/ pages and chart match the committed figures. Nothing is measured."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from trees import run_module

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PAGES = (
    "results",
    "roofline",
    "tricks",
    "threads",
    "schedulers",
    "prepare_memory",
    "own_logs",
    "exports",
    "recipes",
    "search_quality",
    "search_speed",
    "searches",
)
# benchmarks/ and paper/ both have a report.py, so a separate process runs this
MAKE = """
import itertools, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import exports, own_logs, prepare_memory, recipes, report, roofline, schedulers, search_quality, searches
import search_speed, threads, tricks
from trainings import Training

def content(name):
    found = json.loads((report.ROOT / f"{name}.json").read_text("utf-8"))
    return found["machine"], found["records"]

def trainings(records):
    fields = Training.__dataclass_fields__
    return {Training(**{key: record[key] for key in fields}): record for record in records}

def page(name, measured, **values):
    return report.page_of(name, content(name)[0], measured, **values)

results, (machine, records) = json.loads((report.ROOT / "results.json").read_text("utf-8")), content("roofline")
groups = [list(group) for _, group in itertools.groupby(records, lambda r: (r["shape"], r["batch_size"]))]
pages = {"results": report.page(results)}
pages["roofline"] = page("roofline", machine["runs_of_k_1"], **roofline.values(groups, machine["rates"]))
measured = trainings(content("tricks")[1])
sections = [tricks.section(measured, count) for count in content("tricks")[0]["threads"]]
pages["tricks"] = page("tricks", measured.values(), segments=3, sections=sections)
measured = trainings(content("threads")[1])
pages["threads"] = page("threads", measured.values(), **threads.values(measured))
measured = {(r["model"], r["scheduler"], r["seed"]): r for r in content("schedulers")[1]}
pages["schedulers"] = page("schedulers", [], **schedulers.values(measured))
records = content("prepare_memory")[1]
pages["prepare_memory"] = page("prepare_memory", records, rows=prepare_memory.rows(records))
records = content("own_logs")[1]
pages["own_logs"] = page("own_logs", records, **own_logs.values({r["log"]: r for r in records}))
records = content("search_quality")[1]
pages["search_quality"] = page("search_quality", [], **search_quality.values(records))
pages["recipes"] = page("recipes", [], rows=recipes.rows(content("recipes")[1]))
pages["searches"] = page("searches", [], rows=searches.rows(content("searches")[1]))
records = content("search_speed")[1]
measured = {search_speed.Search(r["model"], r["side"], len(r["trials"]), r["epochs"]): r for r in records}
others = [record for search, record in measured.items() if search.side != search_speed.OWN]
pages["search_speed"] = page("search_speed", others, **search_speed.values(measured, records[0]["epochs"]))
records = content("exports")[1]
pages["exports"] = page("exports", [], rows=exports.rows_of(records))
compiled = {"shape": "frappe", "batch_size": 0, "model": "ffm", "dropout": 0.0, "side": "libffm", "setting": ""}
record = compiled | {"median": 3.0, "segments": [3.0], "algorithm": "AdaGrad, row by row", "threads": 2}
failure = compiled | {"side": "xlearn", "error": "not installed: no environment"}
more = {"records": [*results["records"], record], "failures": [*results["failures"], failure]}
pages["with compiled"] = report.page(results | more)
report.chart(results, Path(sys.argv[1]))

def trained(name, rate, last, epochs=15):
    setting = {"training.learning_rate": rate, "training.l2": 1e-6, "model.dropout": 0.5}
    curve = [last + 0.5 * (epochs - epoch) / epochs for epoch in range(1, epochs + 1)]
    return {"name": name, "setting": setting, "valid_rmse": curve, "seconds": 1.0}

known = trained("paper", 0.003, 0.9)  # the worst: any other would be stopped
table = search_quality.Table("fm", [*(trained(str(n), 0.01 * n, 0.3 + 0.01 * n) for n in range(1, 31)), known])
pages["nearest"] = table.records[table.nearest({**known["setting"], "training.learning_rate": 0.2}, {19})]["name"]
for scheduler in ("none", "asha"):
    for start in ("nothing", "paper"):
        variant = search_quality.Variant("fm", "random", scheduler, start)
        pages[f"{scheduler}, {start}"] = search_quality.replay(table, variant, 0)
json.dump(pages, sys.stdout)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make all pages by name, and the words of the chart."""
    chart = tmp_path_factory.mktemp("chart") / "results.svg"
    chart.with_name("make.py").write_text(MAKE)
    done = run_module(chart.parent, "make", str(chart), str(BENCHMARKS))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), words(chart)


def words(chart):
    return [text.text for text in ElementTree.parse(chart).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_page_is_made_of_the_committed_figures(made, name):
    assert made[0][name] == (BENCHMARKS / f"{name}.md").read_text(encoding="utf-8")


def test_compiled_packages_have_a_table_of_their_own_and_change_no_other(made):
    before, after = made[0]["results"], made[0]["with compiled"]
    added = [line for line in after.splitlines() if line not in before.splitlines()]
    assert set(before.splitlines()) <= set(after.splitlines())
    assert any(line.startswith("| frappe | ffm | LIBFFM | AdaGrad, row by row | 2 | 3.00 |") for line in added)
    assert "- xLearn, ffm (frappe): `not installed: no environment`" in added


def test_the_chart_shows_all_sides_models_and_panels(made):
    sides = {"FuxiCTR", "DeepCTR-Torch", "torchfm", "RecBole", "plain PyTorch", "factorbench"}
    panels = {"frappe, batch 4096", "frappe, batch 128", "movielens, batch 4096"}
    for found in (made[1], words(BENCHMARKS / "results.svg")):
        assert sides | panels | {"fm", "ifm", "deepifm", "dropout 0.1", "seconds an epoch"} <= set(found)


def test_a_replay_never_has_a_setting_twice_and_asha_tries_more_for_the_same_epochs(made):
    assert made[0]["nearest"] in ("19", "21")  # 20 is used
    for start in ("nothing", "paper"):
        plain, stopping = made[0][f"none, {start}"], made[0][f"asha, {start}"]
        assert [trials for _, trials in plain] == [10, 20, 31]  # 31 are all
        assert plain[-1][0] == pytest.approx(0.31)
        assert [best for best, _ in plain] == sorted((best for best, _ in plain), reverse=True)
        assert stopping[0][1] > 10
