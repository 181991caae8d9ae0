"""`kill -9` in the middle of a stage: the same command goes on, and no row is lost, comes twice or is made again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Literal

import psutil
import pytest

from m3l import storage
from m3l.config import Config, load
from pipelines import corpus, ingest

ROOT = Path(__file__).parents[2]
POSTS, BLOCK = 48, 2


@pytest.fixture(scope="module")
def posts(tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Config:
    """Ingested posts whose media are not read yet."""
    run = tmp_path_factory.mktemp("run")
    here = [f"paths.run={run}", f"paths.media_root={run}/corpus", f"ingest.table={run}/corpus/table"]
    config = load("tiny", [*here, f"corpus.posts={POSTS}", f"ray.block_media={BLOCK}"])
    corpus.main(config)
    ingest.main(config)
    return config


def frames(config: Config, folder: Path) -> subprocess.Popen[bytes]:
    """The verb `frames` into a folder, as a program with a Ray of its own."""
    settings = folder.with_suffix(".yaml")
    settings.write_text(config.to_yaml())
    command = [sys.executable, "-m", "pipelines.frames", "--config", str(settings), f"paths.keyframes={folder}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)


def parts(folder: Path) -> dict[str, int]:
    """The parts in a folder, by when they were written."""
    return {part: Path(part).stat().st_mtime_ns for part in storage.parts(str(folder))}


def wait_for_parts(folder: Path, count: int, program: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while len(parts(folder)) < count:
        assert program.poll() is None and time.monotonic() < deadline, f"{len(parts(folder))} parts"
        time.sleep(0.02)


def victims(program: subprocess.Popen[bytes], whom: Literal["driver", "worker", "raylet"]) -> Iterator[psutil.Process]:
    if whom == "driver":
        yield psutil.Process(program.pid)
        return
    for process in psutil.Process(program.pid).children(recursive=True):
        title = " ".join(process.cmdline())
        if title.startswith("ray::MapWorker") if whom == "worker" else process.name() == "raylet":
            yield process


@pytest.mark.parametrize(("whom", "seed"), [("driver", 0), ("driver", 1), ("worker", 2), ("raylet", 3)])
def test_frames_survives_a_kill(whom, seed: int, posts: Config, tmp_path: Path) -> None:
    folder, chance = tmp_path / "keyframes", Random(seed)
    program = frames(posts, folder)
    wait_for_parts(folder, chance.randint(1, 8), program)
    killed = chance.choice(list(victims(program, whom)))
    killed.send_signal(signal.SIGKILL)
    if whom == "worker":
        assert program.wait(timeout=120) == 0  # Ray starts another one
    else:
        assert program.wait(timeout=120) != 0
        time.sleep(2)  # until what it had started is gone
    before = parts(folder)

    assert frames(posts, folder).wait(timeout=180) == 0

    wanted = list(storage.read_column(f"{posts.paths.of('posts')}/media", "media_id"))
    assert sorted(storage.read_column(str(folder), "media_id")) == sorted(wanted)
    after = parts(folder)
    assert before.items() <= after.items()  # what was done is not done again
