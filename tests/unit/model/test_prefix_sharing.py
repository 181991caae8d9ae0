"""What a causal model reads once for all tasks gives what it gives when each task is read alone."""

import copy
from typing import Any

import torch

from m3l.model.m3l import M3L
from m3l.model.prefix_sharing import pack
from tests.support.posts import BEHAVIOUR, CONTENT, collator, example

POSTS = [example(0, frames=3), example(1, frames=0, username="somebody else"), example(2)]


def batches(processor: Any) -> list[dict[str, torch.Tensor]]:
    return [collator(processor).training(POSTS, task) for task in (CONTENT, BEHAVIOUR)]


def test_a_token_reads_its_own_prompt_up_to_itself(processor: Any) -> None:
    told = batches(processor)
    packed = pack([(batch["input_ids"], batch["attention_mask"]) for batch in told])
    for batch, places in zip(told, packed.places, strict=True):
        for row, known in enumerate(batch["attention_mask"].bool()):
            at, own = places[row][known], batch["input_ids"][row][known]
            assert packed.input_ids[row][at].tolist() == own.tolist()
            assert packed.position_ids[row][at].tolist() == list(range(len(own)))
            for i, place in enumerate(at):
                read = packed.attention_mask[row, 0, place].nonzero().flatten()
                assert read.tolist() == at[: i + 1].tolist()


def test_what_is_alike_is_there_once(processor: Any) -> None:
    content = collator(processor).prompts(POSTS, CONTENT)
    alone = content["input_ids"], content["attention_mask"]
    assert pack([alone, alone]).input_ids.shape == alone[0].shape
    longest = int((content["attention_mask"]).sum(1).max())
    told = batches(processor)
    both = sum(int(batch["attention_mask"].sum(1).max()) for batch in told)
    width = pack([(batch["input_ids"], batch["attention_mask"]) for batch in told]).input_ids.shape[1]
    assert longest < width < both - collator(processor).query_tokens


def test_prompts_that_begin_unlike_stand_side_by_side() -> None:
    ids, mask = torch.tensor([[0, 5, 6], [7, 8, 9]]), torch.tensor([[0, 1, 1], [1, 1, 1]])
    other, whole = torch.tensor([[6, 5], [7, 8]]), torch.ones(2, 2, dtype=torch.long)
    packed = pack([(ids, mask), (other, whole)])
    assert packed.input_ids.tolist() == [[5, 6, 6, 5], [7, 8, 9, 0]]
    assert packed.position_ids.tolist()[0] == [0, 1, 0, 1]


def test_losses_and_gradients_are_those_of_each_task_alone(model: M3L, processor: Any) -> None:
    told, media = batches(processor), collator(processor).media(POSTS, CONTENT)
    packs, apart = copy.deepcopy(model), copy.deepcopy(model)
    together = packs.tell_all(told, packs.see(**media))
    visual = apart.see(**media)
    each = [apart(**batch, visual=visual) for batch in told]
    for ours, own in zip(together, each, strict=True):
        torch.testing.assert_close(ours.loss, own.loss, atol=1e-6, rtol=1e-5)
    for made in (together, each):
        torch.stack([out.loss for out in made]).sum().backward()
    for (name, ours), own in zip(packs.named_parameters(), apart.parameters(), strict=True):
        assert (ours.grad is None) == (own.grad is None), name
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, own.grad, atol=1e-5, rtol=1e-3)
