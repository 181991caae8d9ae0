"""`joint`, both losses on features seen once, beside two separate passes: `python -m tests.benchmarks.one_step`."""

from typing import Annotated, get_args

import torch
import typer
from rich.console import Console
from rich.table import Table

from m3l.config import load
from m3l.learning.training import StepLoss
from m3l.plan import plan

from .steps import BATCH, FRAMES, QUERIES, Size, measured, media, ours, text

GOAL = 1.5


def main(
    repeats: int = 5,
    size: Annotated[str, typer.Option(help="tiny or smollm2; both if not given")] = "",
) -> None:
    """Measure both ways on video posts at each size, by turns on the same model, and print one table."""
    table = Table("language model", "joint, s", "two passes, s", "two / joint", f"goal {GOAL}", title="a training step")
    for each in [size] if size else get_args(Size):
        model, batch = ours(each), BATCH[each]
        net = StepLoss(model, torch.ones(model.config.text_config.vocab_size))
        seen = media(batch)
        caption = text(batch, QUERIES, model.config.image_token_id)
        likes = {name: caption[name] for name in ("input_ids", "attention_mask")} | {"likes": torch.randn(batch)}
        ways = {
            "joint": lambda: net([seen], [False], None, [caption, likes]),  # noqa: B023
            "two": lambda: [loss for told in (caption, likes) for loss in net([seen], [False], None, [told])],  # noqa: B023
        }
        joint, two = (measured(model, ways[name], repeats).step_s for name in ("joint", "two"))
        mark = "yes" if two / joint >= GOAL else "NO"
        table.add_row(each, f"{joint:.3f}", f"{two:.3f}", f"{two / joint:.2f}", mark)
    Console(width=120).print(table)
    for preset in ("vicuna-7b", "flan-t5-xl"):
        one, joint = (
            plan(load(preset, [f"train.schedule={name}"])).step_flops(False) for name in ("alternate", "joint")
        )
        print(f"{preset}, by FLOPs of posts with {FRAMES} frames: {2 * one / joint:.2f}")


if __name__ == "__main__":
    typer.run(main)
