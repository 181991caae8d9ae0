"""An effect equals the difference between predictions with and without the part; the formula gives the true one."""

from typing import Any

import numpy as np
import pytest

from m3l.config import CorpusConfig, override
from m3l.corpus.effects import Formula
from m3l.corpus.world import World
from m3l.data.records import Effect, Example
from m3l.inference.attribution import leave_one_out
from m3l.inference.bundle import Bundle
from m3l.inference.conformal import Intervals
from m3l.inference.simulator import Simulator
from m3l.prompts.collator import LikesScale
from m3l.prompts.render import anonymised, times_over_week, without_fields
from tests.support.posts import TINY, example


@pytest.fixture(params=["", "Username is {username}."])
def simulator(model: Any, processor: Any, request: pytest.FixtureRequest) -> Simulator:
    """One whose Q-Former reads no text, and one whose Q-Former reads the username."""
    template = "{{" + request.param + "}}" if request.param else ""
    config = override(TINY, {"model.qformer_template": template})
    bundle = Bundle(config, model, processor, LikesScale(5.0, 1.5), None, Intervals(), frozenset({"maker"}))
    return Simulator(bundle)


def parts(effects: list[Effect]) -> list[str]:
    return [effect.part for effect in effects]


def post(frames: int, **fields: Any) -> Example:
    return example(0, frames, caption="a red fox runs #maker", **fields)


def test_an_effect_is_the_difference_to_the_prediction_without_the_part(simulator: Simulator) -> None:
    explained = post(3)
    effects = {e.part: e.effect for e in leave_one_out(simulator, explained) if e.part != "frame"}

    def predict(*posts: Any, frames: Any = explained.context.frames) -> float:
        context = explained.context.model_copy(update={"frames": frames})
        return float(np.mean(simulator.predict_log1p([Example(post=p, context=context) for p in posts])))

    complete, same = predict(explained.post), explained.post
    expected = {
        "media": complete - predict(same, frames=()),
        "caption": complete - predict(without_fields(same, ["caption"])),
        "username": complete - predict(anonymised(same)),
        "posted_at": complete - predict(*times_over_week(same)),
    }
    assert effects == pytest.approx(expected, abs=1e-4)


def test_frames_are_left_out_one_by_one(simulator: Simulator) -> None:
    explained = post(3)
    effects = [effect for effect in leave_one_out(simulator, explained) if effect.part == "frame"]
    assert [effect.time_s for effect in effects] == [frame.time_s for frame in explained.context.frames]
    complete = simulator.predict_log1p([explained])[0]
    for index, effect in enumerate(effects):
        others = tuple(frame for i, frame in enumerate(explained.context.frames) if i != index)
        rest = explained.model_copy(update={"context": explained.context.model_copy(update={"frames": others})})
        assert effect.effect == pytest.approx(complete - simulator.predict_log1p([rest])[0], abs=1e-4)


def test_a_part_that_the_post_lacks_has_no_effect(simulator: Simulator) -> None:
    assert parts(leave_one_out(simulator, post(1))) == ["media", "username", "caption", "posted_at"]
    assert parts(leave_one_out(simulator, example(0, 0, caption=None))) == ["username", "posted_at"]


def test_an_anonymised_post_does_not_mention_its_account() -> None:
    anonymous = anonymised(post(0, company="maker inc").post)
    assert (anonymous.username, anonymous.company, anonymous.caption) == ("", None, "a red fox runs ")
    assert anonymised(example(0, caption="makers make").post).caption == "makers make"


def test_times_are_spread_evenly_over_the_week() -> None:
    times = [other.posted_at for other in times_over_week(post(0).post)]
    assert sorted({time.hour for time in times}) == list(range(0, 24, 3))
    assert {time.weekday() for time in times} == set(range(7))


def test_the_formula_gives_the_true_effect_of_a_part() -> None:
    world = World.build(CorpusConfig(posts=200), seed=0)
    formula = Formula(world)
    story = next(s for s in map(world.story, range(200)) if s.parts.hook > 0 and s.split == "train")
    truth = {"parts": vars(story.parts)}
    explained = example(0, 4, username=story.account.username, posted_at=story.posted_at, caption=story.caption)

    def effect(part: str, time_s: float | None = None, cold: bool = False) -> float:
        return formula.effect(Effect(part=part, effect=0, time_s=time_s), explained, truth, cold)

    accounts = world.accounts[: world.config.accounts]
    assert effect("username") == pytest.approx(story.account.effect - np.mean([a.effect for a in accounts]))
    assert effect("username", cold=True) == 0
    assert effect("media") == pytest.approx(story.parts.scene + story.parts.hook)
    assert effect("frame", 0.0) == 0  # another frame, at half a second, shows the start of the video, too
    late = explained.context.frames[0], *(f.model_copy(update={"time_s": 3.0}) for f in explained.context.frames[1:])
    explained = explained.model_copy(update={"context": explained.context.model_copy(update={"frames": late})})
    assert effect("frame", 0.0) == 2 * story.parts.hook
    assert effect("frame", 3.0) == 0
    assert abs(effect("posted_at")) < 0.5 and abs(effect("caption")) <= 0.1 + 1e-9
