"""Leaving a part out: what is told of it equals asking without it, and the formula says what is right."""

from typing import Any

import numpy as np
import pytest

from m3l.config import CorpusConfig, override
from m3l.corpus.effects import Formula
from m3l.corpus.world import World
from m3l.data.records import Effect, Example
from m3l.inference.attribution import why
from m3l.inference.bundle import Bundle
from m3l.inference.conformal import Intervals
from m3l.inference.simulator import Simulator
from m3l.prompts.collator import LikesScale
from m3l.prompts.render import nameless, week, without
from tests.support.posts import TINY, example


@pytest.fixture(params=["", "Username is {username}."])
def simulator(model: Any, processor: Any, request: pytest.FixtureRequest) -> Simulator:
    """With a Q-Former that reads nothing beside the frames, and with one that reads whose they are."""
    template = "{{" + request.param + "}}" if request.param else ""
    config = override(TINY, {"model.qformer_template": template})
    made = Bundle(config, model, processor, LikesScale(5.0, 1.5), None, Intervals(), frozenset({"maker"}))
    return Simulator(made)


def parts(effects: list[Effect]) -> list[str]:
    return [effect.part for effect in effects]


def post(frames: int, **known: Any) -> Example:
    return example(0, frames, caption="a red fox runs #maker", **known)


def test_an_effect_is_the_difference_to_asking_without_the_part(simulator: Simulator) -> None:
    asked = post(3)
    told = {e.part: e.effect for e in why(simulator, asked) if e.part != "frame"}

    def without_it(*others: Any, frames: Any = asked.context.frames) -> float:
        context = asked.context.model_copy(update={"frames": frames})
        return float(np.mean(simulator.log1p([Example(post=p, context=context) for p in others])))

    whole, same = without_it(asked.post), asked.post
    expected = {
        "media": whole - without_it(same, frames=()),
        "caption": whole - without_it(without(same, ["caption"])),
        "username": whole - without_it(nameless(same)),
        "posted_at": whole - without_it(*week(same)),
    }
    assert told == pytest.approx(expected, abs=1e-4)


def test_frames_are_left_out_one_by_one(simulator: Simulator) -> None:
    asked = post(3)
    frames = [effect for effect in why(simulator, asked) if effect.part == "frame"]
    assert [effect.time_s for effect in frames] == [frame.time_s for frame in asked.context.frames]
    whole = simulator.log1p([asked])[0]
    for at, effect in enumerate(frames):
        kept = tuple(frame for i, frame in enumerate(asked.context.frames) if i != at)
        rest = asked.model_copy(update={"context": asked.context.model_copy(update={"frames": kept})})
        assert effect.effect == pytest.approx(whole - simulator.log1p([rest])[0], abs=1e-4)


def test_what_a_post_lacks_has_no_effect(simulator: Simulator) -> None:
    assert parts(why(simulator, post(1))) == ["media", "username", "caption", "posted_at"]
    assert parts(why(simulator, example(0, 0, caption=None))) == ["username", "posted_at"]


def test_a_post_without_its_name_does_not_say_it() -> None:
    told = nameless(post(0, company="maker inc").post)
    assert (told.username, told.company, told.caption) == ("", None, "a red fox runs ")
    assert nameless(example(0, caption="makers make").post).caption == "makers make"


def test_the_week_is_spread_evenly() -> None:
    times = [other.posted_at for other in week(post(0).post)]
    assert sorted({time.hour for time in times}) == list(range(0, 24, 3))
    assert {time.weekday() for time in times} == set(range(7))


def test_the_formula_says_what_a_part_is_worth() -> None:
    world = World.build(CorpusConfig(posts=200), seed=0)
    formula = Formula(world)
    story = next(s for s in map(world.story, range(200)) if s.parts.hook > 0 and s.split == "train")
    truth = {"parts": vars(story.parts)}
    asked = example(0, 4, username=story.account.username, posted_at=story.posted_at, caption=story.caption)

    def effect(part: str, time_s: float | None = None, cold: bool = False) -> float:
        return formula.effect(Effect(part=part, effect=0, time_s=time_s), asked, truth, cold)

    known = world.accounts[: world.config.accounts]
    assert effect("username") == pytest.approx(story.account.effect - np.mean([a.effect for a in known]))
    assert effect("username", cold=True) == 0
    assert effect("media") == pytest.approx(story.parts.scene + story.parts.hook)
    assert effect("frame", 0.0) == 0  # another frame, at half a second, tells how the video begins, too
    late = asked.context.frames[0], *(f.model_copy(update={"time_s": 3.0}) for f in asked.context.frames[1:])
    asked = asked.model_copy(update={"context": asked.context.model_copy(update={"frames": late})})
    assert effect("frame", 0.0) == 2 * story.parts.hook
    assert effect("frame", 3.0) == 0
    assert abs(effect("posted_at")) < 0.5 and abs(effect("caption")) <= 0.1 + 1e-9
