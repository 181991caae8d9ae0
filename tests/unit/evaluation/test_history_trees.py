"""Baselines that read the account's history: its recent median, and trees that predict deviations from its level."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from m3l.config import HistoryConfig
from m3l.data.records import History, Post, Prior
from m3l.evaluation.history_trees import AccountRecent, HistoryTrees
from m3l.evaluation.likes_metrics import r2_log1p
from m3l.history.timeline import PastPost, Timeline

START = datetime(2021, 1, 1, tzinfo=UTC)
PRIOR = Prior(until=START, mean=2.0, median=np.log1p(6), low=0.0, high=5.0)


def post(number: int, username: str = "a", likes: int | None = 1, history: History | None = None) -> Post:
    when = START + timedelta(hours=3 * number)
    return Post(post_id=str(number), username=username, posted_at=when, likes=likes, history=history)


def with_histories(posts: list[Post]) -> list[Post]:
    """The posts, all with dates and likes, with the histories of their accounts."""
    timelines = {p.username: Timeline(p.username) for p in posts}
    for p in posts:
        assert p.posted_at and p.likes is not None
        timelines[p.username] = timelines[p.username].with_posts([PastPost(p.posted_at, p.post_id, p.likes, "")])
    histories = [timelines[p.username].histories([p.posted_at], HistoryConfig())[0] for p in posts]
    return [p.model_copy(update={"history": history}) for p, history in zip(posts, histories, strict=True)]


@pytest.fixture(scope="module")
def posts() -> list[Post]:
    """Accounts whose level drifts, and whose posts get more likes in the morning."""
    random, level = np.random.default_rng(0), np.array([2.0, 4.0, 6.0])
    posts = []
    for number in range(600):
        account = int(random.integers(3))
        level[account] += random.normal(0, 0.1)
        morning = 0.8 * (3 * number % 24 < 12)
        likes = round(np.expm1(max(0.0, level[account] + morning + random.normal(0, 0.1))))
        posts.append(post(number, f"brand{account}", likes))
    return with_histories(posts)


@pytest.fixture(scope="module")
def trees(posts: list[Post]) -> HistoryTrees:
    return HistoryTrees().fit(posts[:450])


def test_the_recent_level_falls_back_to_the_prior_and_to_all_posts() -> None:
    line = with_histories([post(n, likes=1000 if n < 10 else n) for n in range(31)])
    fitted = AccountRecent().fit([post(0, likes=3), post(1, likes=5), post(2, likes=8)])
    strangers = [post(40, "b", history=History(prior=PRIOR)), post(40, "c", history=History()), post(40, "d")]
    predicted = fitted.predict([line[-1], line[1], *strangers])
    assert predicted == pytest.approx([np.expm1(np.median(np.log1p(range(10, 30)))), 1000, 6, 5, 5])


def test_trees_beat_the_recent_level(posts: list[Post], trees: HistoryTrees) -> None:
    test, recent = posts[450:], AccountRecent().fit(posts[:450])
    actual = np.array([p.likes for p in test], dtype=float)
    level, boosted = (r2_log1p(actual, fitted.predict(test)) or 0 for fitted in (recent, trees))
    assert boosted > level + 0.02 and boosted > 0.9


def test_the_likes_of_a_post_do_not_affect_its_prediction(posts: list[Post], trees: HistoryTrees) -> None:
    test = posts[440:480]
    for fitted in (trees, AccountRecent().fit(posts[:450])):
        predicted = [fitted.predict([p.model_copy(update={"likes": own}) for p in test]) for own in (None, 0, 10**6)]
        assert (predicted[0] == predicted[1]).all() and (predicted[0] == predicted[2]).all()


def test_trees_predict_for_accounts_without_history(trees: HistoryTrees) -> None:
    strangers = [post(700, "b", history=History(prior=PRIOR)), post(700, "c", history=History()), post(700, "d")]
    predicted = trees.predict([*strangers, strangers[0].model_copy(update={"posted_at": None})])
    assert np.isfinite(predicted).all() and (predicted >= 0).all()
    assert predicted[1] == predicted[2]
    assert trees.predict([]).shape == (0,)


def test_trees_are_reproducible(posts: list[Post], trees: HistoryTrees) -> None:
    again = HistoryTrees().fit(posts[:450])
    assert (again.predict(posts[450:]) == trees.predict(posts[450:])).all()


@pytest.mark.parametrize("kind", [AccountRecent, HistoryTrees])
def test_training_posts_without_any_likes_are_an_error(kind: type) -> None:
    with pytest.raises(ValueError, match="no training post has likes"):
        kind().fit([post(0, likes=None)])
