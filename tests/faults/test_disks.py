"""Fill disks, make folders read-only, and connect to a cluster without its token."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from processes import command_line
from searches import check_whole, finished, journal

WAIT = 600  # seconds, on a machine that is busy

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture
def mount():
    """Return a function that mounts something over a folder; skip the test where that is forbidden."""
    mounted = []

    def make(folder, *options):
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", *options, folder], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no mount here: {done.stderr.strip()}")
        mounted.append(folder)

    yield make
    for folder in reversed(mounted):
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder, spare=0):
    """Write a file that leaves only `spare` bytes of a disk."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        file.write(bytes(os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize - spare))
    return filler


@pytest.mark.fault("disk")
def test_a_disk_that_fills_up_in_a_search_is_one_line_and_it_goes_on_when_there_is_room(project, mount):
    project.set(training={"max_epochs": 60, "patience": 60}, tune={"num_trials": 6})
    mount(project.study("lr"), "-t", "tmpfs", "-o", "size=1m", "none")
    filler = fill(project.study("lr"), spare=48 << 10)  # four trials, of which two or three run at once
    done = subprocess.run(project.command("tune", "lr"), capture_output=True, text=True, timeout=WAIT)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"error: [Errno 28] No space left on device: '{journal(project)}'"
    assert "Traceback" not in done.stderr
    assert not project.results("lr").exists()
    kept = finished(project)
    assert kept
    filler.unlink()
    project.tune("lr")
    check_whole(project, kept)


@pytest.mark.fault("disk")
@pytest.mark.parametrize("stage", ["tune", "evaluate"])
def test_a_full_disk_leaves_the_earlier_results(searched_project, mount, stage):
    project = searched_project
    folder, earlier = project.results("fm"), project.root / "earlier"
    folder.rename(earlier)
    mount(folder, "-t", "tmpfs", "-o", "size=64k", "none")
    shutil.copytree(earlier, folder, dirs_exist_ok=True)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    filler = fill(folder)
    with pytest.raises(OSError, match="No space left") as caught:
        getattr(project, stage)("fm")
    assert Path(caught.value.filename) in (folder / "trials.csv", folder / "curves.csv")
    filler.unlink()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    getattr(project, stage)("fm")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.fault("disk")
def test_a_folder_that_can_t_be_written_is_one_line_that_names_it(project, mount):
    mount(project.root, "--bind", project.root)
    subprocess.run(["mount", "-o", "remount,ro,bind", project.root], check=True)
    done = subprocess.run(project.command("tune", "lr"), capture_output=True, text=True, timeout=WAIT)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: [Errno 30] Read-only file system: '{project.root / 'studies'}'\n"


def listening(processes):
    """Return the addresses on which processes listen."""
    sockets = [found for process in processes for found in process.net_connections("inet")]
    return {found.laddr.ip.removeprefix("::ffff:") for found in sockets if found.status == psutil.CONN_LISTEN}


@pytest.mark.fault("network")
def test_a_cluster_of_this_machine_listens_on_loopback_only_and_wants_its_token(ray_address):
    host, _port = ray_address.split(":")
    (head,) = (
        process
        for process in psutil.Process().children(recursive=True)
        if process.name() == "raylet" and host in command_line(process)
    )
    assert listening(head.parent().children(recursive=True)) == {"127.0.0.1"}
    status = [Path(sys.prefix) / "bin" / "ray", "status", "--address", ray_address]
    assert subprocess.run(status, capture_output=True, timeout=WAIT).returncode == 0
    wrong = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    done = subprocess.run(status, env=wrong, capture_output=True, text=True, timeout=WAIT)
    assert done.returncode != 0
    assert "InvalidAuthToken" in done.stderr
