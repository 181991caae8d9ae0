"""The ground truth of the corpus matches what was drawn, written and counted."""

import ast
import math
import pickle
from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageSequence

from m3l.config import CorpusConfig
from m3l.corpus.render import pictures
from m3l.corpus.storyboard import Clip
from m3l.corpus.truth import TRUTH, subjects_named_in, subjects_on_screen
from m3l.corpus.world import Story, World
from m3l.data.records import media_id


@pytest.fixture(scope="module")
def world() -> World:
    return World.build(CorpusConfig(posts=3000, broken_share=0.1), seed=3)


@pytest.fixture(scope="module")
def stories(world: World) -> list[Story]:
    return [world.story(index) for index in range(3000)]


def first(stories: list[Story], kind: str, **wanted: object) -> int:
    """The first post of a kind whose story has these fields; whole unless `damage` is wanted."""
    wanted = {"kind": kind, "damage": None, **wanted}
    return next(i for i, s in enumerate(stories) if all(getattr(s, k) == v for k, v in wanted.items()))


def read(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="rgb24").astype(float) for frame in file.decode(video=0)]


def without_subjects(clip: Clip) -> Clip:
    shots = [replace(s, sprites=s.sprites[:-1] if s.subject else s.sprites) for s in clip.shots]
    return replace(clip, shots=tuple(shots))


def test_a_post_is_a_pure_function_of_world_and_index(world: World, stories: list[Story], tmp_path: Path) -> None:
    posts = [first(stories, kind) for kind in ("image", "gif", "video")]
    again = pickle.loads(pickle.dumps(World.build(world.config, world.seed)))
    written = [world.write_post(i, tmp_path / "a") for i in posts]
    assert written == [again.write_post(i, tmp_path / "b") for i in reversed(posts)][::-1]
    files = {root: [p for p in sorted((tmp_path / root).rglob("*")) if p.is_file()] for root in "ab"}
    assert [p.name for p in files["a"]] == [p.name for p in files["b"]]
    assert len(files["a"]) == sum(len(stories[i].clips) for i in posts)  # and no drafts are left
    assert [p.read_bytes() for p in files["a"]] == [p.read_bytes() for p in files["b"]]
    assert written[0] != World.build(world.config, seed=4).write_post(posts[0], tmp_path / "c")


def test_likes_follow_the_formula(world: World, stories: list[Story], tmp_path: Path) -> None:
    for index in range(20):
        post = world.write_post(index, tmp_path)
        parts, when = post.truth["parts"], datetime.fromisoformat(post.row["date"])
        assert post.truth["expected_log1p"] == pytest.approx(4 + sum(parts.values()) - parts["noise"])
        assert post.row["likes"] == max(0, round(math.expm1(post.truth["expected_log1p"] + parts["noise"])))
        assert parts["weekday"] == (0.15 if when.weekday() >= 5 else 0)
        calls = post.row["content"].startswith(("Visit", "Tell", "Follow"))
        assert parts["wording"] == (0.2 if "?" in post.row["content"] else -0.2 if calls else 0)
        assert (parts["hour"] > 0) == (when.hour not in range(1, 13))  # best around 19:00
        assert parts["scene"] == world.scenes[post.truth["scene"]]
        effects = [world.subjects[subject] for subject in post.truth["subjects"]]
        assert parts["subject"] == pytest.approx(np.dot(effects, [0.7, 0.3] if len(effects) == 2 else [1]))
    noise = [story.parts.noise for story in stories]
    assert np.mean(noise) == pytest.approx(0, abs=0.03)
    assert np.std(noise) == pytest.approx(world.config.noise, rel=0.05)
    assert sorted(world.scenes.values()) == pytest.approx(np.linspace(-0.9, 0.9, world.config.scenes))


def test_a_hook_is_a_subject_in_the_first_second(stories: list[Story]) -> None:
    videos = [story for story in stories if story.kind == "video"]
    for story in videos:
        starts = [span["start_s"] for span in story.clips[0].spans]
        assert story.parts.hook == (0.5 if starts[0] < 1 else -0.5)
        assert starts[0] == 0 or starts[0] >= 1.5
    assert np.mean([story.parts.hook for story in videos]) == pytest.approx(0, abs=0.05)
    assert all(story.parts.hook == 0 for story in stories if story.kind != "video")


