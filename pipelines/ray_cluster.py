"""Run a command, such as `dvc repro`, with one cluster of Ray's for all its stages, which saves each the start."""

import os
import subprocess
import sys

import ray

from pipelines.project.cluster import cluster


def main() -> int:
    """Run the command of the arguments; its exit code."""
    with cluster():
        environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
        return subprocess.run(sys.argv[1:], env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
