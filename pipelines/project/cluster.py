"""Connect to the Ray cluster of RAY_ADDRESS, or start one on this machine."""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import ray
from ray.exceptions import RayError

CONNECT_SECONDS, ANSWER_SECONDS = 4, 15  # in which the head of a cluster must accept a connection, and then answer
CHECKED = "FACTORBENCH_CLUSTER"  # the address of a cluster that `pipelines.ray_cluster` has started itself
# The path of a socket below Ray's temporary folder. The system allows 107 bytes for the whole path.
SOCKET = f"/ray/session_2026-01-01_00-00-00_000000_{os.getpid()}/sockets/plasma_store"
ASK = """
import sys
from ray._raylet import GcsClient
try:
    GcsClient(address=sys.argv[1]).check_alive([], timeout=5.0)
    print("ok")
except Exception as error:
    print(f"{type(error).__name__}: {error}".splitlines()[0])
"""


@contextlib.contextmanager
def cluster() -> Iterator[dict[str, float]]:
    """Connect to Ray and yield the cluster's resources (`CPU`, `GPU`). Disconnects at the end.

    A process that has called `ray.init` itself, such as a notebook, uses that cluster and stays connected. Raises
    ValueError, with Ray's reason, where there is no cluster, or one that must not be used.
    """
    if ray.is_initialized():
        yield resources()
        return
    address = os.environ.get("RAY_ADDRESS")
    if address:
        check_head(address)
    else:
        check_folder(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp")
    options = {} if address else {"address": "local", "include_dashboard": False}
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, RayError) as error:
        raise ValueError(why_no_cluster(error, address)) from error
    try:
        if address == "auto":
            check_head(ray.get_runtime_context().gcs_address)
        yield resources()
    finally:
        ray.shutdown()


def resources() -> dict[str, float]:
    """Return the resources of the cluster."""
    return {name: float(amount) for name, amount in ray.cluster_resources().items()}


@contextlib.contextmanager
def environment_of_cluster() -> Iterator[dict[str, str]]:
    """Connect to Ray, and yield the environment in which commands share the cluster."""
    with cluster():
        address = ray.get_runtime_context().gcs_address
        yield {**os.environ, "RAY_ADDRESS": address, CHECKED: address}


def check_head(address: str) -> None:
    """Check that a cluster answers, and that it asks for a token. Raises ValueError if not.

    Ray itself waits for minutes, and its reason is among dozens of lines. Addresses other than HOST:PORT are
    left to Ray.
    """
    host, _, port = address.rpartition(":")
    if "/" in address or not (host and port.isdigit()) or os.environ.get(CHECKED) == address:
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ValueError(f"RAY_ADDRESS is {address}, where no Ray cluster answers: {error}") from error
    if os.environ["RAY_AUTH_MODE"] != "token":  # as the user wants it
        return
    until = time.monotonic() + ANSWER_SECONDS
    with_token, without = [ask(address, mode) for mode in ("token", "disabled")]
    found, open_to_all = answer(with_token, until), answer(without, until) == "ok"
    if open_to_all:
        raise ValueError(
            f"the cluster of RAY_ADDRESS, {address}, asks for no token, so anyone who reaches it can use it: start it "
            "again with RAY_AUTH_MODE=token on each machine (docs/clusters.md)"
        )
    if found not in ("ok", ""):
        raise ValueError(f"RAY_ADDRESS is {address}, which Ray can't use: {found}")


def ask(address: str, mode: str) -> subprocess.Popen[str]:
    """Start a process that asks a head for its nodes.

    Ray has one mode for each process, and prints a lot.
    """
    environment = {**os.environ, "RAY_AUTH_MODE": mode}
    command = [sys.executable, "-c", ASK, address]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def answer(asked: subprocess.Popen[str], until: float) -> str:
    """Return what a head has answered: "ok", or why not.

    The text is empty where Ray has crashed, as it does without a token.
    """
    try:
        return asked.communicate(timeout=max(0.0, until - time.monotonic()))[0].strip()
    except subprocess.TimeoutExpired:
        asked.kill()
        asked.communicate()
        return f"it does not answer in {ANSWER_SECONDS} s"


def check_folder(folder: str) -> None:
    """Raise ValueError for a temporary folder in which Ray can't put its sockets."""
    most = 107 - len(SOCKET)
    if len(folder) > most or not folder.isascii():
        raise ValueError(
            f"Ray can't keep its sockets in {folder}: set TMPDIR to a folder whose path has at most {most} characters, "
            "all of them ASCII, such as /tmp"
        )


def why_no_cluster(error: Exception, address: str | None) -> str:
    """Say in one line why there is no cluster, and what to do about it."""
    reason = str(error).splitlines()[0]
    if address:
        return f"RAY_ADDRESS is {address}, which Ray can't use: {reason}"
    if ".ray" in reason or str(Path.home()) in reason:
        return (
            f"Ray can't keep its token ({reason}): set RAY_AUTH_TOKEN to a secret of your own, or HOME to your folder"
        )
    return f"Ray does not start: {reason}"


def resources_per_run(cpus: int, gpus: float | None, there_is: dict[str, float]) -> dict[str, float]:
    """Return the resources (`cpu`, `gpu`) that one training run requests.

    `gpus` None requests a quarter of a GPU if the cluster has one. Raises ValueError when the cluster can't serve a
    single run: Ray would wait for ever.
    """
    num_cpus, num_gpus = there_is.get("CPU", 0), there_is.get("GPU", 0)
    if gpus is None:
        gpus = min(0.25, num_gpus)
    for name, wanted, present in (("cpus_per_trial", cpus, num_cpus), ("gpus_per_trial", gpus, num_gpus)):
        if wanted > present:
            raise ValueError(f"tune.{name} is {wanted:g}, but there are only {present:g}")
    return {"cpu": float(cpus), "gpu": float(gpus)}


def last_line(error: BaseException) -> str:
    """Return the message of a worker's error, without the traceback that Ray puts before it."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]
