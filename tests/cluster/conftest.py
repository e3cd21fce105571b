import pytest


@pytest.fixture
def project(project, ray_cluster):
    """Copy the prepared project, and make its searches use the shared cluster."""
    return project
