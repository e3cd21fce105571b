import dataclasses
import pickle

import numpy as np
import polars as pl
import pytest
import torch

from models.kernels.bags import Bags
from models.registry import create
from pipelines.data import rows as module
from pipelines.data.rows import Rows, load_rows
from pipelines.project.files import file_digest, write_json
from pipelines.project.params import TrainingParams
from pipelines.training.loop import train


def drawn(num_rows=1000, bags=None):
    generator = torch.Generator().manual_seed(0)
    features = torch.stack([torch.randint(20, (num_rows,), generator=generator) + 20 * field for field in range(3)], 1)
    labels = torch.where(features.sum(1) % 3 > 0, 1.0, -1.0)
    return Rows(features.int(), labels, torch.rand(num_rows, 3, generator=generator), bags)


def shared(rows):
    """Send rows as Ray does: their arrays are read-only and shared."""
    buffers = []
    small = pickle.dumps(rows, protocol=5, buffer_callback=buffers.append)
    arrays = [bytes(buffer.raw()) for buffer in buffers]
    return pickle.loads(small, buffers=arrays), len(small), arrays


def test_workers_share_one_copy_of_the_rows():
    rows = drawn(bags=Bags(60, torch.tensor([1, 2, 3]), torch.tensor([0, 1, 3])))
    received, in_each, arrays = shared(rows)
    assert in_each < 3000  # bytes; the rows take 28,000
    assert sorted(map(len, arrays)) == [4000, 12_000, 12_000]
    places = {np.frombuffer(array, np.uint8).ctypes.data for array in arrays}
    assert {tensor.data_ptr() for tensor in received.tensors().values()} == places  # no copies
    for name, tensor in rows.tensors().items():
        assert torch.equal(getattr(received, name), tensor)
    assert received.bags.first == 60
    assert torch.equal(received.bags.offsets, rows.bags.offsets)


def test_training_on_shared_rows_gives_the_same_losses():
    losses = []
    for rows in (drawn(), shared(drawn())[0]):
        torch.manual_seed(0)
        model = create("fm", [20, 20, 20], {"embed_dim": 4})
        training = TrainingParams(max_epochs=3, batch_size=64)
        losses.append([epoch.train_loss for epoch in train(model, rows, rows, training)])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("num_rows", [1, 10, 11])
def test_a_split_is_read_piece_by_piece(tmp_path, monkeypatch, num_rows):
    table = pl.DataFrame(
        {
            "label": pl.Series([1, -1] * num_rows, dtype=pl.Int8)[:num_rows],
            "user": pl.Series(range(num_rows), dtype=pl.Int32),
            "value:user": pl.Series(range(num_rows), dtype=pl.Float32) / 2,
        }
    )
    table.write_parquet(tmp_path / "train.parquet")
    write_json(tmp_path / "files.json", {"train.parquet": file_digest(tmp_path / "train.parquet")})
    monkeypatch.setattr(module, "PIECE", 5)
    rows = load_rows(tmp_path, "train")
    assert rows.features.flatten().tolist() == list(range(num_rows))
    assert rows.values.flatten().tolist() == [row / 2 for row in range(num_rows)]
    assert rows.labels.tolist() == table["label"].to_list()


def test_a_sample_has_distinct_rows_in_their_order_and_all_that_belongs_to_them():
    rows = dataclasses.replace(drawn(), weights=torch.arange(1000).float())
    sample = rows.sample(7, seed=3)
    places = sample.weights.long()
    assert len(sample) == len(places.unique()) == 7
    assert (places.diff() > 0).all()
    assert torch.equal(sample.features, rows.features[places])
    assert torch.equal(sample.labels, rows.labels[places])
    assert torch.equal(rows.sample(7, seed=3).weights, sample.weights)
    assert not torch.equal(rows.sample(7, seed=4).weights, sample.weights)
