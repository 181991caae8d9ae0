"""Before training M3L equals InstructBLIP; the posts of a batch do not influence each other."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import InstructBlipConfig, InstructBlipForConditionalGeneration, T5Config

from m3l.model.config import M3LConfig
from m3l.model.m3l import M3L
from tests.support.posts import BEHAVIOUR, CONTENT, example, make_collator

POSTS = [example(0, frames=3), example(1, frames=0, username="somebody else"), example(2), example(3, frames=2)]
GREEDY = {"max_new_tokens": 6, "do_sample": False, "num_beams": 1}
BEAM = {**GREEDY, "num_beams": 3}


@pytest.fixture(scope="module")
def t5(model: M3L, processor: Any) -> M3L:
    """The model with an encoder-decoder language model."""
    settings = model.config.to_dict()
    text = T5Config(
        vocab_size=len(processor.tokenizer),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
        initializer_factor=0.1,
        decoder_start_token_id=processor.tokenizer.pad_token_id,
        pad_token_id=processor.tokenizer.pad_token_id,
        eos_token_id=processor.tokenizer.eos_token_id,
    )
    settings["text_config"] = text.to_dict()
    torch.manual_seed(0)
    seq2seq = M3L(M3LConfig.from_dict(settings))
    torch.nn.init.normal_(seq2seq.query_tokens, std=0.02)
    seq2seq.tformer.queries.data.copy_(seq2seq.query_tokens)
    return seq2seq.eval()


@pytest.fixture(scope="module", params=["llama", "t5"])
def fresh(request: pytest.FixtureRequest, model: M3L) -> M3L:
    """The model before training, with either kind of language model."""
    return model if request.param == "llama" else request.getfixturevalue("t5")


@pytest.fixture(scope="module")
def trained(fresh: M3L) -> M3L:
    """The model with an open gate of the T-Former, as after some training."""
    model = copy.deepcopy(fresh)
    torch.manual_seed(1)
    torch.nn.init.normal_(model.tformer.gate)
    return model


def plain(model: M3L) -> InstructBlipForConditionalGeneration:
    """transformers' InstructBLIP with the weights of the model."""
    twin = InstructBlipForConditionalGeneration(InstructBlipConfig.from_dict(model.config.to_dict())).eval()
    missing, unexpected = twin.load_state_dict(model.state_dict(), strict=False)
    assert not missing and all(name.startswith(("tformer", "likes_head")) for name in unexpected)
    return twin


def batch_of(posts: list, processor: Any, model: M3L, task: Any = CONTENT) -> dict[str, torch.Tensor]:
    """The arguments of `forward`, media included."""
    collator = make_collator(processor)
    causal = model.config.use_decoder_only_language_model
    return {**collator.collate(posts, task, causal), **collator.media(posts, task)}


def generated(model: M3L, processor: Any, posts: list, settings: dict[str, Any] = GREEDY) -> list[list[int]]:
    """The new tokens of each post, without padding."""
    collator, pad = make_collator(processor), processor.tokenizer.pad_token_id
    rows = model.generate(
        **collator.prompts(posts, CONTENT), media=collator.media(posts, CONTENT), pad_token_id=pad, **settings
    ).tolist()
    return [[token for token in row if token != pad] for row in rows]


@torch.no_grad()
def test_for_posts_with_one_frame_it_equals_instructblip(fresh: M3L, processor: Any, tmp_path: Path) -> None:
    plain(fresh).save_pretrained(tmp_path)
    twin = InstructBlipForConditionalGeneration.from_pretrained(tmp_path).eval()
    ours = M3L.from_pretrained(tmp_path).eval()  # with new heads, and a T-Former from its Q-Former
    collator, posts = make_collator(processor), [example(0), example(2, username="somebody else")]
    media, batch, prompts = (
        collator.media(posts, CONTENT),
        batch_of(posts, processor, fresh),
        collator.prompts(posts, CONTENT),
    )
    qformer_text = {name: media[name] for name in ("qformer_input_ids", "qformer_attention_mask")}
    image = {"pixel_values": media["pixel_values"][:, 0], **qformer_text}
    text = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
    assert (ours.encode_media(**media) == twin.get_image_features(**image).pooler_output).all()
    torch.testing.assert_close(ours(**batch).loss, twin(**image, **text).loss, atol=1e-6, rtol=1e-6)
    for settings in (GREEDY, BEAM):
        settings = {"pad_token_id": processor.tokenizer.pad_token_id, **settings}
        new = ours.generate(**prompts, media=media, **settings)
        assert new.tolist() == twin.generate(**image, **prompts, **settings)[:, -new.shape[1] :].tolist()


