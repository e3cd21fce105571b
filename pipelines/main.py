"""Collect all commands in one program, `factorbench`."""

import importlib

from pipelines.project.cli import run_any

COMMANDS = (
    "describe",
    "fit",
    "download",
    "prepare",
    "pretrain",
    "tune",
    "evaluate",
    "ensemble",
    "leaderboard",
    "significance",
    "report",
    "verify",
    "bundle",
    "predict",
    "recommend",
    "calibrate",
    "explain",
    "export",
    "train",
    "compare",
    "studies",
    "replay",
)


def main() -> None:
    """Run the command that the first argument names."""
    run_any({name: importlib.import_module(f"pipelines.{name}").main for name in COMMANDS})


if __name__ == "__main__":
    main()
