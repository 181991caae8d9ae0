"""The trainer, step by step: both stages of a training, and what a step may not change."""

from typing import Any

import numpy as np
import pytest
import torch

from m3l.model.build import build_model
from m3l.training.sampler import ResumableSampler
from m3l.training.task_schedule import draw_task
from m3l.training.trainer import Trainer
from tests.support.models import ROWS, make_trainer
from tests.support.posts import BEHAVIOUR, CONTENT, TINY, example, row


@pytest.mark.parametrize("schedule", ["alternate", "joint"])
def test_training_lowers_both_losses(processor: Any, schedule: str) -> None:
    trainer = make_trainer(processor, steps=40, schedule=schedule, lr=1e-2)
    before = trainer.evaluate(ROWS)
    for _ in range(40):
        trainer.step([ROWS])
    after = trainer.evaluate(ROWS)
    assert after["nll"] < before["nll"] / 3
    assert after["mse"] < before["mse"] / 3


def test_alternate_trains_the_drawn_task(processor: Any) -> None:
    trainer = make_trainer(processor)
    drawn = [draw_task(TINY.tasks, step, 0, 50.0) for step in range(6)]
    assert {task.head for task in drawn} == {"caption", "likes"}
    for task in drawn:
        assert list(trainer.step([ROWS])) == ["nll" if task.head == "caption" else "mse"]


@pytest.mark.parametrize("setting", ["shared", "per_task"])
def test_joint_gives_both_losses_of_one_batch(processor: Any, setting: str) -> None:
    trainer = make_trainer(processor, setting=setting, schedule="joint")
    for module in trainer.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    expected = trainer.evaluate(ROWS)
    assert trainer.step([ROWS]) == pytest.approx(expected, rel=1e-5)


def qformer_texts(trainer: Trainer, processor: Any) -> list[str]:
    """What the Q-Former reads in a step on one post, once for each time that media are encoded."""
    texts = []
    encode_media = trainer.model.encode_media

    def recording(**media: Any) -> Any:
        texts.append(processor.qformer_tokenizer.decode(media["qformer_input_ids"][0]))
        return encode_media(**media)

    trainer.model.encode_media = recording  # type: ignore[method-assign]
    trainer.step([[row(example(0, caption="night", likes=777))]])
    return texts


@pytest.mark.parametrize(("setting", "views"), [("shared", 1), ("per_task", 2)])
def test_joint_encodes_media_once_if_the_qformer_reads_one_text(processor: Any, setting: str, views: int) -> None:
    texts = qformer_texts(make_trainer(processor, setting=setting, schedule="joint"), processor)
    assert len(texts) == views
    assert "night" not in texts[0] and "7" not in texts[-1].split("time")[-1].replace("00 : 07 : 00", "")


def test_a_weight_of_zero_leaves_a_loss_out_of_joint(processor: Any) -> None:
    trainer = make_trainer(processor, schedule="joint", mse_weight=0.0, weight_decay=0.0)
    before = [p.detach().clone() for p in trainer.model.likes_head.parameters()]
    trainer.step([ROWS])
    assert all((p == b).all() for p, b in zip(trainer.model.likes_head.parameters(), before, strict=True))


def test_the_loss_of_a_head_is_the_mean_over_its_tasks(processor: Any) -> None:
    trainer = make_trainer(processor)
    who = CONTENT.model_copy(update={"name": "who", "masked": "username", "template": "By: [MASK]"})
    losses = []
    for tasks in ((CONTENT,), (who,), (CONTENT, who, BEHAVIOUR)):
        trainer.tasks = tasks
        losses.append(trainer.evaluate(ROWS))
    assert losses[2]["nll"] == pytest.approx((losses[0]["nll"] + losses[1]["nll"]) / 2)
    assert trainer.evaluate([]) == {}


