"""Every verb as a job on a cluster that asks for a token, with every folder on a real S3 server.

Media, table, parts, weights, report, predictions: only the synthetic corpus is drawn on this machine first.
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
from tests.support.head_node import Cluster, client, free_port, head_node, run_job, submit
from tests.support.walk import SMALL

POSTS, PREDICTED, TRIALS = 40, 5, 2
VERBS = ("ingest", "history", "frames", "train_retriever", "retrieve", "train", "tune", "evaluate")
SMALLEST = ["tune.search=optuna", f"tune.trials={TRIALS}", "tune.posts=8", "evaluate.bootstrap=2"]


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
def finished(cluster: Cluster, settings: Path, bucket: str) -> Config:
    """The configuration of a run in the bucket, once every verb has run as a job."""
    local_corpus = settings.parent / "corpus"
    local = load("tiny", [*SMALL, *SMALLEST, f"corpus.posts={POSTS}", f"paths.corpus={local_corpus}"])
    settings.write_text(local.to_yaml())
    run_job(cluster, "corpus", "--config", str(settings))
    storage.upload(local_corpus, f"{bucket}/corpus")
    paths = {"corpus": f"{bucket}/corpus", "media_root": f"{bucket}/corpus", "run": f"{bucket}/run"}
    remote = {f"paths.{name}": uri for name, uri in paths.items()} | {"ingest.table": f"{bucket}/corpus/table"}
    config = override(local, remote)
    settings.write_text(config.to_yaml())
    for verb in VERBS:
        run_job(cluster, verb, "--config", str(settings))
    return config


def test_the_job_api_is_closed_without_the_token(cluster: Cluster) -> None:
    assert httpx.get(f"{cluster[0]}/api/jobs/").status_code == 401


def test_a_mistyped_field_fails_the_job_with_one_line(cluster: Cluster) -> None:
    job = submit(cluster, "frames", "media.strides=1")
    assert job.returncode != 0
    assert "m3l: media.strides: no such field" in job.stdout + job.stderr


def test_every_verb_runs_as_a_job_in_a_bucket(finished: Config, bucket: str) -> None:
    metrics = json.loads(str(storage.read_text(f"{bucket}/run/report/metrics.json")))
    assert storage.count_rows(f"{bucket}/run/posts") == metrics["run"]["posts"] == POSTS
    assert storage.count_rows(f"{bucket}/run/context") == POSTS * len(finished.tasks)
    readable = sum(row["readable"] for row in storage.read_rows(f"{bucket}/corpus/truth", ["readable"]))
    contexts = storage.read_rows(f"{bucket}/run/context", ["error"])
    assert sum(row["error"] is None for row in contexts) == readable * len(finished.tasks)
    assert "<html" in str(storage.read_text(f"{bucket}/run/report/index.html"))


def test_optunas_trials_are_ranked_in_the_bucket(finished: Config, bucket: str) -> None:
    trials = storage.read_json(f"{bucket}/run/tune/trials.json")
    assert len(trials) == TRIALS and trials[0]["objective"] <= trials[1]["objective"]
    assert f"cut: {trials[0]['params']['train.cut']}" in str(storage.read_text(f"{bucket}/run/tune/best.yaml"))


def test_posts_are_predicted_from_and_into_the_bucket(
    finished: Config, cluster: Cluster, settings: Path, bucket: str
) -> None:
    posts = list(storage.read_rows(f"{bucket}/corpus/table"))[:PREDICTED]
    storage.write_text(f"{bucket}/posts.jsonl", "".join(json.dumps(post) + "\n" for post in posts))
    arguments = [f"{bucket}/{name}" for name in ("run/bundle", "posts.jsonl", "predicted.jsonl")]
    run_job(cluster, "predict", "--config", str(settings), *arguments)
    predicted = [json.loads(line) for line in str(storage.read_text(f"{bucket}/predicted.jsonl")).splitlines()]
    assert [row["id"] for row in predicted] == [str(post["id"]) for post in posts]
    assert all(row["likes"] >= 0 and row["caption"] is not None for row in predicted)


def test_the_service_runs_as_a_job(finished: Config, cluster: Cluster, settings: Path) -> None:
    port = free_port()
    arguments = ["--config", str(settings), f"serve.port={port}"]
    submit(cluster, "serve", *arguments, options=("--no-wait", "--submission-id", "service"))
    try:
        assert answers(f"http://127.0.0.1:{port}/-/healthz")
    finally:
        client(cluster).stop_job("service")


def answers(url: str) -> bool:
    for _ in range(120):
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url).status_code == 200:
                return True
        time.sleep(1)
    return False


def test_a_second_run_finds_everything_in_the_bucket_and_writes_nothing(
    finished: Config, bucket: str, local_ray: None
) -> None:
    before = objects(f"{bucket}/run")
    for verb in (ingest, frames, train_retriever, retrieve, train):
        verb.main(finished)
    assert objects(f"{bucket}/run") == before
    with pytest.raises(ConfigError, match="other settings"):
        frames.main(override(finished, {"media.stride_s": 1.0}))


def objects(folder: str) -> dict[str, object]:
    """The objects below a folder with the time at which each was written, except the summaries of the last run."""
    fs, root = storage.locate(folder)
    infos = fs.get_file_info(pafs.FileSelector(root, recursive=True))
    return {info.path: info.mtime for info in infos if info.is_file and info.base_name != "_summary.json"}
