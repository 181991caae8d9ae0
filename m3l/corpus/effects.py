"""The true effect of each field on the likes, by the corpus's own formula: the reference for attributions."""

from typing import Any

import numpy as np

from m3l.corpus.captions import VOICES
from m3l.corpus.likes import hour_part, weekday_part
from m3l.corpus.storyboard import HOOK_S
from m3l.corpus.world import World
from m3l.data.records import Effect, Example
from m3l.prompts.render import week


class Formula:
    """The formula of a world, as one who knows it would use it on what is left of a post.

    Whatever is not told any more counts as it does on average. The scene, and how a video begins, are told by the
    media alone; the subjects by the caption, too.
    """

    def __init__(self, world: World):
        self.subjects = list(world.subjects)
        self.accounts = {account.username: account for account in world.accounts}
        self.average = float(np.mean([account.effect for account in world.accounts[: world.config.accounts]]))

    def effect(self, told: Effect, example: Example, truth: dict[str, Any], cold: bool) -> float:
        """The effect on log(1 + likes) of a part that is left out; the size of a `cold` account is known to nobody."""
        parts = truth["parts"]
        match told.part:
            case "username":
                return 0.0 if cold else parts["account"] - self.average
            case "posted_at":
                times = [post.posted_at for post in week(example.post)]
                others = [hour_part(at) + weekday_part(at) for at in times if at]
                return parts["hour"] + parts["weekday"] - float(np.mean(others))
            case "caption":
                voice = VOICES[self.accounts[example.post.username].voice]
                return parts["wording"] - float(np.mean([template.effect for template in voice]))
            case "media":
                return parts["scene"] + parts["hook"]
            case "frame":  # without the only one that shows a subject early, a video no longer hooks
                early = [frame.time_s for frame in example.context.frames if frame.time_s < HOOK_S]
                return 2 * parts["hook"] if parts["hook"] > 0 and early == [told.time_s] else 0.0
        return 0.0
