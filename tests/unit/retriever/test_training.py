"""Training the retriever: losses fall, and the same seed gives the same weights."""

import numpy as np
import pytest
import torch

from m3l.retriever import training
from m3l.retriever.clip import Retriever
from m3l.retriever.dataset import SampleCache
from m3l.retriever.training import TrainContext, num_steps, top_k_mask, train
from tests.support.retrievers import CLIP, CONFIG, samples


def trained(**changes):
    """Train on six posts: the retrievers, the losses of each step, and the expected number of steps."""
    retriever, losses = Retriever.build(CLIP, seed=0), []
    rows = samples(retriever, 6)
    config = CONFIG.retriever.model_copy(update=changes)
    retrievers = train(retriever, config, TrainContext(SampleCache(lambda: iter(rows)), seed=0, report=losses.append))
    return retrievers, losses, num_steps(config, len(rows))


@pytest.fixture(scope="module")
def default_run():
    return trained()


def test_a_run_repeats_exactly(default_run):
    retrievers, losses, steps = default_run
    again, losses_again, _ = trained()
    assert len(losses) == steps == 4 and losses == losses_again
    for name, value in retrievers.student.state_dict().items():
        assert torch.equal(value, again.student.state_dict()[name])


def test_each_of_two_ranks_takes_as_many_steps_with_half_the_posts(monkeypatch, default_run):
    monkeypatch.setattr(training, "world_size", lambda: 2)
    rows, losses = samples(Retriever.build(CLIP, seed=0), 3), []
    train(
        Retriever.build(CLIP, seed=0),
        CONFIG.retriever,
        TrainContext(SampleCache(lambda: iter(rows)), seed=0, report=losses.append),
    )
    assert len(losses) == len(default_run[1]) == 4


def test_the_student_changes_and_the_teacher_is_frozen(default_run):
    retrievers, *_ = default_run
    texts = ["a red fox runs"]
    assert not torch.equal(retrievers.student.encode_text(texts), retrievers.teacher.encode_text(texts))
    assert not any(parameter.requires_grad for parameter in retrievers.teacher.parameters())


def test_without_teacher_epochs_the_initial_clip_is_the_teacher():
    retrievers, *_ = trained(teacher_epochs=0)
    initial = Retriever.build(CLIP, seed=0).state_dict()
    assert all(torch.equal(value, initial[name]) for name, value in retrievers.teacher.state_dict().items())


@pytest.mark.parametrize("trainable", ["all", "layers", "projections", "lora"])
def test_only_the_trainable_parameters_change(trainable):
    retrievers, *_ = trained(teacher_epochs=0, trainable=trainable)
    initial = Retriever.build(CLIP, seed=0).state_dict()
    changed = {name for name, value in retrievers.student.state_dict().items() if not torch.equal(value, initial[name])}
    assert ("clip.token_embedding.weight" in changed) is (trainable == "all")
    assert ("clip.positional_embedding" in changed) is (trainable in {"all", "layers"})
    assert ("clip.text_projection" in changed) is (trainable != "lora")
    assert "bias" in changed


def test_training_overfits_a_few_posts():
    _, reports, _ = trained(teacher_epochs=80, epochs=12, batch_size=6)
    teacher = [losses["teacher_loss"] for losses in reports if "teacher_loss" in losses]
    student = [losses["student_dfr"] for losses in reports if "student_dfr" in losses]
    assert teacher[-1] < 0.7 * teacher[0]
    assert student[-1] < 0.7 * student[0]


def test_of_few_frames_only_half_are_positives_so_that_negatives_exist():
    assert top_k_mask(torch.arange(20.0), 10).tolist() == [False] * 10 + [True] * 10
    assert top_k_mask(torch.arange(11.0), 10).sum() == 5
    assert top_k_mask(torch.tensor([1.0, 2.0, 0.0]), 10).tolist() == [False, True, False]
    assert top_k_mask(torch.tensor([1.0]), 10).tolist() == [True]


def test_a_cache_that_is_too_small_streams_again():
    retriever, passes = Retriever.build(CLIP, seed=0), []
    rows = samples(retriever, 5)

    def stream():
        passes.append(1)
        return iter(rows)

    cache = SampleCache(stream, limit_bytes=20_000)
    for _ in range(2):
        assert [len(batch) for batch in cache.batches(2, np.random.default_rng(0))] == [2, 2, 1]
    assert cache.rows == 5 and len(passes) == 3
