"""The distribution of the synthetic posts: each is a pure function of (configuration, seed, index)."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np

from m3l.config import CorpusConfig
from m3l.corpus import likes, storyboard
from m3l.corpus.accounts import Account, draw_accounts
from m3l.corpus.captions import VOICES
from m3l.corpus.drawings import SCENES, SUBJECTS
from m3l.corpus.files import Damage, media_text, media_url, write
from m3l.corpus.storyboard import Clip
from m3l.data.records import MediaKind, Split, media_id

START, CUT, END = datetime(2018, 1, 1), datetime(2020, 11, 1), datetime(2021, 1, 1)
VALIDATION_ACCOUNTS = 0.4  # share of the unseen accounts that validates: they calibrate ranges for new accounts
KIND_SHARES: dict[MediaKind, float] = {"image": 0.5, "gif": 0.15, "video": 0.35}
TWO_SHARES: dict[MediaKind, float] = {"image": 0.25, "gif": 0.0, "video": 0.8}  # shares of posts that show two subjects
FAVOURITE_SHARE = 0.5

_WORLD, _CONTENT, _PICTURES, _DAMAGE = range(4)  # independent random streams: more draws from one never shift another


@dataclass(frozen=True)
class Story:
    """Everything about a post that is decided before its media are drawn."""

    account: Account
    split: Split
    posted_at: datetime
    kind: MediaKind
    subjects: tuple[str, ...]  # in the order shown
    scene: str
    caption: str
    parts: likes.Parts
    clips: tuple[Clip, ...]
    damage: Damage | None
    playlist_first: bool
    views: int


@dataclass(frozen=True)
class SyntheticPost:
    """A post in the challenge's own columns (plus `split`), and its truth (schema TRUTH)."""

    row: dict[str, Any]
    truth: dict[str, Any]


