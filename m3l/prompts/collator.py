"""Examples -> tensors: frames, the Q-Former's text, prompts and answers, padded by hand where processors go wrong."""

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
from m3l.history.features import numbers
from m3l.prompts.render import answer, metadata, neutral, pieces
from m3l.prompts.token_mask import TokenMask

IGNORED = -100
STILL_S = 1.0  # how long an image of an album stays on the post's timeline


@dataclass(frozen=True)
class LikesScale:
    """The mean and deviation of log1p(likes) over the training rows."""

    mean: float = 0.0
    std: float = 1.0

    def standardise(self, likes: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return (np.log1p(likes) - self.mean) / self.std

    def likes(self, standardised: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return np.expm1(np.maximum(standardised * self.std + self.mean, 0.0))


class Collator:
    """Builds the tensors of one task's batch; the order of the rows is the order of the examples."""

    def __init__(self, processor: Any, config: ModelConfig, scale: LikesScale):
        self.text, self.words, self.images = (
            processor.tokenizer,
            processor.qformer_tokenizer,
            processor.image_processor,
        )
        self.image_token = processor.tokenizer.convert_tokens_to_ids("<image>")
        self.query_tokens = processor.num_query_tokens
        self.config, self.scale = config, scale

    def media(
        self, examples: Sequence[Example], *tasks: TaskConfig, look: Callable[[Sequence[bytes]], Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The arguments of `M3L.see` for the examples that have frames, seen for the tasks; empty if none has.

        With `look`, which gives the patches of encoded frames, `patches` stand in place of `pixel_values`.
        """
        seen = [example for example in examples if example.context.frames]
        if not seen:
            return {}
        counts = [len(example.context.frames) for example in seen]
        mask = torch.arange(max(counts))[None] < torch.tensor(counts)[:, None]
        images = [frame.image for example in seen for frame in example.context.frames]
        shown = {"patches": look(images)} if look else {"pixel_values": self._laid_out(images, mask)}
        seconds = torch.zeros(mask.shape)
        seconds[mask] = torch.tensor([s for example in seen for s in timeline(example.context.frames)])
        words = self.words([self.qformer_text(example, *tasks) for example in seen], truncation=True,
                           max_length=self.config.max_prompt_tokens)["input_ids"]  # fmt: skip
        ids, attention = _pad(words, self.words.pad_token_id, left=False)
        return {
            **shown,
            "frame_mask": mask,
            "frame_seconds": seconds,
            "qformer_input_ids": ids,
            "qformer_attention_mask": attention,
        }

    def prompts(
        self,
        examples: Sequence[Example],
        task: TaskConfig,
        answers: Sequence[list[int]] | None = None,
        masking: TokenMask | None = None,
    ) -> dict[str, Tensor]:
        """Left-padded `input_ids` and `attention_mask`: image tokens, prompt, then the answers' tokens if given.

        The padding stands before the images: between them and the text it would move the features' positions.
        """
        rows = []
        for i, example in enumerate(examples):
            images = [self.image_token] * self.query_tokens if example.context.frames else []
            told = pieces(task, example.post)
            read = self.text("".join(text for text, _ in told), return_offsets_mapping=masking is not None)
            prompt = read["input_ids"]
            if masking:
                prompt = masking(i, prompt, read["offset_mapping"], told, self.text.mask_token_id)
            room = self.config.max_prompt_tokens
            # A long caption is cut in its middle: the instruction before it and [MASK] behind it stay.
            if len(prompt) > room:
                prompt = prompt[: room - 16] + prompt[-16:]
            rows.append(images + prompt + (answers[i] if answers else []))
        ids, attention = _pad(rows, self.text.pad_token_id, left=True)
        return {"input_ids": ids, "attention_mask": attention}

    def training(
        self, examples: Sequence[Example], task: TaskConfig, causal: bool = True, masking: TokenMask | None = None
    ) -> dict[str, Tensor]:
        """The arguments of `M3L.forward` without the media: the prompt and what the task shall tell."""
        if task.head == "likes":
            likes = np.array([example.post.likes for example in examples], np.float64)
            target = torch.from_numpy(self.scale.standardise(likes)).float()
            return {**self.prompts(examples, task, masking=masking), **self.history(examples), "likes": target}
        answers = self.answers(examples, task)
        if not causal:
            labels, _ = _pad(answers, IGNORED, left=False)
            return {**self.prompts(examples, task, masking=masking), "labels": labels}
        batch = self.prompts(examples, task, answers, masking)
        labels = torch.full_like(batch["input_ids"], IGNORED)
        for row, told in zip(labels, answers, strict=True):
            row[-len(told) :] = torch.tensor(told)
        return {**batch, "labels": labels}

    def history(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """What the likes head reads beside the prompt; empty for a model without a history."""
        if not self.config.history:
            return {}
        known = [numbers(example.post, self.scale.mean, self.scale.std) for example in examples]
        return {"history": torch.tensor(known)}

    def answers(self, examples: Sequence[Example], task: TaskConfig) -> list[list[int]]:
        """The tokens that each example's masked field shall be told with, up to the end token."""
        most = self.config.max_caption_tokens - 1
        texts = [" " + answer(task, example.post) for example in examples]
        ids = [self.text(text, add_special_tokens=False)["input_ids"][:most] for text in texts]
        return [[*row, self.text.eos_token_id] for row in ids]

    def words_of(self, examples: Sequence[Example], task: TaskConfig) -> Int[Tensor, "media label"]:
        """The answers' tokens of the examples with frames, padded with -100: the bag of words of the warm-up."""
        seen = [example for example in examples if example.context.frames]
        return _pad(self.answers(seen, task), IGNORED, left=False)[0]

    def qformer_text(self, example: Example, *tasks: TaskConfig) -> str:
        """What the Q-Former reads beside the frames; it never holds what one of the tasks shall tell."""
        if self.config.qformer_text == "shared" or len(tasks) > 1:
            return neutral(self.config.qformer_template, tasks, example.post)
        return metadata(tasks[0], example.post)

    def _laid_out(
        self, images: Sequence[bytes], mask: Bool[Tensor, "media frame"]
    ) -> Float[Tensor, "media frame 3 height width"]:
        real = self.pixels(images)
        laid = real.new_zeros(*mask.shape, *real.shape[1:])
        laid[mask] = real
        return laid

    def pixels(self, encoded: Sequence[bytes]) -> Float[Tensor, "frame 3 height width"]:
        """What the ViT takes, of encoded frames."""
        decoded = [cv2.imdecode(np.frombuffer(e, np.uint8), cv2.IMREAD_COLOR_RGB) for e in encoded]
        return self.images(decoded, return_tensors="pt")["pixel_values"]


def timeline(frames: Sequence[ContextFrame]) -> list[float]:
    """Seconds of each frame on the post's timeline: an album's files follow each other in their order."""
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
    width = max(len(row) for row in rows)
    gap = [[value] * (width - len(row)) for row in rows]
    ids = [g + row if left else row + g for g, row in zip(gap, rows, strict=True)]
    mask = [
        [0] * len(g) + [1] * len(r) if left else [1] * len(r) + [0] * len(g) for g, r in zip(gap, rows, strict=True)
    ]
    return torch.tensor(ids), torch.tensor(mask)
