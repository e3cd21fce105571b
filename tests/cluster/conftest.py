import pytest


@pytest.fixture
def project(project, ray_cluster):
    """Copy the prepared project, and make its searches use the shared cluster, one trial at a time."""
    project.set(tune={"cpus_per_trial": 2})  # each trial at a time costs a worker, which takes 4 s of a core to start
    return project
