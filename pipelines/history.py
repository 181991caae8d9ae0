"""posts/ -> history/: for each post, what was known of its account before it; history/accounts/: what is known now.

Below each of the two, company/ holds the same of companies. Rows are brought together by account and by company in
Ray Data. A worker holds one bucket of them at a time: twice BUCKET_POSTS posts or about so many, or all posts of its
largest company.
"""

from functools import partial

import ray

from m3l.config import Config, ConfigError
from m3l.data import storage
from m3l.data.schemas import TIMELINES, to_table
from m3l.data.storage import SETTINGS, claim
from m3l.history.account_statistics import read_priors
from pipelines.runtime.console import Summary, console
from pipelines.runtime.session import connect
from pipelines.workers.history import COLUMNS, _known, remember


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
            storage.write_part(to_table(chunk, TIMELINES), before, [chunk[0]["name"]])
    connect(config.ray)
    read = ray.data.read_parquet(storage.parts(posts), filesystem=storage.locate(posts)[0], columns=[*COLUMNS, "split"])
    known = read.map_batches(
        partial(_known, config.history.known), batch_format="pyarrow", batch_size=None, zero_copy_batch=True
    )
    return remember(known, rows, folder, before, config.history, summary).show()


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
