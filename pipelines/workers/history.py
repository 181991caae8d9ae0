"""Histories of posts, bucket by bucket of accounts and companies."""

from collections import defaultdict
from collections.abc import Callable
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from ray.data import Dataset

from m3l.config import HistoryConfig
from m3l.data import storage
from m3l.data.id_hash import hashes
from m3l.data.records import ACCOUNTS, COMPANY
from m3l.data.schemas import HISTORY, POSTS, TIMELINES, to_table
from m3l.history.timeline import Known, Memory, Timeline
from m3l.tables.read import Row
from pipelines.runtime.console import Summary
from pipelines.runtime.stage import count

BUCKET_POSTS = 4096


MOST_PARTITIONS = 64  # that the shuffle keeps at once, on all machines


OF = ("company", "username")  # whose histories are told; the accounts' last: their part says that a bucket is done


COLUMNS = ("post_id", "username", "company", "posted_at", "likes", "caption")


KNOWN = pa.schema(  # `key`: what its history is asked for by; `known`: whether later posts may know its likes
    [("key", pa.string()), *(POSTS.field(name) for name in COLUMNS), ("known", pa.bool_())]
)


def remember(posts: Dataset, rows: int, folder: str, before: str, settings: HistoryConfig, summary: Summary) -> Summary:
    """Histories of posts, rows of KNOWN, into `folder`, bucket by bucket.

    `before` are the TIMELINES that are known beside them. Buckets that are done stay as they are.
    """
    buckets = -(-rows // BUCKET_POSTS)
    bucketed = posts.map_batches(
        partial(_bucketed, buckets, _done(folder, buckets)),
        batch_format="pyarrow",
        batch_size=None,
        zero_copy_batch=True,
    )
    made = bucketed.groupby("bucket", num_partitions=min(buckets, MOST_PARTITIONS)).map_groups(
        partial(_remember, folder, before, settings), batch_format="pyarrow"
    )
    return count(made, summary)


def _remember(folder: str, before: str, settings: HistoryConfig, bucket: pa.Table) -> pa.Table:
    """A bucket of accounts and companies with all of their posts -> a part of HISTORY and one of TIMELINES for each.

    It is safe to do again.
    """
    key, memory, rows = [str(bucket["bucket"][0].as_py())], Memory(before, settings), bucket.to_pylist()
    for of, remembered in zip(OF, (memory.company, memory.account), strict=True):
        told, timelines = _told([row for row in rows if row["of"] == of], of, remembered, settings)
        storage.write_part(to_table(timelines, TIMELINES), _folder(f"{folder}/{ACCOUNTS}", of), key)
        storage.write_part(to_table(told, HISTORY), _folder(folder, of), key)
    return pa.table({"error": pa.nulls(len(told), pa.string())})


def _told(
    rows: list[Row], of: str, remembered: Callable[[str], Timeline], settings: HistoryConfig
) -> tuple[list[Row], list[Row]]:
    """Rows of HISTORY of posts with all others of their accounts or companies, and the rows of TIMELINES of those."""
    groups, chars = defaultdict(list), settings.caption_chars if of == "username" else 0
    for row in rows:
        groups[row[of]].append(row)
    told, timelines = [], []
    for name, group in sorted(groups.items()):
        known = (
            Known(row["posted_at"], row["post_id"], row["likes"], (row["caption"] or "")[:chars])
            for row in group
            if row["known"]
        )
        timeline = remembered(name).joined(known)
        histories = timeline.histories([row["posted_at"] for row in group], settings)
        told += [{"post_id": r["key"], "history": h.model_dump()} for r, h in zip(group, histories, strict=True)]
        timelines.append(timeline.row())
    return told, timelines


def _known(known: str, block: pa.Table) -> pa.Table:
    """The rows of KNOWN of some posts: a post with likes and a date is known to later ones, if it trains or all are."""
    told = [
        row["likes"] is not None and row["posted_at"] is not None and (known == "earlier" or row["split"] == "train")
        for row in block.select(["likes", "posted_at", "split"]).to_pylist()
    ]
    columns = [block["post_id"], *(block[name] for name in COLUMNS), pa.array(told, pa.bool_())]
    return pa.Table.from_arrays(columns, schema=KNOWN)


def _bucketed(buckets: int, done: set[int], block: pa.Table) -> pa.Table:
    """The rows of buckets to be done, `of` an account and again of a company; all posts of either are in one."""
    made = []
    for of in OF:
        some = block.filter(pc.is_valid(block[of]))
        numbers = hashes(some[of].to_pylist()) % buckets
        marked = some.append_column("of", pa.array([of] * len(some), pa.string()))
        marked = marked.append_column("bucket", pa.array(numbers, pa.int64()))
        made.append(marked.filter(pa.array([int(number) not in done for number in numbers], pa.bool_())))
    return pa.concat_tables(made)


def _folder(folder: str, of: str) -> str:
    return f"{folder}/{COMPANY}" if of == "company" else folder


def _done(folder: str, buckets: int) -> set[int]:
    there = {path.rsplit("/", 1)[-1] for path in storage.parts(folder)}
    return {b for b in range(buckets) if f"part-{storage.name_of([str(b)])}.parquet" in there}
