"""FLOPs and activations of one post, counted while the model's parts run on the meta device."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from transformers.modeling_outputs import BaseModelOutput

from m3l.config import PlanConfig
from m3l.model.m3l import M3L

MAX_COUNTED_BLOCKS = 12  # a deeper stack of equal blocks is extrapolated from 2 and 4 of them


@dataclass(frozen=True)
class PartCost:
    """What one part of the model takes of a training step, for one post.

    Attributes:
        name: The part.
        forward_flops: Of the forward pass.
        step_flops: Of the forward and the backward pass.
        recompute_flops: What activation checkpointing adds: parts that train are computed twice.
        activation_bytes: Activations that are kept from the forward to the backward pass.
        checkpointed_bytes: The same with activation checkpointing: the inputs of the blocks.
        block_bytes: Activations of one block, which activation checkpointing keeps while it computes it again.
    """

    name: str
    forward_flops: int
    step_flops: int
    recompute_flops: int
    activation_bytes: int
    checkpointed_bytes: int
    block_bytes: int


def part_costs(model: M3L, settings: PlanConfig, frames: int, tasks_per_step: int, shared_text: bool) -> list[PartCost]:
    """The cost of each part, in the order of a step.

    Args:
        model: The model on the meta device, with the weights' type that autocast computes in.
        settings: Lengths of prompts and captions.
        frames: Number of frames of the post.
        tasks_per_step: Tasks that a step trains.
        shared_text: Whether the Q-Former reads one text for all tasks, so that it runs once.
    """
    model.train()
    architecture, device = model.config, torch.device("meta")
    dtype, queries = model.query_tokens.dtype, architecture.num_query_tokens

    def states(*shape: int) -> Tensor:
        return torch.empty(*shape, dtype=dtype, device=device, requires_grad=True)

    vision = architecture.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2 + 1
    pixels = torch.empty(frames, 3, vision.image_size, vision.image_size, dtype=dtype, device=device)
    features = torch.empty(frames, patches, vision.hidden_size, dtype=dtype, device=device)
    text_ids = torch.zeros(frames, settings.qformer_tokens, dtype=torch.long, device=device)
    views = 1 if shared_text else tasks_per_step
    # Tasks on one view of a post share the beginning of their prompts, in a single pass of a decoder-only model.
    packed = tasks_per_step if shared_text and architecture.use_decoder_only_language_model else 1

    def run_tformer() -> Tensor:
        # Its layers alone: the module also computes masks, whose values the meta device does not have.
        frame_states = states(1, frames * queries, architecture.qformer_config.hidden_size)
        return _cross_attend(model.tformer.layers, model.tformer.queries, frame_states)

    def run_language_model() -> Tensor:
        return _language_model_loss(model, states, settings, packed)

    return [
        _cost("vision_model", model.vision_model, lambda: model.vision_features(pixels)),
        _cost(
            "qformer",
            model.qformer,
            lambda: _cross_attend(model.qformer, model.query_tokens, features, text_ids),
            views,
        ),
        _cost("tformer", model.tformer, run_tformer, views),
        _cost("language_model", model.language_model, run_language_model, tasks_per_step // packed),
    ]


def blocks_of(module: nn.Module) -> list[nn.Module]:
    """The transformer blocks, which activation checkpointing computes again and FSDP2 gathers one by one."""
    return [block for stack in _stacks(module) for block in stack]


def _cross_attend(layers: Any, queries: Tensor, states: Tensor, text_ids: Tensor | None = None) -> Tensor:
    queries = queries.expand(len(states), -1, -1)
    return layers(input_ids=text_ids, query_embeds=queries, encoder_hidden_states=states).last_hidden_state


def _language_model_loss(model: M3L, states: Callable[..., Tensor], settings: PlanConfig, packed: int) -> Tensor:
    """The language model's loss of `packed` captions, whose prompts it reads in one pass."""
    language, hidden = model.language_model, model.config.text_config.hidden_size
    prompt, caption = model.config.num_query_tokens + settings.prompt_tokens, packed * settings.caption_tokens
    labels = torch.zeros(1, caption, dtype=torch.long, device="meta")
    if model.config.use_decoder_only_language_model:
        width = prompt + (packed - 1) * (settings.prompt_tokens - settings.common_tokens) + caption
        # transformers reads the values of a mask with fewer dimensions, which the meta device does not have.
        mask = torch.ones(1, 1, width, width, dtype=torch.bool, device="meta")
        embeds = states(1, width, hidden)
        last = language.model(inputs_embeds=embeds, attention_mask=mask, use_cache=False).last_hidden_state
        return F.cross_entropy(language.lm_head(last[0, -caption:]).float(), labels[0])
    last = language.get_encoder()(inputs_embeds=states(1, prompt, hidden)).last_hidden_state
    return language(encoder_outputs=BaseModelOutput(last_hidden_state=last), labels=labels, use_cache=False).loss


class _Counts(NamedTuple):
    forward_flops: float
    step_flops: float
    activation_bytes: float
    input_bytes: float  # of all blocks


def _cost(name: str, module: nn.Module, call: Callable[[], Tensor], times: int = 1) -> PartCost:
    """The cost of a module that `call` runs, `times` times in a step."""
    depth = max(len(stack) for stack in _stacks(module))
    if depth <= MAX_COUNTED_BLOCKS:
        counts = _count(module, call)
        block_bytes = counts.activation_bytes / len(blocks_of(module))
    else:
        with _shortened(module, 2):
            two = _count(module, call)
        with _shortened(module, 4):
            four = _count(module, call)
        counts = _Counts(*(a + (b - a) * (depth - 2) / 2 for a, b in zip(two, four, strict=True)))
        block_bytes = (four.activation_bytes - two.activation_bytes) / 2
    forward, step, activations, inputs, block = (int(times * number) for number in (*counts, block_bytes))
    trains = activations > 0  # a frozen part keeps no activations, and is not computed again
    return PartCost(name, forward, step, forward * trains, activations, inputs * trains, block)


def _count(module: nn.Module, call: Callable[[], Tensor]) -> _Counts:
    saved: dict[int, Tensor] = {}
    input_bytes: list[int] = []
    weights = {p.untyped_storage()._cdata for p in module.parameters()}

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata  # views of one storage count once, those of weights not at all
        if storage not in weights:
            saved.setdefault(storage, tensor)
        return tensor

    def count_input(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        input_bytes.append(next(v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)).nbytes)

    hooks = [block.register_forward_pre_hook(count_input, with_kwargs=True) for block in blocks_of(module)]
    with FlopCounterMode(display=False) as counter, saved_tensors_hooks(save, lambda tensor: tensor):
        output = call()
        forward = counter.get_total_flops()
        if output.requires_grad:
            output.float().sum().backward()
        step = counter.get_total_flops()
    for hook in hooks:
        hook.remove()
    return _Counts(forward, step, sum(t.untyped_storage().nbytes() for t in saved.values()), sum(input_bytes))


@contextmanager
def _shortened(module: nn.Module, depth: int) -> Iterator[None]:
    """The module with only the first `depth` blocks of each stack, inside the `with` block."""
    stacks = [(stack, list(stack)) for stack in _stacks(module)]
    for stack, _ in stacks:
        del stack[depth:]
    yield
    for stack, blocks in stacks:
        stack.extend(blocks[depth:])


def _stacks(module: nn.Module) -> list[nn.ModuleList]:
    """The module lists of equal transformer blocks."""
    lists = [each for each in module.modules() if isinstance(each, nn.ModuleList)]
    return [each for each in lists if all(type(block).__name__.endswith(("Layer", "Block")) for block in each)]
