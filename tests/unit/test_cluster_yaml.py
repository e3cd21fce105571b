"""Check that `ray up` accepts cluster.yaml."""

from pathlib import Path

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config():
    return yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))


def test_it_is_valid_by_the_schema_of_ray(config):
    validate_config(prepare_config(config))


def test_a_key_that_ray_does_not_know_is_an_error(config):
    config["available_node_types"]["worker"]["max_worker"] = 1
    with pytest.raises(ValidationError, match="max_worker"):
        validate_config(prepare_config(config))


def test_it_has_one_head_and_workers_that_come_and_go(config):
    prepared = prepare_config(config)
    kinds = prepared["available_node_types"]
    assert (prepared["head_node_type"], kinds["head"]["max_workers"]) == ("head", 0)
    assert (kinds["worker"]["min_workers"], kinds["worker"]["max_workers"]) == (0, 8)


def test_both_kinds_of_machine_get_the_code_and_the_token(config):
    prepared = prepare_config(config)
    assert {local for local in prepared["file_mounts"].values()} == {".", "~/.ray/auth_token"}
    for kind in ("head", "worker"):
        assert any("-e ~/factorbench" in command for command in prepared[f"{kind}_setup_commands"])
        assert any("RAY_AUTH_MODE=token" in command for command in prepared[f"{kind}_setup_commands"])
