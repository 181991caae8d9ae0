"""Algorithm 1, a step at a time, on three posts and on two ranks."""

from typing import Any

import numpy as np
import pytest
import torch

from m3l.model.build import build_model
from m3l.training.batches import augmented
from m3l.training.loss import word_weights
from m3l.training.sampler import Order
from m3l.training.task_schedule import draw_task, learning_rate
from m3l.training.trainer import Learner
from tests.support.posts import BEHAVIOUR, CONTENT, TINY, collator, example, row

POSTS = [row(example(0, frames=2)), row(example(1)), row(example(2, frames=0))]


def learner(
    processor: Any, steps: int = 10, warmup: int = 0, setting: str = "shared", cells: int = 1, **changes: Any
) -> Learner:
    return Learner(
        build_model(TINY.model, processor, seed=0),
        collator(processor, qformer_text=setting),
        TINY.tasks,
        TINY.train.model_copy(update=changes),
        Order(rows=30, seed=0, cell=3, cells=cells),
        warmup_steps=warmup,
        steps=steps,
        word_weights=torch.ones(len(processor.tokenizer)),
    )


@pytest.mark.parametrize("schedule", ["alternate", "joint"])
def test_training_lowers_both_losses(processor: Any, schedule: str) -> None:
    taught = learner(processor, steps=40, schedule=schedule, lr=1e-2)
    before = taught.evaluate(POSTS)
    for _ in range(40):
        taught.step([POSTS])
    after = taught.evaluate(POSTS)
    assert after["nll"] < before["nll"] / 3
    assert after["mse"] < before["mse"] / 3


def test_alternate_trains_the_drawn_task(processor: Any) -> None:
    taught = learner(processor)
    drawn = [draw_task(TINY.tasks, step, 0, 50.0) for step in range(6)]
    assert {task.head for task in drawn} == {"caption", "likes"}
    for task in drawn:
        assert list(taught.step([POSTS])) == ["nll" if task.head == "caption" else "mse"]


@pytest.mark.parametrize("setting", ["shared", "per_task"])
def test_joint_gives_both_losses_of_one_batch(processor: Any, setting: str) -> None:
    taught = learner(processor, setting=setting, schedule="joint")
    for part in taught.model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    expected = taught.evaluate(POSTS)
    assert taught.step([POSTS]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("setting", "views"), [("shared", 1), ("per_task", 2)])
def test_joint_shares_what_it_may(processor: Any, setting: str, views: int) -> None:
    taught, words = learner(processor, setting=setting, schedule="joint"), []
    see = taught.model.see
    taught.model.see = lambda **media: words.append(media["qformer_input_ids"]) or see(**media)  # type: ignore
    taught.step([[row(example(0, caption="night", likes=777))]])
    read = [processor.qformer_tokenizer.decode(ids[0]) for ids in words]
    assert len(read) == views
    assert "night" not in read[0] and "7" not in read[-1].split("time")[-1].replace("00 : 07 : 00", "")


def test_a_weight_of_zero_leaves_a_loss_out_of_joint(processor: Any) -> None:
    taught = learner(processor, schedule="joint", mse_weight=0.0, weight_decay=0.0)
    before = [p.detach().clone() for p in taught.model.likes_head.parameters()]
    taught.step([POSTS])
    assert all((p == b).all() for p, b in zip(taught.model.likes_head.parameters(), before, strict=True))


def test_a_task_of_ones_own_counts_in_its_heads_mean(processor: Any) -> None:
    taught = learner(processor)
    who = CONTENT.model_copy(update={"name": "who", "masked": "username", "template": "By: [MASK]"})
    alone = []
    for tasks in ((CONTENT,), (who,), (CONTENT, who, BEHAVIOUR)):
        taught.tasks = tasks
        alone.append(taught.evaluate(POSTS))
    assert alone[2]["nll"] == pytest.approx((alone[0]["nll"] + alone[1]["nll"]) / 2)
    assert taught.evaluate([]) == {}


def test_the_warm_up_names_words_and_ends(processor: Any) -> None:
    taught = learner(processor, warmup=6, lr=1e-2)
    losses = [taught.step([POSTS]) for _ in range(8)]
    assert [list(told) == ["words", "nll", "mse"] for told in losses] == [True] * 6 + [False] * 2
    assert losses[5]["words"] < losses[0]["words"]
    assert losses[5]["mse"] < losses[0]["mse"]
    seeing = learner(processor, warmup=6, lr=1e-2, warmup_tasks=False)
    alone = [seeing.step([POSTS]) for _ in range(6)]
    assert [list(told) for told in alone] == [["words"]] * 6 and alone[5]["words"] < alone[0]["words"]
    assert learner(processor, warmup=1, warmup_tasks=False).step([[row(example(0, frames=0))]]) == {}
    blind = learner(processor, warmup=1).step([[row(example(0, frames=0))]])
    assert list(blind) == ["nll", "mse"] and np.isfinite(list(blind.values())).all()


def test_the_warm_up_shows_no_task_what_another_masks(processor: Any) -> None:
    taught = learner(processor, warmup=1, setting="per_task")
    read = []
    see = taught.model.see
    taught.model.see = lambda **media: read.append(media["qformer_input_ids"]) or see(**media)  # type: ignore
    taught.step([[row(example(0, caption="night", likes=777))]])
    words = processor.qformer_tokenizer.decode(read[0][0])
    assert "night" not in words and "777" not in words


