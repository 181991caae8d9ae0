"""Retrieval on a real local Ray, with an untrained CLIP: rows in x tasks = rows out, whatever the media."""

from datetime import UTC, datetime

import cv2
import numpy as np
import pytest

from m3l.config import ConfigError, load, override
from m3l.data import storage
from m3l.data.keyed_rows import open_store
from m3l.data.records import KeyFrame, Media, MediaFrames, Post
from m3l.data.schemas import KEYFRAMES, POSTS, to_table
from m3l.retriever.clip import Retriever
from m3l.retriever.ranking import contexts
from pipelines import retrieve


def post(number: int, *urls: str) -> Post:
    media = tuple(Media(kind="video", url=url) for url in urls)
    posted_at = datetime(2020, 7, 19, tzinfo=UTC)
    return Post(post_id=str(number), username="maker", posted_at=posted_at, caption="the sea", likes=3, media=media)


def read(url: str, frames: int, error: str | None = None) -> MediaFrames:
    random = np.random.default_rng(len(url) + frames)
    shown = []
    for i in range(frames):
        picture = cv2.imencode(".jpg", random.integers(0, 256, (40, 48, 3), np.uint8))[1].tobytes()
        shown.append(KeyFrame(time_s=i / 2, image=picture, width=48, height=40))
    name = Media(kind="video", url=url).media_id
    return MediaFrames(media_id=name, url=url, kind="video", frames=tuple(shown), error=error)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    run = tmp_path_factory.mktemp("retrieve")
    made = load("tiny", [f"paths.run={run}", "retriever.top_k=3", "ray.block_rows=4", "ray.clip_workers=1"])
    posts = [post(0, "a"), post(1, "dead", "b"), post(2, "dead"), post(3), post(4, "a", "b"), post(5, "absent")]
    files = [read("a", 5), read("b", 2), read("dead", 0, "not found: 404")]
    storage.write_part(to_table(posts, POSTS), made.paths.of("posts"), ["posts"])
    storage.write_part(to_table(files, KEYFRAMES), made.paths.of("keyframes"), ["files"])
    Retriever.build(made.retriever.clip, seed=0).save(made.paths.of("retriever"))
    return made


@pytest.fixture(scope="module")
def told(config, local_ray):
    """The first run's summary, and the rows that it left."""
    summary = retrieve.main(config)
    return summary, {(r["post_id"], r["task"]): r for r in storage.read_rows(config.paths.of("context"))}


def test_every_post_has_a_row_for_every_task(told):
    summary, rows = told
    assert summary.rows_in == summary.rows_out == 12
    assert rows.keys() == {(str(i), task) for i in range(6) for task in ("content", "behaviour")}


def test_dead_media_give_an_error_row_and_readable_ones_go_on(told):
    summary, rows = told
    errors = {post_id: row["error"] for (post_id, task), row in rows.items() if task == "content"}
    assert errors == {"0": None, "1": None, "2": "not found: 404", "3": "no media", "4": None, "5": "no key frames"}
    assert summary.errors == {"not found": 2, "no media": 2, "no key frames": 2}
    assert [len(rows[i, "content"]["frames"]) for i in ("0", "1", "2", "4")] == [3, 2, 0, 3]


def test_every_frame_is_embedded_once_however_many_posts_share_it(config, told):
    rows = {row["key"]: row for row in storage.read_rows(config.paths.of("embeddings"))}
    assert len(rows) == storage.count_rows(config.paths.of("embeddings")) == 3 + 6
    media = {url: rows[f"media:{Media(kind='video', url=url).media_id}"] for url in ("a", "b", "dead")}
    assert [row["rows"] for row in media.values()] == [5, 2, 0]
    assert {row["rows"] for key, row in rows.items() if key.startswith("post:")} == {2}
    assert {len(row["vectors"]) for row in rows.values() if row["rows"] == 2} == {2 * 2 * 64}  # float16


def test_what_is_stored_ranks_as_what_is_embedded_on_the_fly(config, told):
    _, rows = told
    posts = [Post.model_validate(row) for row in storage.read_rows(config.paths.of("posts"))]
    media = [[file for m in post.media for file in key_frames(config, m)] for post in posts]
    retriever = Retriever.load(config.paths.of("retriever"))
    for found in contexts(retriever, config.tasks, posts, media, config.retriever):
        for task, context in found.items():
            stored = rows[context.post_id, task]["frames"]
            scores = [sorted(scores) for scores in ((f.score for f in context.frames), (f["score"] for f in stored))]
            assert scores[0] == pytest.approx(scores[1], abs=0.005)  # an untrained CLIP tells frames hardly apart


def test_other_settings_of_ranking_embed_nothing_again(config, told):
    before = storage.parts(config.paths.of("embeddings"))
    fewer = {"retriever.top_k": 1, "retriever.diversity": None, "paths.context": f"{config.paths.run}/fewer"}
    assert retrieve.main(override(config, fewer)).rows_out == 12
    assert storage.parts(config.paths.of("embeddings")) == before
    assert max(len(row["frames"]) for row in storage.read_rows(f"{config.paths.run}/fewer")) == 1


def test_embeddings_of_another_retriever_are_not_mixed_up(config, told, tmp_path):
    Retriever.build(config.retriever.clip, seed=1).save(tmp_path)
    with pytest.raises(ConfigError, match=r"other settings .*weights"):
        retrieve.main(override(config, {"paths.retriever": str(tmp_path)}))


def key_frames(config, media):
    rows = open_store(config.paths.of("keyframes"), "media_id").get(media.media_id)
    return [MediaFrames.model_validate(row) for row in rows]


def test_running_it_again_does_nothing(config, told):
    before = storage.parts(config.paths.of("context"))
    again = retrieve.main(config)
    assert (again.rows_in, again.rows_before, again.rows_out) == (12, 12, 0)
    assert storage.parts(config.paths.of("context")) == before


def test_without_a_retriever_the_fix_is_named(config, tmp_path):
    with pytest.raises(ConfigError, match="train-retriever"):
        retrieve.main(override(config, {"paths.retriever": str(tmp_path)}))
