"""The world that posts are drawn from: every post is a pure function of (configuration, seed, index)."""

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
VALIDATION_STRANGERS = 0.4  # of the unseen accounts: they tell how unsure likes of cold accounts are
KIND_SHARES: dict[MediaKind, float] = {"image": 0.5, "gif": 0.15, "video": 0.35}
TWO_SHARES: dict[MediaKind, float] = {"image": 0.25, "gif": 0.0, "video": 0.8}  # of posts that show two subjects
FAVOURITE_SHARE = 0.5

_WORLD, _FACTS, _PICTURES, _FATE = range(4)  # separate streams of chance: more of one never shifts another


@dataclass(frozen=True)
class Story:
    """All that is decided about a post before anything is drawn."""

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
class MadePost:
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
        """The world of a configuration and a seed; ValueError where names are too few for the accounts."""
        rng = np.random.default_rng([seed, _WORLD])
        names, scenes = tuple(SUBJECTS)[: config.subjects], tuple(SCENES)[: config.scenes]
        subjects = dict(zip(names, rng.normal(0, likes.SUBJECT_SD, len(names)).tolist(), strict=True))
        effects = rng.permutation(np.linspace(-likes.SCENE_RANGE, likes.SCENE_RANGE, len(scenes))).tolist()
        accounts = draw_accounts(rng, config.accounts + config.unseen_accounts, names)
        return cls(config, seed, accounts, subjects, dict(zip(scenes, effects, strict=True)))

    def make(self, index: int, media_root: Path) -> MadePost:
        """Post `index` (from 0): writes its media below `media_root`, each file at once, returns its rows.

        The same call writes the same bytes. Raises IndexError beyond `config.posts`.
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
        return MadePost(row, truth)

    def story(self, index: int) -> Story:
        """What post `index` is about; raises IndexError beyond `config.posts`."""
        if not 0 <= index < self.config.posts:
            raise IndexError(f"post {index} of {self.config.posts}")
        rng = self._chance(_FACTS, index)
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
        clips = _clips(self._chance(_PICTURES, index), kind, scene, subjects, hook)
        fate = self._chance(_FATE, index)
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
            damage=self._damage(fate),
            playlist_first=bool(fate.random() < 0.5),
            views=round((1 + parts.likes) * float(fate.lognormal(3.5, 0.7))),  # counted after posting: a leak
        )

    def _occasion(self, rng: np.random.Generator) -> tuple[Account, datetime, Split]:
        """Who posts when, and the split that follows from it."""
        seen, unseen = self.accounts[: self.config.accounts], self.accounts[self.config.accounts :]
        when = START + timedelta(seconds=int(rng.integers((END - START) // timedelta(seconds=1))))
        chance, lot, place = rng.random(3).tolist()
        if unseen and chance < self.config.unseen_share:
            stranger = int(place * len(unseen))
            validates = stranger < int(VALIDATION_STRANGERS * len(unseen))
            return unseen[stranger], when, "validation" if validates else "test_accounts"
        account = seen[int(place * len(seen))]
        if when >= CUT:
            return account, when, "test_time"
        if lot < self.config.test_share:
            return account, when, "test_random"
        validates = lot < self.config.test_share + self.config.validation_share
        return account, when, "validation" if validates else "train"

    def _subjects(self, rng: np.random.Generator, account: Account, count: int) -> tuple[str, ...]:
        """Different subjects, each one of the account's favourites with probability `FAVOURITE_SHARE`."""
        chosen: list[str] = []
        while len(chosen) < count:
            names = account.favourites if rng.random() < FAVOURITE_SHARE else tuple(self.subjects)
            name = names[int(rng.integers(len(names)))]
            if name not in chosen:
                chosen.append(name)
        return tuple(chosen)

    def _damage(self, rng: np.random.Generator) -> Damage | None:
        broken, dead, cut = (rng.random(3) < (self.config.broken_share, 0.5, 0.5)).tolist()
        return None if not broken else "dead" if dead else "cut" if cut else "page"

    def _chance(self, stream: int, index: int) -> np.random.Generator:
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
