"""Clusters that can't be used are refused soon, in one line that says why."""

import os
import subprocess
import sys
import time
from http.server import HTTPServer, SimpleHTTPRequestHandler
from threading import Thread

import pytest

from pipelines.project.cluster import CHECKED

PROGRAM = [sys.executable, "-m", "pipelines.ray_cluster", "true"]


def connect(**environment):
    """Connect to a cluster, and return the exit code, the error and the seconds."""
    kept = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", CHECKED)}
    start = time.monotonic()
    done = subprocess.run(PROGRAM, env={**kept, **environment}, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr, time.monotonic() - start


def refused(environment, *words):
    code, err, seconds = connect(**environment)
    assert code == 1
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert all(word in err for word in words), err
    assert seconds < 20


def test_an_address_where_nothing_answers_is_named_with_the_reason():
    refused({"RAY_ADDRESS": "127.0.0.1:1"}, "RAY_ADDRESS is 127.0.0.1:1", "Connection refused")


def test_so_is_one_where_something_else_answers():
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    with HTTPServer(("127.0.0.1", 0), Quiet) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        refused({"RAY_ADDRESS": address}, f"RAY_ADDRESS is {address}, which Ray can't use: ")
        server.shutdown()


@pytest.mark.fault("network")
def test_a_cluster_that_asks_for_another_token_is_refused(ray_address):
    refused({"RAY_ADDRESS": ray_address, "RAY_AUTH_TOKEN": "another"}, f"RAY_ADDRESS is {ray_address}", "token")


@pytest.mark.fault("network")
def test_without_a_token_the_reason_is_rays(ray_address):
    refused({"RAY_ADDRESS": ray_address, "HOME": "/proc"}, "no authentication token was found")


def test_with_the_token_it_is_used(ray_address):
    assert connect(RAY_ADDRESS=ray_address)[:2] == (0, "")


def test_a_process_that_has_connected_itself_keeps_its_cluster(ray_address):
    script = f"import ray; ray.init({ray_address!r}, logging_level=40)\n"
    script += "from pipelines.project.cluster import environment_of_cluster\n"
    script += "with environment_of_cluster() as environment: print(environment['RAY_ADDRESS'])\n"
    script += "print(ray.is_initialized())"
    kept = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", CHECKED)}
    done = subprocess.run([sys.executable, "-c", script], env=kept, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == [ray_address, "True"], done.stderr


@pytest.mark.fault("network")
def test_a_cluster_that_asks_for_no_token_is_refused():
    script = "import os, subprocess, sys, ray; ray.init(address='local', include_dashboard=False, logging_level=40); "
    script += "address = ray.get_runtime_context().gcs_address; "
    script += f"sys.exit(subprocess.run({PROGRAM!r}, env=os.environ | {{'RAY_ADDRESS': address, "
    script += "'RAY_AUTH_MODE': 'token'}).returncode)"
    kept = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", CHECKED)}
    environment = {**kept, "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the cluster of RAY_ADDRESS, 127.0.0.1:")
    assert "asks for no token" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_home_that_can_t_be_written_names_the_variable_that_helps():
    refused({"HOME": "/proc"}, "RAY_AUTH_TOKEN", "/proc/.ray")
    refused({"HOME": "/proc/none"}, "RAY_AUTH_TOKEN", "/proc/none")


@pytest.mark.parametrize("name", ["a" * 110, "tmpé"])
def test_a_temporary_folder_without_room_for_sockets_is_named(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    refused({"TMPDIR": str(folder)}, f"sockets in {folder}: set TMPDIR")