def test_the_alignment_stage_learns_words_and_tasks_and_then_ends(processor: Any) -> None:
    trainer = make_trainer(processor, alignment_steps=6, lr=1e-2)
    losses = [trainer.step([ROWS]) for _ in range(8)]
    assert [list(step) == ["words", "nll", "mse"] for step in losses] == [True] * 6 + [False] * 2
    assert losses[5]["words"] < losses[0]["words"]
    assert losses[5]["mse"] < losses[0]["mse"]


def test_the_alignment_stage_can_learn_words_alone(processor: Any) -> None:
    trainer = make_trainer(processor, alignment_steps=6, lr=1e-2, alignment_tasks=False)
    losses = [trainer.step([ROWS]) for _ in range(6)]
    assert [list(step) for step in losses] == [["words"]] * 6 and losses[5]["words"] < losses[0]["words"]


def test_the_alignment_stage_can_take_posts_without_media(processor: Any) -> None:
    without_media = [[row(example(0, frames=0))]]
    assert make_trainer(processor, alignment_steps=1, alignment_tasks=False).step(without_media) == {}
    losses = make_trainer(processor, alignment_steps=1).step(without_media)
    assert list(losses) == ["nll", "mse"] and np.isfinite(list(losses.values())).all()


def test_the_alignment_stage_shows_no_task_what_another_one_masks(processor: Any) -> None:
    (text,) = qformer_texts(make_trainer(processor, alignment_steps=1, setting="per_task"), processor)
    assert "night" not in text and "777" not in text


def test_frozen_parameters_do_not_change(processor: Any) -> None:
    model, like = build_model(TINY.model, processor, seed=0), make_trainer(processor)
    model.vision_model.requires_grad_(False)
    trainer = Trainer(
        model,
        like.batch_builder.collator,
        TINY.tasks,
        TINY.train,
        like.sampler,
        alignment_steps=0,
        steps=4,
        word_weights=torch.ones(len(processor.tokenizer)),
    )
    before = [p.detach().clone() for p in model.vision_model.parameters()]
    for _ in range(3):
        trainer.step([ROWS])
    assert all((p == b).all() for p, b in zip(model.vision_model.parameters(), before, strict=True))


def test_the_size_of_microbatches_does_not_change_a_step(processor: Any) -> None:
    rows = [row(example(number, frames=number % 3)) for number in range(6)]
    results = []
    for size in (6, 3, 2):
        trainer = make_trainer(processor, schedule="joint", frames=1, augment=True)
        trainer.model.likes_head[3].p = 0.0  # dropout is drawn for each microbatch
        trainer.sampler = ResumableSampler(30, 0, size, 6 // size)
        losses = trainer.step([rows[start : start + size] for start in range(0, 6, size)])
        results.append({**losses, "norm": trainer.grad_norm})
    assert results[1] == pytest.approx(results[0], rel=1e-4) and results[2] == pytest.approx(results[0], rel=1e-4)


def test_a_step_without_a_finite_gradient_is_skipped_and_counted(processor: Any) -> None:
    trainer = make_trainer(processor, schedule="joint")
    bias = trainer.model.likes_head[-1].bias
    original = bias.detach().clone()
    bias.data.fill_(float("nan"))
    before = {name: p.detach().clone() for name, p in trainer.trainable.items()}
    trainer.step([ROWS])
    assert trainer.skipped_steps == 1 and trainer.steps_done == 1
    assert all((p == before[name]).all() for name, p in trainer.trainable.items() if p is not bias)
    bias.data.copy_(original)
    trainer.step([ROWS])
    assert trainer.skipped_steps == 1 and np.isfinite(trainer.grad_norm)


def test_activation_checkpointing_does_not_change_the_weights(processor: Any) -> None:
    results = []
    for checkpointing in (False, True):
        trainer = make_trainer(processor, schedule="joint", activation_checkpointing=checkpointing)
        for _ in range(2):
            trainer.step([ROWS])
        results.append(trainer.trainable)
    assert all((results[1][name] == parameter).all() for name, parameter in results[0].items())
