"""A real S3 server on loopback (SeaweedFS): its address is known from the start, it runs while a test needs it."""

import os
import random
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pyarrow.fs as pafs

BUCKET = "m3l-tests"
SERVICES = ("s3", "master", "filer", "volume", "admin")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _free_ports(count: int) -> list[int]:
    """Ports that are free together with those 10,000 above, which SeaweedFS takes too."""
    tried = iter(random.SystemRandom().sample(range(11_000, 20_000), 500))
    return list(islice((port for port in tried if _free(port) and _free(port + 10_000)), count))


PORTS = dict(zip(SERVICES, _free_ports(len(SERVICES)), strict=True))
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{PORTS['s3']}",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Start the server with an empty bucket, yield the bucket's URI, and kill the server in the end."""
    ports = [f"-{name}.port={port}" for name, port in PORTS.items()]
    quiet = ["-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    command = [
        str(Path(sys.executable).with_name("weed")),
        "mini",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-dir={folder}",
        *ports,
        *quiet,
    ]
    environment = (
        os.environ | ENVIRONMENT | {"S3_BUCKET": BUCKET, "GOMEMLIMIT": "1GiB"}
    )  # near it, it does nothing but collect
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(server)
        yield f"s3://{BUCKET}"
    finally:
        server.kill()  # asked to terminate, it takes 20 s to close what nobody needs any more
        server.wait()


def _wait(server: subprocess.Popen[bytes]) -> None:
    for _ in range(120):
        assert server.poll() is None, "the S3 server ended early"
        try:
            fs, path = pafs.FileSystem.from_uri(f"s3://{BUCKET}/ready")
            with fs.open_output_stream(path) as sink:
                sink.write(b"yes")
            return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError("the S3 server did not answer")
