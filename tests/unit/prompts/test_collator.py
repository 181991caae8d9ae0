"""What the model reads: nothing of the answer in the prompt, nothing but the answer in the labels."""

from typing import Any

import numpy as np
import pytest
import torch

from m3l.config import TaskConfig, load
from m3l.data.records import ContextFrame
from m3l.prompts.collator import IGNORED, LikesScale, timeline
from tests.support.posts import BEHAVIOUR, CONTENT, TINY, collator, example

SECRET = "zebra"
POSTS = [example(0), example(1, frames=0, username="somebody else"), example(2, frames=3, company="x")]
SPECIAL = ("[MASK]", "<image>", "</s>", "<s>", "<unk>", "[PAD]")
Q = TINY.model.tiny.query_tokens


def ids(processor: Any, token: str) -> int:
    return int(processor.tokenizer.convert_tokens_to_ids(token))


def decoded(processor: Any, row: torch.Tensor) -> str:
    return str(processor.tokenizer.decode(row[row >= 0]))


@pytest.mark.parametrize("causal", [True, False])
def test_labels_are_the_answers_tokens_alone(processor: Any, causal: bool) -> None:
    batch = collator(processor).training(POSTS, CONTENT, causal)
    pad, end = ids(processor, "[PAD]"), ids(processor, "</s>")
    for row, labels, post in zip(batch["input_ids"], batch["labels"], POSTS, strict=True):
        told = labels[labels != IGNORED]
        assert decoded(processor, told) == f" {post.post.caption}</s>"
        assert pad not in told and (told == end).sum() == 1
        if causal:
            assert (row[labels != IGNORED] == told).all()
            assert labels[-len(told)] != IGNORED and (labels[: -len(told)] == IGNORED).all()
        else:
            assert (labels[: len(told)] == told).all()


def test_a_long_answer_is_cut_and_ended(processor: Any) -> None:
    long = example(caption="the sea and a red fox " * 9)
    labels = collator(processor).training([long], CONTENT)["labels"][0]
    assert (labels != IGNORED).sum() == TINY.model.max_caption_tokens
    assert labels[-1] == ids(processor, "</s>")


def test_padding_stands_left_of_the_images(processor: Any) -> None:
    batch = collator(processor).training(POSTS, CONTENT)
    for row, mask, post in zip(batch["input_ids"], batch["attention_mask"], POSTS, strict=True):
        real = row[mask == 1]
        assert (row[mask == 0] == ids(processor, "[PAD]")).all()
        assert mask.tolist() == sorted(mask.tolist())
        images = Q if post.context.frames else 0
        assert (real[:images] == ids(processor, "<image>")).all()
        assert (real == ids(processor, "<image>")).sum() == images
        assert real[images] == ids(processor, "<s>")


@pytest.mark.parametrize("setting", ["per_task", "shared"])
def test_no_prompt_holds_what_it_asks_for(processor: Any, setting: str) -> None:
    made = collator(processor, qformer_text=setting, qformer_template="{{{caption}}} {{{likes}}} {{By {username}.}}")
    post = example(caption=SECRET, likes=987654, username="maker")
    for task, answer, other in ((CONTENT, SECRET, "987654"), (BEHAVIOUR, "987654", SECRET)):
        prompt = decoded(processor, made.prompts([post], task)["input_ids"][0])
        assert answer not in prompt and other in prompt
        words = processor.qformer_tokenizer.decode(made.media([post], task)["qformer_input_ids"][0])
        assert answer not in words.replace(" ", "").replace("##", "")
        assert answer not in made.qformer_text(post, task)
        assert (other in made.qformer_text(post, task)) == (setting == "per_task")


def test_a_users_text_becomes_no_special_token(processor: Any) -> None:
    evil = " ".join(SPECIAL) + "[MASK]</s>"
    sly, plain = example(username=evil, caption=f"{evil} fox"), example()
    made = collator(processor, max_prompt_tokens=400, max_caption_tokens=200)
    for task in (CONTENT, BEHAVIOUR):
        for token in SPECIAL:
            counts = [(made.training([e], task)["input_ids"] == ids(processor, token)).sum() for e in (sly, plain)]
            assert counts[0] == counts[1], token
    words = made.media([sly], BEHAVIOUR)["qformer_input_ids"]
    assert processor.qformer_tokenizer.mask_token_id not in words


@pytest.mark.parametrize("task", [CONTENT, BEHAVIOUR])
def test_a_very_long_post_keeps_its_mask(processor: Any, task: TaskConfig) -> None:
    post = example(caption="the sea " * 500, username="maker" * 300)
    row = collator(processor).prompts([post], task)["input_ids"][0]
    assert len(row) == TINY.model.max_prompt_tokens + Q
    assert (row == ids(processor, "[MASK]")).sum() == 1 and row[-1] == ids(processor, "[MASK]")
    assert row[Q] == ids(processor, "<s>")
    assert decoded(processor, row[Q:]).startswith("<s>Username is")


def test_media_are_those_of_the_posts_that_have_some(processor: Any) -> None:
    media = collator(processor).media(POSTS, CONTENT)
    assert media["frame_mask"].tolist() == [[True, False, False], [True, True, True]]
    assert media["frame_seconds"].tolist() == [[0, 0, 0], [0, 0.5, 1]]
    assert media["pixel_values"].shape == (2, 3, 3, 32, 32)
    assert (media["pixel_values"][0, 1:] == 0).all()
    assert collator(processor).media(POSTS[1:2], CONTENT) == {}


def test_an_album_is_one_timeline() -> None:
    frames = [("a", 0.0), ("a", 2.5), ("b", 0.0), ("c", 0.0), ("c", 4.0), ("a", 0.0)]
    album = [ContextFrame(media_id=name, time_s=time, score=0, image=b"") for name, time in frames]
    assert timeline(album) == [0.0, 2.5, 3.5, 4.5, 8.5, 9.5]
    assert timeline([]) == []


def test_the_likes_scale_goes_there_and_back() -> None:
    scale, likes = LikesScale(mean=4.0, std=2.0), np.array([0.0, 78.0, 1e6])
    np.testing.assert_allclose(scale.likes(scale.standardise(likes)), likes, rtol=1e-9)
    assert scale.likes(np.array([-99.0])) == 0


def test_likes_are_standardised(processor: Any) -> None:
    batch = collator(processor, LikesScale(mean=1.0, std=2.0)).training(POSTS[:1], BEHAVIOUR)
    assert batch["likes"].item() == pytest.approx((np.log1p(78) - 1) / 2)
    assert "labels" not in batch


@pytest.mark.parametrize(
    ("masked", "told"), [("username", "maker"), ("posted_at", "2020-07-19 00:07:00"), ("likes", "78"), ("company", "")]
)
def test_another_task_is_configuration_alone(processor: Any, masked: str, told: str) -> None:
    template = "{{Caption is {caption}.}} Which? [MASK]"
    config = load("tiny", [f"tasks=[{{name: new, masked: {masked}, head: caption, template: '{template}'}}]"])
    made, task = collator(processor, max_caption_tokens=40), config.tasks[0]
    batch = made.training([example()], task)
    assert decoded(processor, batch["labels"][0]) == f" {told}</s>"
    assert not told or told not in decoded(processor, made.prompts([example()], task)["input_ids"][0])
    assert not told or told not in made.qformer_text(example(), task)


def test_the_warm_ups_words_are_those_of_the_posts_with_frames(processor: Any) -> None:
    made = collator(processor)
    words = made.words_of(POSTS, CONTENT)
    assert len(words) == 2
    assert decoded(processor, words[0]) == f" {POSTS[0].post.caption}</s>"
