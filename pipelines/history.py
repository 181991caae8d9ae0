"""posts/ -> history/: each post's account before it; history/accounts/: the timelines of all accounts.

Below each of the two, company/ holds the same of companies. Rows are brought together by account and by company in
Ray Data. A worker holds one bucket of them at a time: twice BUCKET_POSTS posts or about so many, or all posts of its
largest company.
"""

from functools import partial

from m3l.config import Config, ConfigError
from m3l.data import storage
from m3l.data.folder_settings import check_settings, read_settings
from m3l.data.schemas import TIMELINES, to_table
from m3l.history.account_statistics import read_priors
from pipelines.runtime.console import Summary, show_done
from pipelines.runtime.session import connect
from pipelines.runtime.stage import read_parts
from pipelines.workers.history import COLUMNS, TABLE_ACCOUNTS, past_posts, write_histories


def main(config: Config) -> Summary:
    """Fill `paths.history`: a row for each post; `history.known` says which earlier posts count.

    Raises:
        ConfigError: There are no posts, or the folder was written with other settings.
        TableError: The table of account statistics lacks a column.
    """
    posts, folder = config.paths.of("posts"), config.paths.of("history")
    if not storage.parts(posts):
        raise ConfigError(f"{posts} holds no posts: run `m3l ingest` first")
    rows, settings = storage.count_rows(posts), config.history
    check_settings(
        folder,
        {
            "history": settings.model_dump(mode="json"),
            "posts": read_settings(posts),
            "rows": rows,
        },
    )
    summary = Summary("history", folder, rows, rows_before=storage.count_rows(folder))
    if summary.rows_before == rows:
        show_done("history", folder)
        return summary
    before = f"{folder}/{TABLE_ACCOUNTS}"
    if settings.accounts and settings.accounts_until:
        for chunk in read_priors(settings.accounts, settings.accounts_until):
            storage.write_part(to_table(chunk, TIMELINES), before, [chunk[0]["name"]])
    connect(config.ray)
    read = read_parts(posts, [*COLUMNS, "split"]).map_batches(
        partial(past_posts, settings.known), batch_format="pyarrow", batch_size=None, zero_copy_batch=True
    )
    return write_histories(read, before, settings, summary).show()


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
