"""THRESHOLD: which task a step trains."""

import pytest

from m3l.config import Config
from m3l.training.task_schedule import draw_task

TASKS = Config().tasks


def drawn(cut: float, steps: int = 2000, seed: int = 0, tasks=TASKS) -> list[str]:
    return [draw_task(tasks, step, seed, cut).name for step in range(steps)]


@pytest.mark.parametrize("cut", [0.0, 35.0, 50.0, 100.0])
def test_the_captions_share_follows_the_cut(cut: float) -> None:
    share = drawn(cut).count("content") / 2000
    assert share == pytest.approx(1 - cut / 100, abs=0.04 if 0 < cut < 100 else 0)


def test_the_draw_is_of_seed_and_step_alone() -> None:
    assert drawn(50.0, 100) == drawn(50.0, 100)
    assert drawn(50.0, 100) != drawn(50.0, 100, seed=1)
    assert drawn(50.0, 100)[40:] == [draw_task(TASKS, step, 0, 50.0).name for step in range(40, 100)]


def test_tasks_of_one_head_share_its_draws() -> None:
    who = TASKS[0].model_copy(update={"name": "who"})
    names = drawn(50.0, tasks=(*TASKS, who))
    for name, share in {"content": 0.25, "who": 0.25, "behaviour": 0.5}.items():
        assert names.count(name) / 2000 == pytest.approx(share, abs=0.04)


def test_a_lone_head_is_always_drawn() -> None:
    assert set(drawn(100.0, 20, tasks=TASKS[:1])) == {"content"}
