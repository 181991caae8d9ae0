"""What was known of an account before a post: no post of that moment or later changes it."""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from m3l.config import ConfigError, HistoryConfig, load
from m3l.data import storage
from m3l.data.records import History, Media, Post, Prior, together
from m3l.data.schemas import TIMELINES, to_table
from m3l.history.account_statistics import read_priors
from m3l.history.features import NUMBERS, numbers
from m3l.history.timeline import Known, Memory, Timeline, told
from m3l.prompts.render import metadata, render
from m3l.tables.posts import TableError

START = datetime(2021, 1, 1, tzinfo=UTC)
SETTINGS = HistoryConfig()
PRIOR = Prior(until=START + timedelta(days=3), mean=5.0, median=4.0, low=1.0, high=9.0)


def known(hours: float, likes: int, caption: str = "", post_id: str = "") -> Known:
    return Known(START + timedelta(hours=hours), post_id or f"at {hours}", likes, caption)


def drawn(random: np.random.Generator, posts: int) -> list[Known]:
    """Posts of which many fall on the same hour, in no order."""
    return [
        known(int(random.integers(2 * posts)), int(random.integers(10**4)), f"caption {random.integers(9)}", str(i))
        for i in range(posts)
    ]


def at(line: list[Known], moment: datetime, settings: HistoryConfig = SETTINGS) -> History:
    return Timeline("a", tuple(line), PRIOR).histories([moment], settings)[0]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("lag_days", [0.0, 1.5])
def test_no_future_row_changes_a_feature(seed: int, lag_days: float) -> None:
    random, settings = np.random.default_rng(seed), HistoryConfig(lag_days=lag_days)
    line = drawn(random, int(random.integers(1, 60)))
    moment = START + timedelta(hours=int(random.integers(150)))
    seen = moment - timedelta(days=lag_days)
    before = [post for post in line if post.posted_at < seen]
    later = [post for post in line if post.posted_at >= seen]
    changed = [post._replace(likes=10**9, caption="x") for post in later if random.random() < 0.5]
    added = [Known(seen + timedelta(hours=int(random.integers(3))), f"new {i}", 10**6, "y") for i in range(5)]
    told_before = at(line, moment, settings).model_dump_json()
    for others in ([], later, changed, added, changed + added):
        mixed = before + others
        random.shuffle(mixed)
        assert at(mixed, moment, settings).model_dump_json() == told_before


def test_the_statistics_are_of_the_earlier_posts() -> None:
    random = np.random.default_rng(0)
    line = sorted(drawn(random, 50))
    moments = [post.posted_at for post in line] + [line[-1].posted_at + timedelta(days=2)]
    mixed = [moments[i] for i in random.permutation(len(moments))]
    for moment, history in zip(mixed, Timeline("a", tuple(line)).histories(mixed, SETTINGS), strict=True):
        levels = [math.log1p(post.likes) for post in line if post.posted_at < moment]
        assert history.posts == len(levels)
        if not levels:
            assert history.cold and history == History()
            continue
        assert history.mean == pytest.approx(np.mean(levels))
        assert history.median == pytest.approx(median(levels))
        assert (history.median_20, history.median_5) == (median(levels[-20:]), median(levels[-5:]))
        assert history.last == levels[-1]
        assert (history.spread or 0) == pytest.approx(np.std(levels), abs=1e-9)
        half_lives = [(moment - p.posted_at) / timedelta(days=180) for p in line if p.posted_at < moment]
        weights = [0.5**age for age in half_lives]
        assert history.recent == pytest.approx(np.average(levels, weights=weights))
        assert history.weight == pytest.approx(sum(weights))
        assert history.captions == tuple(p.caption for p in line if p.posted_at < moment)[:-3:-1]


def test_a_prior_is_known_from_its_own_day_on() -> None:
    early, late = at([], START), at([], PRIOR.until)
    assert early.cold and early.level is None
    assert not late.cold and late.level == PRIOR.median


def test_few_posts_are_drawn_to_the_prior_else_to_the_company() -> None:
    few = History(posts=1, recent=8.0, weight=1.0)
    company = History(posts=9, recent=2.0, weight=7.0)
    assert few.level == 8.0
    assert together(few, None) == few
    assert together(few, company).level == 5.0
    assert together(History(), company).level == 2.0 and together(History(), company).cold
    known = few.model_copy(update={"prior": PRIOR})
    assert together(known, company).level == known.level == 6.0
    assert known.model_copy(update={"weight": 99.0}).level == pytest.approx(8.0, abs=0.05)


