"""The model's inputs: no part of the target in the prompt, and nothing but the target in the labels."""

from typing import Any

import numpy as np
import pytest
import torch

from m3l.config import TaskConfig, load
from m3l.data.records import ContextFrame
from m3l.prompts.collator import IGNORE_INDEX, LikesScale, timeline_seconds
from tests.support.posts import BEHAVIOUR, CONTENT, TINY, example, make_collator

SECRET = "zebra"
POSTS = [example(0), example(1, frames=0, username="somebody else"), example(2, frames=3, company="x")]
SPECIAL = ("[MASK]", "<image>", "</s>", "<s>", "<unk>", "[PAD]")
Q = TINY.model.tiny.query_tokens


def token_id(processor: Any, token: str) -> int:
    """The id of a token in the language model's vocabulary."""
    return int(processor.tokenizer.convert_tokens_to_ids(token))


def decoded(processor: Any, row: torch.Tensor) -> str:
    """The text of a row of token ids or labels."""
    return str(processor.tokenizer.decode(row[row >= 0]))


@pytest.mark.parametrize("causal", [True, False])
def test_labels_are_the_tokens_of_the_target_alone(processor: Any, causal: bool) -> None:
    batch = make_collator(processor).collate(POSTS, CONTENT, causal)
    pad, end = token_id(processor, "[PAD]"), token_id(processor, "</s>")
    for row, labels, post in zip(batch["input_ids"], batch["labels"], POSTS, strict=True):
        target = labels[labels != IGNORE_INDEX]
        assert decoded(processor, target) == f" {post.post.caption}</s>"
        assert pad not in target and (target == end).sum() == 1
        if causal:
            assert (row[labels != IGNORE_INDEX] == target).all()
            assert labels[-len(target)] != IGNORE_INDEX and (labels[: -len(target)] == IGNORE_INDEX).all()
        else:
            assert (labels[: len(target)] == target).all()


def test_a_long_target_is_cut_and_gets_an_end_token(processor: Any) -> None:
    long = example(caption="the sea and a red fox " * 9)
    labels = make_collator(processor).collate([long], CONTENT)["labels"][0]
    assert (labels != IGNORE_INDEX).sum() == TINY.model.max_caption_tokens
    assert labels[-1] == token_id(processor, "</s>")


def test_padding_is_left_of_the_image_tokens(processor: Any) -> None:
    batch = make_collator(processor).collate(POSTS, CONTENT)
    for row, mask, post in zip(batch["input_ids"], batch["attention_mask"], POSTS, strict=True):
        real = row[mask == 1]
        assert (row[mask == 0] == token_id(processor, "[PAD]")).all()
        assert mask.tolist() == sorted(mask.tolist())
        images = Q if post.context.frames else 0
        assert (real[:images] == token_id(processor, "<image>")).all()
        assert (real == token_id(processor, "<image>")).sum() == images
        assert real[images] == token_id(processor, "<s>")


@pytest.mark.parametrize("setting", ["per_task", "shared"])
def test_no_prompt_holds_its_target(processor: Any, setting: str) -> None:
    template = "{{{caption}}} {{{likes}}} {{By {username}.}}"
    collator = make_collator(processor, qformer_text=setting, qformer_template=template)
    post = example(caption=SECRET, likes=987654, username="maker")
    for task, target, other in ((CONTENT, SECRET, "987654"), (BEHAVIOUR, "987654", SECRET)):
        prompt = decoded(processor, collator.prompts([post], task)["input_ids"][0])
        assert target not in prompt and other in prompt
        text = processor.qformer_tokenizer.decode(collator.media([post], task)["qformer_input_ids"][0])
        assert target not in text.replace(" ", "").replace("##", "")
        assert target not in collator.qformer_text(post, task)
        assert (other in collator.qformer_text(post, task)) == (setting == "per_task")


