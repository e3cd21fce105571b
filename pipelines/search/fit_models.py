"""Run the stages of several models, each in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pipelines.search.time_budget import Plan


def stage(name: str, params: Path, environment: Mapping[str, str] = os.environ, *flags: str, **options: str) -> str:
    """Run a stage with options, and return its last line. Raises ValueError with the stage's error."""
    command = [sys.executable, "-m", f"pipelines.{name}", "--params", str(params), *flags]
    command += [word for key, value in options.items() for word in (f"--{key}", value)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"{name} ended with code {done.returncode}"]
        raise ValueError(lines[-1].removeprefix("error: "))
    return (done.stdout.strip().splitlines() or [""])[-1]


def fit_all(
    dataset: str, models: list[str], params: Path, searched: Callable[[list[str], list[float]], Plan]
) -> dict[str, str]:
    """Search every model, then train each, and show how far each is.

    `searched` is called with the models whose search ended well, and the seconds of each, and plans their final runs.
    Returns why models failed.
    """
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    from pipelines.project.cluster import environment_of_cluster

    state, start, console = dict.fromkeys(models, "waits"), time.monotonic(), Console(stderr=True)

    def table() -> Table:
        shown = Table("model", "", title=f"{dataset}: {time.monotonic() - start:.0f} s", title_justify="left")
        for model, words in state.items():
            shown.add_row(model, words)
        return shown

    failed: dict[str, str] = {}
    with (
        environment_of_cluster() as environment,
        Live(get_renderable=table, console=console, refresh_per_second=2),
    ):

        def run_stage(name: str, model: str, doing: str) -> None:
            start = f"{state[model]}; " if name == "evaluate" else ""
            state[model] = start + doing
            try:
                found = stage(name, params, environment, dataset=dataset, model=model).partition(": ")[2]
                state[model] = start + found
            except ValueError as error:
                failed[model] = str(error)
                state[model] = f"failed: {error}"
            if not console.is_terminal and (name == "evaluate" or model in failed):
                console.print(f"{model}: {state[model]}", highlight=False, soft_wrap=True)

        seconds = {}
        for model in models:
            begun = time.monotonic()
            run_stage("tune", model, "is searched")
            seconds[model] = time.monotonic() - begun
        found = [model for model in models if model not in failed]
        plan = searched(found, [seconds[model] for model in found])
        for model in plan.models:
            run_stage("evaluate", model, "final runs")
        if any(model not in failed for model in plan.models):
            try:
                stage("ensemble", params, environment, *(["--default"] if plan.paper else []), dataset=dataset)
            except ValueError as error:
                console.print(f"no ensemble: {error}", highlight=False, soft_wrap=True)
    return failed
