"""Prepare the process that a run has for itself, and ask what it may use."""

import ctypes
import resource
import sys

import torch
from torch import nn


def best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_of(model: nn.Module) -> torch.device:
    """Where a model's weights are, and so its rows have to be."""
    return next(model.parameters()).device


def prepare_process(num_threads: int | None = None) -> None:
    """Make settings without which an epoch takes longer; call it where a process starts.

    No result that matters changes by them; benchmarks/tricks.md has their gains. `num_threads` None leaves torch's.

    glibc returns large freed buffers to the kernel at every step, and taking them back costs page faults: tell it to
    keep them. Squares of tiny gradients are denormal numbers, with which the CPU is much slower: take them as zero.
    """
    if num_threads:
        torch.set_num_threads(num_threads)
    torch.set_flush_denormal(True)
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def peak_memory_mb() -> float:
    """The most memory this process has held, in MiB: of the GPU where one is used, else of the machine."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
