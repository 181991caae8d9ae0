"""posts/ -> history/: for each post, what was known of its account before it; history/accounts/: what is known now.

Rows are brought together by account in Ray Data. A worker holds one bucket of accounts at a time: BUCKET_POSTS posts
or about so many, or all posts of its largest account.
"""

from collections import defaultdict
from functools import partial

import pyarrow as pa
import ray
from ray.data import Dataset

from m3l import storage
from m3l.config import Config, ConfigError, HistoryConfig
from m3l.history import Known, Memory
from m3l.ids import hashes
from m3l.priors import read_priors
from m3l.records import HISTORY, POSTS, TIMELINES, to_table
from pipelines.session import connect
from pipelines.stage import SETTINGS, Summary, claim, console, count

BUCKET_POSTS = 4096
MOST_PARTITIONS = 64  # that the shuffle keeps at once, on all machines
ACCOUNTS = "accounts"  # TIMELINES of all posts whose likes are known
COLUMNS = ("post_id", "username", "posted_at", "likes", "caption")
KNOWN = pa.schema(  # `key`: what its history is asked for by; `known`: whether later posts may know its likes
    [("key", pa.string()), *(POSTS.field(name) for name in COLUMNS), ("known", pa.bool_())]
)


def main(config: Config) -> Summary:
    """Fill `paths.history`: a row for each post; `history.known` says which earlier posts count."""
    posts, folder = config.paths.of("posts"), config.paths.of("history")
    if not storage.parts(posts):
        raise ConfigError(f"{posts} holds no posts: run `m3l ingest` first")
    rows = storage.count_rows(posts)
    made = {"history": config.history.model_dump(mode="json"), "posts": storage.read_json(f"{posts}/{SETTINGS}")}
    claim(folder, made | {"rows": rows})
    summary = Summary("history", folder, rows, rows_before=storage.count_rows(folder))
    if summary.rows_before == rows:
        console.print(f"[bold]history[/]: done before -> {folder}")
        return summary
    before = f"{folder}/before"
    if config.history.accounts and config.history.accounts_until:
        for chunk in read_priors(config.history.accounts, config.history.accounts_until):
            storage.write_part(to_table(chunk, TIMELINES), before, [chunk[0]["username"]])
    connect(config.ray)
    read = ray.data.read_parquet(storage.parts(posts), filesystem=storage.locate(posts)[0], columns=[*COLUMNS, "split"])
    known = read.map_batches(
        partial(_known, config.history.known), batch_format="pyarrow", batch_size=None, zero_copy_batch=True
    )
    return remember(known, rows, folder, before, config.history, summary).show()


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
    """A bucket of accounts with all of their posts -> a part of HISTORY and one of TIMELINES, safe to do again."""
    key, memory = [str(bucket["bucket"][0].as_py())], Memory(before, settings)
    accounts = defaultdict(list)
    for row in bucket.select(KNOWN.names).to_pylist():
        accounts[row["username"]].append(row)
    told, timelines = [], []
    for username, rows in sorted(accounts.items()):
        known = (
            Known(row["posted_at"], row["post_id"], row["likes"], (row["caption"] or "")[: settings.caption_chars])
            for row in rows
            if row["known"]
        )
        timeline = memory.timeline(username).joined(known)
        histories = timeline.histories([row["posted_at"] for row in rows], settings)
        told += [{"post_id": r["key"], "history": h.model_dump()} for r, h in zip(rows, histories, strict=True)]
        timelines.append(timeline.row())
    storage.write_part(to_table(timelines, TIMELINES), f"{folder}/{ACCOUNTS}", key)
    storage.write_part(to_table(told, HISTORY), folder, key)  # last: its presence says that the bucket is done
    return pa.table({"error": pa.nulls(len(told), pa.string())})


def _known(known: str, block: pa.Table) -> pa.Table:
    """The rows of KNOWN of some posts: a post with likes and a date is known to later ones, if it trains or all are."""
    told = [
        row["likes"] is not None and row["posted_at"] is not None and (known == "earlier" or row["split"] == "train")
        for row in block.select(["likes", "posted_at", "split"]).to_pylist()
    ]
    columns = [block["post_id"], *(block[name] for name in COLUMNS), pa.array(told, pa.bool_())]
    return pa.Table.from_arrays(columns, schema=KNOWN)


def _bucketed(buckets: int, done: set[int], block: pa.Table) -> pa.Table:
    """The rows of buckets to be done; all posts of an account are in one."""
    numbers = hashes(block["username"].to_pylist()) % buckets
    marked = block.append_column("bucket", pa.array(numbers, pa.int64()))
    return marked.filter(pa.array([int(number) not in done for number in numbers], pa.bool_()))


def _done(folder: str, buckets: int) -> set[int]:
    there = {path.rsplit("/", 1)[-1] for path in storage.parts(folder)}
    return {b for b in range(buckets) if f"part-{storage.name_of([str(b)])}.parquet" in there}


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
