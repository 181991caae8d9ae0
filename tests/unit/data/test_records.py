"""Records are the same after a round trip through Arrow."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from m3l.data.records import Context, ContextFrame, KeyFrame, Media, MediaFrames, Post, Prediction, ReadFrame, Record
from m3l.data.schemas import CONTEXT, KEYFRAMES, POSTS, PREDICTIONS, to_table

MEDIA = Media(kind="video", url="a.mp4", duration_s=2.5)
ROWS = [
    (POSTS, Post(post_id="1", username="é", posted_at=datetime(2020, 1, 2, 3, 4, tzinfo=UTC), likes=3, media=[MEDIA])),
    (POSTS, Post(post_id="2", username="b", posted_at=datetime(2020, 1, 2, tzinfo=UTC), caption="x", split="train")),
    (
        KEYFRAMES,
        MediaFrames(
            media_id=MEDIA.media_id,
            url="a.mp4",
            kind="video",
            frames=[KeyFrame(time_s=0.5, image=b"\xff\x00", width=4, height=3)],
        ),
    ),
    (CONTEXT, Context(post_id="1", task="t", frames=[ContextFrame(media_id="m", time_s=1, score=0.5, image=b"x")])),
    (CONTEXT, Context(post_id="2", task="t", error="no media")),
    (PREDICTIONS, Prediction(post_id="1", likes=2.5, frames=[ReadFrame(media_id="m", time_s=1.0, score=0.25)])),
]


@pytest.mark.parametrize(("schema", "record"), ROWS)
def test_a_record_is_the_same_after_a_round_trip_through_arrow(schema: pa.Schema, record: Record) -> None:
    table = to_table([record, record.model_dump()], schema)
    assert table.schema == schema
    assert [type(record).model_validate(row) for row in table.to_pylist()] == [record, record]


def test_the_name_of_a_media_file_depends_on_its_url_alone() -> None:
    assert MEDIA.media_id == Media(kind="gif", url="a.mp4").media_id != Media(kind="gif", url="b.mp4").media_id
    assert len(MEDIA.media_id) == 16
