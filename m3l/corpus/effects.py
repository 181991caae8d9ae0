"""The true effect of each field on the likes, by the corpus's own formula: the reference for attributions."""

from typing import Any

import numpy as np

from m3l.corpus.captions import VOICES
from m3l.corpus.likes import hour_part, weekday_part
from m3l.corpus.storyboard import HOOK_S
from m3l.corpus.world import World
from m3l.data.records import Effect, Example
from m3l.prompts.render import times_over_week


class Formula:
    """The true effect of each part of a post on log(1 + likes), by the formula of its world.

    A part that is left out is replaced by its average. Scene and opening of a video show in the media alone, subjects
    in the caption, too.

    Args:
        world: The world that the posts were drawn from.
    """

    def __init__(self, world: World):
        self.subjects = list(world.subjects)
        self.accounts = {account.username: account for account in world.accounts}
        self.average = float(np.mean([account.effect for account in world.accounts[: world.config.accounts]]))

    def effect(self, effect: Effect, example: Example, truth: dict[str, Any], cold: bool) -> float:
        """The true effect of one part of a post.

        Args:
            effect: The part: a field, all media, or one frame.
            example: The post and the frames that the model read.
            truth: The post's row of TRUTH.
            cold: Whether the account is new to the model; its size then has no effect.
        """
        parts = truth["parts"]
        match effect.part:
            case "username":
                return 0.0 if cold else parts["account"] - self.average
            case "posted_at":
                times = [post.posted_at for post in times_over_week(example.post)]
                others = [hour_part(at) + weekday_part(at) for at in times if at]
                return parts["hour"] + parts["weekday"] - float(np.mean(others))
            case "caption":
                voice = VOICES[self.accounts[example.post.username].voice]
                return parts["wording"] - float(np.mean([template.effect for template in voice]))
            case "media":
                return parts["scene"] + parts["hook"]
            case "frame":  # without its only early frame with a subject, a video has no hook
                early = [frame.time_s for frame in example.context.frames if frame.time_s < HOOK_S]
                return 2 * parts["hook"] if parts["hook"] > 0 and early == [effect.time_s] else 0.0
        return 0.0
