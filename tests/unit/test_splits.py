"""Check docs/splits.md against the committed results, and how its report judges the order of models."""

import importlib.util
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from pipelines.data.card import Card, Known, KnownPairs
from pipelines.project.records import write_record
from results import with_spread, write_cell

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("splits_report", ROOT / "splits" / "report.py")
report = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(report)


@pytest.fixture
def top(tmp_path):
    """Make a project with two boards of four models."""
    for folder, name in ((tmp_path, "params.yaml"), (tmp_path / "splits", "splits/params.yaml")):
        folder.mkdir(exist_ok=True)
        content = yaml.safe_load((ROOT / name).read_text())
        content["models"] = ["mean", "fm", "nfm", "ifm"]
        (folder / "params.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def add(folder, **rmse):
    """Write the results of models on Frappe."""
    for model, mean in rmse.items():
        cell = folder / "results" / "frappe" / model
        values = with_spread(mean, 0.0002, 3)
        write_cell(cell, [{"test_rmse": value, "test_auc": 1 - value} for value in values])
        moved = np.random.default_rng(1).normal(0, 1e-5, 50)
        columns = {f"seed_{number}": value + moved for number, value in enumerate(values)}
        pl.DataFrame(columns).with_row_index("resample").write_csv(cell / "resamples.csv")


def lines(top):
    return report.page(top / "splits" / "params.yaml", top).splitlines()


def test_the_committed_page_is_that_of_the_results():
    page = (ROOT / "docs" / "splits.md").read_text(encoding="utf-8")
    assert report.page(ROOT / "splits" / "params.yaml", ROOT) == page, "run: cd splits && python report.py"


def test_models_are_shown_beside_their_ranks_on_both_splits(top):
    add(top, mean=0.9, fm=0.4, ifm=0.3)
    add(top / "splits", mean=0.7, fm=0.6, ifm=0.65, nfm=0.5)
    text = lines(top)
    assert "| ifm | 1 | 0.3000 ± 0.0002 | 0.7000 ± 0.0002 | 2 | 0.6500 ± 0.0002 | 0.3500 ± 0.0002 |" in text
    assert "| fm | 2 | 0.4000 ± 0.0002 | 0.6000 ± 0.0002 | 1 | 0.6000 ± 0.0002 | 0.4000 ± 0.0002 |" in text
    assert "Not run yet on both splits: nfm." in text
    assert "| random | – | – | – |" in text


def test_pairs_that_differ_keep_their_order_are_reversed_or_no_longer_differ(top):
    add(top, mean=0.9, fm=0.4, nfm=0.4, ifm=0.3)
    add(top / "splits", mean=0.7, fm=0.6, nfm=0.5, ifm=0.6)
    text = lines(top)
    assert "| all | 5 | 3 | 1: ifm before nfm | 1: ifm before fm |" in text
    assert "| without the baselines | 2 | 0 | 1: ifm before nfm | 1: ifm before fm |" in text


def test_the_shares_of_known_pairs_are_from_the_cards(top):
    for folder, known in ((top, 6), (top / "splits", 0)):
        pairs = KnownPairs(fields=["user"], positives=Known(known=known, rows=8), negatives=Known(known=0, rows=9))
        sizes = {"field_dims": {}, "num_rows": {}, "num_positives": {}}
        about = {"known_pairs": pairs, "auc_of_counting": 0.75 if known else None, "raw_files": []}
        card = Card(dataset="frappe", split="random", **sizes, **about)
        write_record(folder / "results" / "frappe" / "card.json", card)
    text = lines(top)
    assert "| random | 75.0 % | 0.0 % | 0.7500 |" in text
    assert "| new pairs | 0.0 % | 0.0 % | – |" in text
