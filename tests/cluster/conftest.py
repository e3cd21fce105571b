import pytest


@pytest.fixture
def project(project, ray_cluster):
    """A copy of the prepared project, whose searches use the cluster of all tests."""
    return project
