"""The stage `history`: a row for each post, the same whatever lies in its future, and safe to run again."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from m3l.config import Config, ConfigError, load
from m3l.data import storage
from m3l.data.examples import recalled
from m3l.data.records import History, Post, together
from m3l.data.schemas import POSTS, to_table
from m3l.history.timeline import Known, Memory, Timeline
from pipelines import history

START = datetime(2021, 1, 1, tzinfo=UTC)


def drawn(posts: int = 240, accounts: int = 30) -> list[Post]:
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
    made = config.paths.of("history")
    assert storage.count_rows(made) == len(posts)
    return config, {post.post_id: recalled(made, post.post_id) for post in posts}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "BUCKET_POSTS", 64)  # four buckets


def test_histories_are_of_what_may_be_known(local_ray: None, tmp_path: Path) -> None:
    posts = drawn()
    for known, splits in (("train", {"train"}), ("earlier", {"train", "validation", "test_time"})):
        config, found = run(tmp_path / known, posts, f"history.known={known}")
        memory = Memory(f"{config.paths.of('history')}/accounts", config.history)
        for post in posts:
            lines = [
                tuple(
                    Known(p.posted_at, p.post_id, p.likes, p.caption or "")
                    for p in posts
                    if p.posted_at and getattr(p, of) == name and p.likes is not None and p.split in splits
                )
                for of, name in (("username", post.username), ("company", post.company))
            ]
            account, company = (Timeline("", line).histories([post.posted_at], config.history)[0] for line in lines)
            assert found[post.post_id] == together(account, company if post.company else None)
            assert memory.recall(post).history == found[post.post_id]


def test_what_is_missing_is_made_again_and_no_more(local_ray: None, tmp_path: Path) -> None:
    posts = drawn()
    config, first = run(tmp_path, posts)
    parts = [Path(part) for part in storage.parts(config.paths.of("history"))]
    assert len(parts) == 4
    parts[0].unlink()  # as if the run had been cut off before it
    before = {part: part.stat().st_mtime_ns for part in parts[1:]}
    assert run(tmp_path, posts)[1] == first
    assert {part: part.stat().st_mtime_ns for part in parts[1:]} == before
    with pytest.raises(ConfigError, match="made with other settings"):
        run(tmp_path, posts, "history.known=earlier")


def test_no_later_row_changes_a_row(local_ray: None, tmp_path: Path) -> None:
    posts, moment = drawn(), START + timedelta(hours=120)
    _, first = run(tmp_path / "before", posts, "history.known=earlier")
    changed = [p if p.posted_at < moment else p.model_copy(update={"likes": 10**6, "caption": "x"}) for p in posts]
    added = [p.model_copy(update={"post_id": f"new{p.post_id}", "posted_at": moment}) for p in posts[:40]]
    _, again = run(tmp_path / "after", [*changed, *added], "history.known=earlier")
    for post in posts:
        if post.posted_at <= moment:
            assert again[post.post_id].model_dump_json() == first[post.post_id].model_dump_json()
