"""The data's way as jobs on a Ray that asks for a token, with every folder on a real S3 server.

Media, table, parts, weights, report, predictions: nothing but the synthetic corpus is drawn on this machine first.
"""

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow.fs as pafs
import pytest

from m3l.config import Config, ConfigError, load, override
from m3l.data import storage
from pipelines import frames, ingest, retrieve, train, train_retriever
from tests.integration.test_walk import QUICK
from tests.support.head_node import Cluster, free_port, head_node, stop, submit

POSTS, SCORED = 40, 5
VERBS = ("ingest", "history", "frames", "train_retriever", "retrieve", "train", "tune", "evaluate")
SMALLEST = ["tune.trials=1", "tune.posts=8", "evaluate.bootstrap=2"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    # Below /tmp itself: Ray adds 66 characters for its sockets, whose names may have 107.
    home = tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True)
    with home as folder, head_node(Path(folder)) as running:
        yield running


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of settings that the jobs read."""
    return tmp_path_factory.mktemp("settings") / "job.yaml"


@pytest.fixture(scope="module")
def walked(cluster: Cluster, settings: Path, bucket: str) -> Config:
    """The configuration of a run in the bucket, once every verb has run as a job."""
    drawn = settings.parent / "drawn"
    here = load("tiny", [*QUICK, *SMALLEST, f"corpus.posts={POSTS}", f"paths.corpus={drawn}"])
    settings.write_text(here.to_yaml())
    run(cluster, "corpus", settings)
    storage.upload(drawn, f"{bucket}/corpus")
    there = {"corpus": f"{bucket}/corpus", "media_root": f"{bucket}/corpus", "run": f"{bucket}/run"}
    config = override(
        here, {f"paths.{name}": uri for name, uri in there.items()} | {"ingest.table": f"{bucket}/corpus/table"}
    )
    settings.write_text(config.to_yaml())
    for verb in VERBS:
        run(cluster, verb, settings)
    return config


def run(cluster: Cluster, verb: str, settings: Path, *arguments: str) -> None:
    job = submit(cluster, verb, "--config", str(settings), *arguments)
    assert job.returncode == 0, job.stdout + job.stderr


def test_the_job_api_is_closed_without_the_token(cluster: Cluster) -> None:
    assert httpx.get(f"{cluster[0]}/api/jobs/").status_code == 401


def test_a_mistyped_field_fails_the_job_with_one_line(cluster: Cluster) -> None:
    job = submit(cluster, "frames", "media.strides=1")
    assert job.returncode != 0
    assert "m3l: media.strides: no such field" in job.stdout + job.stderr


def test_the_whole_way_runs_as_jobs_in_a_bucket(walked: Config, bucket: str) -> None:
    metrics = json.loads(str(storage.read_text(f"{bucket}/run/report/metrics.json")))
    assert storage.count_rows(f"{bucket}/run/posts") == metrics["run"]["posts"] == POSTS
    assert storage.count_rows(f"{bucket}/run/context") == POSTS * len(walked.tasks)
    readable = sum(row["readable"] for row in storage.read_rows(f"{bucket}/corpus/truth", ["readable"]))
    read = storage.read_rows(f"{bucket}/run/context", ["error"])
    assert sum(row["error"] is None for row in read) == readable * len(walked.tasks)
    assert "<html" in str(storage.read_text(f"{bucket}/run/report/index.html"))


def test_posts_are_scored_from_and_into_the_bucket(
    walked: Config, cluster: Cluster, settings: Path, bucket: str
) -> None:
    posts = list(storage.read_rows(f"{bucket}/corpus/table"))[:SCORED]
    storage.write_text(f"{bucket}/mine.jsonl", "".join(json.dumps(post) + "\n" for post in posts))
    run(cluster, "predict", settings, f"{bucket}/run/bundle", f"{bucket}/mine.jsonl", f"{bucket}/told.jsonl")
    told = [json.loads(line) for line in str(storage.read_text(f"{bucket}/told.jsonl")).splitlines()]
    assert [row["id"] for row in told] == [str(post["id"]) for post in posts]
    assert all(row["likes"] >= 0 and row["caption"] is not None for row in told)


def test_the_service_runs_as_a_job(walked: Config, cluster: Cluster, settings: Path) -> None:
    port = free_port()
    arguments = ["--config", str(settings), f"serve.port={port}"]
    submit(cluster, "serve", *arguments, options=("--no-wait", "--submission-id", "service"))
    try:
        assert answers(f"http://127.0.0.1:{port}/-/healthz")
    finally:
        stop(cluster, "service")


def answers(url: str) -> bool:
    for _ in range(120):
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url).status_code == 200:
                return True
        time.sleep(1)
    return False


def test_a_second_run_finds_all_in_the_bucket_and_writes_nothing(walked: Config, bucket: str, local_ray: None) -> None:
    before = objects(f"{bucket}/run")
    for verb in (ingest, frames, train_retriever, retrieve, train):
        verb.main(walked)
    assert objects(f"{bucket}/run") == before
    with pytest.raises(ConfigError, match="other settings"):
        frames.main(override(walked, {"media.stride_s": 1.0}))


def objects(folder: str) -> dict[str, object]:
    """What a folder holds and when it was written, but for the summaries, which tell of the last run."""
    fs, root = storage.locate(folder)
    found = fs.get_file_info(pafs.FileSelector(root, recursive=True))
    return {file.path: file.mtime for file in found if file.is_file and file.base_name != "_summary.json"}
