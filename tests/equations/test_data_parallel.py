from dataclasses import replace

import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
import torch.distributed as dist
from trees import FORKS

from pipelines.data.rows import Rows, read_rows
from pipelines.project.params import TrainingParams, load_params
from pipelines.project.paths import Paths
from pipelines.training import loop
from pipelines.training.cell import fingerprint, load_cell
from pipelines.training.parallel import share
from pipelines.training.start import new_model
from pipelines.training.together import Together

torch.set_num_threads(1)  # for tensors this small, several threads are slower

SCHEMA = {"field_dims": [90, 60, 8], "fields": ["user", "item", "city"]}  # a batch has few of these features
SIZES = {
    "fm": {"embed_dim": 4, "dropout": 0.0},
    "ifm": {"embed_dim": 4, "attention_dim": 3, "field_embed_dim": 2, "dropout": 0.0},
}
NUM_ROWS, NUM_VALID = 501, 151
L2 = {"l2": 0.5, "l2_field": 0.1, "l2_attention": 0.1}
CASES = {  # model, where the second worker's rows start, training
    "fm": ("fm", 250, {}),
    "ifm": ("ifm", 250, {}),
    "fm with l2": ("fm", 250, {"l2": 0.5}),
    "ifm with l2": ("ifm", 250, L2),
    "ifm with l2, unequal": ("ifm", 400, L2),
    "ifm without kernels": ("ifm", 250, {**L2, "kernels": "plain"}),
    "cross-entropy": ("ifm", 250, {**L2, "loss": "cross_entropy", "metric": "auc"}),
    "adam": ("ifm", 250, {**L2, "optimizer": "adam", "learning_rate": 0.01}),
    "lazy_adam": ("ifm", 250, {**L2, "optimizer": "lazy_adam", "learning_rate": 0.01}),
    "ftrl": ("ifm", 250, {"l1": 0.01, "l2": 0.1, "optimizer": "ftrl"}),
    "stops early": ("fm", 250, {"max_epochs": 30, "patience": 2, "learning_rate": 0.5}),
}
BATCH_NORM = {"embed_dim": 4, "dropout": 0.5, "batch_norm": True}


def random_rows(num_rows, seed):
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.randint(size, (num_rows,), generator=generator) for size in SCHEMA["field_dims"]]
    score = (columns[0] % 3 - 1) * (columns[1] % 2 - 0.5) + 0.3 * torch.randn(num_rows, generator=generator)
    features = (torch.stack(columns, 1) + torch.tensor([0, 90, 150])).int()
    return Rows(features, torch.where(score > 0, 1.0, -1.0))


TRAIN, VALID = random_rows(NUM_ROWS, 0), random_rows(NUM_VALID, 1)


def settings(changes):
    return TrainingParams(**{"learning_rate": 0.1, "batch_size": 50, "max_epochs": 4, "patience": 100, **changes})


def part(rows, start, stop):
    return Rows(rows.features[start:stop], rows.labels[start:stop])


def curve(epochs):
    return [{key: value for key, value in epoch.row().items() if key != "seconds"} for epoch in epochs]


