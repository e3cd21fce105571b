"""Check that two commands lead from a user's file to a leaderboard."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

PAGE = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text(encoding="utf-8")


def look_alike(file):
    """Write files in the form of MovieLens 100K: users like the genre of their group."""
    rng = np.random.default_rng(0)
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float\n"]
    for row in range(1500):
        user, item = rng.integers(40), rng.integers(30)
        rating = rng.integers(4, 6) if (user + item) % 2 else rng.integers(1, 4)
        lines.append(f"{user}\t{item}\t{rating}\t{880_000_000 + 3600 * row}\n")
    file.write_text("".join(lines))
    users = [f"{user}\t{18 + user}\t{'MF'[user % 2]}\n" for user in range(40)]
    file.with_suffix(".user").write_text("user_id:token\tage:token\tgender:token\n" + "".join(users))
    items = [f"{item}\t{'Drama' if item % 2 else 'Action War'}\n" for item in range(30)]
    file.with_suffix(".item").write_text("item_id:token\tclass:token_seq\n" + "".join(items))


def commands():
    """Return the commands that the page tells a user to type."""
    block = re.search(r"```console\n(.*?)```", PAGE, re.DOTALL)
    return [line.removeprefix("$ ") for line in block[1].splitlines() if line.startswith("$ ")]


def test_the_two_commands_of_the_page_lead_to_a_leaderboard(tmp_path):
    look_alike(tmp_path / "ml-100k.inter")
    (tmp_path / "datasets").mkdir()
    describe, fit = commands()
    assert describe.startswith("factorbench describe ml-100k.inter ml-100k.user ml-100k.item > datasets/")
    for command in (describe, f"{fit} --models lr,fm --num-trials 1 --num-seeds 2"):
        command = command.replace("factorbench", f"{sys.executable} -m pipelines.main")
        environment = {**os.environ, "RAY_OVERRIDE_RESOURCES": '{"CPU": 1}'}  # one worker at a time
        done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    board = (tmp_path / "runs" / "ml-100k" / "results" / "leaderboard.md").read_text()
    assert re.findall(r"^\| (lr|fm) \|", board, re.MULTILINE) == ["fm", "lr"]
    means = ["fm, mean of 2 seeds", "lr, mean of 2 seeds", "fm, paper's setting"]
    assert all(f"\n| {name} " in board for name in means)
    assert "| test AUC | test logloss | test RMSE | test PR-AUC | test ECE | test group AUC |" in board
    assert re.search(r"^  factorbench bundle --model fm --dataset ml-100k --params \S+$", done.stdout, re.MULTILINE)
    assert (tmp_path / "ml-100k.inter").exists()
