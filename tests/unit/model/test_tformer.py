"""The T-Former fuses timed frames into the query tokens of one frame."""

import copy
from typing import Any

import pytest
import torch

from m3l.model.tformer import TFormer

Q, HIDDEN = 4, 32
SECONDS = torch.tensor([[0.0, 1.5, 4.0], [0.0, 0.5, 0.0]])
MASK = torch.tensor([[True, True, True], [True, True, False]])


@pytest.fixture
def tformer(model: Any) -> TFormer:
    """The T-Former with an open gate and random weights of time and content."""
    module: TFormer = copy.deepcopy(model.tformer)
    torch.manual_seed(1)
    for part in (module.gate, module.what, module.when):
        torch.nn.init.normal_(part)
    return module


@pytest.fixture
def frames() -> torch.Tensor:
    return torch.randn(2, 3, Q, HIDDEN, generator=torch.Generator().manual_seed(0))


def test_before_training_it_is_the_mean_of_the_frames(model: Any, frames: torch.Tensor) -> None:
    fused = model.tformer(frames, MASK, SECONDS)
    torch.testing.assert_close(fused[0], frames[0].mean(0))
    torch.testing.assert_close(fused[1], frames[1, :2].mean(0))
    assert (model.tformer(frames[:, :1], MASK[:, :1], SECONDS[:, :1]) == frames[:, 0]).all()


def test_the_temporal_bias_gives_each_query_token_its_own_part_of_the_post(model: Any) -> None:
    tformer: TFormer = copy.deepcopy(model.tformer)
    tformer.init_temporal_bias(40.0)
    frames = torch.arange(3.0)[None, :, None, None].expand(1, 3, Q, HIDDEN)
    fused = tformer(frames, MASK[:1], torch.tensor([[5.0, 6.0, 7.0]]))[0, :, 0]
    assert fused[0] < 0.1 and fused[-1] > 1.9 and (fused.diff() > 0).all()


def test_padded_frames_do_not_matter(tformer: TFormer, frames: torch.Tensor) -> None:
    other, later = frames.clone(), SECONDS.clone()
    other[1, 2], later[1, 2] = 9.0, 77.0
    torch.testing.assert_close(tformer(other, MASK, later), tformer(frames, MASK, SECONDS), atol=1e-6, rtol=0)
    alone = tformer(frames[1:, :2], MASK[1:, :2], SECONDS[1:, :2])
    torch.testing.assert_close(tformer(frames, MASK, SECONDS)[1:], alone, atol=1e-5, rtol=0)


def test_the_order_of_storage_does_not_matter(tformer: TFormer, frames: torch.Tensor) -> None:
    order = [2, 0, 1]
    shuffled = tformer(frames[:, order], MASK[:, order], SECONDS[:, order])
    torch.testing.assert_close(shuffled, tformer(frames, MASK, SECONDS), atol=1e-5, rtol=0)


def test_the_time_of_a_frame_matters(tformer: TFormer, frames: torch.Tensor) -> None:
    fused = tformer(frames, MASK, SECONDS)
    assert (tformer(frames, MASK, SECONDS[:, [1, 0, 2]]) - fused).abs().max() > 1e-3


def test_in_bfloat16_times_half_a_second_apart_have_different_features(tformer: TFormer) -> None:
    half = tformer.bfloat16()
    features = half._time_features(torch.tensor([[600.0, 600.5]]))
    assert features.dtype == torch.bfloat16
    assert (features[0, 0] - features[0, 1]).abs().max() > 0.05


def test_its_layers_are_copies_of_the_q_formers(model: Any) -> None:
    donor = next(layer for layer in model.qformer.encoder.layer if layer.has_cross_attention)
    for layer in model.tformer.layers.encoder.layer:
        torch.testing.assert_close(layer.attention.attention.query.weight, donor.attention.attention.query.weight)
        torch.testing.assert_close(
            layer.crossattention.attention.key.weight, donor.attention.attention.key.weight, rtol=0, atol=0
        )
        torch.testing.assert_close(layer.output_query.dense.weight, donor.output_query.dense.weight)
    torch.testing.assert_close(model.tformer.queries, model.query_tokens)


def test_every_parameter_gets_a_gradient(tformer: TFormer, frames: torch.Tensor) -> None:
    tformer(frames, MASK, SECONDS).square().sum().backward()
    assert not [name for name, p in tformer.named_parameters() if p.grad is None]