def test_spans_of_a_video_are_where_its_subjects_were_drawn(world: World, stories: list[Story], tmp_path: Path) -> None:
    index = next(i for i, s in enumerate(stories) if s.kind == "video" and not s.damage and len(s.subjects) == 2)
    post, clip = world.write_post(index, tmp_path), stories[index].clips[0]
    [media] = post.truth["media"]
    frames = read(tmp_path / media["url"])
    assert len(frames) == media["duration_s"] * clip.fps
    assert frames[0].shape == (clip.height, clip.width, 3)

    boundaries = np.cumsum([shot.frames for shot in clip.shots])
    seen = []
    for number, (frame, bare) in enumerate(zip(frames, pictures(without_subjects(clip)), strict=True)):
        if np.abs(number + 0.5 - boundaries).min() < 2:  # in a cross-fade two shots are seen
            continue
        shown = subjects_on_screen(post.truth["media"], media["media_id"], number / clip.fps)
        changed = (np.abs(frame - np.asarray(bare)).max(axis=2) > 60).mean()
        assert changed > 0.03 if shown else changed < 0.01, (number, shown, changed)
        seen += shown
    assert list(dict.fromkeys(seen)) == post.truth["subjects"]
    assert seen == sorted(seen, key=post.truth["subjects"].index)  # all of the first before the second


def test_videos_and_gifs_keep_to_their_format(stories: list[Story]) -> None:
    videos = [clip for story in stories if story.kind == "video" for clip in story.clips]
    assert all(8 <= clip.duration_s <= 12 and 4 <= len(clip.shots) <= 7 for clip in videos)
    shots = [shot for clip in videos for shot in clip.shots]
    assert all(clip.fps <= shot.frames <= 3 * clip.fps for clip in videos for shot in clip.shots)
    assert np.mean([shot.subject is not None for shot in shots]) == pytest.approx(0.5, abs=0.03)
    two = np.mean([len(story.subjects) == 2 for story in stories if story.kind == "video"])
    assert two == pytest.approx(0.8, abs=0.05)
    kinds = Counter(story.kind for story in stories)
    shares = [kinds[kind] / len(stories) for kind in ("image", "gif", "video")]
    assert shares == pytest.approx([0.5, 0.15, 0.35], abs=0.03)


def test_a_gif_moves_and_lasts_as_long_as_the_truth_says(world: World, stories: list[Story], tmp_path: Path) -> None:
    post = world.write_post(first(stories, "gif"), tmp_path)
    [media] = post.truth["media"]
    with Image.open(tmp_path / media["url"]) as gif:
        frames = [(np.asarray(f.convert("RGB"), float), f.info["duration"]) for f in ImageSequence.Iterator(gif)]
    assert sum(duration for _, duration in frames) / 1000 == pytest.approx(media["duration_s"])
    assert 2 <= media["duration_s"] <= 3
    assert np.abs(frames[0][0] - frames[-1][0]).mean() > 1
    [span] = media["spans"]
    assert (span["start_s"], span["end_s"]) == (0, media["duration_s"])


def test_an_album_shows_two_subjects_in_order(world: World, stories: list[Story], tmp_path: Path) -> None:
    index = next(i for i, s in enumerate(stories) if s.kind == "image" and len(s.subjects) == 2 and not s.damage)
    truth = world.write_post(index, tmp_path).truth
    assert [span["subject"] for media in truth["media"] for span in media["spans"]] == truth["subjects"]
    for media, subject, clip in zip(truth["media"], truth["subjects"], stories[index].clips, strict=True):
        assert subjects_on_screen(truth["media"], media["media_id"], 0.0) == {subject}
        with Image.open(tmp_path / media["url"]) as photo:
            drawn = np.asarray(next(pictures(clip)), float)
            assert np.abs(np.asarray(photo, float) - drawn).mean() < 6


def test_captions_name_the_subjects_in_order_and_never_the_scene(world: World, stories: list[Story]) -> None:
    for story in stories:
        assert subjects_named_in(story.caption, world.subjects) == list(story.subjects)
        assert subjects_named_in(story.caption, world.scenes) == []
        assert story.caption.endswith(f"#{story.account.username} <hyperlink>")
    assert all(any(token in s.caption for s in stories) for token in ("&amp;", "\n", "🎉", "<mention>", "?"))
    assert subjects_named_in("A foxy #FoxFoods: Frogs, a FROG; the fox and the frog", ["fox", "frog"]) == [
        "frog",
        "fox",
    ]


def test_favourites_are_informative_about_the_subject(stories: list[Story]) -> None:
    share = np.mean([story.subjects[0] in story.account.favourites for story in stories])
    assert share == pytest.approx(0.5 + 0.5 * 3 / 12, abs=0.04)


