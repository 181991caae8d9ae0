"""`kill -9` of the driver in each of retrieve's two steps: no row is lost, comes twice or is made again."""

from pathlib import Path
from random import Random

from m3l.config import load
from m3l.data import storage
from m3l.data.schemas import KEYFRAMES, POSTS, to_table
from m3l.retriever.clip import Retriever
from tests.integration.test_retrieve import post, read
from tests.support.programs import PATIENCE_S, kill, parts, running, wait_for

FILES, POSTS_OF_EACH, BLOCK = 24, 2, 2


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
        count = chance.randint(1, 8)
        with running(config, tmp_path, "pipelines.retrieve") as program:
            wait_for(lambda: len(parts(folder)) >= count, program)  # noqa: B023
            kill(program)
        assert done.items() <= parts(embeddings, context).items()
        done = parts(embeddings, context)

    with running(config, tmp_path, "pipelines.retrieve") as program:
        assert program.wait(PATIENCE_S) == 0

    wanted = [*(f"post:{post.post_id}" for post in posts), *(f"media:{file.media_id}" for file in files)]
    assert sorted(storage.read_column(embeddings, "key")) == sorted(wanted)
    found = [(row["post_id"], row["task"]) for row in storage.read_rows(context, ["post_id", "task"])]
    assert sorted(found) == sorted((post.post_id, task.name) for post in posts for task in config.tasks)
    assert done.items() <= parts(embeddings, context).items()  # what was done is not done again
