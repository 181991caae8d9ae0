"""Why so many likes: how the prediction changes when a frame, all media or a field of the post is left out."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from m3l.data.records import Effect, Example, Post
from m3l.inference.simulator import Simulator
from m3l.prompts.render import OPTIONAL, nameless, week, without


class Variant(NamedTuple):
    """An example that lacks a part; a `frame` is left out of what the model sees of the others."""

    part: str
    example: Example
    frame: int | None = None


@torch.inference_mode()
def why(simulator: Simulator, example: Example) -> list[Effect]:
    """The effect of each part on the likes told of one example, all of them in one batch.

    A post without its `username` is one that does not say it in its caption either. It always has a time, so that
    `posted_at` is put beside the mean over times of a whole week.
    """
    variants = [Variant("", example), *_lacking(example, simulator.task("likes").template)]
    log1p = _tell(simulator, variants)
    told: dict[tuple[str, int | None], list[float]] = defaultdict(list)
    for variant, value in zip(variants, log1p.tolist(), strict=True):
        told[variant.part, variant.frame].append(value)
    whole = told.pop(("", None))[0]
    effects = []
    for (part, frame), values in told.items():
        shown = {} if frame is None else example.context.frames[frame].model_dump(include={"media_id", "time_s"})
        effects.append(Effect(part=part, effect=whole - float(np.mean(values)), **shown))
    return effects


def _lacking(example: Example, template: str) -> list[Variant]:
    post, frames = example.post, example.context.frames
    made = [Variant("frame", example, at) for at in range(len(frames)) if len(frames) > 1]
    if frames:
        made.append(Variant("media", example.unseen()))
    shown = set(re.findall(r"\{(\w+)\}", template))
    lacking = {name: [_without(post, name)] for name in OPTIONAL if name in shown and getattr(post, name)}
    if shown & {"date", "time"}:
        lacking["posted_at"] = week(post)
    return made + [
        Variant(part, example.model_copy(update={"post": other}))
        for part, others in lacking.items()
        for other in others
    ]


def _without(post: Post, name: str) -> Post:
    return nameless(post) if name == "username" else without(post, [name])


def _tell(simulator: Simulator, variants: Sequence[Variant]) -> Float[np.ndarray, " variant"]:
    """log(1 + likes) told of variants of one example, whose frames the towers look at and read only once."""
    task, model = simulator.task("likes"), simulator.model
    examples = simulator.as_trained([variant.example for variant in variants])
    seen = [i for i, example in enumerate(examples) if example.context.frames]
    if not seen:
        return simulator.log1p(examples)
    texts = [simulator.collator.qformer_text(examples[i], task) for i in seen]
    readers = dict(zip(texts, (examples[i] for i in seen), strict=True))  # of each text one, all with the same frames
    many = len(examples[seen[0]].context.frames)

    def look(images: Sequence[bytes]) -> Tensor:
        pixels = simulator.collator.pixels(images[:many]).to(simulator.device)
        return model.look(pixels).repeat(len(readers), 1, 1)

    media = simulator.here(simulator.collator.media(list(readers.values()), task, look=look))
    mask, seconds = media.pop("frame_mask"), media.pop("frame_seconds")
    read = model.read_frames(frame_mask=mask, **media)
    of = torch.tensor([list(readers).index(text) for text in texts], device=simulator.device)
    kept = mask[of]
    for row, i in enumerate(seen):
        if (frame := variants[i].frame) is not None:
            kept[row, frame] = False
    return simulator.log1p(examples, model.fuse(read[of], kept, seconds[of]))