def test_frames_are_drawn_in_their_order_and_media_are_dropped(processor: Any) -> None:
    post = example(0, frames=9)
    drawn = learner(processor, media_dropout=0.0).reader._thin([post] * 20, 3, range(20))
    times = [[frame.time_s for frame in thin.context.frames] for thin in drawn]
    assert all(len(drawn) == 3 and drawn == sorted(drawn) for drawn in times)
    assert len({tuple(drawn) for drawn in times}) > 5
    assert {drawn[0] for drawn in times} == {post.context.frames[0].time_s}  # how a video starts counts
    thinned = learner(processor, media_dropout=0.25).reader._thin([post] * 400, 3, range(400))
    assert sum(not thin.context.frames for thin in thinned) / 400 == pytest.approx(0.25, abs=0.08)
    assert learner(processor, media_dropout=0.0).reader._thin([post], 9, [0]) == [post]


def test_fields_are_dropped_from_prompts_but_never_what_is_masked(processor: Any) -> None:
    taught = learner(processor, field_dropout=0.5)
    examples = [example(number % 3) for number in range(200)]
    for task, shown in ((CONTENT, "likes"), (BEHAVIOUR, "caption")):
        posts = [e.post for e in taught.reader._forgetful(examples, task, range(200))]
        assert all(
            getattr(post, task.masked) == getattr(e.post, task.masked) for post, e in zip(posts, examples, strict=True)
        )
        assert sum(getattr(post, shown) is None for post in posts) == pytest.approx(100, abs=25)
        assert sum(not post.username for post in posts) == pytest.approx(100, abs=25)
    again = taught.reader._forgetful(examples, BEHAVIOUR, range(200))
    assert [e.post.username for e in again] == [post.username for post in posts]
    taught = learner(processor)
    assert taught.reader._forgetful(examples, CONTENT, range(200)) == examples


def test_augmentation_moves_a_frame_and_keeps_what_it_shows() -> None:
    frames, lots = torch.zeros(64, 3, 56, 56), torch.rand(64, 4, generator=torch.Generator().manual_seed(0))
    frames[:, :, 24:32, 24:32] = 1.0
    moved = augmented(frames, lots)
    areas = moved[:, 0].sum((1, 2)) / 64
    assert 0.85**2 - 0.05 < areas.min() < 0.9 and 1.2 < areas.max() < 1.2**2 + 0.05
    rows = (moved[:, 0].sum(2) * torch.arange(56)).sum(1) / moved[:, 0].sum((1, 2)) - 27.5
    assert 0.08 * 56 < rows.abs().max() < 0.2 * 56


def test_what_a_row_reads_depends_on_its_place_alone(processor: Any) -> None:
    settings = {"augment": True, "media_dropout": 0.3, "field_dropout": 0.3, "schedule": "joint"}
    posts = [row(example(number, frames=9)) for number in range(4)]
    reader = learner(processor, **settings).reader
    whole = reader.masked(posts, 40, 5).views[0]["pixel_values"]
    parts = [reader.masked(posts[:2], 40, 5), reader.masked(posts[2:], 42, 5)]
    parted = torch.cat([part.views[0]["pixel_values"] for part in parts if not part.blank[0]])
    assert (whole == parted).all()
    assert not (whole == reader.masked(posts, 44, 6).views[0]["pixel_values"]).all()
    plain = learner(processor).reader
    assert (plain.masked(posts[:1], 7, 0).views[0]["pixel_values"] != whole[:1]).any()


def test_frozen_parts_stay_as_they_are(processor: Any) -> None:
    taught = learner(processor)
    taught.model.vision_model.requires_grad_(False)
    again = Learner(taught.model, taught.reader.collator, TINY.tasks, TINY.train, taught.order, warmup_steps=0,
                    steps=4, word_weights=torch.ones(len(processor.tokenizer)))  # fmt: skip
    before = [p.detach().clone() for p in taught.model.vision_model.parameters()]
    for _ in range(3):
        again.step([POSTS])
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


def test_cells_add_up_to_the_step_of_one(processor: Any) -> None:
    posts = [row(example(number, frames=number % 3)) for number in range(6)]
    drawn = {"schedule": "joint", "frames": 1, "augment": True}
    told = []
    for cell in (6, 3, 2):
        taught = learner(processor, **drawn)
        taught.model.likes_head[3].p = 0.0  # dropout is of a cell
        taught.order = Order(30, 0, cell, 6 // cell)
        told.append(taught.step([posts[at : at + cell] for at in range(0, 6, cell)]) | {"norm": taught.norm})
    assert told[1] == pytest.approx(told[0], rel=1e-4) and told[2] == pytest.approx(told[0], rel=1e-4)


def test_a_step_that_is_not_finite_is_skipped_and_counted(processor: Any) -> None:
    taught = learner(processor, schedule="joint")
    bias = taught.model.likes_head[-1].bias
    sound = bias.detach().clone()
    bias.data.fill_(float("nan"))
    before = {name: p.detach().clone() for name, p in taught.trainable.items()}
    taught.step([POSTS])
    assert taught.skipped == 1 and taught.done == 1
    assert all((p == before[name]).all() for name, p in taught.trainable.items() if p is not bias)
    bias.data.copy_(sound)
    taught.step([POSTS])
    assert taught.skipped == 1 and np.isfinite(taught.norm)


def test_activation_checkpointing_changes_nothing_but_memory(processor: Any) -> None:
    ended = []
    for checkpointing in (False, True):
        taught = learner(processor, schedule="joint", activation_checkpointing=checkpointing)
        for _ in range(2):
            taught.step([POSTS])
        ended.append(taught.trainable)
    assert all((ended[1][name] == parameter).all() for name, parameter in ended[0].items())
