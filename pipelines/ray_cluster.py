"""Run a command, such as `dvc repro`, with one Ray cluster for all its stages."""

import os
import subprocess
import sys

USAGE = "usage: python -m pipelines.ray_cluster COMMAND [ARGUMENTS]"


def main() -> int:
    """Run the command given as arguments, and return its exit code."""
    if not sys.argv[1:] or sys.argv[1].startswith("-"):
        print(f"{USAGE}\n\n{__doc__}")
        return 0 if "--help" in sys.argv else 2
    import ray  # takes seconds to import

    from pipelines.project.cluster import CHECKED, cluster

    try:
        with cluster():
            address = ray.get_runtime_context().gcs_address
            environment = {**os.environ, "RAY_ADDRESS": address, CHECKED: address}
            return subprocess.run(sys.argv[1:], env=environment).returncode
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
