"""The stage `history`: a row for each post, which no later post changes, and safe to run again."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from m3l.config import Config, ConfigError, load
from m3l.data import storage
from m3l.data.examples import load_history
from m3l.data.records import History, Post, with_company
from m3l.data.schemas import POSTS, to_table
from m3l.history.timeline import HistoryIndex, PastPost, Timeline
from pipelines import history
from pipelines.workers.save_bundle import BATCH_ACCOUNTS, copy_histories

START = datetime(2021, 1, 1, tzinfo=UTC)


def random_posts(posts: int = 240, accounts: int = 30) -> list[Post]:
    random = np.random.default_rng(0)
    return [
        Post(
            post_id=str(i),
            username=f"a{random.integers(accounts)}",
            company=str(random.choice(["x", "y"])) if random.random() < 0.7 else None,
            posted_at=START + timedelta(hours=int(random.integers(posts))),
            likes=int(random.integers(1000)) if random.random() < 0.9 else None,
            caption=f"caption {i}",
            split=str(random.choice(["train", "validation", "test_time"])),
        )
        for i in range(posts)
    ]


def run(folder: Path, posts: list[Post], *overrides: str) -> tuple[Config, dict[str, History]]:
    config = load("tiny", [f"paths.run={folder}", *overrides])
    if not storage.parts(config.paths.of("posts")):
        for i in range(0, len(posts), 50):
            storage.write_part(to_table(posts[i : i + 50], POSTS), config.paths.of("posts"), [str(i)])
    assert history.main(config).rows_in == len(posts)
    folder_of_histories = config.paths.of("history")
    assert storage.count_rows(folder_of_histories) == len(posts)
    return config, {post.post_id: load_history(folder_of_histories, post.post_id) for post in posts}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.workers.history.BUCKET_POSTS", 64)  # four buckets


def test_a_history_holds_the_earlier_posts_that_count(local_ray: None, tmp_path: Path) -> None:
    posts = random_posts()
    for counting, splits in (("train", {"train"}), ("earlier", {"train", "validation", "test_time"})):
        config, histories = run(tmp_path / counting, posts, f"history.known={counting}")
        memory = HistoryIndex(f"{config.paths.of('history')}/accounts", config.history)
        for post in posts:
            lines = [
                tuple(
                    PastPost(p.posted_at, p.post_id, p.likes, p.caption or "")
                    for p in posts
                    if p.posted_at and getattr(p, of) == name and p.likes is not None and p.split in splits
                )
                for of, name in (("username", post.username), ("company", post.company))
            ]
            account, company = (Timeline("", line).histories([post.posted_at], config.history)[0] for line in lines)
            assert histories[post.post_id] == with_company(account, company if post.company else None)
            assert memory.with_history(post).history == histories[post.post_id]


def test_only_missing_parts_are_written_again(local_ray: None, tmp_path: Path) -> None:
    posts = random_posts()
    config, first = run(tmp_path, posts)
    parts = [Path(part) for part in storage.parts(config.paths.of("history"))]
    assert len(parts) == 4
    parts[0].unlink()  # as if the run had been cut off before it
    before = {part: part.stat().st_mtime_ns for part in parts[1:]}
    assert run(tmp_path, posts)[1] == first
    assert {part: part.stat().st_mtime_ns for part in parts[1:]} == before
    with pytest.raises(ConfigError, match="made with other settings"):
        run(tmp_path, posts, "history.known=earlier")


def test_a_later_post_changes_no_earlier_history(local_ray: None, tmp_path: Path) -> None:
    posts, moment = random_posts(), START + timedelta(hours=120)
    _, first = run(tmp_path / "before", posts, "history.known=earlier")
    changed = [p if p.posted_at < moment else p.model_copy(update={"likes": 10**6, "caption": "x"}) for p in posts]
    added = [p.model_copy(update={"post_id": f"new{p.post_id}", "posted_at": moment}) for p in posts[:40]]
    _, again = run(tmp_path / "after", [*changed, *added], "history.known=earlier")
    for post in posts:
        if post.posted_at <= moment:
            assert again[post.post_id].model_dump_json() == first[post.post_id].model_dump_json()


def test_a_bundle_gets_the_statistics_of_accounts_without_posts(local_ray: None, tmp_path: Path) -> None:
    table = tmp_path / "accounts.csv"
    listed = [*(f"only{i}" for i in range(BATCH_ACCOUNTS + 5)), "a0", "only0"]  # with and without posts; one twice
    table.write_text("username,average,median,min,max\n" + "".join(f"{name},90,80,10,300\n" for name in listed))
    config, _ = run(
        tmp_path / "run",
        random_posts(),
        f"history.accounts={table}",
        "history.accounts_until=2020-12-31",
        "history.known=earlier",
    )
    target = f"{tmp_path}/bundle/history"
    copy_histories(config.paths.of("history"), target)
    names = list(storage.read_column(target, "name"))
    accounts = {post.username for post in random_posts()}
    assert len(names) == len(set(names)) and set(names) == accounts | set(listed)
    memory = HistoryIndex(target, config.history)
    new, old = (
        memory.with_history(Post(post_id="x", username=name, posted_at=START)).history for name in ("only0", "a0")
    )
    assert new.prior == old.prior and new.prior.median == pytest.approx(np.log1p(80)) and not new.cold
    assert storage.count_rows(f"{target}/company") == 2
