"""bundle/ -> HTTP: the service of serve_app on Ray Serve, until Ctrl-C."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from m3l.config import Config, ConfigError
from pipelines.runtime.console import console
from pipelines.runtime.session import connect

GRACE_S = 10.0  # beyond the service's own time-out, which answers with a problem


@contextmanager
def deployed(config: Config) -> Iterator[str]:
    """Run the service of the bundle at `paths.bundle` while the block runs.

    Yields:
        The base URL, once the service is ready.

    Raises:
        ConfigError: There is no bundle, the port is taken, or a key is missing where others can reach the service.
    """
    from ray import serve

    from serve_app.app import build

    settings = config.serve
    overrides = {
        "serve": settings.model_dump(mode="json"),
        "ray": config.ray.model_dump(mode="json"),
        "paths.media_root": config.paths.media_root,
        "media.allowed_hosts": list(config.media.allowed_hosts),
    }
    app = build({"bundle": config.paths.of("bundle"), "overrides": overrides})
    _check_free(settings.host, settings.port)
    connect(config.ray)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    timeout_s = settings.request_timeout_s + GRACE_S
    serve.start(http_options={"host": settings.host, "port": settings.port, "request_timeout_s": timeout_s})
    try:
        serve.run(app, name="m3l", route_prefix="/", logging_config={"log_level": "WARNING"})
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        yield f"http://{host}:{settings.port}"
    finally:
        serve.shutdown()


def main(config: Config) -> None:
    """Serve the bundle and stay until Ctrl-C or SIGTERM."""
    with deployed(config) as url:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray's own handler ends in a stack trace
        console.print(f"[bold]serve[/]: {url}  (interface: {url}/docs)", highlight=False)
        console.print(_example(url, config), highlight=False, markup=False, soft_wrap=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            console.print("[bold]serve[/]: stopping")


def _check_free(host: str, port: int) -> None:
    # Serve's proxy shares its port (SO_REUSEPORT), so a second service would start silently.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            why = f"{host}:{port} cannot be used ({error.strerror})"
            raise ConfigError(f"serve.port: {why}; choose another") from None


def _example(url: str, config: Config) -> str:
    name = config.serve.api_key_env
    key = f' \\\n    -H "Authorization: Bearer ${name}"' if os.environ.get(name) else ""
    return (
        f"  curl {url}/v1/simulate/upload -F username=nasa -F posted_at=2021-07-20T15:00Z \\\n"
        f"    -F files=@video.mp4{key}"
    )


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
