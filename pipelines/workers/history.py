"""Histories of posts, bucket by bucket of accounts and companies."""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from ray.data import Dataset

from m3l.config import HistoryConfig
from m3l.data import storage
from m3l.data.id_hash import hash_texts
from m3l.data.records import ACCOUNTS, COMPANY
from m3l.data.schemas import HISTORY, POSTS, TIMELINES, to_table
from m3l.history.timeline import HistoryIndex, PastPost, Timeline
from m3l.tables.read import Row
from pipelines.runtime.console import Summary
from pipelines.runtime.stage import run_and_count

BUCKET_POSTS = 4096
MAX_PARTITIONS = 64  # that the shuffle holds at once, on all machines
TABLE_ACCOUNTS = "before"  # the folder of TIMELINES from the table of account statistics, below history/
OWNERS = ("company", "username")  # of histories; the accounts come last: their part says that a bucket is done
COLUMNS = ("post_id", "username", "company", "posted_at", "likes", "caption")
PAST_POSTS = pa.schema(  # `key`: names the post's history; `counts`: whether histories of later posts include it
    [("key", pa.string()), *(POSTS.field(name) for name in COLUMNS), ("counts", pa.bool_())]
)


def write_histories(posts: Dataset, before: str, settings: HistoryConfig, summary: Summary) -> Summary:
    """Write the histories of posts, bucket by bucket; buckets that are done stay as they are.

    Args:
        posts: Rows of PAST_POSTS.
        before: Folder of TIMELINES that histories build on, beside the posts; it may be missing.
        settings: How histories are computed.
        summary: Names the folder and the number of posts; rows, errors and seconds are filled in.
    """
    buckets = -(-summary.rows_in // BUCKET_POSTS)
    bucketed = posts.map_batches(
        partial(_bucketed, buckets, _done(summary.folder, buckets)),
        batch_format="pyarrow",
        batch_size=None,
        zero_copy_batch=True,
    )
    written = bucketed.groupby("bucket", num_partitions=min(buckets, MAX_PARTITIONS)).map_groups(
        partial(_write_bucket, summary.folder, before, settings), batch_format="pyarrow"
    )
    return run_and_count(written, summary)


def past_posts(counting: Literal["train", "earlier"], block: pa.Table) -> pa.Table:
    """Posts as rows of PAST_POSTS.

    Args:
        counting: Which posts later histories include: all with likes and a date ("earlier"), or only those of the
            split `train`.
        block: COLUMNS and `split` of some posts.
    """
    counts = [
        row["likes"] is not None and row["posted_at"] is not None and (counting == "earlier" or row["split"] == "train")
        for row in block.select(["likes", "posted_at", "split"]).to_pylist()
    ]
    columns = [block["post_id"], *(block[name] for name in COLUMNS), pa.array(counts, pa.bool_())]
    return pa.Table.from_arrays(columns, schema=PAST_POSTS)


def _write_bucket(folder: str, before: str, settings: HistoryConfig, bucket: pa.Table) -> pa.Table:
    """A bucket of accounts and companies with all of their posts -> a part of HISTORY and one of TIMELINES for each.

    It is safe to do again.
    """
    key, earlier, rows = [str(bucket["bucket"][0].as_py())], HistoryIndex(before, settings), bucket.to_pylist()
    for owner, timeline_of in zip(OWNERS, (earlier.company, earlier.account), strict=True):
        histories, timelines = _histories([r for r in rows if r["owner"] == owner], owner, timeline_of, settings)
        storage.write_part(to_table(timelines, TIMELINES), _folder(f"{folder}/{ACCOUNTS}", owner), key)
        storage.write_part(to_table(histories, HISTORY), _folder(folder, owner), key)
    return pa.table({"error": pa.nulls(len(histories), pa.string())})


def _histories(
    rows: list[Row], owner: str, timeline_of: Callable[[str], Timeline], settings: HistoryConfig
) -> tuple[list[Row], list[Row]]:
    """Rows of HISTORY of posts with all others of their accounts or companies, and the rows of TIMELINES of those."""
    groups, chars = defaultdict(list), settings.caption_chars if owner == "username" else 0
    for row in rows:
        groups[row[owner]].append(row)
    histories, timelines = [], []
    for name, group in sorted(groups.items()):
        past = (
            PastPost(row["posted_at"], row["post_id"], row["likes"], (row["caption"] or "")[:chars])
            for row in group
            if row["counts"]
        )
        timeline = timeline_of(name).with_posts(past)
        before_each = timeline.histories([row["posted_at"] for row in group], settings)
        histories += [
            {"post_id": row["key"], "history": history.model_dump()}
            for row, history in zip(group, before_each, strict=True)
        ]
        timelines.append(timeline.to_row())
    return histories, timelines


def _bucketed(buckets: int, done: set[int], block: pa.Table) -> pa.Table:
    """The rows of buckets to be done, once for the account and once for the company; all posts of either are in one."""
    tables = []
    for owner in OWNERS:
        owned = block.filter(pc.is_valid(block[owner]))
        numbers = hash_texts(owned[owner].to_pylist()) % buckets
        marked = owned.append_column("owner", pa.array([owner] * len(owned), pa.string()))
        marked = marked.append_column("bucket", pa.array(numbers, pa.int64()))
        tables.append(marked.filter(pa.array([int(number) not in done for number in numbers], pa.bool_())))
    return pa.concat_tables(tables)


def _folder(folder: str, owner: str) -> str:
    return f"{folder}/{COMPANY}" if owner == "company" else folder


def _done(folder: str, buckets: int) -> set[int]:
    """The buckets whose part is written."""
    names = {path.rsplit("/", 1)[-1] for path in storage.parts(folder)}
    return {bucket for bucket in range(buckets) if f"part-{storage.short_hash([str(bucket)])}.parquet" in names}
