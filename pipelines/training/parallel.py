"""Train one model by several workers, on one machine or many, with Ray Train.

Each worker has a range of the rows, and so a share of each batch. The loss is a sum over rows, so the gradient of a
batch is the sum of the workers' gradients. All workers make the same step with it and always have the same weights.
"""

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import ray
import torch
import torch.distributed as dist
from ray.train import RunConfig, ScalingConfig, get_context
from ray.train.torch import TorchTrainer, get_device
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from torch import nn

from models.registry import is_by_gradient
from pipelines.data.catalog import get_dataset
from pipelines.data.rows import PIECE, Rows, joined, load_bags, load_schema, pieces, read_rows, split_file
from pipelines.project import code
from pipelines.project.cluster import cluster, last_line
from pipelines.project.metric import METRICS
from pipelines.project.params import Params, TrainingParams
from pipelines.project.paths import Paths
from pipelines.project.seeds import seed_for
from pipelines.training.epochs import Epoch, no_report
from pipelines.training.loop import train
from pipelines.training.metrics import Metrics, compute_metrics, defined
from pipelines.training.predicting import predict
from pipelines.training.process import best_device, peak_memory_mb, prepare_process
from pipelines.training.start import load_weights, new_model, pretrained_file
from pipelines.training.together import Together


def train_together(
    name: str, dataset: str, arguments: dict[str, Any], params: Params, paths: Paths, seen: Callable[[Epoch], None]
) -> tuple[nn.Module, float]:
    """Train a model by training.num_workers workers, and call `seen` after each epoch.

    Returns the model, with the weights of the best epoch, and the highest peak memory of a worker, in MiB. Only this
    machine needs the prepared data: Ray sends workers their rows piece by piece, and no process holds all rows. Raises
    ValueError for arguments that the model does not take, for more workers than the cluster or a batch has room for,
    and when a worker fails; FloatingPointError when the loss or a prediction is not finite.
    """
    get_dataset(dataset, paths.root)
    training, folder = params.training, paths.processed(dataset)
    schema = load_schema(folder)
    files = {split: split_file(folder, split).absolute() for split in ("train", "valid")}
    check_shares(schema["num_rows"], training)
    if load_bags(folder):
        raise ValueError(
            f"training.num_workers is {training.num_workers}: a field of {dataset} holds lists; set it to 1"
        )
    if METRICS[training.metric].by_group:
        raise ValueError(
            f"training.num_workers is {training.num_workers}: metric {training.metric} needs one worker; set it to 1"
        )
    file = pretrained_file(name, dataset, params, paths)
    pretrained = load_weights(file) if file else None
    start = (name, schema, arguments, seed_for(params.seed, "train", dataset, name), pretrained)
    model = new_model(*start)
    if not is_by_gradient(model):
        raise ValueError(
            f"training.num_workers is {training.num_workers}, but {name} is not trained by gradients: set it to 1"
        )
    with cluster() as there_is, tempfile.TemporaryDirectory(prefix="factorbench-") as scratch:
        scaling = workers(training.num_workers, there_is)
        node = ray.get_runtime_context().get_node_id()
        queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": on_node(node)})
        shared = ray.put((start, training, files, node, code.digest(code.at_start())))
        trainer = TorchTrainer(
            work,
            train_loop_config={"shared": shared, "queue": queue},
            scaling_config=scaling,
            run_config=RunConfig(storage_path=scratch),
        )
        failed = fit_in_background(trainer, queue)
        last: Any = None
        while (message := queue.get()) is not None:
            if isinstance(message, Epoch):
                seen(message)
            else:
                last = message
    if failed:
        what = f"the workers that trained {name} on {dataset} failed with: {last_line(failed[0])}"
        raise ValueError(what) from failed[0]
    if isinstance(last, FloatingPointError):
        raise last
    trained, peak = last
    model.load_state_dict(trained)
    return model, peak


def on_node(node: str) -> Any:
    return NodeAffinitySchedulingStrategy(node, soft=False)


def fit_in_background(trainer: TorchTrainer, queue: Queue) -> list[BaseException]:
    """Train in a thread, and return the list that will hold its error.

    At the end, None is put into the queue.

    In the main thread, Ray Train would turn Ctrl-C into an end with exit code 0.
    """
    failed: list[BaseException] = []

    def fit() -> None:
        try:
            trainer.fit()
        except BaseException as error:
            failed.append(error)
        if ray.is_initialized():  # else it would be started again, after a Ctrl-C
            queue.put(None)

    Thread(target=fit, daemon=True).start()
    return failed