@dataclass(frozen=True)
class World:
    """Accounts, subjects and scenes with their effects on log(1 + likes). Cheap to build and to pickle."""

    config: CorpusConfig
    seed: int
    accounts: tuple[Account, ...]  # the unseen ones last
    subjects: dict[str, float]
    scenes: dict[str, float]

    @classmethod
    def build(cls, config: CorpusConfig, seed: int) -> Self:
        """Draw the accounts and effects of a world; ValueError if there are fewer names than accounts."""
        rng = np.random.default_rng([seed, _WORLD])
        names, scenes = tuple(SUBJECTS)[: config.subjects], tuple(SCENES)[: config.scenes]
        subjects = dict(zip(names, rng.normal(0, likes.SUBJECT_SD, len(names)).tolist(), strict=True))
        effects = rng.permutation(np.linspace(-likes.SCENE_RANGE, likes.SCENE_RANGE, len(scenes))).tolist()
        accounts = draw_accounts(rng, config.accounts + config.unseen_accounts, names)
        return cls(config, seed, accounts, subjects, dict(zip(scenes, effects, strict=True)))

    def write_post(self, index: int, media_root: Path) -> SyntheticPost:
        """Write the media of a post and return its rows; the same call writes the same bytes.

        Args:
            index: Number of the post, from 0.
            media_root: Folder of the media; each file is written atomically.

        Raises:
            IndexError: `index` is not below `config.posts`.
        """
        story = self.story(index)
        clips = [(media_url(clip, index, number), clip) for number, clip in enumerate(story.clips)]
        for url, clip in clips:
            write(clip, media_root / url, story.damage)
        row = {
            "id": index + 1,
            "date": f"{story.posted_at:%Y-%m-%d %H:%M:%S}",
            "likes": story.parts.likes,
            "content": story.caption,
            "username": story.account.username,
            "media": media_text(clips, story.playlist_first, story.views),
            "inferred company": story.account.company,
            "split": story.split,
        }
        truth = {
            "post_id": str(index + 1),
            "split": story.split,
            "kind": story.kind,
            "media": [
                {"media_id": media_id(url), "url": url, "duration_s": clip.duration_s, "spans": clip.spans}
                for url, clip in clips
            ],
            "subjects": list(story.subjects),
            "scene": story.scene,
            "readable": story.damage is None,
            "parts": asdict(story.parts),
            "expected_log1p": story.parts.expected_log1p,
        }
        return SyntheticPost(row, truth)

    def story(self, index: int) -> Story:
        """The content of post `index`; raises IndexError if it is not below `config.posts`."""
        if not 0 <= index < self.config.posts:
            raise IndexError(f"post {index} of {self.config.posts}")
        rng = self._rng(_CONTENT, index)
        account, when, split = self._occasion(rng)
        kind = _pick(rng, KIND_SHARES)
        subjects = self._subjects(rng, account, 2 if rng.random() < TWO_SHARES[kind] else 1)
        scene = list(self.scenes)[int(rng.integers(len(self.scenes)))]
        template = VOICES[account.voice][int(rng.integers(2))]
        hook = bool(rng.random() < 0.5)
        parts = likes.Parts(
            account=account.effect,
            subject=likes.subject_part([self.subjects[subject] for subject in subjects]),
            scene=self.scenes[scene],
            hook=0.0 if kind != "video" else likes.HOOK if hook else -likes.HOOK,
            hour=likes.hour_part(when),
            weekday=likes.weekday_part(when),
            wording=template.effect,
            noise=self.config.noise * float(rng.normal()),
        )
        clips = _clips(self._rng(_PICTURES, index), kind, scene, subjects, hook)
        damage = self._rng(_DAMAGE, index)
        return Story(
            account=account,
            split=split,
            posted_at=when,
            kind=kind,
            subjects=subjects,
            scene=scene,
            caption=template.fill(subjects, account.username),
            parts=parts,
            clips=clips,
            damage=self._draw_damage(damage),
            playlist_first=bool(damage.random() < 0.5),
            views=round((1 + parts.likes) * float(damage.lognormal(3.5, 0.7))),  # counted after posting: a leak
        )

    def _occasion(self, rng: np.random.Generator) -> tuple[Account, datetime, Split]:
        """The account, the time, and the split that follows from both."""
        seen, unseen = self.accounts[: self.config.accounts], self.accounts[self.config.accounts :]
        when = START + timedelta(seconds=int(rng.integers((END - START) // timedelta(seconds=1))))
        chance, lot, place = rng.random(3).tolist()
        if unseen and chance < self.config.unseen_share:
            number = int(place * len(unseen))
            validates = number < int(VALIDATION_ACCOUNTS * len(unseen))
            return unseen[number], when, "validation" if validates else "test_accounts"
        account = seen[int(place * len(seen))]
        if when >= CUT:
            return account, when, "test_time"
        if lot < self.config.test_share:
            return account, when, "test_random"
        validates = lot < self.config.test_share + self.config.validation_share
        return account, when, "validation" if validates else "train"

    def _subjects(self, rng: np.random.Generator, account: Account, count: int) -> tuple[str, ...]:
        """Different subjects; each is one of the account's favourites with probability `FAVOURITE_SHARE`."""
        chosen: list[str] = []
        while len(chosen) < count:
            names = account.favourites if rng.random() < FAVOURITE_SHARE else tuple(self.subjects)
            name = names[int(rng.integers(len(names)))]
            if name not in chosen:
                chosen.append(name)
        return tuple(chosen)

    def _draw_damage(self, rng: np.random.Generator) -> Damage | None:
        broken, dead, cut = (rng.random(3) < (self.config.broken_share, 0.5, 0.5)).tolist()
        return None if not broken else "dead" if dead else "cut" if cut else "page"

    def _rng(self, stream: int, index: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, stream, index])


def _pick(rng: np.random.Generator, shares: dict[MediaKind, float]) -> MediaKind:
    lot, (image, gif, _) = rng.random(), shares.values()
    return "image" if lot < image else "gif" if lot < image + gif else "video"


def _clips(
    rng: np.random.Generator, kind: MediaKind, scene: str, subjects: tuple[str, ...], hook: bool
) -> tuple[Clip, ...]:
    match kind:
        case "image":
            return tuple(storyboard.image(rng, scene, subject) for subject in subjects)
        case "gif":
            return (storyboard.gif(rng, scene, subjects[0]),)
        case "video":
            return (storyboard.video(rng, scene, subjects, hook),)
