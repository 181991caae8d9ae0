"""The history of an account before a post depends on earlier posts alone."""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from m3l.config import ConfigError, HistoryConfig, load
from m3l.data import storage
from m3l.data.records import History, Media, Post, Prior, with_company
from m3l.data.schemas import TIMELINES, to_table
from m3l.history.account_statistics import read_priors
from m3l.history.features import NUM_FEATURES, history_features
from m3l.history.timeline import HistoryIndex, PastPost, Timeline, describe
from m3l.prompts.render import metadata_prompt, render
from m3l.tables.posts import TableError

START = datetime(2021, 1, 1, tzinfo=UTC)
SETTINGS = HistoryConfig()
PRIOR = Prior(until=START + timedelta(days=3), mean=5.0, median=4.0, low=1.0, high=9.0)


def past_post(hours: float, likes: int, caption: str = "", post_id: str = "") -> PastPost:
    return PastPost(START + timedelta(hours=hours), post_id or f"at {hours}", likes, caption)


def random_posts(random: np.random.Generator, posts: int) -> list[PastPost]:
    """Posts in random order, many of them in the same hour."""
    return [
        past_post(int(random.integers(2 * posts)), int(random.integers(10**4)), f"caption {random.integers(9)}", str(i))
        for i in range(posts)
    ]


def history_at(timeline: list[PastPost], moment: datetime, settings: HistoryConfig = SETTINGS) -> History:
    return Timeline("a", tuple(timeline), PRIOR).histories([moment], settings)[0]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("lag_days", [0.0, 1.5])
def test_no_later_post_changes_a_history(seed: int, lag_days: float) -> None:
    random, settings = np.random.default_rng(seed), HistoryConfig(lag_days=lag_days)
    timeline = random_posts(random, int(random.integers(1, 60)))
    moment = START + timedelta(hours=int(random.integers(150)))
    cutoff = moment - timedelta(days=lag_days)
    before = [post for post in timeline if post.posted_at < cutoff]
    later = [post for post in timeline if post.posted_at >= cutoff]
    changed = [post._replace(likes=10**9, caption="x") for post in later if random.random() < 0.5]
    added = [PastPost(cutoff + timedelta(hours=int(random.integers(3))), f"new {i}", 10**6, "y") for i in range(5)]
    expected = history_at(timeline, moment, settings).model_dump_json()
    for others in ([], later, changed, added, changed + added):
        mixed = before + others
        random.shuffle(mixed)
        assert history_at(mixed, moment, settings).model_dump_json() == expected


def test_statistics_match_a_direct_computation_over_the_earlier_posts() -> None:
    random = np.random.default_rng(0)
    timeline = sorted(random_posts(random, 50))
    moments = [post.posted_at for post in timeline] + [timeline[-1].posted_at + timedelta(days=2)]
    mixed = [moments[i] for i in random.permutation(len(moments))]
    for moment, history in zip(mixed, Timeline("a", tuple(timeline)).histories(mixed, SETTINGS), strict=True):
        levels = [math.log1p(post.likes) for post in timeline if post.posted_at < moment]
        assert history.posts == len(levels)
        if not levels:
            assert history.cold and history == History()
            continue
        assert history.mean == pytest.approx(np.mean(levels))
        assert history.median == pytest.approx(median(levels))
        assert (history.median_20, history.median_5) == (median(levels[-20:]), median(levels[-5:]))
        assert history.last == levels[-1]
        assert (history.spread or 0) == pytest.approx(np.std(levels), abs=1e-9)
        half_lives = [(moment - p.posted_at) / timedelta(days=180) for p in timeline if p.posted_at < moment]
        weights = [0.5**age for age in half_lives]
        assert history.recent == pytest.approx(np.average(levels, weights=weights))
        assert history.weight == pytest.approx(sum(weights))
        assert history.captions == tuple(p.caption for p in timeline if p.posted_at < moment)[:-3:-1]


def test_a_prior_counts_from_its_date_on() -> None:
    early, late = history_at([], START), history_at([], PRIOR.until)
    assert early.cold and early.level is None
    assert not late.cold and late.level == PRIOR.median


def test_the_level_of_few_posts_shrinks_towards_the_prior_or_else_the_company() -> None:
    few = History(posts=1, recent=8.0, weight=1.0)
    company = History(posts=9, recent=2.0, weight=7.0)
    assert few.level == 8.0
    assert with_company(few, None) == few
    assert with_company(few, company).level == 5.0
    assert with_company(History(), company).level == 2.0 and with_company(History(), company).cold
    with_prior = few.model_copy(update={"prior": PRIOR})
    assert with_company(with_prior, company).level == with_prior.level == 6.0
    assert with_prior.model_copy(update={"weight": 99.0}).level == pytest.approx(8.0, abs=0.05)


