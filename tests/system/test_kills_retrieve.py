"""`kill -9` of the driver in each of retrieve's two steps: no row is lost, comes twice or is computed again."""

from pathlib import Path
from random import Random

from m3l.data import storage
from pipelines import retrieve
from tests.support.programs import kill, parts, running, wait_for
from tests.support.runs import video_frames, video_post, videos_run

FILES, POSTS_OF_EACH, BLOCK = 24, 2, 2


def test_retrieve_survives_a_kill_in_each_of_its_steps(local_ray: None, tmp_path: Path) -> None:
    files = [video_frames(f"{i}.mp4", 1 + i % 14) for i in range(FILES)]
    posts = [video_post(i, files[i % FILES].url) for i in range(POSTS_OF_EACH * FILES)]
    config = videos_run(tmp_path, posts, files, f"ray.block_rows={BLOCK}", "ray.clip_workers=1")
    embeddings, context = config.paths.of("embeddings"), config.paths.of("context")
    random = Random(0)
    done: dict[str, int] = {}
    for folder in (embeddings, context):
        count = random.randint(1, 8)
        with running(config, tmp_path, "pipelines.retrieve") as program:
            wait_for(lambda: len(parts(folder)) >= count, program)  # noqa: B023
            kill(program)
        assert done.items() <= parts(embeddings, context).items()
        done = parts(embeddings, context)

    retrieve.main(config)

    expected = [*(f"post:{post.post_id}" for post in posts), *(f"media:{file.media_id}" for file in files)]
    assert sorted(storage.read_column(embeddings, "key")) == sorted(expected)
    rows = [(row["post_id"], row["task"]) for row in storage.read_rows(context, ["post_id", "task"])]
    assert sorted(rows) == sorted((post.post_id, task.name) for post in posts for task in config.tasks)
    assert done.items() <= parts(embeddings, context).items()  # no part was written again
