"""The data's way with every folder on a real S3 server: media, table, parts, weights, report, predictions."""

import json
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from m3l import storage
from m3l.config import ConfigError, load, override
from pipelines import corpus, evaluate, frames, ingest, predict, retrieve, train, train_retriever, tune

from .test_way import QUICK

POSTS = 32
SMALLEST = ["tune.trials=1", "tune.posts=8", "evaluate.bootstrap=2"]


@pytest.fixture(scope="module")
def config(tmp_path_factory, bucket, local_ray):
    """Of a run in the bucket, whose corpus was drawn here and brought there."""
    drawn = tmp_path_factory.mktemp("drawn")
    here = load("tiny", [*QUICK, *SMALLEST, f"corpus.posts={POSTS}", f"paths.corpus={drawn}"])
    corpus.main(here)
    storage.upload(Path(drawn), f"{bucket}/corpus")
    there = {"corpus": f"{bucket}/corpus", "media_root": f"{bucket}/corpus", "run": f"{bucket}/run"}
    changes = {f"paths.{name}": uri for name, uri in there.items()}
    return override(here, changes | {"ingest.table": f"{bucket}/corpus/table"})


def test_the_whole_way_runs_in_a_bucket(config, bucket):
    for verb in (ingest, frames, train_retriever, retrieve, train, tune):
        verb.main(config)
    metrics = evaluate.main(config)
    assert storage.count_rows(f"{bucket}/run/posts") == metrics["run"]["posts"] == POSTS
    assert storage.count_rows(f"{bucket}/run/context") == POSTS * len(config.tasks)
    readable = sum(row["readable"] for row in storage.read_rows(f"{bucket}/corpus/truth", ["readable"]))
    read = storage.read_rows(f"{bucket}/run/context", ["error"])
    assert sum(row["error"] is None for row in read) == readable * len(config.tasks)
    assert "<html" in storage.read_text(f"{bucket}/run/report/index.html")


def test_a_second_run_finds_all_in_the_bucket_and_writes_nothing(config, bucket):
    before = objects(f"{bucket}/run")
    for verb in (ingest, frames, train_retriever, retrieve, train):
        verb.main(config)
    assert objects(f"{bucket}/run") == before
    with pytest.raises(ConfigError, match="other settings"):
        frames.main(override(config, {"media.stride_s": 1.0}))


def objects(folder: str) -> dict[str, object]:
    """What a folder holds and when it was written, but for the summaries, which tell of the last run."""
    fs, root = storage.locate(folder)
    found = fs.get_file_info(pafs.FileSelector(root, recursive=True))
    return {file.path: file.mtime for file in found if file.is_file and file.base_name != "_summary.json"}


def test_posts_are_scored_from_and_into_the_bucket(config, bucket):
    posts = list(storage.read_rows(f"{bucket}/corpus/table"))[:5]
    storage.write_text(f"{bucket}/mine.jsonl", "".join(json.dumps(post) + "\n" for post in posts))
    out = f"{bucket}/told.jsonl"
    predict.main(override(config, {"predict.table": f"{bucket}/mine.jsonl", "predict.out": out}))
    told = [json.loads(line) for line in str(storage.read_text(out)).splitlines()]
    assert [row["id"] for row in told] == [str(post["id"]) for post in posts]
    assert all(row["likes"] >= 0 and row["caption"] is not None for row in told)
