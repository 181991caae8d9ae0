"""A training step of M3L beside InstructBlipVideo's on the same 10 frames: `python -m tests.benchmarks.model_step`.

The same language model reads 32 visual tokens of a post here and 320 there. Each runs in a process of its own.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.console import Console
from rich.table import Table

from tests.benchmarks.steps import (
    BATCH,
    FRAMES,
    QUERIES,
    Figures,
    Size,
    configuration,
    measured,
    media,
    ours,
    text,
    trainable,
)

WAYS = ("M3L", "InstructBlipVideo")


def main(
    way: Annotated[str, typer.Option(help="measure this one alone, here")] = "",
    size: Annotated[str, typer.Option(help="tiny or smollm2; both if not given")] = "",
    repeats: int = 5,
    json_path: Annotated[Path | None, typer.Option("--json", help="where the figures go")] = None,
) -> None:
    """Measure both ways at each size and print one table."""
    if way:
        figures = measured_here(way, size, repeats)  # type: ignore[arg-type]
        print(json.dumps(figures._asdict()))
        return
    rows = {}
    for each in [size] if size else get_args(Size):
        for name in WAYS:
            command = [sys.executable, "-m", __spec__.name, "--way", name, "--size", each, "--repeats", str(repeats)]
            told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
            rows[each, name] = Figures(**json.loads(told))
    if json_path:
        json_path.write_text(json.dumps({" ".join(key): row._asdict() for key, row in rows.items()}, indent=2) + "\n")
    _show(rows)


def measured_here(way: str, size: Size, repeats: int) -> Figures:
    """A step's figures in this process."""
    batch = BATCH[size]
    if way == "M3L":
        model = ours(size)
        seen, told = media(batch), text(batch, QUERIES, model.config.image_token_id)
        return measured(model, lambda: [model(**told, **seen).loss], repeats)
    model = _video(size)
    seen, told = media(batch), text(batch, QUERIES * FRAMES, model.config.video_token_index)
    del seen["frame_mask"], seen["frame_seconds"]  # it knows no time, and no padding of frames
    return measured(model, lambda: [model(**told, **seen).loss], repeats)


def _video(size: Size):
    from transformers import InstructBlipVideoConfig, InstructBlipVideoForConditionalGeneration

    shared = configuration(size)
    config = InstructBlipVideoConfig(
        vision_config=shared.vision_config.to_dict(),
        qformer_config=shared.qformer_config.to_dict(),
        text_config=shared.text_config,
        num_query_tokens=QUERIES,
        video_token_index=shared.image_token_index,
    )
    config.mask_token_id = shared.mask_token_id
    return trainable(InstructBlipVideoForConditionalGeneration(config))


def _show(rows: dict[tuple[str, str], Figures]) -> None:
    table = Table("language model", "way", "step, s", "of M3L's", "peak MiB", "of the steps", title="a training step")
    for (size, way), row in rows.items():
        mine = rows[size, "M3L"]
        table.add_row(size, way, f"{row.step_s:.3f}", f"{row.step_s / mine.step_s:.2f}", f"{row.peak_mib:.0f}",
                      f"{row.peak_mib - row.start_mib:.0f}")  # fmt: skip
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
