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

from m3l.config import Config, PlanConfig
from m3l.model.m3l import M3L

SHORT = 12  # blocks of a stack that are all counted; of a longer one, whose blocks are alike, what two more take


@dataclass(frozen=True)
class Cost:
    """One part's share of a training step, for one post."""

    name: str
    forward_flops: int
    step_flops: int  # forward and backward
    again_flops: int  # more with activation checkpointing: what trains is computed twice
    saved_bytes: int  # kept between forward and backward
    kept_bytes: int  # the same with activation checkpointing: what goes into each block
    block_bytes: int  # and what one block keeps while it is computed again


def costs(model: M3L, config: Config) -> Iterator[Cost]:
    """The parts in the order of a step. All is computed in the weights' type, as under autocast."""
    settings, frames = config.plan, config.train.frames
    model = model.to(getattr(torch, config.model.dtype)).train()
    sizes, device = model.config, torch.device("meta")
    dtype, queries = model.query_tokens.dtype, sizes.num_query_tokens

    def states(*shape: int) -> Tensor:
        return torch.empty(*shape, dtype=dtype, device=device, requires_grad=True)

    vision, q_hidden = sizes.vision_config, sizes.qformer_config.hidden_size
    pixels = torch.empty(frames, 3, vision.image_size, vision.image_size, dtype=dtype, device=device)
    patches = torch.empty(frames, (vision.image_size // vision.patch_size) ** 2 + 1, vision.hidden_size,
                          dtype=dtype, device=device)  # fmt: skip
    words = torch.zeros(frames, settings.qformer_tokens, dtype=torch.long, device=device)
    read, tells = (len(config.tasks), len(config.tasks)) if config.train.schedule == "joint" else (1, 1)
    packed = 1  # prompts that the language model reads as one
    if config.model.qformer_text == "shared":
        read, packed = 1, tells if sizes.use_decoder_only_language_model else 1

    def fuse() -> Tensor:  # without masks, which must not be looked into here
        read = states(1, frames * queries, q_hidden)
        return _attend(model.tformer.layers, model.tformer.queries, read)

    yield _cost("vision_model", model.vision_model, lambda: model.look(pixels))
    yield _cost("qformer", model.qformer, lambda: _attend(model.qformer, model.query_tokens, patches, words), read)
    yield _cost("tformer", model.tformer, fuse, read)
    yield _cost("language_model", model.language_model, lambda: _tell(model, states, settings, queries, packed),
                tells // packed)  # fmt: skip


def _attend(layers: Any, queries: Tensor, seen: Tensor, words: Tensor | None = None) -> Tensor:
    queries = queries.expand(len(seen), -1, -1)
    return layers(input_ids=words, query_embeds=queries, encoder_hidden_states=seen).last_hidden_state


def _tell(model: M3L, states: Callable[..., Tensor], settings: PlanConfig, queries: int, packed: int) -> Tensor:
    """The language model's loss of one caption, or of so many whose prompts are `packed`."""
    language, hidden = model.language_model, model.config.text_config.hidden_size
    prompt, caption = queries + settings.prompt_tokens, packed * settings.caption_tokens
    labels = torch.zeros(1, caption, dtype=torch.long, device="meta")
    if model.config.use_decoder_only_language_model:
        width = prompt + (packed - 1) * (settings.prompt_tokens - settings.common_tokens) + caption
        whole = torch.ones(1, 1, width, width, dtype=torch.bool, device="meta")  # of another shape it would be read
        embeds = states(1, width, hidden)
        read = language.model(inputs_embeds=embeds, attention_mask=whole, use_cache=False).last_hidden_state
        return F.cross_entropy(language.lm_head(read[0, -caption:]).float(), labels[0])
    read = language.get_encoder()(inputs_embeds=states(1, prompt, hidden)).last_hidden_state
    return language(encoder_outputs=BaseModelOutput(last_hidden_state=read), labels=labels, use_cache=False).loss


class _Counts(NamedTuple):
    forward: float
    step: float
    saved: float  # bytes
    inputs: float  # bytes that go into the blocks


def _cost(name: str, module: nn.Module, call: Callable[[], Tensor], times: int = 1) -> Cost:
    depth = max(len(each) for each in _stacks(module))
    if depth <= SHORT:
        whole = _counted(module, call)
        block = whole.saved / len(layers(module))
    else:
        with _only(module, 2):
            two = _counted(module, call)
        with _only(module, 4):
            four = _counted(module, call)
        whole = _Counts(*(a + (b - a) * (depth - 2) / 2 for a, b in zip(two, four, strict=True)))
        block = (four.saved - two.saved) / 2
    forward, step, saved, inputs, one = (int(times * number) for number in (*whole, block))
    trains = saved > 0  # a frozen part keeps nothing, and is not computed again
    return Cost(name, forward, step, forward * trains, saved, inputs * trains, one)


def _counted(module: nn.Module, call: Callable[[], Tensor]) -> _Counts:
    saved: dict[int, Tensor] = {}
    inputs: list[int] = []
    weights = {p.untyped_storage()._cdata for p in module.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage()._cdata  # views of one storage count once, those of weights not at all
        if place not in weights:
            saved.setdefault(place, tensor)
        return tensor

    def note(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        inputs.append(next(v for v in (*args, *named.values()) if isinstance(v, Tensor)).nbytes)

    hooks = [block.register_forward_pre_hook(note, with_kwargs=True) for block in layers(module)]
    with FlopCounterMode(display=False) as counter, saved_tensors_hooks(keep, lambda tensor: tensor):
        out = call()
        forward = counter.get_total_flops()
        if out.requires_grad:
            out.float().sum().backward()
        step = counter.get_total_flops()
    for hook in hooks:
        hook.remove()
    return _Counts(forward, step, sum(t.untyped_storage().nbytes() for t in saved.values()), sum(inputs))


@contextmanager
def _only(module: nn.Module, most: int) -> Iterator[None]:
    """The module with the first blocks of its stacks alone, for a while."""
    whole = [(each, list(each)) for each in _stacks(module)]
    for stack, _ in whole:
        del stack[most:]
    yield
    for stack, blocks in whole:
        stack.extend(blocks[most:])


def _stacks(module: nn.Module) -> list[nn.ModuleList]:
    lists = [each for each in module.modules() if isinstance(each, nn.ModuleList)]
    return [each for each in lists if all(type(block).__name__.endswith(("Layer", "Block")) for block in each)]


def layers(module: nn.Module) -> list[nn.Module]:
    """The blocks that activation checkpointing computes again, and that FSDP2 gathers one by one."""
    return [block for each in _stacks(module) for block in each]
