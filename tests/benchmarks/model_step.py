"""A training step of M3L against InstructBlipVideo on the same 10 frames: `python -m tests.benchmarks.model_step`.

The same language model reads 32 visual tokens per post in M3L and 320 in InstructBlipVideo. Each variant runs in a
separate process.
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

MODELS = ("M3L", "InstructBlipVideo")


def main(
    model: Annotated[str, typer.Option(help="measure this model alone, in this process")] = "",
    size: Annotated[str, typer.Option(help="tiny or smollm2; default: both")] = "",
    repeats: Annotated[int, typer.Option(help="number of measured steps")] = 5,
    json_path: Annotated[Path | None, typer.Option("--json", help="write the figures here")] = None,
) -> None:
    """Measure both models at each size and print one table."""
    if model:
        figures = measure_here(model, size, repeats)  # type: ignore[arg-type]
        print(json.dumps(figures._asdict()))
        return
    rows = {}
    for each in [size] if size else get_args(Size):
        for name in MODELS:
            command = [sys.executable, "-m", __spec__.name, "--model", name, "--size", each, "--repeats", str(repeats)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
            rows[each, name] = Figures(**json.loads(output))
    if json_path:
        json_path.write_text(json.dumps({" ".join(key): row._asdict() for key, row in rows.items()}, indent=2) + "\n")
    _show(rows)


def measure_here(name: str, size: Size, repeats: int) -> Figures:
    """The figures of a model's training step in this process."""
    batch = BATCH[size]
    if name == "M3L":
        model = ours(size)
        visual, textual = media(batch), text(batch, QUERIES, model.config.image_token_id)
        return measured(model, lambda: [model(**textual, **visual).loss], repeats)
    model = _video(size)
    visual, textual = media(batch), text(batch, QUERIES * FRAMES, model.config.video_token_index)
    del visual["frame_mask"], visual["frame_seconds"]  # InstructBlipVideo has neither times nor padded frames
    return measured(model, lambda: [model(**textual, **visual).loss], repeats)


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
    table = Table(
        "language model", "model", "step, s", "/ M3L's", "peak MiB", "of this, the steps", title="a training step"
    )
    for (size, name), row in rows.items():
        ours = rows[size, "M3L"]
        table.add_row(size, name, f"{row.step_s:.3f}", f"{row.step_s / ours.step_s:.2f}", f"{row.peak_mib:.0f}",
                      f"{row.peak_mib - row.start_mib:.0f}")  # fmt: skip
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
