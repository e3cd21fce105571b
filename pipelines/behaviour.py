"""Compare the code's behaviour with the golden files, and accept changes."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from pipelines.project import golden_files
from pipelines.project.cli import one_of, run


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help="Golden files, such as ifm or search. Default: all.")
    ] = None,
    accept: Annotated[
        list[str] | None, typer.Option("--accept", help="Accept today's behaviour: write this golden file, or `all`.")
    ] = None,
) -> None:
    """Compare what the code does with the golden files in behaviour/.

    Exits with 1 if a figure differs by more than a relative 1e-6.

    A model's name stands for two golden files: its trainings and its search
    space. Results that depend on an accepted file become stale.
    """
    from models.layers.trees import AbsentError
    from pipelines.training.behaviour import today

    known = behaviours()
    for name in [*(names or []), *(accept or [])]:
        one_of("behaviour", name, {*known, "all"})
    asked = {*(names or []), *(accept or [])} or {"all"}
    wanted = [name for name in known if asked & {"all", name, name.removeprefix("spaces/")}]
    changed, compared = [], 0
    for name in wanted:
        try:
            figures, then = today(known[name]), golden_files.accepted(name)
        except AbsentError as error:
            print(f"{name}: left out: {error}")
            continue
        compared += 1
        found = [] if then is None else golden_files.differences(then, figures)
        if then is not None and not found:
            continue
        changed.append(name)
        print(f"{name}: not accepted yet" if then is None else worst(name, found))
        if accept and {*accept} & {"all", name, name.removeprefix("spaces/")}:
            golden_files.accept(name, figures)
            print(f"{name}: accepted, in {golden_files.golden_file(name)}")
            changed.pop()
    if changed:
        raise ValueError(f"the behaviour of {', '.join(changed)} is not accepted: --accept NAME accepts it")
    print(f"{compared} golden files say what the code does")


def worst(name: str, found: list[Any]) -> str:
    """Describe the figure that differs most."""
    place, then, now, distance = found[0]
    return (
        f"{name}: {len(found)} figures differ, most of all {place}: {then!r} accepted, {now!r} today ({distance:.1e})"
    )


def behaviours() -> dict[str, Callable[[], dict[str, Any]]]:
    """Map each golden file's name to the function that computes it."""
    from pipelines.data.behaviour import prepare_behaviour
    from pipelines.evaluation.behaviour import ensemble_behaviour, evaluate_behaviour
    from pipelines.search.behaviour import search_behaviour
    from pipelines.training.behaviour import behaviours

    return {
        **behaviours(),
        "prepare": prepare_behaviour,
        "search": search_behaviour,
        "evaluate": evaluate_behaviour,
        "ensemble": ensemble_behaviour,
    }


if __name__ == "__main__":
    run(main)
