"""cluster.yaml passes Ray's own validation and starts a protected cluster."""

from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[3]


@pytest.fixture
def launcher():
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def test_ray_accepts_the_launcher_file(launcher):
    validate_config(prepare_config(launcher))


def test_every_node_starts_with_token_authentication(launcher):
    for role in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert all("RAY_AUTH_MODE=token" in command for command in launcher[role])
    assert "~/.ray/auth_token" in launcher["file_mounts"]


def test_the_dashboard_listens_on_loopback_only(launcher):
    assert any("--dashboard-host=127.0.0.1" in command for command in launcher["head_start_ray_commands"])
