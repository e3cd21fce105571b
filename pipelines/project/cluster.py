"""Connect to the Ray cluster of RAY_ADDRESS, or start one on this machine."""

import contextlib
import logging
import os
from collections.abc import Iterator

import ray


@contextlib.contextmanager
def cluster() -> Iterator[dict[str, float]]:
    """Connect to Ray and yield the cluster's resources (`CPU`, `GPU`). Disconnects at the end."""
    options = {} if os.environ.get("RAY_ADDRESS") else {"address": "local", "include_dashboard": False}
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    try:
        yield {name: float(amount) for name, amount in ray.cluster_resources().items()}
    finally:
        ray.shutdown()


def resources_per_run(cpus: int, gpus: float | None, there_is: dict[str, float]) -> dict[str, float]:
    """Return the resources (`cpu`, `gpu`) that one training run requests.

    `gpus` None requests a quarter of a GPU if the cluster has one. Raises ValueError when the cluster can't serve a
    single run: Ray would wait for ever.
    """
    num_cpus, num_gpus = there_is.get("CPU", 0), there_is.get("GPU", 0)
    if gpus is None:
        gpus = min(0.25, num_gpus)
    for name, wanted, present in (("cpus_per_trial", cpus, num_cpus), ("gpus_per_trial", gpus, num_gpus)):
        if wanted > present:
            raise ValueError(f"tune.{name} is {wanted:g}, but there are only {present:g}")
    return {"cpu": float(cpus), "gpu": float(gpus)}


def last_line(error: BaseException) -> str:
    """Return the message of a worker's error, without the traceback that Ray puts before it."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]
