"""CLIP in the embedding stage's actor against a bare loop over the same frames: `python -m tests.benchmarks.clip`.

Both decode the same JPEG key frames and embed them with the same randomly initialised ViT; the actor also reads the
frames from keyframes/ and builds the rows of its output. A third variant is the bare loop in float32.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import cv2
import numpy as np
import pyarrow as pa
import skimage.data
import torch
import typer
from rich.console import Console
from rich.table import Table

from m3l.config import ClipConfig, Config, load
from m3l.data import storage
from m3l.data.records import KeyFrame, MediaFrames, media_id
from m3l.data.schemas import KEYFRAMES, to_table
from m3l.retriever.clip import Retriever
from m3l.retriever.embeddings import row_key
from pipelines.workers.embed import Embed

GOAL = 0.9
FRAMES_PER_FILE = 16
HEIGHT, WIDTH = 360, 640


def main(
    frames: Annotated[int, typer.Option(help="number of key frames of 360 x 640 pixels")] = 128,
    repeats: Annotated[int, typer.Option(help="measurements of each variant, interleaved")] = 3,
    name: Annotated[str, typer.Option(help="architecture, as open_clip names it")] = "ViT-B-32",
    json_path: Annotated[Path | None, typer.Option("--json", help="write the figures here")] = None,
) -> None:
    """Print the median of frames per CPU second for each variant, on one thread."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as run:
        config = load("tiny", [f"paths.run={run}"])
        files = _files(max(1, frames // FRAMES_PER_FILE))
        storage.write_part(to_table(files, KEYFRAMES), config.paths.of("keyframes"), [file.media_id for file in files])
        float32 = Retriever.build(ClipConfig(name=name, pretrained=None), seed=0)
        float32.save(config.paths.of("retriever"))
        figures = _figures(_variants(config, files, float32), sum(len(file.frames) for file in files), repeats)
    _show(figures, name)
    if json_path:
        json_path.write_text(json.dumps(figures, indent=2) + "\n")


def _files(count: int) -> list[MediaFrames]:
    """Media files made of photographs; each frame is shifted and has its own noise."""
    random = np.random.default_rng(0)
    photographs = [getattr(skimage.data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")]
    files = []
    for number in range(count):
        frames = []
        for at in range(FRAMES_PER_FILE):
            picture = cv2.resize(np.roll(photographs[number % 4], 9 * at, axis=1), (WIDTH, HEIGHT))
            picture = cv2.add(picture, random.integers(0, 9, picture.shape, np.uint8))
            image = cv2.imencode(".jpg", picture)[1].tobytes()
            frames.append(KeyFrame(time_s=float(at), image=image, width=WIDTH, height=HEIGHT))
        url = f"{number}.mp4"
        files.append(MediaFrames(media_id=media_id(url), url=url, kind="video", frames=tuple(frames)))
    return files


def _variants(config: Config, files: list[MediaFrames], float32: Retriever) -> dict[str, Callable[[], object]]:
    images = [frame.image for file in files for frame in file.frames]
    names = [file.media_id for file in files]
    keys = [row_key("media", name) for name in names]
    block = pa.table({"key": keys, "kind": ["media"] * len(names), "name": names})
    actor = Embed(config)  # as in the stage: on the configured device, in bfloat16 if that is faster
    return {
        "the stage's actor": lambda: actor(block),
        "a bare loop": lambda: actor.retriever.encode_images(images),
        "a bare loop in float32": lambda: float32.encode_images(images),
    }


def _figures(variants: dict[str, Callable[[], object]], frames: int, repeats: int) -> list[dict[str, float | str]]:
    costs: dict[str, list[float]] = {name: [] for name in variants}
    for repeat in range(repeats + 1):
        for name, run in variants.items():
            started = time.process_time()
            run()
            if repeat:  # the first repeat warms up
                costs[name].append(time.process_time() - started)
    rates = {name: frames / median(each) for name, each in costs.items()}
    bare = rates["a bare loop"]
    return [
        {"variant": name, "frames": frames, "frames_per_cpu_s": round(rate, 1), "of_bare": round(rate / bare, 3)}
        for name, rate in rates.items()
    ]


def _show(figures: list[dict[str, float | str]], name: str) -> None:
    table = Table(
        "variant", "frames / CPU s", "of the bare loop", "goal", title=f"{name}, {figures[0]['frames']} frames"
    )
    for row in figures:
        reached = "yes" if float(row["of_bare"]) >= GOAL else "NO"
        goal = f"{reached}: at least {GOAL}" if row["variant"] == "the stage's actor" else ""
        table.add_row(str(row["variant"]), str(row["frames_per_cpu_s"]), f"{row['of_bare']:.2f}", goal)
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
