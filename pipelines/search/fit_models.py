"""Run the stages of several models, one after the other, in one Ray cluster."""

import contextlib
import io
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipelines.project.cli import describe, with_params
from pipelines.search.time_budget import Plan

Stages = Mapping[str, Callable[..., None]]  # by name; each takes `params`, `dataset` and options of its own


class Lines(io.TextIOBase):
    """Hand each line that is written to a function."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.show = show

    def write(self, text: str) -> int:
        for line in filter(None, map(str.strip, text.splitlines())):
            self.show(line)
        return len(text)


def run_stage(stage: Callable[..., None], params: Path, show: Callable[[str], None], **options: Any) -> str:
    """Run a stage, and return the last line that it prints. `show` gets those of its progress.

    Raises ValueError with the stage's error, whatever it is: other models can go on.
    """
    printed = [""]
    with contextlib.redirect_stdout(Lines(printed.append)), contextlib.redirect_stderr(Lines(show)):
        try:
            stage(params=params, **options)
        except Exception as error:
            from pipelines.project.cluster import last_line

            reason = describe(error) or last_line(error)
            raise ValueError(with_params(" ".join(reason.split()), ["--params", str(params)])) from error
    return printed[-1]


def fit_all(
    dataset: str, models: list[str], params: Path, stages: Stages, searched: Callable[[list[str], list[float]], Plan]
) -> dict[str, str]:
    """Search every model, then train each, and show how far each is.

    `stages` has tune, evaluate and ensemble. `searched` is called with the models whose search ended well, and the
    seconds of each, and plans their final runs. Returns why models failed.
    """
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    from pipelines.project.cluster import cluster

    state, start = dict.fromkeys(models, "waits"), time.monotonic()
    console = Console(file=sys.stderr)  # while a stage runs, sys.stderr is another

    def table() -> Table:
        shown = Table("model", "", title=f"{dataset}: {time.monotonic() - start:.0f} s", title_justify="left")
        for model, words in state.items():
            shown.add_row(model, words)
        return shown

    failed: dict[str, str] = {}
    with cluster(), Live(get_renderable=table, console=console, refresh_per_second=2):

        def run(name: str, model: str, doing: str) -> None:
            before = f"{state[model]}; " if name == "evaluate" else ""
            state[model] = before + doing

            def show(line: str) -> None:
                of, _, rest = line.partition(": ")
                if name == "tune" and of == f"{model} on {dataset}":
                    state[model] = f"{doing}: {rest.partition(': ')[0]}"

            try:
                found = run_stage(stages[name], params, show, dataset=dataset, model=model).partition(": ")[2]
                state[model] = before + found
            except ValueError as error:
                failed[model] = str(error)
                state[model] = f"failed: {error}"
            if not console.is_terminal and (name == "evaluate" or model in failed):
                console.print(f"{model}: {state[model]}", highlight=False, soft_wrap=True)

        seconds = {}
        for model in models:
            begun = time.monotonic()
            run("tune", model, "is searched")
            seconds[model] = time.monotonic() - begun
        found = [model for model in models if model not in failed]
        plan = searched(found, [seconds[model] for model in found])
        for model in plan.models:
            run("evaluate", model, "final runs")
        if any(model not in failed for model in plan.models):
            try:
                run_stage(stages["ensemble"], params, lambda line: None, dataset=dataset, default=plan.paper)
            except ValueError as error:
                console.print(f"no ensemble: {error}", highlight=False, soft_wrap=True)
    return failed
