"""Call compiled functions with tensors, in as many threads as torch uses."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

WORK_OF_A_THREAD = 1 << 19  # numbers below which a second thread takes more time than it saves


@cache
def loops() -> Any:
    """Import the compiled functions where they are first needed: Numba's import takes 0.2 s."""
    from models.kernels import loops

    return loops


@cache
def pool() -> ThreadPoolExecutor:
    """Return the threads that share work with the caller."""
    return ThreadPoolExecutor(os.cpu_count())


os.register_at_fork(after_in_child=pool.cache_clear)  # the threads are not in the child


def arrays(values: tuple[Any, ...]) -> list[Any]:
    """Return arrays that share the memory of the tensors among some values."""
    return [
        value if not isinstance(value, Tensor) else (value.detach() if value.requires_grad else value).numpy()
        for value in values
    ]


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a compiled function in this thread."""
    return function(*arrays(arguments))


def in_parts(
    function: Callable[..., None], size: int, numbers: int, *arguments: Any, offsets: Tensor | None = None
) -> None:
    """Call a compiled function for the parts of `size`, which together take so many `numbers`.

    Parts have equally many; with `offsets` `[size]`, equally many places and groups.
    """
    values, parts = arrays(arguments), min(torch.get_num_threads(), 1 + numbers // WORK_OF_A_THREAD)
    if parts == 1:
        function(0, size, *values)
        return
    work = np.arange(size) if offsets is None else offsets.numpy() + np.arange(size)
    limits = [0, *np.searchsorted(work, work[-1] * np.arange(1, parts) / parts).tolist(), size]
    others = [pool().submit(function, *part, *values) for part in pairwise(limits[1:])]
    function(0, limits[1], *values)
    for other in others:
        other.result()
