"""The estimate for the published checkpoints, compared with figures that were computed by hand."""

import pytest

from m3l.config import ConfigError, load
from m3l.cost.estimate import CostEstimate, estimate_cost

GIB = 2**30
PARAMETERS = {  # in millions
    "vicuna-7b": {"vision_model": 985.95, "qformer": 185.66, "language_projection": 3.15, "tformer": 19.0,
                  "language_model": 6738.9, "likes_head": 4.3},
    "flan-t5-xl": {"vision_model": 985.95, "qformer": 185.66, "language_projection": 1.57, "tformer": 19.0,
                   "language_model": 2784.0 + 65.8, "likes_head": 2.2},
}  # fmt: skip
ADAPTERS = {"vicuna-7b": 40.0, "flan-t5-xl": 35.4}
# Strategy and number of GPUs: GiB with and without activation checkpointing, 8 posts of one frame.
MEMORY = {
    "vicuna-7b": {("ddp", 2): (18, 30), ("fsdp", 2): (11.5, 23), ("fsdp", 8): (5.6, 17)},
    "flan-t5-xl": {("ddp", 2): (10, 23), ("fsdp", 2): (6.6, 19), ("fsdp", 8): (3.5, 16)},
}
FORWARD = {  # GFLOPs: one frame, one caption
    "vicuna-7b": {"vision_model": 521, "language_model": 3094},
    "flan-t5-xl": {"vision_model": 521, "language_model": 645},
}


@pytest.fixture(scope="module", params=["vicuna-7b", "flan-t5-xl"])
def preset(request: pytest.FixtureRequest) -> tuple[str, CostEstimate]:
    """A preset and its estimate."""
    return request.param, estimate_cost(load(request.param, ["train.frames=1", "train.batch_size=8"]))


def test_every_part_has_the_published_size(preset: tuple[str, CostEstimate]) -> None:
    name, estimate = preset
    for part in estimate.parts:
        assert part.parameters / 1e6 == pytest.approx(PARAMETERS[name][part.name], rel=0.02), part.name
        assert part.adapters / 1e6 == pytest.approx(ADAPTERS[name] if part.name == "language_model" else 0, rel=0.01)
        frozen, language = part.name == "vision_model", part.name == "language_model"
        assert part.trainable == (0 if frozen else part.adapters if language else part.parameters)
        assert part.bytes == 2 * (part.parameters + part.adapters) + 2 * part.trainable


def test_flops_are_those_counted_by_hand(preset: tuple[str, CostEstimate]) -> None:
    name, estimate = preset
    costs = {cost.name: cost for cost in estimate.costs}
    for part, expected in FORWARD[name].items():
        assert costs[part].forward_flops / 1e9 == pytest.approx(expected, rel=0.1), part
    assert costs["vision_model"].step_flops == costs["vision_model"].forward_flops
    language = costs["language_model"]  # LoRA: the gradients of what flows through, and of little else
    assert 1.9 < language.step_flops / language.forward_flops < 2.2


def test_memory_is_near_the_earlier_estimates(preset: tuple[str, CostEstimate]) -> None:
    name, estimate = preset
    for (strategy, gpus), expected in MEMORY[name].items():
        gib = [estimate.gpu_bytes(strategy, gpus, checkpointing) / GIB for checkpointing in (True, False)]
        assert gib == pytest.approx(expected, rel=0.3, abs=1.5), (strategy, gpus)


def test_more_gpus_take_less_time_and_checkpointing_takes_more(preset: tuple[str, CostEstimate]) -> None:
    _, estimate = preset
    assert estimate.seconds(1000, 1, False) == pytest.approx(8 * estimate.seconds(1000, 8, False))
    assert 1.2 < estimate.seconds(1000, 1, True) / estimate.seconds(1000, 1, False) < 1.5
    assert estimate.seconds(1000, 1, False) == pytest.approx(1000 * estimate.step_flops(False) / (0.4 * 989e12))


def test_joint_computes_the_common_part_of_prompts_once() -> None:
    def flops(*settings: str) -> int:
        return estimate_cost(load("vicuna-7b", list(settings))).step_flops(False)

    two_passes = 2 * flops()
    assert two_passes / flops("train.schedule=joint", "plan.common_tokens=0") == pytest.approx(1.36, abs=0.03)
    assert two_passes / flops("train.schedule=joint", "plan.common_tokens=100") == pytest.approx(1.65, abs=0.05)


def test_a_vision_cache_saves_the_vits_share_of_a_step(preset: tuple[str, CostEstimate]) -> None:
    name, estimate = preset
    assert estimate.frame_bytes == 257 * 1408 * 2
    assert estimate.vision_share == pytest.approx({"vicuna-7b": 0.08, "flan-t5-xl": 0.27}[name], abs=0.01)


def test_a_checkpoint_of_unknown_size_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^model\.checkpoint: a plan knows the sizes of Salesforce.*not of None$"):
        estimate_cost(load("tiny"))
