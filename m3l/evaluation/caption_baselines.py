"""Honest baselines of captions: others that were written before, told without reading the media.

Each has `fit(posts) -> self` and `predict(posts)`, one caption per post in the same order. Training posts without a
caption are left out; none left is a ValueError.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime

from m3l.data.records import Post
from m3l.evaluation.text_metrics import words

Dated = tuple[datetime, Post]


class NearestCaption:
    """The caption of the account's last training post before the post; else of the nearest in time.

    A post without a date gets that of the account's post, or else of any, whose keywords are most like its own.
    """

    def fit(self, posts: Sequence[Post]) -> "NearestCaption":
        self.known = [post for post in posts if post.caption is not None]
        if not self.known:
            raise ValueError("no training post has a caption")
        self.accounts: dict[str, list[Post]] = defaultdict(list)
        for post in self.known:
            self.accounts[post.username].append(post)
        self.lines = {name: _in_time(line) for name, line in self.accounts.items()}
        self.line = _in_time(self.known)
        self.keywords = {post.post_id: _keywords(post) for post in self.known}
        return self

    def predict(self, posts: Sequence[Post]) -> list[str]:
        return [self._nearest(post, post.posted_at) if post.posted_at else self._alike(post) for post in posts]

    def _nearest(self, post: Post, moment: datetime) -> str:
        line = self.lines.get(post.username, [])
        if earlier := bisect_left(line, moment, key=_moment):
            return line[earlier - 1][1].caption or ""
        at = bisect_left(self.line, moment, key=_moment)
        around = [dated for dated in self.line[max(at - 1, 0) : at + 2] if dated[1].post_id != post.post_id]
        return min(around, key=lambda dated: abs(dated[0] - moment))[1].caption or "" if around else ""

    def _alike(self, post: Post) -> str:
        own = _keywords(post)

        def likeness(other: Post) -> float:
            theirs = self.keywords[other.post_id]
            return len(own & theirs) / max(1, len(own | theirs))

        for among in (self.accounts.get(post.username, []), self.known):
            if others := [other for other in among if other.post_id != post.post_id]:
                return max(others, key=likeness).caption or ""
        return ""


class ConstantCaption:
    """One caption for all: the words that stand in most training captions, in the order of their usual places."""

    def fit(self, posts: Sequence[Post]) -> "ConstantCaption":
        count, places, captions = Counter[str](), Counter[str](), 0
        for post in posts:
            if post.caption is not None:
                found = {word: at for at, word in enumerate(post.caption.split())}
                count.update(found.keys())
                places.update(found)
                captions += 1
        if not captions:
            raise ValueError("no training post has a caption")
        most = [word for word, posts_with in count.items() if posts_with > captions / 2]
        self.caption = " ".join(sorted(most, key=lambda word: places[word] / count[word]))
        return self

    def predict(self, posts: Sequence[Post]) -> list[str]:
        return [self.caption] * len(posts)


def _in_time(posts: Sequence[Post]) -> list[Dated]:
    return sorted(((post.posted_at, post) for post in posts if post.posted_at), key=_moment)


def _moment(dated: Dated) -> datetime:
    return dated[0]


def _keywords(post: Post) -> set[str]:
    return set(words(post.keywords or ""))