def check_shares(num_rows: dict[str, int], training: TrainingParams) -> None:
    """Raise ValueError when there are too few rows for so many workers.

    Each worker needs two rows of every batch, because of batch norm, and validation rows.
    """
    num_batches = math.ceil(num_rows["train"] / training.batch_size)
    share = num_rows["train"] // training.num_workers // num_batches
    if share < 2 or num_rows["valid"] < training.num_workers:
        raise ValueError(
            f"training.num_workers is {training.num_workers}: too many for batches of {training.batch_size}, of which "
            f"each worker must have two rows, and {num_rows['valid']} validation rows"
        )


def workers(num_workers: int, there_is: dict[str, float]) -> ScalingConfig:
    """Spread workers over all machines, and share GPUs and CPUs evenly.

    Raises ValueError when the cluster has no room for them: Ray would wait for ever.
    """
    cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    most = (each for each in range(max(cpus), 0, -1) if sum(n // each for n in cpus) >= num_workers)
    cpus_each, gpus = next(most, 0), int(there_is.get("GPU", 0))
    if not cpus_each or 0 < gpus < num_workers:
        what = f"{gpus} GPUs" if cpus_each else f"{sum(cpus)} CPUs"
        raise ValueError(f"training.num_workers is {num_workers}, but there are only {what}")
    return ScalingConfig(
        num_workers=num_workers,
        use_gpu=gpus > 0,
        resources_per_worker={"CPU": cpus_each, "GPU": int(gpus > 0)},
        placement_strategy="SPREAD",
    )


def work(config: dict[str, Any]) -> None:
    """Train in a worker of Ray Train.

    The first worker reports epochs, then weights and memory, or an error.
    """
    (name, schema, arguments, seed, pretrained), training, files, node, running = ray.get(config["shared"])
    code.check_same(running)
    queue, context = config["queue"], get_context()
    worker, num_workers = context.get_world_rank(), context.get_world_size()
    prepare_process(max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1))))
    if best_device() == "cuda":
        torch.cuda.set_device(get_device())
    num_rows = schema["num_rows"]
    train_rows, valid_rows = (
        fetch(files[split], node, *share(num_rows[split], worker, num_workers)) for split in ("train", "valid")
    )
    model = new_model(name, schema, arguments, seed, pretrained)
    torch.manual_seed(seed_for(seed, "worker", worker))  # of its batches and its dropout
    try:
        report = queue.put if worker == 0 else no_report
        train(model, train_rows, valid_rows, training, report, Together(num_rows["train"]))
    except FloatingPointError as error:  # which all workers raise
        message: Any = error
    else:
        peak = torch.tensor(peak_memory_mb(), device=best_device())
        dist.all_reduce(peak, dist.ReduceOp.MAX)
        message = {key: value.cpu() for key, value in model.state_dict().items()}, peak.item()
    if worker == 0:
        queue.put(message)


def share(num_rows: int, worker: int, num_workers: int) -> tuple[int, int]:
    """Compute a worker's range of the rows; ranges differ by at most one row."""
    return num_rows * worker // num_workers, num_rows * (worker + 1) // num_workers


def fetch(file: Path, node: str, start: int, stop: int) -> Rows:
    """Read a range of rows from a file on another machine, piece by piece."""
    read = ray.remote(num_cpus=0, scheduling_strategy=on_node(node))(read_rows)
    starts = range(start, stop, PIECE)
    return joined((ray.get(read.remote(file, at, min(PIECE, stop - at))) for at in starts), stop - start)  # type: ignore[arg-type]


def evaluate_file(model: nn.Module, folder: Path, split: str, loss: str, group: int | None = None) -> Metrics:
    """Compute all metrics on a split, which is read piece by piece.

    Groups are the features of field number `group`.
    """
    file = split_file(folder, split)
    logits, labels, groups = [], [], []
    for rows in pieces(file):
        logits.append(predict(model, rows))
        labels.append(rows.labels)
        groups += [own for own in [rows.groups_by(group)] if own is not None]
    grouped, signs = torch.cat(groups) if groups else None, torch.cat(labels)
    return compute_metrics(torch.cat(logits), signs, loss, defined(signs, grouped), grouped)
