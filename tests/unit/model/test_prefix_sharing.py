"""Packing prompts of several tasks into one sequence changes neither losses nor gradients."""

import copy
from typing import Any

import torch

from m3l.model.m3l import M3L
from m3l.model.prefix_sharing import pack_prompts
from tests.support.posts import BEHAVIOUR, CONTENT, example, make_collator

POSTS = [example(0, frames=3), example(1, frames=0, username="somebody else"), example(2)]


def batches(processor: Any) -> list[dict[str, torch.Tensor]]:
    """The arguments of `forward` of each task, without media."""
    return [make_collator(processor).collate(POSTS, task) for task in (CONTENT, BEHAVIOUR)]


def test_a_token_attends_to_its_own_prompt_up_to_itself(processor: Any) -> None:
    tasks = batches(processor)
    packed = pack_prompts([(batch["input_ids"], batch["attention_mask"]) for batch in tasks])
    for batch, token_indices in zip(tasks, packed.token_indices, strict=True):
        for row, is_token in enumerate(batch["attention_mask"].bool()):
            indices, tokens = token_indices[row][is_token], batch["input_ids"][row][is_token]
            assert packed.input_ids[row][indices].tolist() == tokens.tolist()
            assert packed.position_ids[row][indices].tolist() == list(range(len(tokens)))
            for i, index in enumerate(indices):
                attended = packed.attention_mask[row, 0, index].nonzero().flatten()
                assert attended.tolist() == indices[: i + 1].tolist()


def test_a_common_prefix_is_stored_once(processor: Any) -> None:
    content = make_collator(processor).prompts(POSTS, CONTENT)
    alone = content["input_ids"], content["attention_mask"]
    assert pack_prompts([alone, alone]).input_ids.shape == alone[0].shape
    longest = int((content["attention_mask"]).sum(1).max())
    tasks = batches(processor)
    both = sum(int(batch["attention_mask"].sum(1).max()) for batch in tasks)
    width = pack_prompts([(batch["input_ids"], batch["attention_mask"]) for batch in tasks]).input_ids.shape[1]
    assert longest < width < both - make_collator(processor).query_tokens


def test_prompts_without_a_common_prefix_are_concatenated() -> None:
    ids, mask = torch.tensor([[0, 5, 6], [7, 8, 9]]), torch.tensor([[0, 1, 1], [1, 1, 1]])
    other, ones = torch.tensor([[6, 5], [7, 8]]), torch.ones(2, 2, dtype=torch.long)
    packed = pack_prompts([(ids, mask), (other, ones)])
    assert packed.input_ids.tolist() == [[5, 6, 6, 5], [7, 8, 9, 0]]
    assert packed.position_ids.tolist()[0] == [0, 1, 0, 1]


def test_losses_and_gradients_are_those_of_each_task_alone(model: M3L, processor: Any) -> None:
    tasks, media = batches(processor), make_collator(processor).media(POSTS, CONTENT)
    packing, separate = copy.deepcopy(model), copy.deepcopy(model)
    packed_outputs = packing.forward_tasks(tasks, packing.encode_media(**media))
    visual = separate.encode_media(**media)
    separate_outputs = [separate(**batch, visual=visual) for batch in tasks]
    for actual, expected in zip(packed_outputs, separate_outputs, strict=True):
        torch.testing.assert_close(actual.loss, expected.loss, atol=1e-6, rtol=1e-5)
    for outputs in (packed_outputs, separate_outputs):
        torch.stack([out.loss for out in outputs]).sum().backward()
    for (name, actual), expected in zip(packing.named_parameters(), separate.parameters(), strict=True):
        assert (actual.grad is None) == (expected.grad is None), name
        if actual.grad is not None:
            torch.testing.assert_close(actual.grad, expected.grad, atol=1e-5, rtol=1e-3)
