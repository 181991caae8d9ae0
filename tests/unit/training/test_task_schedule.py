"""What changes from step to step: the task, by Algorithm 1's THRESHOLD, and the learning rate."""

import pytest

from m3l.config import Config
from m3l.training.task_schedule import draw_task, lr_factor

TASKS = Config().tasks


def drawn(cut: float, steps: int = 2000, seed: int = 0, tasks=TASKS) -> list[str]:
    return [draw_task(tasks, step, seed, cut).name for step in range(steps)]


@pytest.mark.parametrize("cut", [0.0, 35.0, 50.0, 100.0])
def test_the_share_of_caption_steps_follows_the_cut(cut: float) -> None:
    share = drawn(cut).count("content") / 2000
    assert share == pytest.approx(1 - cut / 100, abs=0.04 if 0 < cut < 100 else 0)


def test_the_draw_depends_on_seed_and_step_alone() -> None:
    assert drawn(50.0, 100) == drawn(50.0, 100)
    assert drawn(50.0, 100) != drawn(50.0, 100, seed=1)
    assert drawn(50.0, 100)[40:] == [draw_task(TASKS, step, 0, 50.0).name for step in range(40, 100)]


def test_tasks_with_the_same_head_share_its_steps() -> None:
    who = TASKS[0].model_copy(update={"name": "who"})
    names = drawn(50.0, tasks=(*TASKS, who))
    for name, share in {"content": 0.25, "who": 0.25, "behaviour": 0.5}.items():
        assert names.count(name) / 2000 == pytest.approx(share, abs=0.04)


def test_the_only_head_is_always_drawn() -> None:
    assert set(drawn(100.0, 20, tasks=TASKS[:1])) == {"content"}


def test_the_learning_rate_rises_and_falls() -> None:
    factors = [lr_factor(step, 0, 100, 0.1) for step in range(100)]
    assert factors[:10] == sorted(factors[:10]) and factors[0] > 0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert 0.9 < max(factors) <= 1 and factors[-1] == pytest.approx(0.02, abs=0.01)


def test_the_learning_rate_stays_at_its_peak_until_the_alignment_stage_ends() -> None:
    factors = [lr_factor(step, 40, 100, 0.1) for step in range(100)]
    assert factors[9:40] == [1.0] * 31 and factors[40] == pytest.approx(1.0)
