"""The schedule `joint`, both losses on one encoding, against two passes: `python -m tests.benchmarks.one_step`.

The posts have 10 frames. Their prompts are the preset's or the paper's; the latter have a shorter common prefix.
"""

from itertools import product
from typing import Annotated, get_args

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from m3l.config import Config, load
from m3l.corpus.world import World
from m3l.cost.estimate import estimate_cost
from m3l.data.records import Context, ContextFrame, Example, Post
from m3l.model.build import build_processor
from m3l.prompts.collator import Collator, LikesScale
from m3l.prompts.render import render
from m3l.training.loss import StepLoss
from tests.benchmarks.steps import BATCH, FRAMES, QUERIES, Size, measured, media, ours

GOAL = 1.5
TOKENIZER_POSTS = 500  # posts that the tokenizer is trained on


def main(
    repeats: Annotated[int, typer.Option(help="number of measured steps")] = 5,
    size: Annotated[str, typer.Option(help="tiny or smollm2; default: both")] = "",
) -> None:
    """Measure both variants on video posts at each size, one after the other on the same model; print one table."""
    table = Table("language model", "prompts", "tokens", "joint, s", "two passes, s", "two / joint", f"goal {GOAL}",
                  title="a training step")  # fmt: skip
    for each, prompts in product([size] if size else get_args(Size), ("the preset's", "the paper's")):
        model, batch = ours(each), BATCH[each]
        config = load(each, [f"model.tiny.query_tokens={QUERIES}", "model.checkpoint=null"])
        if prompts == "the paper's":
            config = config.model_copy(update={"tasks": Config().tasks})
        tasks, image, mask = task_batches(config, batch)
        model.config.image_token_index, model.config.mask_token_id = image, mask
        step_loss, visual = StepLoss(model, torch.ones(model.config.text_config.vocab_size)), media(batch)
        variants = {
            "joint": lambda: step_loss([visual], [False], None, tasks),  # noqa: B023
            "two": lambda: [loss for task in tasks for loss in step_loss([visual], [False], None, [task])],  # noqa: B023
        }
        joint, two = (measured(model, variants[name], repeats).step_s for name in ("joint", "two"))
        mark = "yes" if two / joint >= GOAL else "NO"
        tokens = " + ".join(str(int(task["attention_mask"].sum()) // batch) for task in tasks)
        table.add_row(each, prompts, tokens, f"{joint:.3f}", f"{two:.3f}", f"{two / joint:.2f}", mark)
    Console(width=120).print(table)
    for preset in ("vicuna-7b", "flan-t5-xl"):
        one, joint = (
            estimate_cost(load(preset, [f"train.schedule={name}"])).step_flops(False) for name in ("alternate", "joint")
        )
        print(f"{preset}, ratio of FLOPs for posts with {FRAMES} frames: {2 * one / joint:.2f}")


def task_batches(config: Config, batch: int) -> tuple[list[dict[str, Tensor]], int, int]:
    """A batch of each task.

    Args:
        config: Corpus, tasks and model.
        batch: Number of posts.

    Returns:
        The collated first posts of the corpus for each task, the id of the image token, and that of [MASK].
    """
    world = World.build(config.corpus, config.seed)
    frames = tuple(ContextFrame(media_id="", time_s=float(i), score=0.0, image=b"") for i in range(FRAMES))
    posts = []
    for i in range(TOKENIZER_POSTS):
        story = world.story(i)
        posts.append(
            Post(post_id=str(i), username=story.account.username, posted_at=story.posted_at,
                 caption=story.caption, likes=story.parts.likes)
        )  # fmt: skip
    texts = [render(task, post) for post in posts for task in config.tasks]
    processor = build_processor(config.model, texts + [post.caption or "" for post in posts])
    examples = [
        Example(post=post, context=Context(post_id=post.post_id, task="", frames=frames)) for post in posts[:batch]
    ]
    collator = Collator(processor, config.model, LikesScale(5.0, 1.5))
    return (
        [collator.collate(examples, task) for task in config.tasks],
        collator.image_token,
        processor.tokenizer.mask_token_id,
    )


if __name__ == "__main__":
    typer.run(main)
