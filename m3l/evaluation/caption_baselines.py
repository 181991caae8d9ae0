"""Baselines of captions that read no media: captions of other posts, or one constant caption.

Each has `fit(posts) -> self` and `predict(posts)`, one caption per post in the same order. Training posts without a
caption are ignored; if none has one, `fit` raises ValueError.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime

from m3l.data.records import Post
from m3l.evaluation.text_metrics import words

DatedPost = tuple[datetime, Post]


class NearestCaption:
    """The caption of the account's last training post before the post; else that of the nearest training post in time.

    A post without a date gets the caption with the most similar keywords, of the same account if possible.
    """

    def fit(self, posts: Sequence[Post]) -> "NearestCaption":
        self.posts = [post for post in posts if post.caption is not None]
        if not self.posts:
            raise ValueError("no training post has a caption")
        self.by_account: dict[str, list[Post]] = defaultdict(list)
        for post in self.posts:
            self.by_account[post.username].append(post)
        self.account_timelines = {name: _timeline(posts) for name, posts in self.by_account.items()}
        self.timeline = _timeline(self.posts)
        self.keywords = {post.post_id: _keywords(post) for post in self.posts}
        return self

    def predict(self, posts: Sequence[Post]) -> list[str]:
        return [
            self._nearest_in_time(post, post.posted_at) if post.posted_at else self._most_similar(post)
            for post in posts
        ]

    def _nearest_in_time(self, post: Post, posted_at: datetime) -> str:
        own = self.account_timelines.get(post.username, [])
        if earlier := bisect_left(own, posted_at, key=_date):
            return own[earlier - 1][1].caption or ""
        index = bisect_left(self.timeline, posted_at, key=_date)
        neighbours = [
            dated for dated in self.timeline[max(index - 1, 0) : index + 2] if dated[1].post_id != post.post_id
        ]
        return min(neighbours, key=lambda dated: abs(dated[0] - posted_at))[1].caption or "" if neighbours else ""

    def _most_similar(self, post: Post) -> str:
        own = _keywords(post)

        def jaccard(other: Post) -> float:
            theirs = self.keywords[other.post_id]
            return len(own & theirs) / max(1, len(own | theirs))

        for candidates in (self.by_account.get(post.username, []), self.posts):
            if others := [other for other in candidates if other.post_id != post.post_id]:
                return max(others, key=jaccard).caption or ""
        return ""


class ConstantCaption:
    """The same caption for every post: the words of more than half of the training captions, in their usual order."""

    def fit(self, posts: Sequence[Post]) -> "ConstantCaption":
        counts, positions, captions = Counter[str](), Counter[str](), 0
        for post in posts:
            if post.caption is not None:
                last_position = {word: position for position, word in enumerate(post.caption.split())}
                counts.update(last_position.keys())
                positions.update(last_position)
                captions += 1
        if not captions:
            raise ValueError("no training post has a caption")
        frequent = [word for word, count in counts.items() if count > captions / 2]
        self.caption = " ".join(sorted(frequent, key=lambda word: positions[word] / counts[word]))
        return self

    def predict(self, posts: Sequence[Post]) -> list[str]:
        return [self.caption] * len(posts)


def _timeline(posts: Sequence[Post]) -> list[DatedPost]:
    return sorted(((post.posted_at, post) for post in posts if post.posted_at), key=_date)


def _date(dated: DatedPost) -> datetime:
    return dated[0]


def _keywords(post: Post) -> set[str]:
    return set(words(post.keywords or ""))
