import gc
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from trees import run_module

import pipelines
from pipelines.project import code
from pipelines.project.cli import WITH_PARAMS, one_of, phases, run

FOLDER = Path(pipelines.__path__[0])
STAGES = sorted(path.stem for path in FOLDER.glob("*.py") if "\n    run(main)\n" in path.read_text(encoding="utf-8"))
HEAVY = {"torch", "ray", "optuna", "matplotlib", "scipy", "jinja2", "numba"}
HELPS = """
import contextlib, io, json, runpy, sys
helps = {}
for stage in sys.argv[1:]:
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    sys.argv = [stage, "--help"]
    sys.modules.pop(f"pipelines.{stage}", None)  # another stage may have imported it
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            runpy.run_module(f"pipelines.{stage}", run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            code = ended.code
    for stream in streams:
        stream.flush()
    helps[stage] = [code, *(stream.buffer.getvalue().decode() for stream in streams)]
print(json.dumps(helps))
"""


def failing(error):
    def command() -> None:
        print("begun")
        raise error

    return command


def test_a_command_that_ends_well(program):
    def command(count: int = 1) -> None:
        print(count + 1)

    assert program(command, "--count", "4") == (0, "5\n", "")


def test_a_command_looks_for_no_garbage_in_half_a_million_imported_objects(program):
    def command() -> None:
        started = []
        gc.collect()
        gc.callbacks.append(lambda phase, _: started.append(phase))
        imported = [[] for _ in range(500_000)]
        gc.callbacks.pop()
        print(len(imported), started)

    before = gc.get_threshold()
    try:
        assert program(command) == (0, "500000 []\n", "")
    finally:
        gc.set_threshold(*before)


