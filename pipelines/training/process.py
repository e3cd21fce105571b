"""Prepare a process for training, and ask for its device and memory."""

import contextlib
import ctypes
import resource
import sys
from pathlib import Path

import torch
from torch import nn

LARGEST_KEPT = 1 << 27  # bytes


def best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's weights, where its rows must be too."""
    return next(model.parameters()).device


def prepare_process(num_threads: int | None = None) -> None:
    """Set up a process so that epochs are fast.

    glibc would return large freed buffers to the kernel at every step, and page faults would bring them back: it is
    told to keep them up to `LARGEST_KEPT`, since larger ones leave gaps that nothing fits into. What an earlier
    training has left is returned, because another model has buffers of other sizes: a worker of many trials would hold
    several times the memory that one needs. Squares of tiny gradients are denormal numbers, which are slow on a CPU:
    they count as zero. benchmarks/tricks.md has the gains; no result changes. With `num_threads` None, torch's number
    of threads stays.
    """
    if num_threads:
        torch.set_num_threads(num_threads)
    torch.set_flush_denormal(True)
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
        libc.malloc_trim(0)


def forget_peak_memory() -> None:
    """Let `peak_memory_mb` start anew, in a worker that has trained before. Only Linux and CUDA can."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb() -> float:
    """Return this process's peak memory in MiB, on the GPU if there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
