"""A few posts through every verb on a real local Ray: what the stages before the report leave."""

import pytest

from m3l.config import ConfigError, override
from m3l.data import storage
from pipelines import frames, retrieve
from tests.support.walk import POSTS, Walk


def test_every_row_of_the_table_becomes_a_post(walk: Walk) -> None:
    post_ids = storage.read_column(walk.config.paths.of("posts"), "post_id")
    assert sorted(post_ids, key=int) == [str(i + 1) for i in range(POSTS)]


def test_every_media_file_has_one_row_and_dead_ones_say_why(walk: Walk) -> None:
    rows = list(storage.read_rows(walk.config.paths.of("keyframes"), ["media_id", "error"]))
    assert len({row["media_id"] for row in rows}) == len(rows)
    truths = storage.read_rows(f"{walk.config.paths.of('corpus')}/truth", ["media", "readable"])
    readable = {m["media_id"]: truth["readable"] for truth in truths for m in truth["media"]}
    assert {row["media_id"]: row["error"] is None for row in rows} == readable


def test_every_post_has_one_context_per_task(walk: Walk) -> None:
    rows = [(r["post_id"], r["task"]) for r in storage.read_rows(walk.config.paths.of("context"), ["post_id", "task"])]
    assert len(set(rows)) == len(rows) == POSTS * len(walk.config.tasks)


def test_contexts_are_in_time_order_and_hold_at_most_ten_frames_of_a_video(walk: Walk) -> None:
    for row in storage.read_rows(walk.config.paths.of("context")):
        times = [(frame["media_id"], frame["time_s"]) for frame in row["frames"]]
        assert len(times) <= walk.config.retriever.top_k
        for media in {m for m, _ in times}:
            assert [t for m, t in times if m == media] == sorted(t for m, t in times if m == media)


def test_a_verb_that_is_run_again_does_nothing(walk: Walk) -> None:
    assert frames.main(walk.config).rows_out == 0
    assert retrieve.main(walk.config).rows_out == 0


def test_a_folder_written_with_other_settings_is_refused(walk: Walk) -> None:
    with pytest.raises(ConfigError, match="other settings"):
        frames.main(override(walk.config, {"media.stride_s": 1.0}))


def test_the_bundle_holds_its_metrics_and_its_own_configuration(walk: Walk) -> None:
    metrics = storage.read_json(f"{walk.config.paths.of('bundle')}/metrics.json")
    assert metrics["train_posts"] > 0 and metrics["validation_mse"] > 0
    assert metrics == walk.returned["train"]
    assert storage.read_text(f"{walk.config.paths.of('bundle')}/config.yaml") == walk.config.to_yaml()
