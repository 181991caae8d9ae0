"""Verbs as jobs on a running Ray that asks for a token."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from m3l import storage
from m3l.config import load

from .test_way import QUICK

POSTS = 40
ROOT = Path(__file__).parents[2]
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head node of its own, started as `cluster.yaml` starts it; ended by its own process."""
    home = tmp_path_factory.mktemp("ray")
    dashboard = free_port()
    # Every port of its own: another Ray on this machine holds the default ones.
    ports = [
        f"--{name}={free_port()}"
        for name in ("port", "dashboard-agent-listen-port", "metrics-export-port", "ray-client-server-port")
    ]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    command = [*RAY, "start", "--head", "--block", *ports, f"--dashboard-port={dashboard}"]
    options = ["--num-cpus=4", "--dashboard-host=127.0.0.1", f"--temp-dir={home}", "--object-store-memory=200000000"]
    head = subprocess.Popen(
        [*command, *options, "--node-ip-address=127.0.0.1"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{dashboard}"
    try:
        wait_until_answering(url, environment["RAY_AUTH_TOKEN"], head)
        yield url, environment
    finally:
        end(head.pid)


def wait_until_answering(url: str, token: str, head: subprocess.Popen) -> None:
    for _ in range(120):
        assert head.poll() is None, "ray start ended early"
        try:
            if httpx.get(f"{url}/api/jobs/", headers={"Authorization": f"Bearer {token}"}).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise TimeoutError("the dashboard did not answer")


def end(pid: int) -> None:
    """End a process and those that it started, by their pids."""
    started = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(started, timeout=10)[1]:
        process.kill()


def submit(cluster, verb: str, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    url, environment = cluster
    command = [*RAY, "job", "submit", "--address", url, "--working-dir", ".", *options]
    return subprocess.run(
        [*command, "--", "python", "-m", f"pipelines.{verb}", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_the_job_api_is_closed_without_the_token(cluster):
    assert httpx.get(f"{cluster[0]}/api/jobs/").status_code == 401


def test_every_verb_runs_as_a_job(cluster, tmp_path):
    settings = tmp_path / "job.yaml"
    here = [f"paths.run={tmp_path}", f"paths.media_root={tmp_path}/corpus", f"ingest.table={tmp_path}/corpus/table"]
    settings.write_text(load("tiny", [*QUICK, *here, f"corpus.posts={POSTS}"]).to_yaml())
    told = tmp_path / "told.csv"
    verbs = [
        "corpus",
        "ingest",
        "history",
        "frames",
        "train_retriever",
        "retrieve",
        "train",
        "tune",
        "evaluate",
        "predict",
    ]
    extra = {"predict": (str(tmp_path / "bundle"), str(tmp_path / "corpus" / "table"), str(told))}
    for verb in verbs:
        job = submit(cluster, verb, "--config", str(settings), *extra.get(verb, ()))
        assert job.returncode == 0, job.stdout + job.stderr
    for folder, rows in (("posts", POSTS), ("context", 2 * POSTS)):
        assert storage.count_rows(f"{tmp_path}/{folder}") == rows
    assert "<html" in (tmp_path / "report" / "index.html").read_text()
    assert len(told.read_text().splitlines()) > POSTS  # captions have lines of their own

    port = free_port()
    arguments = ["--config", str(settings), f"serve.port={port}"]
    submit(cluster, "serve", *arguments, options=("--no-wait", "--submission-id", "service"))
    try:
        assert answers(f"http://127.0.0.1:{port}/-/healthz")
    finally:
        url, environment = cluster
        subprocess.run([*RAY, "job", "stop", "--address", url, "service"], env=environment, check=True, timeout=120)


def answers(url: str) -> bool:
    for _ in range(120):
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url).status_code == 200:
                return True
        time.sleep(1)
    return False


def test_a_mistyped_field_fails_the_job_with_one_line(cluster):
    job = submit(cluster, "frames", "media.strides=1")
    assert job.returncode != 0
    assert "m3l: media.strides: no such field" in job.stdout + job.stderr