@torch.no_grad()
def test_before_training_frames_are_fused_to_their_mean(fresh: M3L, processor: Any) -> None:
    collator, post = make_collator(processor), example(0, frames=3)
    each = [
        post.model_copy(update={"context": post.context.model_copy(update={"frames": (frame,)})})
        for frame in post.context.frames
    ]
    alone = fresh.encode_media(**collator.media(each, CONTENT))
    assert (alone[0] - alone[1]).abs().max() > 1e-3
    padded = fresh.encode_media(**collator.media([post, example(1, frames=5)], CONTENT))
    torch.testing.assert_close(padded[:1], alone.mean(0, keepdim=True), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_the_order_and_the_padding_of_frames_do_not_matter(trained: M3L, processor: Any) -> None:
    media = make_collator(processor).media(POSTS, CONTENT)
    features = trained.encode_media(**media)
    noisy = {
        **media,
        "pixel_values": media["pixel_values"].masked_fill(~media["frame_mask"][..., None, None, None], 7.0),
    }
    assert (trained.encode_media(**noisy) == features).all()
    order = [2, 0, 1]
    by_frame = ("pixel_values", "frame_mask", "frame_seconds")
    shuffled = {name: value[:, order] if name in by_frame else value for name, value in media.items()}
    torch.testing.assert_close(trained.encode_media(**shuffled), features, atol=1e-5, rtol=0)


@torch.no_grad()
def test_losses_and_likes_of_a_batch_are_those_of_its_posts(trained: M3L, processor: Any) -> None:
    def likes(posts: list) -> torch.Tensor:
        return trained(**batch_of(posts, processor, trained, BEHAVIOUR)).likes

    def nll(posts: list) -> tuple[float, int]:
        batch = batch_of(posts, processor, trained)
        return trained(**batch).nll.item(), int((batch["labels"] != -100).sum())

    torch.testing.assert_close(likes(POSTS), torch.cat([likes([post]) for post in POSTS]), atol=1e-5, rtol=0)
    each = [nll([post]) for post in POSTS]
    total = sum(n for _, n in each)
    assert nll(POSTS) == (pytest.approx(sum(loss * n for loss, n in each) / total, abs=1e-5), total)


@pytest.mark.parametrize("settings", [GREEDY, BEAM], ids=["greedy", "beam"])
def test_captions_of_a_batch_are_those_of_its_posts(trained: M3L, processor: Any, settings: dict[str, Any]) -> None:
    lengths = make_collator(processor).prompts(POSTS, CONTENT)["attention_mask"].sum(1)
    assert len(set(lengths.tolist())) > 1
    assert generated(trained, processor, POSTS, settings) == [
        generated(trained, processor, [post], settings)[0] for post in POSTS
    ]


@torch.no_grad()
def test_the_padding_side_of_the_tokenizers_does_not_matter(trained: M3L, processor: Any) -> None:
    long = example(0, username="somebody else entirely")
    collator = make_collator(copy.deepcopy(processor), qformer_text="per_task")
    alone = trained.encode_media(**collator.media([example(1)], CONTENT))
    for side in ("left", "right"):
        collator.tokenizer.padding_side = collator.qformer_tokenizer.padding_side = side
        media = collator.media([example(1), long], CONTENT)
        assert (media["qformer_attention_mask"][0, -2:] == 0).all()
        torch.testing.assert_close(trained.encode_media(**media)[:1], alone, atol=1e-5, rtol=0)


def test_a_batch_without_any_frames_trains_and_generates(trained: M3L, processor: Any) -> None:
    without_frames = [example(0, frames=0), example(1, frames=0, username="somebody else")]
    for task in (CONTENT, BEHAVIOUR):
        batch = batch_of(without_frames, processor, trained, task)
        assert "pixel_values" not in batch
        assert (batch["input_ids"] != trained.config.image_token_id).all()
        assert trained(**batch).loss.isfinite()
    assert len(generated(trained, processor, without_frames)) == 2


def test_the_frames_of_one_post_do_not_influence_another(trained: M3L, processor: Any) -> None:
    swapped = [POSTS[0], POSTS[1], example(2, frames=3), POSTS[3]]
    with torch.no_grad():
        one, two = (trained(**batch_of(posts, processor, trained, BEHAVIOUR)).likes for posts in (POSTS, swapped))
    torch.testing.assert_close(one[[0, 1, 3]], two[[0, 1, 3]], atol=1e-5, rtol=0)
    assert (one[2] - two[2]).abs() > 1e-5


def test_the_numbers_of_features_and_image_tokens_must_match(model: M3L, processor: Any) -> None:
    collator = make_collator(processor)
    of_one_post = model.encode_media(**collator.media([example(0)], CONTENT))
    with pytest.raises(ValueError, match="8 image tokens for 4 features"):
        model(**collator.prompts([example(0), example(1)], CONTENT), visual=of_one_post)
    with pytest.raises(ValueError, match="4 image tokens for 0 features"):
        model(**collator.prompts([example(0)], CONTENT))


def test_features_encoded_once_serve_both_tasks(model: M3L, processor: Any) -> None:
    collator = make_collator(processor)
    visual = model.encode_media(**collator.media(POSTS, CONTENT))
    for task, loss in ((CONTENT, "nll"), (BEHAVIOUR, "mse")):
        out = model(**collator.collate(POSTS, task), visual=visual)
        assert out.loss == out[loss] == model(**batch_of(POSTS, processor, model, task)).loss


@torch.no_grad()
def test_stored_vision_features_can_be_used_in_place_of_pixels(trained: M3L, processor: Any) -> None:
    media = make_collator(processor).media(POSTS, CONTENT)
    expected = trained.encode_media(**media)
    patches = trained.vision_features(media["pixel_values"][media["frame_mask"]])
    del media["pixel_values"]
    assert (trained.encode_media(**media, patches=patches) == expected).all()
    one = {**make_collator(processor).media([POSTS[3]], CONTENT), "pixel_values": None}  # its two frames come last
    torch.testing.assert_close(trained.encode_media(**one, patches=patches[-2:])[0], expected[-1], atol=1e-5, rtol=0)


def test_training_reduces_the_bag_of_words_loss(fresh: M3L, processor: Any) -> None:
    collator, model = make_collator(processor), copy.deepcopy(fresh)
    media, target_ids = collator.media(POSTS, CONTENT), collator.bag_of_words_targets(POSTS, CONTENT)
    weights = torch.ones(len(processor.tokenizer))
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(8):
        losses.append(model.bag_of_words_loss(model.encode_media(**media), target_ids, weights))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < losses[0] - 0.5
