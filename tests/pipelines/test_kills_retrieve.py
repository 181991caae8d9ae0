"""`kill -9` of the driver in each of retrieve's two steps: no row is lost, comes twice or is made again."""

import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import psutil

from m3l import storage
from m3l.config import Config, load
from m3l.records import KEYFRAMES, POSTS, to_table
from m3l.retriever.clip import Retriever

from .test_retrieve import post, read

ROOT = Path(__file__).parents[2]
FILES, POSTS_OF_EACH, BLOCK = 24, 2, 2
PATIENCE_S = 300  # of a machine with other work


def started(config: Config, folder: Path) -> subprocess.Popen[bytes]:
    """`retrieve` as a program with a Ray of its own."""
    settings = folder / "settings.yaml"
    settings.write_text(config.to_yaml())
    command = [sys.executable, "-m", "pipelines.retrieve", "--config", str(settings)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)


def parts(*folders: str) -> dict[str, int]:
    """The parts in some folders, by when they were written."""
    return {part: Path(part).stat().st_mtime_ns for folder in folders for part in storage.parts(folder)}


def kill_at(count: int, folder: str, program: subprocess.Popen[bytes]) -> None:
    """Kills the driver once the folder has so many parts, and waits until what it had started is gone with it."""
    deadline = time.monotonic() + PATIENCE_S
    while len(parts(folder)) < count:
        assert program.poll() is None and time.monotonic() < deadline, parts(folder)
        time.sleep(0.02)
    family = psutil.Process(program.pid).children(recursive=True)
    program.kill()
    program.wait(PATIENCE_S)
    for process in psutil.wait_procs(family, timeout=20)[1]:
        process.kill()
    psutil.wait_procs(family, timeout=20)


def test_retrieve_survives_a_kill_in_each_of_its_steps(tmp_path: Path) -> None:
    config = load("tiny", [f"paths.run={tmp_path}", f"ray.block_rows={BLOCK}", "ray.clip_workers=1"])
    embeddings, context = config.paths.of("embeddings"), config.paths.of("context")
    files = [read(f"{i}.mp4", 1 + i % 14) for i in range(FILES)]
    posts = [post(i, files[i % FILES].url) for i in range(POSTS_OF_EACH * FILES)]
    storage.write_part(to_table(posts, POSTS), config.paths.of("posts"), ["posts"])
    storage.write_part(to_table(files, KEYFRAMES), config.paths.of("keyframes"), ["files"])
    Retriever.build(config.retriever.clip, seed=0).save(config.paths.of("retriever"))
    chance = Random(0)
    done: dict[str, int] = {}
    for folder in (embeddings, context):
        kill_at(chance.randint(1, 8), folder, started(config, tmp_path))
        assert done.items() <= parts(embeddings, context).items()
        done = parts(embeddings, context)

    assert started(config, tmp_path).wait(PATIENCE_S) == 0

    wanted = [*(f"post:{post.post_id}" for post in posts), *(f"media:{file.media_id}" for file in files)]
    assert sorted(storage.read_column(embeddings, "key")) == sorted(wanted)
    found = [(row["post_id"], row["task"]) for row in storage.read_rows(context, ["post_id", "task"])]
    assert sorted(found) == sorted((post.post_id, task.name) for post in posts for task in config.tasks)
    assert done.items() <= parts(embeddings, context).items()  # what was done is not done again
