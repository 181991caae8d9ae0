"""The rows that every figure of an evaluation is made from: what was told, and numbers beside it. No torch here."""

import pyarrow as pa

from m3l.evaluation.text_metrics import WORDING
from m3l.inference.conformal import LEVELS

EFFECT = pa.struct(
    [
        ("part", pa.string()),  # a field of the post, "media" for all frames, "frame" for one of several
        ("media_id", pa.string()),
        ("time_s", pa.float64()),
        ("effect", pa.float64()),  # on log(1 + likes): with the part, minus without it
        ("true", pa.float64()),  # the same by the corpus's own formula; null where it is not known
    ]
)
READ_BY = ("model", "shuffled_media")  # whose frames the captions were told from: the post's own, another post's
CHOSEN_BY = ("model", "plain_top", "uniform")
SPOKEN = (*WORDING, "names_all", "order_right", "nll", "tokens")
JUDGEMENTS = ("recall", "reciprocal_rank", "near_duplicates", "shows_both")  # means over the tasks
NUMBERS = (
    "likes.model",
    "likes.model_without_media",  # told of the same post without its frames
    "likes.noise_floor",  # the corpus's own formula without its noise
    *(f"covered.{level}" for level in LEVELS),  # 1 where the true likes lie in the interval
    *(f"captions.{by}.{name}" for by in READ_BY for name in SPOKEN),
    *(f"retrieval.{by}.{name}" for by in CHOSEN_BY for name in JUDGEMENTS),
)
MEASURED = pa.schema(
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
        ("told_caption", pa.string()),
        ("shuffled_caption", pa.string()),
        *((name, pa.float64()) for name in NUMBERS),  # null where nothing is known
        ("why", pa.list_(EFFECT)),  # of a sample of the posts
        ("error", pa.string()),
    ]
)
