"""The rows that an evaluation computes for each post: predictions, and the scores that metrics are aggregated from.

No torch here.
"""

import pyarrow as pa

from m3l.evaluation.text_metrics import CAPTION_COLUMNS
from m3l.inference.conformal import LEVELS

EFFECT = pa.struct(
    [
        ("part", pa.string()),  # a field of the post, "media" for all frames, or "frame" for one of several
        ("media_id", pa.string()),
        ("time_s", pa.float64()),
        ("effect", pa.float64()),  # on log(1 + likes): the prediction with the part minus that without it
        ("true", pa.float64()),  # the same by the formula of the synthetic corpus; null for other posts
    ]
)
CAPTION_SOURCES = ("model", "shuffled_media")  # captions from the post's own media, and from another post's
FRAME_SELECTIONS = ("model", "plain_top", "uniform")
RETRIEVAL_SCORES = ("recall", "reciprocal_rank", "near_duplicates", "shows_both")  # means over the tasks
CAPTION_SCORES = (*CAPTION_COLUMNS, "names_all", "order_right", "nll", "tokens")
SCORE_COLUMNS = (
    "likes.model",
    "likes.model_without_media",  # predicted without the post's frames
    "likes.noise_floor",  # the formula of the synthetic corpus without its noise
    *(f"covered.{level}" for level in LEVELS),  # 1 if the actual likes lie in the interval
    *(f"captions.{source}.{name}" for source in CAPTION_SOURCES for name in CAPTION_SCORES),
    *(f"retrieval.{selection}.{name}" for selection in FRAME_SELECTIONS for name in RETRIEVAL_SCORES),
)
SCORES = pa.schema(
    [
        pa.field("post_id", pa.string(), nullable=False),
        ("split", pa.string()),
        ("kind", pa.string()),
        ("seen", pa.bool_()),  # the post had frames to read
        ("cold_account", pa.bool_()),
        ("likes", pa.int64()),
        ("low", pa.float64()),  # the interval that predictions show
        ("high", pa.float64()),
        ("caption", pa.string()),
        ("told_caption", pa.string()),  # generated
        ("shuffled_caption", pa.string()),  # generated from another post's media
        *((name, pa.float64()) for name in SCORE_COLUMNS),  # null where not measured
        ("why", pa.list_(EFFECT)),  # for a sample of the posts
        ("error", pa.string()),
    ]
)
