"""Random changes of training examples: which frames and fields stay, and how pixels move."""

import pytest
import torch

from m3l.training.augment import augment_frames, drop_fields, subsample_frames
from tests.support.posts import BEHAVIOUR, CONTENT, example


def test_frames_are_drawn_in_their_order_and_the_first_one_stays() -> None:
    post = example(0, frames=9)
    drawn = subsample_frames([post] * 20, 3, 0.0, range(20))
    times = [[frame.time_s for frame in each.context.frames] for each in drawn]
    assert all(len(each) == 3 and each == sorted(each) for each in times)
    assert len({tuple(each) for each in times}) > 5
    assert {each[0] for each in times} == {post.context.frames[0].time_s}


def test_media_are_dropped_in_their_share_of_the_examples() -> None:
    drawn = subsample_frames([example(0, frames=9)] * 400, 3, 0.25, range(400))
    assert sum(not each.context.frames for each in drawn) / 400 == pytest.approx(0.25, abs=0.08)


def test_an_example_with_few_frames_does_not_change() -> None:
    post = example(0, frames=9)
    assert subsample_frames([post], 9, 0.0, [0]) == [post]


@pytest.mark.parametrize(
    ("task", "optional"), [(CONTENT, "likes"), (BEHAVIOUR, "caption")], ids=["content", "behaviour"]
)
def test_fields_are_dropped_from_prompts_but_never_the_masked_one(task, optional) -> None:
    examples = [example(number % 3) for number in range(200)]
    posts = [each.post for each in drop_fields(examples, task.masked, 0.5, range(200))]
    masked = [getattr(each.post, task.masked) for each in examples]
    assert [getattr(post, task.masked) for post in posts] == masked
    assert sum(getattr(post, optional) is None for post in posts) == pytest.approx(100, abs=25)
    assert sum(not post.username for post in posts) == pytest.approx(100, abs=25)


def test_every_task_of_a_row_drops_the_same_fields() -> None:
    examples = [example(number % 3) for number in range(200)]
    content, behaviour = (drop_fields(examples, task.masked, 0.5, range(200)) for task in (CONTENT, BEHAVIOUR))
    assert [each.post.username for each in content] == [each.post.username for each in behaviour]
    assert drop_fields(examples, CONTENT.masked, 0.0, range(200)) == examples


def test_augmentation_moves_a_frame_and_keeps_its_content() -> None:
    frames, lots = torch.zeros(64, 3, 56, 56), torch.rand(64, 4, generator=torch.Generator().manual_seed(0))
    frames[:, :, 24:32, 24:32] = 1.0
    moved = augment_frames(frames, lots)
    areas = moved[:, 0].sum((1, 2)) / 64
    assert 0.85**2 - 0.05 < areas.min() < 0.9 and 1.2 < areas.max() < 1.2**2 + 0.05
    rows = (moved[:, 0].sum(2) * torch.arange(56)).sum(1) / moved[:, 0].sum((1, 2)) - 27.5
    assert 0.08 * 56 < rows.abs().max() < 0.2 * 56
