import pytest


@pytest.fixture
def project(project, ray_cluster):
    """Copy the prepared project, whose searches use the shared cluster.

    One trial runs at a time.
    """
    project.set(tune={"cpus_per_trial": 2})  # each trial at a time costs a worker, which takes 4 s of a core to start
    return project
