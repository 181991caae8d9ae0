"""A head node on this machine that asks for a token, and jobs on it."""

import contextlib
import os
import secrets
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
from ray.job_submission import JobSubmissionClient

ROOT = Path(__file__).parents[2]
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


Cluster = tuple[str, dict[str, str]]  # its dashboard's address, and the environment of those who may use it


@contextmanager
def head_node(home: Path) -> Iterator[Cluster]:
    """A head node of its own, started as `cluster.yaml` starts it; ended by its own process."""
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
        _wait_until_answering(url, environment["RAY_AUTH_TOKEN"], head)
        yield url, environment
    finally:
        _end(head.pid)


def _wait_until_answering(url: str, token: str, head: subprocess.Popen[bytes]) -> None:
    for _ in range(120):
        assert head.poll() is None, "ray start ended early"
        try:
            if httpx.get(f"{url}/api/jobs/", headers={"Authorization": f"Bearer {token}"}).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise TimeoutError("the dashboard did not answer")


def _end(pid: int) -> None:
    """End a process and those that it started, by their pids."""
    started = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(started, timeout=10)[1]:
        process.kill()


def submit(
    cluster: Cluster, verb: str, *arguments: str, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a verb as a job by the command line, `ray job submit`."""
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


def run_job(cluster: Cluster, verb: str, *arguments: str) -> None:
    """Run a verb as a job by Ray's client, which starts no process here; fails with the job's log."""
    job = client(cluster).submit_job(
        entrypoint=shlex.join(["python", "-m", f"pipelines.{verb}", *arguments]),
        runtime_env={"working_dir": str(ROOT)},
    )
    deadline = time.monotonic() + 600
    while not (status := client(cluster).get_job_status(job)).is_terminal():
        assert time.monotonic() < deadline, verb
        time.sleep(0.2)
    assert status == "SUCCEEDED", client(cluster).get_job_logs(job)


def client(cluster: Cluster) -> JobSubmissionClient:
    url, environment = cluster
    return JobSubmissionClient(url, headers={"Authorization": f"Bearer {environment['RAY_AUTH_TOKEN']}"})
