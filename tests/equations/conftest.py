"""Give tests threads."""

import contextlib

import pytest
import torch

from models.kernels import calls


@pytest.fixture
def several_threads(monkeypatch):
    """Return a context in which compiled functions share even the smallest work among four threads."""

    @contextlib.contextmanager
    def several():
        monkeypatch.setattr(calls, "WORK_OF_A_THREAD", 1)
        torch.set_num_threads(4)
        try:
            yield
        finally:
            torch.set_num_threads(1)

    return several
