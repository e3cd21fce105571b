"""Do the steps of training that several workers share, by collective operations of torch.distributed."""

import math
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from models.layers.embeddings import tables
from pipelines.data.rows import Rows
from pipelines.project.params import TrainingParams
from pipelines.training.loop import Alone
from pipelines.training.metrics import Metrics, after_epoch, compute_metrics
from pipelines.training.predicting import compute_logits, finite
from pipelines.training.process import best_device


class Together(Alone):
    """Do the steps that several workers share, in a process group of torch.distributed.

    Each worker draws its share of a batch from its own share of the `num_rows` rows, so a batch has `batch_size` rows
    or a few less. Batch norm sees a worker's share of a batch; its running statistics are means over the workers.
    """

    def __init__(self, num_rows: int) -> None:
        self.num_rows = num_rows

    def batches(self, rows: Rows, batch_size: int) -> Sequence[Tensor]:
        """Shuffle the worker's rows into as many batches as other workers have."""
        return torch.randperm(len(rows), device=rows.labels.device).tensor_split(math.ceil(self.num_rows / batch_size))

    def after_backward(self, model: nn.Module) -> None:
        sum_gradients(model)

    def mean_loss(self, total: Tensor, rows: Rows) -> float:
        dist.all_reduce(total)
        return total.item() / self.num_rows

    def after_epoch(self, model: nn.Module) -> None:
        average_statistics(model)

    def evaluate(self, model: nn.Module, rows: Rows, training: TrainingParams) -> Metrics:
        return evaluate_share(model, rows, training)


@torch.no_grad()
def sum_gradients(model: nn.Module) -> None:
    """Replace each gradient by its sum over the workers.

    A sparse gradient then has the rows that any worker touched. Late decay is first applied to these rows.
    """
    with_gradient = [parameter for parameter in model.parameters() if parameter.grad is not None]
    dense = [parameter for parameter in with_gradient if not parameter.grad.is_sparse]  # type: ignore[union-attr]
    if dense:
        flat = torch.cat([parameter.grad.flatten() for parameter in dense])  # type: ignore[union-attr]
        dist.all_reduce(flat)
        for parameter, gradient in zip(dense, flat.split([p.numel() for p in dense]), strict=True):
            parameter.grad = gradient.view_as(parameter)
    for parameter in with_gradient:
        if parameter.grad.is_sparse:  # type: ignore[union-attr]
            own = parameter.grad.coalesce()  # type: ignore[union-attr]
            rows, values = joined(own.indices()[0], own.values())
            parameter.grad = torch.sparse_coo_tensor(rows[None], values, parameter.shape).coalesce()
    for table in tables(model):
        if table.weight.grad is not None and table.weight.grad.is_sparse:
            table.settle(table.weight.grad.indices()[0])


def joined(*own: Tensor) -> list[Tensor]:
    """All-gather tensors `[rows, …]` along dimension 0.

    Workers may hold different numbers of rows.
    """
    sizes = own[0].new_empty(dist.get_world_size(), dtype=torch.int64)
    dist.all_gather_into_tensor(sizes, sizes.new_tensor([len(own[0])]))
    result = []
    for tensor in own:
        padded = tensor.new_zeros(int(sizes.max()), *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        result.append(torch.cat([part[:size] for part, size in zip(parts, sizes.tolist(), strict=True)]))
    return result


def average_statistics(model: nn.Module) -> None:
    """Average the running means and variances of batch norm over the workers."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            for statistic in (module.running_mean, module.running_var):
                if statistic is not None:
                    dist.all_reduce(statistic)
                    statistic /= dist.get_world_size()


def evaluate_share(model: nn.Module, rows: Rows, training: TrainingParams) -> Metrics:
    """Compute the metrics on all workers' rows in the first worker, for all.

    With figures of their own, workers might stop at different epochs.
    """
    own = compute_logits(model, rows, training.kernels == "fast")
    logits, labels = joined(own.to(best_device()), rows.labels.to(best_device()))
    finite(logits)  # of all workers, so that all raise
    names = after_epoch(training.metric)
    figures = torch.zeros(len(names), dtype=torch.float64, device=best_device())
    if dist.get_rank() == 0:
        figures.copy_(torch.tensor([*compute_metrics(logits, labels, training.loss, names).values()]))
    dist.broadcast(figures, 0)
    return Metrics(zip(names, figures.tolist(), strict=True))
