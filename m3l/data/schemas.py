"""The Arrow schema of every folder of rows, and the conversion of records to tables."""

from typing import Any

import pyarrow as pa

from m3l.data.records import Record


def to_table(records: list[Any], schema: pa.Schema) -> pa.Table:
    """Records as an Arrow table.

    Args:
        records: Records or dictionaries; a field that is missing is null, one that the schema lacks is dropped.
        schema: The schema of the table.
    """
    rows = [r.model_dump() if isinstance(r, Record) else r for r in records]
    return pa.Table.from_pylist(rows, schema=schema)


_MEDIA = pa.struct(
    [
        ("kind", pa.string()),
        ("url", pa.string()),
        ("thumbnail_url", pa.string()),
        ("duration_s", pa.float64()),
    ]
)
_KEY_FRAME = pa.struct(
    [("time_s", pa.float64()), ("image", pa.binary()), ("width", pa.int32()), ("height", pa.int32())]
)
_CONTEXT_FRAME = pa.struct(
    [("media_id", pa.string()), ("time_s", pa.float64()), ("score", pa.float32()), ("image", pa.binary())]
)
_INTERVAL = pa.struct([("level", pa.int32()), ("low", pa.float64()), ("high", pa.float64())])
_READ_FRAME = pa.struct([("media_id", pa.string()), ("time_s", pa.float64()), ("score", pa.float32())])

_PRIOR = pa.struct(
    [("until", pa.timestamp("ms", tz="UTC")), *((n, pa.float64()) for n in ("mean", "median", "low", "high"))]
)
_LEVELS = ("mean", "median", "median_20", "median_5", "last", "spread", "days_since", "recent", "weight")
_COMPANY = ("company_recent", "company_weight")
_HISTORY = pa.struct(
    [
        ("posts", pa.int64()),
        *((name, pa.float64()) for name in (*_LEVELS, *_COMPANY)),
        ("captions", pa.list_(pa.string())),
        ("prior", _PRIOR),
    ]
)

POSTS = pa.schema(
    [
        pa.field("post_id", pa.string(), nullable=False),
        pa.field("username", pa.string(), nullable=False),
        ("company", pa.string()),
        ("posted_at", pa.timestamp("ms", tz="UTC")),
        ("keywords", pa.string()),
        ("caption", pa.string()),
        ("likes", pa.int64()),
        ("media", pa.list_(_MEDIA)),
        ("split", pa.string()),
    ]
)
MEDIA = pa.schema([pa.field("media_id", pa.string(), nullable=False), *_MEDIA])
REJECTED = pa.schema([("row", pa.int64()), ("id", pa.string()), ("reason", pa.string()), ("raw", pa.string())])
HISTORY = pa.schema([pa.field("post_id", pa.string(), nullable=False), ("history", _HISTORY)])
TIMELINES = pa.schema(  # for each account or company: its posts with likes, in time order, and its prior
    [
        pa.field("name", pa.string(), nullable=False),
        ("posted_at", pa.list_(pa.timestamp("ms", tz="UTC"))),
        ("post_ids", pa.list_(pa.string())),
        ("likes", pa.list_(pa.int64())),
        ("captions", pa.list_(pa.string())),
        ("prior", _PRIOR),
    ]
)
KEYFRAMES = pa.schema(
    [
        pa.field("media_id", pa.string(), nullable=False),
        ("url", pa.string()),
        ("kind", pa.string()),
        ("duration_s", pa.float64()),
        ("frames", pa.list_(_KEY_FRAME)),
        ("error", pa.string()),
    ]
)
EMBEDDINGS = pa.schema(  # of a media file's key frames ("media:ID"), or of a post's prompts, one per task ("post:ID")
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("rows", pa.int32(), nullable=False),
        pa.field("vectors", pa.binary(), nullable=False),  # rows x dimensions float16
    ]
)
CONTEXT = pa.schema(
    [
        pa.field("post_id", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        ("frames", pa.list_(_CONTEXT_FRAME)),
        ("error", pa.string()),
    ]
)
PREDICTIONS = pa.schema(
    [
        pa.field("post_id", pa.string(), nullable=False),
        ("likes", pa.float64()),
        ("likes_low", pa.float64()),
        ("likes_high", pa.float64()),
        ("intervals", pa.list_(_INTERVAL)),
        ("caption", pa.string()),
        ("frames", pa.list_(_READ_FRAME)),
        ("cold_account", pa.bool_()),
        ("error", pa.string()),
    ]
)
