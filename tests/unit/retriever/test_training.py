"""Training: it learns, it repeats, and two ranks learn what one would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from m3l.retriever import training
from m3l.retriever.clip import Retriever
from m3l.retriever.dataset import Shelf
from m3l.retriever.training import Run, steps_of, top, train
from tests.support.pictures import CONFIG, TINY, samples

ROOT = Path(__file__).parents[3]


def trained(**changes):
    retriever, told = Retriever.build(TINY, seed=0), []
    rows = samples(retriever, 6)
    config = CONFIG.retriever.model_copy(update=changes)
    made = train(retriever, config, Run(Shelf(lambda: iter(rows)), seed=0, report=told.append))
    return made, told, steps_of(config, len(rows))


@pytest.fixture(scope="module")
def once():
    return trained()


def test_a_run_repeats_exactly(once):
    made, told, steps = once
    again, told_again, _ = trained()
    assert len(told) == steps == 4 and told == told_again
    for name, value in made.student.state_dict().items():
        assert torch.equal(value, again.student.state_dict()[name])


def test_a_rank_of_two_takes_as_many_steps_with_half_the_posts(monkeypatch, once):
    monkeypatch.setattr(training, "world", lambda: 2)
    rows, told = samples(Retriever.build(TINY, seed=0), 3), []
    train(Retriever.build(TINY, seed=0), CONFIG.retriever, Run(Shelf(lambda: iter(rows)), seed=0, report=told.append))
    assert len(told) == len(once[1]) == 4


def test_the_student_leaves_the_frozen_teacher_behind(once):
    made, *_ = once
    texts = ["a red fox runs"]
    assert not torch.equal(made.student.encode_text(texts), made.teacher.encode_text(texts))
    assert not any(parameter.requires_grad for parameter in made.teacher.parameters())


def test_without_teacher_epochs_the_given_clip_is_the_teacher():
    made, *_ = trained(teacher_epochs=0)
    given = Retriever.build(TINY, seed=0).state_dict()
    assert all(torch.equal(value, given[name]) for name, value in made.teacher.state_dict().items())


@pytest.mark.parametrize("trainable", ["all", "layers", "projections", "lora"])
def test_only_what_is_trainable_moves(trainable):
    made, *_ = trained(teacher_epochs=0, trainable=trainable)
    given = Retriever.build(TINY, seed=0).state_dict()
    moved = {name for name, value in made.student.state_dict().items() if not torch.equal(value, given[name])}
    assert ("clip.token_embedding.weight" in moved) is (trainable == "all")
    assert ("clip.positional_embedding" in moved) is (trainable in {"all", "layers"})
    assert ("clip.text_projection" in moved) is (trainable != "lora")
    assert "bias" in moved


def test_a_few_posts_are_learned_by_heart():
    _, told, _ = trained(teacher_epochs=80, epochs=12, batch_size=6)
    teacher = [losses["teacher_loss"] for losses in told if "teacher_loss" in losses]
    student = [losses["student_dfr"] for losses in told if "student_dfr" in losses]
    assert teacher[-1] < 0.7 * teacher[0]
    assert student[-1] < 0.7 * student[0]


def test_of_few_frames_half_are_positives_so_that_negatives_exist():
    assert top(torch.arange(20.0), 10).tolist() == [False] * 10 + [True] * 10
    assert top(torch.arange(11.0), 10).sum() == 5
    assert top(torch.tensor([1.0, 2.0, 0.0]), 10).tolist() == [False, True, False]
    assert top(torch.tensor([1.0]), 10).tolist() == [True]


def test_a_shelf_that_is_too_small_streams_again():
    retriever, passes = Retriever.build(TINY, seed=0), []
    rows = samples(retriever, 5)

    def stream():
        passes.append(1)
        return iter(rows)

    import numpy as np

    small = Shelf(stream, limit_bytes=20_000)
    for _ in range(2):
        assert [len(batch) for batch in small.batches(2, np.random.default_rng(0))] == [2, 2, 1]
    assert small.rows == 5 and len(passes) == 3


def test_two_ranks_have_the_losses_and_gradients_of_one_on_the_joint_batch(tmp_path):
    script, environment = Path(__file__).with_name("ranks.py"), {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, script, tmp_path], env=environment, capture_output=True, timeout=600)
    assert ended.returncode == 0, ended.stderr.decode()[-2000:]
    one, *two = (torch.load(tmp_path / f"{name}.pt") for name in ("0of1", "0of2", "1of2"))
    for name in ("contrast", "retrieval"):
        shares = torch.stack([rank[name]["loss"] for rank in two])
        assert torch.allclose(shares.mean(), one[name]["loss"], atol=1e-5)
        for parameter, gradient in one[name]["gradients"].items():
            assert torch.allclose(two[0][name]["gradients"][parameter], gradient, atol=1e-5), parameter
            assert torch.equal(two[0][name]["gradients"][parameter], two[1][name]["gradients"][parameter])
