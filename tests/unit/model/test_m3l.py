"""M3L at step 0 is InstructBLIP; a batch is the sum of its posts."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import InstructBlipConfig, InstructBlipForConditionalGeneration, T5Config

from m3l.model.m3l import M3L, M3LConfig
from tests.support.posts import BEHAVIOUR, CONTENT, collator, example

POSTS = [example(0, frames=3), example(1, frames=0, username="somebody else"), example(2), example(3, frames=2)]
GREEDY = {"max_new_tokens": 6, "do_sample": False, "num_beams": 1}
BEAM = {**GREEDY, "num_beams": 3}


@pytest.fixture(scope="module")
def t5(model: M3L, processor: Any) -> M3L:
    """The same towers before an encoder-decoder language model."""
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
    made = M3L(M3LConfig.from_dict(settings))
    torch.nn.init.normal_(made.query_tokens, std=0.02)
    made.tformer.queries.data.copy_(made.query_tokens)
    return made.eval()


@pytest.fixture(scope="module", params=["llama", "t5"])
def fresh(request: pytest.FixtureRequest, model: M3L) -> M3L:
    """The model at step 0, with either kind of language model."""
    return model if request.param == "llama" else request.getfixturevalue("t5")


@pytest.fixture(scope="module")
def trained(fresh: M3L) -> M3L:
    """As after some training: the T-Former's gate is open."""
    made = copy.deepcopy(fresh)
    torch.manual_seed(1)
    torch.nn.init.normal_(made.tformer.gate)
    return made


def plain(model: M3L) -> InstructBlipForConditionalGeneration:
    """transformers' own class with the weights that it shares with the model."""
    twin = InstructBlipForConditionalGeneration(InstructBlipConfig.from_dict(model.config.to_dict())).eval()
    missing, unknown = twin.load_state_dict(model.state_dict(), strict=False)
    assert not missing and all(name.startswith(("tformer", "likes_head")) for name in unknown)
    return twin


def batch_of(posts: list, processor: Any, model: M3L, task: Any = CONTENT) -> dict[str, torch.Tensor]:
    """The arguments of `forward`, media included."""
    made = collator(processor)
    causal = model.config.use_decoder_only_language_model
    return {**made.training(posts, task, causal), **made.media(posts, task)}


def told(model: M3L, processor: Any, posts: list, way: dict[str, Any] = GREEDY) -> list[list[int]]:
    """The new tokens of each post, up to the padding."""
    made, pad = collator(processor), processor.tokenizer.pad_token_id
    rows = model.generate(
        **made.prompts(posts, CONTENT), media=made.media(posts, CONTENT), pad_token_id=pad, **way
    ).tolist()
    return [[token for token in row if token != pad] for row in rows]


@torch.no_grad()
def test_one_image_is_plain_instructblip(fresh: M3L, processor: Any, tmp_path: Path) -> None:
    plain(fresh).save_pretrained(tmp_path)
    twin = InstructBlipForConditionalGeneration.from_pretrained(tmp_path).eval()
    ours = M3L.from_pretrained(tmp_path).eval()  # with new heads, and a T-Former made from its Q-Former
    made, posts = collator(processor), [example(0), example(2, username="somebody else")]
    media, batch, prompts = made.media(posts, CONTENT), batch_of(posts, processor, fresh), made.prompts(posts, CONTENT)
    words = {name: media[name] for name in ("qformer_input_ids", "qformer_attention_mask")}
    seen = {"pixel_values": media["pixel_values"][:, 0], **words}
    text = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
    assert (ours.see(**media) == twin.get_image_features(**seen).pooler_output).all()
    torch.testing.assert_close(ours(**batch).loss, twin(**seen, **text).loss, atol=1e-6, rtol=1e-6)
    for way in (GREEDY, BEAM):
        way = {"pad_token_id": processor.tokenizer.pad_token_id, **way}
        new = ours.generate(**prompts, media=media, **way)
        assert new.tolist() == twin.generate(**seen, **prompts, **way)[:, -new.shape[1] :].tolist()


