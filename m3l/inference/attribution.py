"""Leave-one-out attribution: how the predicted likes change without a frame, all media, or a field of the post."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from m3l.config import TaskConfig
from m3l.data.records import Effect, Example, Post
from m3l.inference.simulator import Simulator
from m3l.prompts.render import OPTIONAL_FIELDS, anonymised, times_over_week, without_fields


class Variant(NamedTuple):
    """An example without one part. A left-out `frame` is masked in the model, so that all variants share features."""

    part: str
    example: Example
    frame: int | None = None


@torch.inference_mode()
def leave_one_out(simulator: Simulator, example: Example) -> list[Effect]:
    """The effect of each part on the predicted log(1 + likes) of one example, computed in one batch.

    Without its `username` a post does not mention the account in its caption either. A post always has a time, so the
    effect of `posted_at` is the difference to the mean over times spread evenly over a week.

    Args:
        simulator: Predicts the likes.
        example: The post and its frames.

    Returns:
        One effect per frame (if there are several), for all media together, and per field that the prompt shows.
    """
    variants = [Variant("", example), *_variants(example, simulator.task("likes").template)]
    predictions: dict[tuple[str, int | None], list[float]] = defaultdict(list)
    for variant, value in zip(variants, _predict_log1p(simulator, variants).tolist(), strict=True):
        predictions[variant.part, variant.frame].append(value)
    complete = predictions.pop(("", None))[0]
    effects = []
    for (part, frame), values in predictions.items():
        where = {} if frame is None else example.context.frames[frame].model_dump(include={"media_id", "time_s"})
        effects.append(Effect(part=part, effect=complete - float(np.mean(values)), **where))
    return effects


def _variants(example: Example, template: str) -> list[Variant]:
    """The example without each frame, without all media, and without each field that the template shows."""
    post, frames = example.post, example.context.frames
    variants = [Variant("frame", example, index) for index in range(len(frames)) if len(frames) > 1]
    if frames:
        variants.append(Variant("media", example.without_frames()))
    shown = set(re.findall(r"\{(\w+)\}", template))
    posts = {name: [_without_field(post, name)] for name in OPTIONAL_FIELDS if name in shown and getattr(post, name)}
    if shown & {"date", "time"}:
        posts["posted_at"] = times_over_week(post)
    return variants + [
        Variant(part, example.model_copy(update={"post": other})) for part, others in posts.items() for other in others
    ]


def _without_field(post: Post, name: str) -> Post:
    return anonymised(post) if name == "username" else without_fields(post, [name])


def _predict_log1p(simulator: Simulator, variants: Sequence[Variant]) -> Float[np.ndarray, " variant"]:
    """Predicted log(1 + likes) of variants of one example, whose frames are encoded only once."""
    examples = simulator.hide_new_accounts([variant.example for variant in variants])
    with_frames = [i for i, example in enumerate(examples) if example.context.frames]
    if not with_frames:
        return simulator.predict_log1p(examples)
    left_out = [variants[i].frame for i in with_frames]
    visual = _encode_media(simulator, [examples[i] for i in with_frames], left_out, simulator.task("likes"))
    return simulator.predict_log1p(examples, visual)


def _encode_media(
    simulator: Simulator, examples: Sequence[Example], left_out: Sequence[int | None], task: TaskConfig
) -> Float[Tensor, "media query hidden"]:
    """Visual features of examples with the same frames, each without the frame `left_out` if that is not None.

    The ViT encodes each frame once, and the Q-Former reads it once for each different text.
    """
    model, collator = simulator.model, simulator.collator
    texts = [collator.qformer_text(example, task) for example in examples]
    by_text = dict(zip(texts, examples, strict=True))
    num_frames = len(examples[0].context.frames)

    def vision_features(images: Sequence[bytes]) -> Tensor:
        pixels = collator.pixels(images[:num_frames]).to(simulator.device)
        return model.vision_features(pixels).repeat(len(by_text), 1, 1)

    media = simulator.to_device(collator.media(list(by_text.values()), task, vision_features=vision_features))
    mask, seconds = media.pop("frame_mask"), media.pop("frame_seconds")
    features = model.qformer_features(frame_mask=mask, **media)
    row_of_text = torch.tensor([list(by_text).index(text) for text in texts], device=simulator.device)
    masks = mask[row_of_text]
    for row, frame in enumerate(left_out):
        if frame is not None:
            masks[row, frame] = False
    return model.fuse_frames(features[row_of_text], masks, seconds[row_of_text])