def test_a_command_looks_for_no_garbage_when_it_ends(tmp_path):
    program = """
from pipelines.project.cli import run

class Garbage:
    def __init__(self):
        self.itself = self
    def __del__(self):
        print("looked at")

def command() -> None:
    Garbage()
    print("done")

run(command)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([], ""),
        (["--params", "a/params.yaml"], " --params a/params.yaml"),
        (["--params=my file.yaml"], " --params 'my file.yaml'"),
    ],
)
def test_a_command_that_an_error_proposes_has_the_params_of_the_failed_one(program, arguments, shown):
    def command(params: str = "params.yaml") -> None:
        raise ValueError(
            "no data: run python -m pipelines.prepare --dataset x, then `python -m pipelines.tune`; "
            "only python -m pipelines.train has it; run python -m pipelines.behaviour --accept fm"
        )

    assert program(command, *arguments)[2] == (
        f"error: no data: run python -m pipelines.prepare{shown} --dataset x, then `python -m pipelines.tune{shown}`; "
        "only python -m pipelines.train has it; run python -m pipelines.behaviour --accept fm\n"
    )


def test_params_are_added_to_the_commands_that_take_them():
    takes = {stage for stage in STAGES if "ParamsOption" in (FOLDER / f"{stage}.py").read_text()}
    assert {stage for stage in STAGES if WITH_PARAMS.search(f"run python -m pipelines.{stage}")} == takes


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no such model"), "error: no such model\n"),
        (ValueError("several\nlines\n\n  of text "), "error: several lines of text\n"),
        (FileNotFoundError(2, "No such file", "a.yaml"), "error: [Errno 2] No such file: 'a.yaml'\n"),
        (OSError(28, "No space left on device", "b"), "error: [Errno 28] No space left on device: 'b'\n"),
        (OSError(None, "polars failed", "c"), "error: polars failed: c\n"),
        (OSError("a connection broke"), "error: a connection broke\n"),
        (TimeoutError(), "error: TimeoutError\n"),
        (FloatingPointError("the loss is not finite"), "error: the loss is not finite\n"),
        (MemoryError(), "error: out of memory: lower training.batch_size or the model's sizes\n"),
    ],
)  # fmt: skip
def test_an_error_of_input_or_machine_is_one_line(program, error, line):
    assert program(failing(error)) == (1, "begun\n", line)


def test_a_variable_shows_where_the_error_was_raised(monkeypatch):
    monkeypatch.setenv("FACTORBENCH_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(ValueError, match="no such model"):
        run(failing(ValueError("no such model")))


@pytest.mark.parametrize("error", [TypeError, KeyError, RuntimeError, AssertionError])
def test_a_bug_is_not_hidden(monkeypatch, error):
    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(error):
        run(failing(error("oops")))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_some_characters_does_not_stop_a_command(encoding):
    script = "import sys; from pipelines.project.cli import run; run(lambda: print('0.3 – 0.4 ± 0.1'))"
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=environment)
    shown = "0.3 – 0.4 ± 0.1\n".encode(encoding, errors="replace")
    assert (done.returncode, done.stdout, done.stderr) == (0, shown, b"")


@pytest.mark.parametrize("folder", code.FOLDERS)
def test_code_that_is_edited_while_a_command_runs_is_an_error(tmp_path, folder):
    for name in code.FOLDERS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file.py").write_text("1")
    script = f"from pathlib import Path; from pipelines.project import cli, code; code.ROOT = Path({str(tmp_path)!r}); "
    edit = f"Path({str(tmp_path / folder / 'file.py')!r}).write_text('2')"
    for change, error in (("None", ""), (edit, f"error: {folder}/file.py changed while this ran, so nothing is ")):
        done = subprocess.run(
            [sys.executable, "-c", f"{script} cli.run(lambda: {change})"], capture_output=True, text=True
        )
        assert done.returncode == bool(error)
        assert done.stderr.startswith(error)
        assert done.stderr.count("\n") == bool(error)


def test_an_unknown_option_is_a_usage_error(program):
    code, _, stderr = program(failing(ValueError()), "--nonsense")
    assert code == 2
    assert "--nonsense" in stderr


def test_one_of():
    assert one_of("fruit", "fig", {"fig", "apple"}) == "fig"
    with pytest.raises(ValueError, match=r"^unknown fruit 'pea'; choose one of: apple, fig$"):
        one_of("fruit", "pea", {"fig": 1, "apple": 2})


@pytest.fixture(scope="module")
def helps(tmp_path_factory):
    """Do what `python -m pipelines.STAGE --help` does for all stages, in one process."""
    folder = tmp_path_factory.mktemp("helps")
    (folder / "helps.py").write_text(HELPS)
    done = run_module(folder, "helps", *STAGES, COLUMNS="120", NO_COLOR="1", TERM="dumb")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_stages_are_all_there():
    assert {"download", "prepare", "pretrain", "train", "tune", "evaluate", "leaderboard", "significance"} <= set(
        STAGES
    )


@pytest.mark.parametrize("stage", STAGES)
def test_help_says_what_the_stage_does_and_has_all_options(helps, stage):
    code, stdout, stderr = helps[stage]
    assert (code, stderr) == (0, "")
    main = importlib.import_module(f"pipelines.{stage}").main
    assert main.__doc__.strip().split("\n")[0].split(".")[0] in " ".join(stdout.split())
    app = typer.Typer(add_completion=False)
    app.command()(main)
    for option in typer.main.get_command(app).params:
        assert all(name in stdout for name in option.opts), f"{option.opts} is not in the help"
        assert option.name == "help" or option.help, f"{option.opts} is not explained"
        assert not option.help or option.help.split()[0] in stdout


def test_no_stage_waits_for_a_heavy_import_before_it_reads_its_options():
    modules = ", ".join(f"pipelines.{stage}" for stage in STAGES)
    code = f"import sys, {modules}; print(*sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_only_what_trains_or_predicts_waits_for_the_compiler(tmp_path):
    script = "import sys, pipelines.data.rows, pipelines.search.tuner; print('numba' in sys.modules)"
    (tmp_path / "script.py").write_text(script)
    done = run_module(tmp_path, "script")
    assert (done.returncode, done.stdout) == (0, "False\n")


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), ([], 2)])
def test_the_cluster_command_says_how_it_is_used_without_a_cluster(arguments, code):
    command = [sys.executable, "-m", "pipelines.ray_cluster", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.startswith("usage: python -m pipelines.ray_cluster COMMAND")


def test_phases_of_long_work_are_lines_where_there_is_no_terminal(monkeypatch, capsys):
    seconds = iter([0.0, 1.0, 12.0, 200.0])
    monkeypatch.setattr("pipelines.project.cli.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    with phases("frappe") as begin:
        for phase in ("reads", "draws", "writes"):
            begin(phase)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "frappe: draws after 12 s\nfrappe: writes after 200 s\n"
