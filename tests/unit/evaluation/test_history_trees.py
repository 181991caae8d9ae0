"""What is told from an account's past: its rolling level, and trees that depart from it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from m3l.config import HistoryConfig
from m3l.data.records import History, Post, Prior
from m3l.evaluation.history_trees import AccountRecent, HistoryTrees
from m3l.evaluation.likes_metrics import r2_log1p
from m3l.history.timeline import Known, Timeline

START = datetime(2021, 1, 1, tzinfo=UTC)
PRIOR = Prior(until=START, mean=2.0, median=np.log1p(6), low=0.0, high=5.0)


def post(number: int, username: str = "a", likes: int | None = 1, history: History | None = None) -> Post:
    when = START + timedelta(hours=3 * number)
    return Post(post_id=str(number), username=username, posted_at=when, likes=likes, history=history)


def remembered(posts: list[Post]) -> list[Post]:
    """The posts, all with dates and likes, with what was known of their accounts before them."""
    known = {p.username: Timeline(p.username) for p in posts}
    for p in posts:
        assert p.posted_at and p.likes is not None
        known[p.username] = known[p.username].joined([Known(p.posted_at, p.post_id, p.likes, "")])
    told = [known[p.username].histories([p.posted_at], HistoryConfig())[0] for p in posts]
    return [p.model_copy(update={"history": history}) for p, history in zip(posts, told, strict=True)]


@pytest.fixture(scope="module")
def posts() -> list[Post]:
    """Accounts whose level wanders, and whose posts of the morning get more."""
    random, level = np.random.default_rng(0), np.array([2.0, 4.0, 6.0])
    made = []
    for number in range(600):
        account = int(random.integers(3))
        level[account] += random.normal(0, 0.1)
        morning = 0.8 * (3 * number % 24 < 12)
        likes = round(np.expm1(max(0.0, level[account] + morning + random.normal(0, 0.1))))
        made.append(post(number, f"brand{account}", likes))
    return remembered(made)


@pytest.fixture(scope="module")
def trees(posts: list[Post]) -> HistoryTrees:
    return HistoryTrees().fit(posts[:450])


def test_the_recent_level_is_of_the_last_20_posts_else_of_the_prior_else_of_all() -> None:
    line = remembered([post(n, likes=1000 if n < 10 else n) for n in range(31)])
    fitted = AccountRecent().fit([post(0, likes=3), post(1, likes=5), post(2, likes=8)])
    strangers = [post(40, "b", history=History(prior=PRIOR)), post(40, "c", history=History()), post(40, "d")]
    told = fitted.predict([line[-1], line[1], *strangers])
    assert told == pytest.approx([np.expm1(np.median(np.log1p(range(10, 30)))), 1000, 6, 5, 5])


def test_trees_beat_the_recent_level(posts: list[Post], trees: HistoryTrees) -> None:
    test, recent = posts[450:], AccountRecent().fit(posts[:450])
    true = np.array([p.likes for p in test], dtype=float)
    level, boosted = (r2_log1p(true, fitted.predict(test)) or 0 for fitted in (recent, trees))
    assert boosted > level + 0.02 and boosted > 0.9


def test_a_posts_own_likes_are_never_read(posts: list[Post], trees: HistoryTrees) -> None:
    test = posts[440:480]
    for fitted in (trees, AccountRecent().fit(posts[:450])):
        told = [fitted.predict([p.model_copy(update={"likes": own}) for p in test]) for own in (None, 0, 10**6)]
        assert (told[0] == told[1]).all() and (told[0] == told[2]).all()


def test_trees_answer_for_accounts_of_which_nothing_is_known(trees: HistoryTrees) -> None:
    strangers = [post(700, "b", history=History(prior=PRIOR)), post(700, "c", history=History()), post(700, "d")]
    told = trees.predict([*strangers, strangers[0].model_copy(update={"posted_at": None})])
    assert np.isfinite(told).all() and (told >= 0).all()
    assert told[1] == told[2]
    assert trees.predict([]).shape == (0,)


def test_trees_repeat_themselves(posts: list[Post], trees: HistoryTrees) -> None:
    again = HistoryTrees().fit(posts[:450])
    assert (again.predict(posts[450:]) == trees.predict(posts[450:])).all()


@pytest.mark.parametrize("kind", [AccountRecent, HistoryTrees])
def test_nothing_to_learn_from_is_an_error(kind: type) -> None:
    with pytest.raises(ValueError, match="no training post has likes"):
        kind().fit([post(0, likes=None)])
