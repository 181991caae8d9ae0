"""Training batches: equal arguments give equal tensors."""

from typing import Any

import torch

from tests.support.models import make_trainer
from tests.support.posts import example, row


def test_the_tensors_of_a_row_depend_on_its_position_alone(processor: Any) -> None:
    settings = {"augment": True, "media_dropout": 0.3, "field_dropout": 0.3, "schedule": "joint"}
    rows = [row(example(number, frames=9)) for number in range(4)]
    builder = make_trainer(processor, **settings).batch_builder
    whole = builder.task_batch(rows, 40, 5).views[0]["pixel_values"]
    parts = [builder.task_batch(rows[:2], 40, 5), builder.task_batch(rows[2:], 42, 5)]
    joined = torch.cat([part.views[0]["pixel_values"] for part in parts if not part.blank[0]])
    assert (whole == joined).all()
    assert not (whole == builder.task_batch(rows, 44, 6).views[0]["pixel_values"]).all()
    plain = make_trainer(processor).batch_builder
    assert (plain.task_batch(rows[:1], 7, 0).views[0]["pixel_values"] != whole[:1]).any()