def one_of_two_workers(worker, folder):
    """Train all cases together with the other worker. Saves each curve, last and best weights."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=worker, world_size=2)
    cases = {key: (name, SIZES[name], start, changes) for key, (name, start, changes) in CASES.items()}
    cases["batch norm"] = ("fm", BATCH_NORM, 250, {})
    result = {}
    for key, (name, arguments, start, changes) in cases.items():
        rows = part(TRAIN, *((0, start), (start, NUM_ROWS))[worker])
        valid = part(VALID, *((0, 100), (100, NUM_VALID))[worker])
        model = new_model(name, SCHEMA, arguments, 0)
        torch.manual_seed(worker)
        weights = {}

        def keep(_, model=model, weights=weights):
            weights.update({key: value.clone() for key, value in model.state_dict().items()})

        epochs = loop.train(model, rows, valid, settings(changes), keep, Together(NUM_ROWS))
        result[key] = {"curve": curve(epochs), "last": weights, "best": model.state_dict()}
    torch.save(result, folder / f"{worker}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Run two workers, and return their saved results."""
    folder = tmp_path_factory.mktemp("together")
    workers = [FORKS.Process(target=one_of_two_workers, args=(worker, folder)) for worker in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    return [torch.load(folder / f"{worker}.pt") for worker in (0, 1)]


def alone(case, monkeypatch):
    """Train one worker on the batches of the two workers together."""
    name, start, changes = CASES[case]
    generators = [torch.Generator().manual_seed(worker) for worker in (0, 1)]

    def batches(order, batch_size):
        first = torch.randperm(start, generator=generators[0])
        second = torch.randperm(NUM_ROWS - start, generator=generators[1]) + start
        parts = (order.tensor_split(-(-NUM_ROWS // batch_size)) for order in (first, second))
        return [torch.cat(both) for both in zip(*parts, strict=True)]

    monkeypatch.setattr(loop, "batches", batches)
    model = new_model(name, SCHEMA, SIZES[name], 0)
    return model, loop.train(model, TRAIN, VALID, settings(changes))


@pytest.mark.parametrize("case", CASES)
def test_two_workers_do_what_one_does_with_the_same_batches(together, case, monkeypatch):
    model, epochs = alone(case, monkeypatch)
    first, second = (worker[case] for worker in together)
    assert first["curve"] == second["curve"]
    assert len(first["curve"]) == len(epochs)
    for one, two in zip(curve(epochs), map(dict, first["curve"]), strict=True):
        auc = one.pop("valid_auc")  # the swap of one pair of rows changes it by 1.8e-4
        assert two.pop("valid_auc") == pytest.approx(auc, abs=1e-3)
        assert two == pytest.approx(one, abs=1e-4)
    for key, weight in model.state_dict().items():
        torch.testing.assert_close(first["best"][key], weight, atol=1e-3, rtol=1e-3)
    assert curve(epochs)[-1]["train_loss"] < 0.98 * curve(epochs)[0]["train_loss"]


@pytest.mark.parametrize("case", [*CASES, "batch norm"])
def test_the_workers_have_the_same_weights(together, case):
    first, second = (worker[case]["last"] for worker in together)
    assert first
    for key, weight in first.items():
        assert torch.equal(weight, second[key]), key


def test_workers_stop_together(together):
    epochs = len(together[0]["stops early"]["curve"])
    assert 2 < epochs < 30
    assert epochs == len(together[1]["stops early"]["curve"])


def test_every_row_has_a_worker():
    for num_rows in (2, 3, 4, 5, 17, 1000):
        for num_workers in (2, 3, 4, 7):
            ranges = [share(num_rows, worker, num_workers) for worker in range(num_workers)]
            assert [row for start, stop in ranges for row in range(start, stop)] == list(range(num_rows))
            assert max(stop - start for start, stop in ranges) - min(stop - start for start, stop in ranges) <= 1


def test_only_the_row_groups_of_a_range_are_read(tmp_path):
    table = pl.DataFrame({"label": [1, -1] * 500, "a": range(1000)}, schema={"label": pl.Int8, "a": pl.Int32})
    file = tmp_path / "train.parquet"
    table.write_parquet(file, row_group_size=100)
    content, groups = bytearray(file.read_bytes()), pq.read_metadata(file)
    for group in (0, 9):  # neither the first nor the last group can be read
        for column in map(groups.row_group(group).column, range(2)):
            start = column.dictionary_page_offset or column.data_page_offset
            content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    file.write_bytes(content)
    assert read_rows(file, 100, 800).features[:, 0].tolist() == list(range(100, 900))
    for start in (99, 899):
        with pytest.raises(pl.exceptions.ComputeError):
            read_rows(file, start, 2)


def test_one_worker_does_not_change_the_names_of_studies(prepared):
    cell = load_cell("fm", "synthetic", load_params(prepared.params), Paths(prepared.root))
    said = TrainingParams(**{**cell.training.model_dump(), "num_workers": 1})
    assert "num_workers" not in said.model_dump()
    assert fingerprint(replace(cell, training=said), {}, {}) == fingerprint(cell, {}, {})
    two = said.model_copy(update={"num_workers": 2})
    assert fingerprint(replace(cell, training=two), {}, {}) != fingerprint(cell, {}, {})
