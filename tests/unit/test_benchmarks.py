"""Check that benchmarks/ pages and chart match the committed figures. Nothing is measured."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PAGES = ("results", "roofline", "tricks", "threads", "schedulers", "prepare_memory", "own_logs", "exports")
# benchmarks/ and paper/ both have a report.py, so a separate process runs this
MAKE = """
import itertools, json, sys
from pathlib import Path
import exports, own_logs, prepare_memory, report, roofline, schedulers, threads, tricks
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
records = content("exports")[1]
pages["exports"] = page("exports", [], rows=exports.rows_of(records))
report.chart(results, Path(sys.argv[1]))
json.dump(pages, sys.stdout)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make all pages by name, and the words of the chart."""
    chart = tmp_path_factory.mktemp("chart") / "results.svg"
    done = subprocess.run(
        [sys.executable, "-c", MAKE, chart], cwd=BENCHMARKS, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout), words(chart)


def words(chart):
    return [text.text for text in ElementTree.parse(chart).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_page_is_made_of_the_committed_figures(made, name):
    assert made[0][name] == (BENCHMARKS / f"{name}.md").read_text(encoding="utf-8")


def test_the_chart_shows_all_sides_models_and_panels(made):
    sides = {"FuxiCTR", "DeepCTR-Torch", "torchfm", "RecBole", "plain PyTorch", "factorbench"}
    panels = {"frappe, batch 4096", "frappe, batch 128", "movielens, batch 4096"}
    for found in (made[1], words(BENCHMARKS / "results.svg")):
        assert sides | panels | {"fm", "ifm", "deepifm", "dropout 0.1", "seconds an epoch"} <= set(found)
