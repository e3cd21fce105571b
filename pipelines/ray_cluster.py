"""Run a command, such as `dvc repro`, with one Ray cluster for all its stages."""

import os
import subprocess
import sys

import ray

from pipelines.project.cluster import cluster


def main() -> int:
    """Run the command given as arguments, and return its exit code."""
    with cluster():
        environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
        return subprocess.run(sys.argv[1:], env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
