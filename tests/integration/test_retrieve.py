"""Retrieval on a real local Ray, with an untrained CLIP: rows in x tasks = rows out, whatever the media."""

import pytest

from m3l.config import ConfigError, override
from m3l.data import storage
from m3l.data.keyed_rows import open_rows
from m3l.data.records import Media, MediaFrames, Post
from m3l.retriever.clip import Retriever
from m3l.retriever.ranking import retrieve_contexts
from pipelines import retrieve
from tests.support.runs import video_frames, video_post, videos_run


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    posts = [
        video_post(number, *urls)
        for number, urls in enumerate([("a",), ("dead", "b"), ("dead",), (), ("a", "b"), ("absent",)])
    ]
    files = [video_frames("a", 5), video_frames("b", 2), video_frames("dead", 0, "not found: 404")]
    settings = ("retriever.top_k=3", "ray.block_rows=4", "ray.clip_workers=1")
    return videos_run(tmp_path_factory.mktemp("retrieve"), posts, files, *settings)


@pytest.fixture(scope="module")
def first_run(config, local_ray):
    """The first run's summary, and the rows that it left."""
    summary = retrieve.main(config)
    return summary, {(r["post_id"], r["task"]): r for r in storage.read_rows(config.paths.of("context"))}


def test_every_post_has_a_row_for_every_task(first_run):
    summary, rows = first_run
    assert summary.rows_in == summary.rows_out == 12
    assert rows.keys() == {(str(i), task) for i in range(6) for task in ("content", "behaviour")}


def test_unreadable_media_give_an_error_row_and_the_others_their_frames(first_run):
    summary, rows = first_run
    errors = {post_id: row["error"] for (post_id, task), row in rows.items() if task == "content"}
    assert errors == {"0": None, "1": None, "2": "not found: 404", "3": "no media", "4": None, "5": "no key frames"}
    assert summary.errors == {"not found": 2, "no media": 2, "no key frames": 2}
    assert [len(rows[i, "content"]["frames"]) for i in ("0", "1", "2", "4")] == [3, 2, 0, 3]


def test_every_frame_is_embedded_once_however_many_posts_share_it(config, first_run):
    rows = {row["key"]: row for row in storage.read_rows(config.paths.of("embeddings"))}
    assert len(rows) == storage.count_rows(config.paths.of("embeddings")) == 3 + 6
    media = {url: rows[f"media:{Media(kind='video', url=url).media_id}"] for url in ("a", "b", "dead")}
    assert [row["rows"] for row in media.values()] == [5, 2, 0]
    assert {row["rows"] for key, row in rows.items() if key.startswith("post:")} == {2}
    assert {len(row["vectors"]) for row in rows.values() if row["rows"] == 2} == {2 * 2 * 64}  # float16


def test_stored_embeddings_rank_like_those_computed_on_the_fly(config, first_run):
    _, rows = first_run
    posts = [Post.model_validate(row) for row in storage.read_rows(config.paths.of("posts"))]
    media = [[file for m in post.media for file in key_frames(config, m)] for post in posts]
    retriever = Retriever.load(config.paths.of("retriever"))
    for by_task in retrieve_contexts(retriever, config.tasks, posts, media, config.retriever):
        for task, context in by_task.items():
            stored = rows[context.post_id, task]["frames"]
            scores = [sorted(scores) for scores in ((f.score for f in context.frames), (f["score"] for f in stored))]
            assert scores[0] == pytest.approx(scores[1], abs=0.005)  # to an untrained CLIP all frames are nearly alike


def test_other_ranking_settings_do_not_embed_again(config, first_run):
    before = storage.parts(config.paths.of("embeddings"))
    fewer = {"retriever.top_k": 1, "retriever.diversity": None, "paths.context": f"{config.paths.run}/fewer"}
    assert retrieve.main(override(config, fewer)).rows_out == 12
    assert storage.parts(config.paths.of("embeddings")) == before
    assert max(len(row["frames"]) for row in storage.read_rows(f"{config.paths.run}/fewer")) == 1


def test_embeddings_of_another_retriever_are_not_mixed_up(config, first_run, tmp_path):
    Retriever.build(config.retriever.clip, seed=1).save(tmp_path)
    with pytest.raises(ConfigError, match=r"other settings .*weights"):
        retrieve.main(override(config, {"paths.retriever": str(tmp_path)}))


def key_frames(config, media):
    rows = open_rows(config.paths.of("keyframes"), "media_id").get(media.media_id)
    return [MediaFrames.model_validate(row) for row in rows]


def test_running_it_again_does_nothing(config, first_run):
    before = storage.parts(config.paths.of("context"))
    again = retrieve.main(config)
    assert (again.rows_in, again.rows_before, again.rows_out) == (12, 12, 0)
    assert storage.parts(config.paths.of("context")) == before


def test_without_a_retriever_the_fix_is_named(config, tmp_path):
    with pytest.raises(ConfigError, match="train-retriever"):
        retrieve.main(override(config, {"paths.retriever": str(tmp_path)}))