@torch.no_grad()
def test_several_frames_start_as_their_mean(fresh: M3L, processor: Any) -> None:
    made, post = collator(processor), example(0, frames=3)
    each = [
        post.model_copy(update={"context": post.context.model_copy(update={"frames": (frame,)})})
        for frame in post.context.frames
    ]
    alone = fresh.see(**made.media(each, CONTENT))
    assert (alone[0] - alone[1]).abs().max() > 1e-3
    beside = fresh.see(**made.media([post, example(1, frames=5)], CONTENT))  # so that the post's row has padding
    torch.testing.assert_close(beside[:1], alone.mean(0, keepdim=True), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_frames_are_a_set_and_padding_is_none(trained: M3L, processor: Any) -> None:
    media = collator(processor).media(POSTS, CONTENT)
    features = trained.see(**media)
    noisy = {
        **media,
        "pixel_values": media["pixel_values"].masked_fill(~media["frame_mask"][..., None, None, None], 7.0),
    }
    assert (trained.see(**noisy) == features).all()
    order = [2, 0, 1]
    by_frame = ("pixel_values", "frame_mask", "frame_seconds")
    shuffled = {name: value[:, order] if name in by_frame else value for name, value in media.items()}
    torch.testing.assert_close(trained.see(**shuffled), features, atol=1e-5, rtol=0)


@torch.no_grad()
def test_batched_equals_alone(trained: M3L, processor: Any) -> None:
    def likes(posts: list) -> torch.Tensor:
        return trained(**batch_of(posts, processor, trained, BEHAVIOUR)).likes

    def nll(posts: list) -> tuple[float, int]:
        batch = batch_of(posts, processor, trained)
        return trained(**batch).nll.item(), int((batch["labels"] != -100).sum())

    torch.testing.assert_close(likes(POSTS), torch.cat([likes([post]) for post in POSTS]), atol=1e-5, rtol=0)
    each = [nll([post]) for post in POSTS]
    total = sum(n for _, n in each)
    assert nll(POSTS) == (pytest.approx(sum(loss * n for loss, n in each) / total, abs=1e-5), total)


@pytest.mark.parametrize("way", [GREEDY, BEAM], ids=["greedy", "beam"])
def test_batched_output_equals_alone(trained: M3L, processor: Any, way: dict[str, Any]) -> None:
    lengths = collator(processor).prompts(POSTS, CONTENT)["attention_mask"].sum(1)
    assert len(set(lengths.tolist())) > 1
    assert told(trained, processor, POSTS, way) == [told(trained, processor, [post], way)[0] for post in POSTS]


@torch.no_grad()
def test_the_language_models_padding_side_does_not_reach_the_q_former(trained: M3L, processor: Any) -> None:
    long = example(0, username="somebody else entirely")
    made = collator(copy.deepcopy(processor), qformer_text="per_task")
    alone = trained.see(**made.media([example(1)], CONTENT))
    for side in ("left", "right"):
        made.text.padding_side = made.words.padding_side = side
        media = made.media([example(1), long], CONTENT)
        assert (media["qformer_attention_mask"][0, -2:] == 0).all()
        torch.testing.assert_close(trained.see(**media)[:1], alone, atol=1e-5, rtol=0)


def test_a_batch_without_any_media_trains_and_answers(trained: M3L, processor: Any) -> None:
    blind = [example(0, frames=0), example(1, frames=0, username="somebody else")]
    for task in (CONTENT, BEHAVIOUR):
        batch = batch_of(blind, processor, trained, task)
        assert "pixel_values" not in batch
        assert (batch["input_ids"] != trained.config.image_token_id).all()
        assert trained(**batch).loss.isfinite()
    assert len(told(trained, processor, blind)) == 2


def test_the_frames_of_one_post_are_not_read_by_another(trained: M3L, processor: Any) -> None:
    swapped = [POSTS[0], POSTS[1], example(2, frames=3), POSTS[3]]
    with torch.no_grad():
        one, two = (trained(**batch_of(posts, processor, trained, BEHAVIOUR)).likes for posts in (POSTS, swapped))
    torch.testing.assert_close(one[[0, 1, 3]], two[[0, 1, 3]], atol=1e-5, rtol=0)
    assert (one[2] - two[2]).abs() > 1e-5


def test_features_and_image_tokens_must_agree(model: M3L, processor: Any) -> None:
    made = collator(processor)
    with pytest.raises(ValueError, match="8 image tokens for 4 features"):
        model(**made.prompts([example(0), example(1)], CONTENT), visual=model.see(**made.media([example(0)], CONTENT)))
    with pytest.raises(ValueError, match="4 image tokens for 0 features"):
        model(**made.prompts([example(0)], CONTENT))


def test_features_seen_once_serve_both_tasks(model: M3L, processor: Any) -> None:
    made = collator(processor)
    visual = model.see(**made.media(POSTS, CONTENT))
    for task, loss in ((CONTENT, "nll"), (BEHAVIOUR, "mse")):
        out = model(**made.training(POSTS, task), visual=visual)
        assert out.loss == out[loss] == model(**batch_of(POSTS, processor, model, task)).loss


@torch.no_grad()
def test_what_was_looked_at_once_can_be_read_again(trained: M3L, processor: Any) -> None:
    media = collator(processor).media(POSTS, CONTENT)
    expected = trained.see(**media)
    patches = trained.look(media["pixel_values"][media["frame_mask"]])
    del media["pixel_values"]
    assert (trained.see(**media, patches=patches) == expected).all()
    one = {**collator(processor).media([POSTS[3]], CONTENT), "pixel_values": None}  # its two frames come last
    torch.testing.assert_close(trained.see(**one, patches=patches[-2:])[0], expected[-1], atol=1e-5, rtol=0)


def test_the_warm_up_prefers_the_words_that_were_said(fresh: M3L, processor: Any) -> None:
    made, model = collator(processor), copy.deepcopy(fresh)
    media, words = made.media(POSTS, CONTENT), made.words_of(POSTS, CONTENT)
    weights = torch.ones(len(processor.tokenizer))
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(8):
        losses.append(model.name_words(model.see(**media), words, weights))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < losses[0] - 0.5