def test_broken_posts_cannot_be_read(world: World, stories: list[Story], tmp_path: Path) -> None:
    damage = Counter(story.damage for story in stories)
    assert 1 - damage[None] / len(stories) == pytest.approx(world.config.broken_share, abs=0.02)
    assert damage["dead"] == pytest.approx(damage["page"] + damage["cut"], rel=0.25)
    for kind in ("image", "gif", "video"):
        for damage_kind in ("dead", "page", "cut"):
            post = world.write_post(first(stories, kind, damage=damage_kind), tmp_path)
            assert not post.truth["readable"]
            for media in post.truth["media"]:
                path = tmp_path / media["url"]
                assert path.exists() == (damage_kind != "dead")
                if damage_kind == "dead":
                    continue
                with pytest.raises((av.FFmpegError, OSError)):
                    read(path)
                with pytest.raises(OSError):
                    Image.open(path).load()


def test_the_media_text_has_the_format_of_the_challenge(world: World, stories: list[Story], tmp_path: Path) -> None:
    orders = set()
    for kind in ("image", "gif", "video", "video playlist first"):
        index = first(stories, kind.split()[0], playlist_first="first" in kind)
        post = world.write_post(index, tmp_path)
        parsed = ast.parse(post.row["media"], mode="eval").body
        assert isinstance(parsed, ast.List)
        assert {type(item) for item in parsed.elts} == {ast.Call}
        urls = [
            ast.literal_eval(k.value)
            for node in ast.walk(parsed)
            if isinstance(node, ast.Call)
            for k in node.keywords
            if k.arg in ("url", "fullUrl")
        ]
        there = [url for url in urls if (tmp_path / url).exists()]
        assert there == [media["url"] for media in post.truth["media"]]
        assert [media_id(url) for url in there] == [media["media_id"] for media in post.truth["media"]]
        assert all(url.endswith(".m3u8") for url in set(urls) - set(there))
        orders.add(tuple(Path(url).suffix for url in urls[:2]))
    assert {(".mp4", ".m3u8"), (".m3u8", ".mp4")} <= orders


def test_views_leak_the_likes(stories: list[Story]) -> None:
    likes, views = zip(*((s.parts.likes, s.views) for s in stories), strict=True)
    assert 0.7 < np.corrcoef(np.log1p(likes), np.log1p(views))[0, 1] < 0.95


def test_splits_follow_the_account_and_the_date(world: World, stories: list[Story]) -> None:
    shares = {split: n / len(stories) for split, n in Counter(s.split for s in stories).items()}
    names = ("train", "validation", "test_random", "test_accounts", "test_time")
    expected = dict(zip(names, (0.76, 0.06, 0.1, 0.03, 0.05), strict=True))
    assert shares == pytest.approx(expected, abs=0.02)
    unseen = set(world.accounts[world.config.accounts :])
    assert len({account.username for account in world.accounts}) == len(world.accounts) == 56
    validating = {story.account for story in stories if story.split == "validation"} & unseen
    assert len(validating) == 16 and not validating & {s.account for s in stories if s.split == "test_accounts"}
    for story in stories:
        assert (story.account in unseen - validating) == (story.split == "test_accounts")
        if story.account not in unseen:
            assert (story.posted_at >= datetime(2020, 11, 1)) == (story.split == "test_time")


def test_splits_have_the_configured_shares() -> None:
    config = CorpusConfig(posts=2000, unseen_accounts=2000, unseen_share=0.5, validation_share=0.3, test_share=0.2)
    world = World.build(config, seed=0)
    stories = [world.story(index) for index in range(config.posts)]
    unseen = set(world.accounts[config.accounts :])
    before = [story for story in stories if story.account not in unseen and story.split != "test_time"]
    shares = Counter(story.split for story in before)
    assert sum(story.account in unseen for story in stories) == pytest.approx(1000, abs=80)
    assert shares["validation"] / len(before) == pytest.approx(0.3, abs=0.05)
    assert shares["test_random"] / len(before) == pytest.approx(0.2, abs=0.05)


def test_truth_fits_its_schema(world: World, tmp_path: Path) -> None:
    rows = [world.write_post(index, tmp_path).truth for index in range(8)]
    assert pa.Table.from_pylist(rows, schema=TRUTH).to_pylist() == rows


def test_too_many_posts_or_accounts_are_an_error(world: World, tmp_path: Path) -> None:
    with pytest.raises(IndexError, match="post 3000 of 3000"):
        world.write_post(3000, tmp_path)
    with pytest.raises(ValueError, match=r"corpus\.accounts: at most 4800"):
        World.build(CorpusConfig(accounts=4800, unseen_accounts=1), seed=0)
    names = [account.username for account in World.build(CorpusConfig(accounts=4760), seed=0).accounts]
    assert len(set(names)) == 4800