def test_a_post_that_two_tables_hold_counts_once_and_two_alike_count_twice() -> None:
    line = Timeline("a", (known(1, 5, "x"), known(2, 7)))
    assert line.joined([known(2, 7), known(0, 9)]).posts == (known(0, 9), known(1, 5, "x"), known(2, 7))
    twins = [known(3, 0, post_id="b"), known(3, 0, post_id="c")]
    assert line.joined([*twins, twins[0]]).posts == (*line.posts, *twins)


def test_of_a_post_without_a_date_nothing_is_known() -> None:
    line = Timeline("a", (known(1, 5), known(2, 7)), PRIOR)
    moments = [None, START + timedelta(days=9), None]
    undated, dated, again = line.histories(moments, SETTINGS)
    assert undated == again == History() and dated.posts == 2
    told_ = numbers(Post(post_id="1", username="a", posted_at=None, history=undated), 4.0, 2.0)
    assert len(told_) == NUMBERS and all(map(math.isfinite, told_))


def test_a_memory_gives_back_what_was_written(tmp_path: Path) -> None:
    lines = [Timeline("a", (known(1, 5, "x"), known(2, 7)), PRIOR), Timeline("b")]
    storage.write_part(to_table([line.row() for line in lines], TIMELINES), str(tmp_path), ["1"])
    memory = Memory(str(tmp_path), SETTINGS)
    assert [memory.account(name) for name in ("a", "b", "c")] == [*lines, Timeline("c")]
    assert memory.company("a") == Timeline("a")
    post = Post(post_id="1", username="a", company="b", posted_at=START + timedelta(hours=2))
    assert memory.recall(post).history == History(
        posts=1, mean=math.log1p(5), median=math.log1p(5), median_20=math.log1p(5), median_5=math.log1p(5),
        last=math.log1p(5), days_since=1 / 24, captions=("x",), recent=math.log1p(5), weight=0.5 ** (1 / 24 / 180),
    )  # fmt: skip
    assert memory.recall(memory.recall(post)) == memory.recall(post)


def test_a_table_of_statistics_becomes_priors(tmp_path: Path) -> None:
    table = tmp_path / "accounts.csv"
    table.write_text("username,Average,Median,Mode,Max,Min\na,9,3,1,99,0\nb,,1,1,1,1\n,1,1,1,1,1\n")
    (rows,) = read_priors(str(table), datetime(2021, 1, 1))
    assert [row["name"] for row in rows] == ["a"]
    assert Timeline.of(rows[0]).prior == Prior(
        until=START, mean=math.log1p(9), median=math.log1p(3), low=0.0, high=math.log1p(99)
    )
    table.write_text("username,Average\na,9\n")
    with pytest.raises(TableError, match="missing column 'median', 'min', 'max'"):
        list(read_priors(str(table), START))
    with pytest.raises(ConfigError, match="accounts_until"):
        load("tiny", [f"history.accounts={table}"])


def test_prompts_tell_a_history_and_retrieval_does_not() -> None:
    task = load("tiny").task("behaviour").model_copy(update={"template": "{{Before: {history}.}} Likes: [MASK]"})
    post = Post(post_id="1", username="a", posted_at=START + timedelta(hours=30))
    warm = post.model_copy(update={"history": at([known(6, 30, "[MASK] <s>")], post.posted_at)})
    assert render(task, warm) == (
        "Before: 1 earlier posts, 1.0 days ago, likes last 30 of 5 30 of 20 30 of all 30, said [ MASK] < s>."
        " Likes: [MASK]"
    )
    assert metadata(task, warm) == ""
    assert told(History()) is None
    assert render(task, post) == " Likes: [MASK]"


def test_numbers_are_finite_and_begin_with_the_level() -> None:
    media = (Media(kind="video", url="a", duration_s=4.0), Media(kind="image", url="b"))
    post = Post(post_id="1", username="a", posted_at=START + timedelta(days=4), media=media, caption="x")
    line = [known(i, i) for i in range(30)]
    for history in (None, History(), at([], post.posted_at), at(line, post.posted_at)):
        told_ = numbers(post.model_copy(update={"history": history}), 4.0, 2.0)
        level = history.level if history else None
        assert len(told_) == NUMBERS and all(map(math.isfinite, told_))
        assert told_[0] == (0.0 if level is None else (level - 4.0) / 2.0)
