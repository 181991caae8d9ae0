"""From examples to tensors: frames, the Q-Former's text, prompts and targets.

Tokens are padded here and not by the processor: the Q-Former needs its padding on the right and the language model on
the left, before the image tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from m3l.config import ModelConfig, TaskConfig
from m3l.data.records import ContextFrame, Example
from m3l.history.features import history_features
from m3l.prompts.render import metadata_prompt, prompt_pieces, target_text, task_neutral_text
from m3l.prompts.token_mask import TokenMask

IGNORE_INDEX = -100  # labels that no loss counts
STILL_S = 1.0  # how long an image of an album stays on the post's timeline
PROMPT_END_TOKENS = 16  # what is left of the end of a prompt that is too long


@dataclass(frozen=True)
class LikesScale:
    """Standardises likes, by the mean and standard deviation of log(1 + likes) over the training posts.

    Args:
        mean: Mean of log(1 + likes).
        std: Standard deviation of log(1 + likes).
    """

    mean: float = 0.0
    std: float = 1.0

    def standardise(self, likes: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """From likes to the scale of the likes head."""
        return (np.log1p(likes) - self.mean) / self.std

    def to_log1p(self, standardised: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """From the scale of the likes head to log(1 + likes)."""
        return standardised * self.std + self.mean


class Collator:
    """Builds the model's inputs and targets; rows keep the order of the examples.

    Args:
        processor: The processor of `build_processor`, with its two tokenizers and its image processor.
        config: The model's settings: the Q-Former's text and the limits on tokens.
        scale: The scale of the likes head.
    """

    def __init__(self, processor: Any, config: ModelConfig, scale: LikesScale):
        self.tokenizer, self.qformer_tokenizer = processor.tokenizer, processor.qformer_tokenizer
        self.image_processor = processor.image_processor
        self.image_token = self.tokenizer.convert_tokens_to_ids("<image>")
        self.query_tokens = processor.num_query_tokens
        self.config, self.scale = config, scale

    def media(
        self,
        examples: Sequence[Example],
        *tasks: TaskConfig,
        vision_features: Callable[[Sequence[bytes]], Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The arguments of `M3L.encode_media` for the examples that have frames.

        Args:
            examples: The examples, each with frames or without.
            tasks: The tasks that read the features; with several, the Q-Former's text suits all of them.
            vision_features: From encoded frames to the ViT's features, for example out of a cache. By default the
                frames' pixels are part of the result, and the model computes the features.

        Returns:
            The arguments by name; empty if no example has frames.
        """
        with_frames = [example for example in examples if example.context.frames]
        if not with_frames:
            return {}
        counts = [len(example.context.frames) for example in with_frames]
        mask = torch.arange(max(counts))[None] < torch.tensor(counts)[:, None]
        images = [frame.image for example in with_frames for frame in example.context.frames]
        seconds = torch.zeros(mask.shape)
        seconds[mask] = torch.tensor([s for example in with_frames for s in timeline_seconds(example.context.frames)])
        texts = [self.qformer_text(example, *tasks) for example in with_frames]
        encoded = self.qformer_tokenizer(texts, truncation=True, max_length=self.config.max_prompt_tokens)
        ids, attention_mask = _pad(encoded["input_ids"], self.qformer_tokenizer.pad_token_id, left=False)
        return {
            **({"patches": vision_features(images)} if vision_features else {"pixel_values": self._grid(images, mask)}),
            "frame_mask": mask,
            "frame_seconds": seconds,
            "qformer_input_ids": ids,
            "qformer_attention_mask": attention_mask,
        }

    def prompts(
        self,
        examples: Sequence[Example],
        task: TaskConfig,
        targets: Sequence[list[int]] | None = None,
        token_mask: TokenMask | None = None,
    ) -> dict[str, Tensor]:
        """Image tokens and prompt of each example, padded on the left.

        Padding between the image tokens and the text would shift the positions of the features.

        Args:
            examples: The examples; those without frames get no image tokens.
            task: The task whose prompt to render.
            targets: Token ids to append to each prompt, as a causal model trains on them.
            token_mask: Masks tokens of the prompt's field values.

        Returns:
            `input_ids` and `attention_mask`, each of shape (batch, token).
        """
        rows = []
        for i, example in enumerate(examples):
            images = [self.image_token] * self.query_tokens if example.context.frames else []
            rows.append(images + self._prompt_ids(i, example, task, token_mask) + (targets[i] if targets else []))
        ids, attention_mask = _pad(rows, self.tokenizer.pad_token_id, left=True)
        return {"input_ids": ids, "attention_mask": attention_mask}

    def collate(
        self, examples: Sequence[Example], task: TaskConfig, causal: bool = True, token_mask: TokenMask | None = None
    ) -> dict[str, Tensor]:
        """The arguments of `M3L.forward` for one task, without the media: prompts and targets.

        Args:
            examples: The examples; their masked field is the target.
            task: The task.
            causal: Whether the language model is decoder-only, whose targets follow the prompt in `input_ids`.
            token_mask: Masks tokens of the prompt's field values.
        """
        if task.head == "likes":
            likes = np.array([example.post.likes for example in examples], np.float64)
            standardised = torch.from_numpy(self.scale.standardise(likes)).float()
            prompts = self.prompts(examples, task, token_mask=token_mask)
            return {**prompts, **self.history(examples), "likes": standardised}
        targets = self.target_token_ids(examples, task)
        if not causal:
            labels, _ = _pad(targets, IGNORE_INDEX, left=False)
            return {**self.prompts(examples, task, token_mask=token_mask), "labels": labels}
        batch = self.prompts(examples, task, targets, token_mask)
        labels = torch.full_like(batch["input_ids"], IGNORE_INDEX)
        for row, target in zip(labels, targets, strict=True):
            row[-len(target) :] = torch.tensor(target)
        return {**batch, "labels": labels}

    def history(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """The history features that the likes head reads, as `history`; empty for a model without a history head."""
        if not self.config.history:
            return {}
        features = [history_features(example.post, self.scale.mean, self.scale.std) for example in examples]
        return {"history": torch.tensor(features)}

    def target_token_ids(self, examples: Sequence[Example], task: TaskConfig) -> list[list[int]]:
        """The token ids of each example's masked field, cut to `model.max_caption_tokens`, with the end token."""
        longest = self.config.max_caption_tokens - 1
        texts = [" " + target_text(task, example.post) for example in examples]
        ids = [self.tokenizer(text, add_special_tokens=False)["input_ids"][:longest] for text in texts]
        return [[*row, self.tokenizer.eos_token_id] for row in ids]

    def bag_of_words_targets(self, examples: Sequence[Example], task: TaskConfig) -> Int[Tensor, "media label"]:
        """The target token ids of the examples with frames, padded with IGNORE_INDEX: for `M3L.bag_of_words_loss`."""
        with_frames = [example for example in examples if example.context.frames]
        return _pad(self.target_token_ids(with_frames, task), IGNORE_INDEX, left=False)[0]

    def qformer_text(self, example: Example, *tasks: TaskConfig) -> str:
        """The text that the Q-Former reads beside the frames; it never holds a field that one of the tasks masks."""
        if self.config.qformer_text == "shared" or len(tasks) > 1:
            return task_neutral_text(self.config.qformer_template, tasks, example.post)
        return metadata_prompt(tasks[0], example.post)

    def pixels(self, encoded: Sequence[bytes]) -> Float[Tensor, "frame 3 height width"]:
        """The ViT's input for encoded (JPEG) frames: resized and normalised."""
        decoded = [cv2.imdecode(np.frombuffer(e, np.uint8), cv2.IMREAD_COLOR_RGB) for e in encoded]
        return self.image_processor(decoded, return_tensors="pt")["pixel_values"]

    def _grid(
        self, images: Sequence[bytes], mask: Bool[Tensor, "media frame"]
    ) -> Float[Tensor, "media frame 3 height width"]:
        """The pixels of all frames at the places where `mask` is true, row by row; zeros elsewhere."""
        pixels = self.pixels(images)
        grid = pixels.new_zeros(*mask.shape, *pixels.shape[1:])
        grid[mask] = pixels
        return grid

    def _prompt_ids(self, row: int, example: Example, task: TaskConfig, token_mask: TokenMask | None) -> list[int]:
        """The token ids of one prompt, cut to `model.max_prompt_tokens`."""
        pieces = prompt_pieces(task, example.post)
        text = "".join(piece.text for piece in pieces)
        encoded = self.tokenizer(text, return_offsets_mapping=token_mask is not None)
        ids = encoded["input_ids"]
        if token_mask:
            ids = token_mask(row, ids, encoded["offset_mapping"], pieces, self.tokenizer.mask_token_id)
        longest = self.config.max_prompt_tokens
        # A long caption is cut in its middle: the instruction before it and [MASK] behind it stay.
        return ids if len(ids) <= longest else ids[: longest - PROMPT_END_TOKENS] + ids[-PROMPT_END_TOKENS:]


def timeline_seconds(frames: Sequence[ContextFrame]) -> list[float]:
    """When each frame of a post shows, in seconds, if the files of its album were played one after another.

    Args:
        frames: The frames of one post, in album and time order.
    """
    seconds, start, current = [], 0.0, None
    for frame in frames:
        if current is not None and frame.media_id != current:
            start = seconds[-1] + STILL_S
        current = frame.media_id
        seconds.append(start + frame.time_s)
    return seconds


def _pad(
    rows: Sequence[list[int]], value: int, left: bool
) -> tuple[Int[Tensor, "row token"], Int[Tensor, "row token"]]:
    """Pad rows with `value` to the longest one; the padded rows, and a mask that is 1 at their own tokens."""
    width = max(len(row) for row in rows)
    padding = [[value] * (width - len(row)) for row in rows]
    ids, mask = [], []
    for row, pad in zip(rows, padding, strict=True):
        ids.append(pad + row if left else row + pad)
        mask.append([0] * len(pad) + [1] * len(row) if left else [1] * len(row) + [0] * len(pad))
    return torch.tensor(ids), torch.tensor(mask)