def test_a_users_text_cannot_inject_special_tokens(processor: Any) -> None:
    injection = " ".join(SPECIAL) + "[MASK]</s>"
    malicious, plain = example(username=injection, caption=f"{injection} fox"), example()
    collator = make_collator(processor, max_prompt_tokens=400, max_caption_tokens=200)
    for task in (CONTENT, BEHAVIOUR):
        for token in SPECIAL:
            counts = [
                (collator.collate([e], task)["input_ids"] == token_id(processor, token)).sum()
                for e in (malicious, plain)
            ]
            assert counts[0] == counts[1], token
    qformer_ids = collator.media([malicious], BEHAVIOUR)["qformer_input_ids"]
    assert processor.qformer_tokenizer.mask_token_id not in qformer_ids


@pytest.mark.parametrize("task", [CONTENT, BEHAVIOUR])
def test_a_very_long_post_keeps_its_mask(processor: Any, task: TaskConfig) -> None:
    post = example(caption="the sea " * 500, username="maker" * 300)
    row = make_collator(processor).prompts([post], task)["input_ids"][0]
    assert len(row) == TINY.model.max_prompt_tokens + Q
    assert (row == token_id(processor, "[MASK]")).sum() == 1 and row[-1] == token_id(processor, "[MASK]")
    assert row[Q] == token_id(processor, "<s>")
    assert decoded(processor, row[Q:]).startswith("<s>Username is")


def test_media_are_those_of_the_posts_with_frames(processor: Any) -> None:
    media = make_collator(processor).media(POSTS, CONTENT)
    assert media["frame_mask"].tolist() == [[True, False, False], [True, True, True]]
    assert media["frame_seconds"].tolist() == [[0, 0, 0], [0, 0.5, 1]]
    assert media["pixel_values"].shape == (2, 3, 3, 32, 32)
    assert (media["pixel_values"][0, 1:] == 0).all()
    assert make_collator(processor).media(POSTS[1:2], CONTENT) == {}


def test_the_files_of_an_album_follow_each_other_in_time() -> None:
    frames = [("a", 0.0), ("a", 2.5), ("b", 0.0), ("c", 0.0), ("c", 4.0), ("a", 0.0)]
    album = [ContextFrame(media_id=name, time_s=time, score=0, image=b"") for name, time in frames]
    assert timeline_seconds(album) == [0.0, 2.5, 3.5, 4.5, 8.5, 9.5]
    assert timeline_seconds([]) == []


def test_standardised_likes_can_be_converted_back() -> None:
    scale, likes = LikesScale(mean=4.0, std=2.0), np.array([0.0, 78.0, 1e6])
    np.testing.assert_allclose(scale.to_log1p(scale.standardise(likes)), np.log1p(likes), rtol=1e-9)


def test_likes_are_standardised(processor: Any) -> None:
    batch = make_collator(processor, LikesScale(mean=1.0, std=2.0)).collate(POSTS[:1], BEHAVIOUR)
    assert batch["likes"].item() == pytest.approx((np.log1p(78) - 1) / 2)
    assert "labels" not in batch


@pytest.mark.parametrize(
    ("masked", "target"),
    [("username", "maker"), ("posted_at", "2020-07-19 00:07:00"), ("likes", "78"), ("company", "")],
)
def test_another_task_needs_only_configuration(processor: Any, masked: str, target: str) -> None:
    template = "{{Caption is {caption}.}} Which? [MASK]"
    config = load("tiny", [f"tasks=[{{name: new, masked: {masked}, head: caption, template: '{template}'}}]"])
    collator, task = make_collator(processor, max_caption_tokens=40), config.tasks[0]
    batch = collator.collate([example()], task)
    assert decoded(processor, batch["labels"][0]) == f" {target}</s>"
    assert not target or target not in decoded(processor, collator.prompts([example()], task)["input_ids"][0])
    assert not target or target not in collator.qformer_text(example(), task)


def test_bag_of_words_targets_are_those_of_the_posts_with_frames(processor: Any) -> None:
    collator = make_collator(processor)
    targets = collator.bag_of_words_targets(POSTS, CONTENT)
    assert len(targets) == 2
    assert decoded(processor, targets[0]) == f" {POSTS[0].post.caption}</s>"