def test_the_same_post_twice_counts_once_and_two_posts_at_the_same_time_count_twice() -> None:
    timeline = Timeline("a", (past_post(1, 5, "x"), past_post(2, 7)))
    assert timeline.with_posts([past_post(2, 7), past_post(0, 9)]).posts == (
        past_post(0, 9),
        past_post(1, 5, "x"),
        past_post(2, 7),
    )
    twins = [past_post(3, 0, post_id="b"), past_post(3, 0, post_id="c")]
    assert timeline.with_posts([*twins, twins[0]]).posts == (*timeline.posts, *twins)


def test_a_post_without_a_date_has_an_empty_history() -> None:
    timeline = Timeline("a", (past_post(1, 5), past_post(2, 7)), PRIOR)
    moments = [None, START + timedelta(days=9), None]
    undated, dated, again = timeline.histories(moments, SETTINGS)
    assert undated == again == History() and dated.posts == 2
    features = history_features(Post(post_id="1", username="a", posted_at=None, history=undated), 4.0, 2.0)
    assert len(features) == NUM_FEATURES and all(map(math.isfinite, features))


def test_a_history_index_reads_what_was_written(tmp_path: Path) -> None:
    timelines = [Timeline("a", (past_post(1, 5, "x"), past_post(2, 7)), PRIOR), Timeline("b")]
    storage.write_part(to_table([timeline.to_row() for timeline in timelines], TIMELINES), str(tmp_path), ["1"])
    index = HistoryIndex(str(tmp_path), SETTINGS)
    assert [index.account(name) for name in ("a", "b", "c")] == [*timelines, Timeline("c")]
    assert index.company("a") == Timeline("a")
    post = Post(post_id="1", username="a", company="b", posted_at=START + timedelta(hours=2))
    assert index.with_history(post).history == History(
        posts=1, mean=math.log1p(5), median=math.log1p(5), median_20=math.log1p(5), median_5=math.log1p(5),
        last=math.log1p(5), days_since=1 / 24, captions=("x",), recent=math.log1p(5), weight=0.5 ** (1 / 24 / 180),
    )  # fmt: skip
    assert index.with_history(index.with_history(post)) == index.with_history(post)


def test_a_table_of_statistics_becomes_priors(tmp_path: Path) -> None:
    table = tmp_path / "accounts.csv"
    table.write_text("username,Average,Median,Mode,Max,Min\na,9,3,1,99,0\nb,,1,1,1,1\n,1,1,1,1,1\n")
    (rows,) = read_priors(str(table), datetime(2021, 1, 1))
    assert [row["name"] for row in rows] == ["a"]
    assert Timeline.from_row(rows[0]).prior == Prior(
        until=START, mean=math.log1p(9), median=math.log1p(3), low=0.0, high=math.log1p(99)
    )
    table.write_text("username,Average\na,9\n")
    with pytest.raises(TableError, match="missing column 'median', 'min', 'max'"):
        list(read_priors(str(table), START))
    with pytest.raises(ConfigError, match="accounts_until"):
        load("tiny", [f"history.accounts={table}"])


def test_prompts_include_the_history_and_retrieval_queries_do_not() -> None:
    task = load("tiny").task("behaviour").model_copy(update={"template": "{{Before: {history}.}} Likes: [MASK]"})
    post = Post(post_id="1", username="a", posted_at=START + timedelta(hours=30))
    warm = post.model_copy(update={"history": history_at([past_post(6, 30, "[MASK] <s>")], post.posted_at)})
    assert render(task, warm) == (
        "Before: 1 earlier posts, 1.0 days ago, likes last 30 of 5 30 of 20 30 of all 30, said [ MASK] < s>."
        " Likes: [MASK]"
    )
    assert metadata_prompt(task, warm) == ""
    assert describe(History()) is None
    assert render(task, post) == " Likes: [MASK]"


def test_features_are_finite_and_begin_with_the_level() -> None:
    media = (Media(kind="video", url="a", duration_s=4.0), Media(kind="image", url="b"))
    post = Post(post_id="1", username="a", posted_at=START + timedelta(days=4), media=media, caption="x")
    timeline = [past_post(i, i) for i in range(30)]
    for history in (None, History(), history_at([], post.posted_at), history_at(timeline, post.posted_at)):
        features = history_features(post.model_copy(update={"history": history}), 4.0, 2.0)
        level = history.level if history else None
        assert len(features) == NUM_FEATURES and all(map(math.isfinite, features))
        assert features[0] == (0.0 if level is None else (level - 4.0) / 2.0)
