"""Run a command, such as `dvc repro`, with one Ray cluster for all its stages."""

import subprocess
import sys

USAGE = "usage: python -m pipelines.ray_cluster COMMAND [ARGUMENTS]"


def main() -> int:
    """Run the command given as arguments, and return its exit code."""
    if not sys.argv[1:] or sys.argv[1].startswith("-"):
        print(f"{USAGE}\n\n{__doc__}")
        return 0 if "--help" in sys.argv else 2
    from pipelines.project.cluster import environment_of_cluster  # takes seconds to import

    try:
        with environment_of_cluster() as environment:
            return subprocess.run(sys.argv[1:], env=environment).returncode
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
