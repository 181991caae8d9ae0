"""What `m3l serve` refuses before it starts anything."""

import socket

import pytest

from m3l.config import Config, ConfigError, Paths, ServeConfig
from pipelines.serve import deployed


def start(config: Config) -> None:
    with deployed(config):
        pytest.fail("it started")


@pytest.fixture
def bundle(tmp_path, monkeypatch) -> Paths:
    monkeypatch.delenv("M3L_API_KEY", raising=False)
    (tmp_path / "config.yaml").write_text(Config().to_yaml())
    return Paths(bundle=str(tmp_path))


def test_it_needs_a_key_where_others_can_reach_it(bundle):
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(ConfigError, match="M3L_API_KEY is not set"):
            start(Config(paths=bundle, serve=ServeConfig(host=host)))


def test_it_needs_a_bundle(tmp_path):
    with pytest.raises(ConfigError, match=r"not a bundle: it has no config.yaml"):
        start(Config(paths=Paths(bundle=str(tmp_path))))


def test_it_needs_a_free_port(bundle):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"serve.port: 127.0.0.1:{port} cannot be used"):
            start(Config(paths=bundle, serve=ServeConfig(port=port)))
