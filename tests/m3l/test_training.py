"""Algorithm 1, a step at a time, on three posts and on two ranks."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from m3l.model.build import build_model
from m3l.tasks import draw_task
from m3l.training import Learner, augmented, learning_rate, word_weights

from .made import BEHAVIOUR, CONTENT, TINY, collator, example, row

ROOT = Path(__file__).parents[2]
POSTS = [row(example(0, frames=2)), row(example(1)), row(example(2, frames=0))]


def learner(processor: Any, steps: int = 10, warmup: int = 0, setting: str = "shared", **changes: Any) -> Learner:
    return Learner(
        build_model(TINY.model, processor, seed=0),
        collator(processor, qformer_text=setting),
        TINY.tasks,
        TINY.train.model_copy(update=changes),
        warmup_steps=warmup,
        steps=steps,
        seed=0,
        word_weights=torch.ones(len(processor.tokenizer)),
    )


@pytest.mark.parametrize("schedule", ["alternate", "joint"])
def test_training_lowers_both_losses(processor: Any, schedule: str) -> None:
    taught = learner(processor, steps=40, schedule=schedule, lr=1e-2)
    before = taught.evaluate(POSTS)
    for _ in range(40):
        taught.step(POSTS)
    after = taught.evaluate(POSTS)
    assert after["nll"] < before["nll"] / 3
    assert after["mse"] < before["mse"] / 3


def test_alternate_trains_the_drawn_task(processor: Any) -> None:
    taught = learner(processor)
    drawn = [draw_task(TINY.tasks, step, 0, 50.0) for step in range(6)]
    assert {task.head for task in drawn} == {"caption", "likes"}
    for task in drawn:
        assert list(taught.step(POSTS)) == ["nll" if task.head == "caption" else "mse"]


@pytest.mark.parametrize("setting", ["shared", "per_task"])
def test_joint_gives_both_losses_of_one_batch(processor: Any, setting: str) -> None:
    taught = learner(processor, setting=setting, schedule="joint")
    for part in taught.model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    expected = taught.evaluate(POSTS)
    assert taught.step(POSTS) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("setting", "views"), [("shared", 1), ("per_task", 2)])
def test_joint_shares_what_it_may(processor: Any, setting: str, views: int) -> None:
    taught, words = learner(processor, setting=setting, schedule="joint"), []
    see = taught.model.see
    taught.model.see = lambda **media: words.append(media["qformer_input_ids"]) or see(**media)  # type: ignore
    taught.step([row(example(0, caption="night", likes=777))])
    read = [processor.qformer_tokenizer.decode(ids[0]) for ids in words]
    assert len(read) == views
    assert "night" not in read[0] and "7" not in read[-1].split("time")[-1].replace("00 : 07 : 00", "")


def test_a_weight_of_zero_leaves_a_loss_out_of_joint(processor: Any) -> None:
    taught = learner(processor, schedule="joint", mse_weight=0.0, weight_decay=0.0)
    before = [p.detach().clone() for p in taught.model.likes_head.parameters()]
    taught.step(POSTS)
    assert all((p == b).all() for p, b in zip(taught.model.likes_head.parameters(), before, strict=True))


def test_a_task_of_ones_own_counts_in_its_heads_mean(processor: Any) -> None:
    taught = learner(processor)
    who = CONTENT.model_copy(update={"name": "who", "masked": "username", "template": "By: [MASK]"})
    alone = []
    for tasks in ((CONTENT,), (who,), (CONTENT, who, BEHAVIOUR)):
        taught.tasks = tasks
        alone.append(taught.evaluate(POSTS, batch_size=2))
    assert alone[2]["nll"] == pytest.approx((alone[0]["nll"] + alone[1]["nll"]) / 2)
    assert taught.evaluate([]) == {}


def test_the_warm_up_names_words_and_ends(processor: Any) -> None:
    taught = learner(processor, warmup=6, lr=1e-2)
    losses = [taught.step(POSTS) for _ in range(8)]
    assert [list(told) == ["words", "nll", "mse"] for told in losses] == [True] * 6 + [False] * 2
    assert losses[5]["words"] < losses[0]["words"]
    assert losses[5]["mse"] < losses[0]["mse"]
    blind = learner(processor, warmup=1).step([row(example(0, frames=0))])
    assert list(blind) == ["nll", "mse"] and np.isfinite(list(blind.values())).all()


def test_the_warm_up_shows_no_task_what_another_masks(processor: Any) -> None:
    taught = learner(processor, warmup=1, setting="per_task")
    read = []
    see = taught.model.see
    taught.model.see = lambda **media: read.append(media["qformer_input_ids"]) or see(**media)  # type: ignore
    taught.step([row(example(0, caption="night", likes=777))])
    words = processor.qformer_tokenizer.decode(read[0][0])
    assert "night" not in words and "777" not in words


def test_frames_are_drawn_in_their_order_and_media_are_dropped(processor: Any) -> None:
    taught, post = learner(processor), example(0, frames=9)
    times = [[frame.time_s for frame in taught._thin(post, 3, 0.0).context.frames] for _ in range(20)]
    assert all(len(drawn) == 3 and drawn == sorted(drawn) for drawn in times)
    assert len({tuple(drawn) for drawn in times}) > 5
    assert {drawn[0] for drawn in times} == {post.context.frames[0].time_s}  # how a video starts counts
    dropped = sum(not taught._thin(post, 3, 0.25).context.frames for _ in range(400))
    assert dropped / 400 == pytest.approx(0.25, abs=0.08)
    assert taught._thin(post, 9, 0.0) == post


def test_fields_are_dropped_from_prompts_but_never_what_is_masked(processor: Any) -> None:
    taught = learner(processor, field_dropout=0.5)
    examples = [example(number % 3) for number in range(200)]
    for task, shown in ((CONTENT, "likes"), (BEHAVIOUR, "caption")):
        posts = [e.post for e in taught._forgetful(examples, task, range(200))]
        assert all(
            getattr(post, task.masked) == getattr(e.post, task.masked) for post, e in zip(posts, examples, strict=True)
        )
        assert sum(getattr(post, shown) is None for post in posts) == pytest.approx(100, abs=25)
        assert sum(not post.username for post in posts) == pytest.approx(100, abs=25)
    again = taught._forgetful(examples, BEHAVIOUR, range(200))
    assert [e.post.username for e in again] == [post.username for post in posts]
    taught = learner(processor)
    assert taught._forgetful(examples, CONTENT, range(200)) == examples


def test_augmentation_moves_a_frame_and_keeps_what_it_shows() -> None:
    frames = torch.zeros(64, 3, 56, 56)
    frames[:, :, 24:32, 24:32] = 1.0
    moved = augmented(frames, seed=0)
    assert (augmented(frames, seed=0) == moved).all() and not (augmented(frames, seed=1) == moved).all()
    areas = moved[:, 0].sum((1, 2)) / 64
    assert 0.85**2 - 0.05 < areas.min() < 0.9 and 1.2 < areas.max() < 1.2**2 + 0.05
    rows = (moved[:, 0].sum(2) * torch.arange(56)).sum(1) / moved[:, 0].sum((1, 2)) - 27.5
    assert 0.08 * 56 < rows.abs().max() < 0.2 * 56


def test_augmented_frames_differ_each_time_and_plain_ones_do_not(processor: Any) -> None:
    post = [example(0, frames=2)]
    for augment in (False, True):
        taught = learner(processor, augment=augment)
        one, two = (taught._media(post, CONTENT)["pixel_values"] for _ in range(2))
        assert one.shape == two.shape and bool((one == two).all()) is not augment
        plain = taught.collator.media(post, CONTENT)["pixel_values"]
        assert bool((one == plain).all()) is not augment


def test_frozen_parts_stay_as_they_are(processor: Any) -> None:
    taught = learner(processor)
    taught.model.vision_model.requires_grad_(False)
    again = Learner(taught.model, taught.collator, TINY.tasks, TINY.train, warmup_steps=0, steps=4, seed=0,
                    word_weights=torch.ones(len(processor.tokenizer)))  # fmt: skip
    before = [p.detach().clone() for p in taught.model.vision_model.parameters()]
    for _ in range(3):
        again.step(POSTS)
    assert all((p == b).all() for p, b in zip(taught.model.vision_model.parameters(), before, strict=True))


def test_the_learning_rate_rises_stays_and_falls() -> None:
    rates = [learning_rate(step, 0, 100, 0.1) for step in range(100)]
    assert rates[:10] == sorted(rates[:10]) and rates[0] > 0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0.9 < max(rates) <= 1 and rates[-1] == pytest.approx(0.02, abs=0.01)
    warmed = [learning_rate(step, 40, 100, 0.1) for step in range(100)]
    assert warmed[9:40] == [1.0] * 31 and warmed[40] == pytest.approx(1.0)


def test_rare_words_weigh_more() -> None:
    weights = word_weights([[1, 2, 2], [1, 2, 3], [1]], vocabulary=5)
    assert weights[1] == 0 < weights[2] < weights[3]
    assert weights.isfinite().all()


def test_two_ranks_hold_the_same_weights(tmp_path: Path) -> None:
    script = Path(__file__).with_name("two_ranks.py")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, script, tmp_path], env=environment, capture_output=True, timeout=120)
    assert ended.returncode == 0, ended.stderr.decode()[-2000:]
    one, two = (torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1))
    assert all((one["weights"][name] == two["weights"][name]).all() for name in one["weights"])
    heads = [[[n for n in told if n != "words"] for told in each["losses"]] for each in (one, two)]
    assert heads[0] == heads[1]  # a rank without media has no words to name, but the same task
    assert one["losses"] != two["losses"]
    assert {name for told in one["losses"] for name in told} == {"words", "nll", "mse"}
