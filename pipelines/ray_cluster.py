"""Ray: the cluster that RAY_ADDRESS names, else one of this machine for the time of a stage.

`python -m pipelines.ray_cluster COMMAND …` runs a command, such as `dvc repro`, with one cluster for all its stages,
which saves each of them the seconds of starting its own.
"""

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator

import ray


@contextlib.contextmanager
def cluster() -> Iterator[dict[str, float]]:
    """Connects, gives the resources there are (`CPU`, `GPU`), and disconnects or shuts down at the end."""
    options = {} if os.environ.get("RAY_ADDRESS") else {"address": "local", "include_dashboard": False}
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    try:
        yield {name: float(amount) for name, amount in ray.cluster_resources().items()}
    finally:
        ray.shutdown()


def resources_per_run(cpus: int, gpus: float | None, there_is: dict[str, float]) -> dict[str, float]:
    """What one training run asks for (`cpu`, `gpu`); where `gpus` is None, a quarter of a GPU if there is one.

    Raises ValueError when the cluster can't serve a single run: Ray would wait for ever.
    """
    num_cpus, num_gpus = there_is.get("CPU", 0), there_is.get("GPU", 0)
    if gpus is None:
        gpus = min(0.25, num_gpus)
    for name, wanted, present in (("cpus_per_trial", cpus, num_cpus), ("gpus_per_trial", gpus, num_gpus)):
        if wanted > present:
            raise ValueError(f"tune.{name} is {wanted:g}, but there are only {present:g}")
    return {"cpu": float(cpus), "gpu": float(gpus)}


def last_line(error: BaseException) -> str:
    """What went wrong in a worker, without the traceback that Ray puts before it."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


def main() -> int:
    """Run the command of the arguments; its exit code."""
    with cluster():
        environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
        return subprocess.run(sys.argv[1:], env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
