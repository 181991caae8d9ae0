"""Extracting key frames against ffmpeg and Katna, side by side: `python -m tests.benchmarks.distil --json FILE`.

Ours opens a video, decodes what is needed, samples 2 frames per second, selects 50 and encodes them. It alternates
with ffmpeg, which decodes and samples only, and with Katna's own extract_video_keyframes.
"""

import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Annotated

import av
import typer
from rich.console import Console
from rich.table import Table

from tests.benchmarks import exact
from tests.benchmarks.footage import Mood, footage
from tests.benchmarks.measure import Cost, cost_of_command, cost_of_step

FFMPEG_GOAL, KATNA_CPU_GOAL, KATNA_MEMORY_GOAL = 0.75, 50, 0.25
CLIPS: tuple[tuple[int, Mood], ...] = ((720, "lively"), (720, "calm"), (1080, "lively"))
Measure = Callable[[Path, Path], Cost]  # (video, empty folder) -> cost


def main(
    repeats: Annotated[int, typer.Option(help="measurements of ours and of ffmpeg, interleaved")] = 3,
    katna_repeats: Annotated[int, typer.Option(help="measurements of Katna, of three CPU minutes each; 0: none")] = 1,
    katna_1080p: Annotated[bool, typer.Option("--katna-1080p", help="measure Katna at 1080p, too")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="write the figures here")] = None,
) -> None:
    """Print the medians of CPU seconds and peak memory, of each process with its children."""
    if not shutil.which("ffmpeg"):
        print("ffmpeg is not installed, so there is no comparison with it: apt-get install ffmpeg")
    rows = []
    for height, mood in CLIPS:
        video = footage(height, mood)
        tools = dict(_tools(katna_repeats > 0 and (height == 720 or katna_1080p)))
        costs: dict[str, list[Cost]] = {name: [] for name in tools}
        for repeat in range(max(repeats, katna_repeats)):
            for name, measure in tools.items():
                if repeat < (katna_repeats if name == "katna" else repeats):
                    with tempfile.TemporaryDirectory() as folder:
                        costs[name].append(measure(video, Path(folder)))
        rows += _rows(f"{height}p {mood}", costs)
        identity = exact.compare(video)
        rows[-len(tools)] |= identity._asdict()  # the row of "ours"
    figures = {"machine": _machine(), "rows": rows}
    _show(figures)
    if json_path:
        json_path.write_text(json.dumps(figures, indent=2) + "\n")


def _tools(katna: bool) -> Iterator[tuple[str, Measure]]:
    yield "ours", lambda video, folder: cost_of_step("tests.benchmarks.ours", video, folder)
    if shutil.which("ffmpeg"):
        yield "ffmpeg", lambda video, folder: cost_of_command(_ffmpeg(video), folder)
        yield "ffmpeg, 1 thread", lambda video, folder: cost_of_command(_ffmpeg(video, "-threads", "1"), folder)
    if katna:
        yield "katna", lambda video, folder: cost_of_step("tests.benchmarks.katna", video, folder)


def _ffmpeg(video: Path, *options: str) -> list[str]:
    return ["ffmpeg", "-v", "error", "-nostdin", *options, "-i", str(video), "-vf", "fps=2", "-f", "null", "-"]


def _rows(video: str, costs: dict[str, list[Cost]]) -> list[dict[str, object]]:
    cpu_s = {name: median(cost.cpu_s for cost in each) for name, each in costs.items()}
    peak_mib = {name: median(cost.peak_mib for cost in each) for name, each in costs.items()}
    return [
        {
            "video": video,
            "tool": name,
            "repeats": len(each),
            "cpu_s": round(cpu_s[name], 2),
            "all_cpu_s": [round(cost.cpu_s, 2) for cost in each],
            "ours_cpu_ratio": round(cpu_s["ours"] / cpu_s[name], 4),
            "wall_s": round(median(cost.wall_s for cost in each), 2),
            "peak_mib": round(peak_mib[name]),
            "ours_memory_ratio": round(peak_mib["ours"] / peak_mib[name], 3),
        }
        | each[-1].output
        for name, each in costs.items()
    ]


def _machine() -> dict[str, object]:
    version = ""
    if shutil.which("ffmpeg"):
        version = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True).stdout.split(" Copyright")[0]
    libavcodec = ".".join(map(str, av.library_versions["libavcodec"]))
    return {"machine": platform.machine(), "cores": os.cpu_count(), "ffmpeg": version, "libavcodec of PyAV": libavcodec}


def _show(figures: dict) -> None:
    table = Table(
        "video",
        "tool",
        "repeats",
        "CPU s",
        "ours / this",
        "peak MiB",
        "ours / this",
        "goal",
        title="key frames of 60 s of video",
    )
    for row in figures["rows"]:
        cpu, memory = row["ours_cpu_ratio"], row["ours_memory_ratio"]
        goal = ""
        match row["tool"]:
            case "ffmpeg":
                goal = f"{_mark(cpu <= FFMPEG_GOAL)} CPU at most {FFMPEG_GOAL}"
            case "katna":
                reached = cpu <= 1 / KATNA_CPU_GOAL and memory <= KATNA_MEMORY_GOAL
                goal = f"{_mark(reached)} CPU at most 1/{KATNA_CPU_GOAL}, memory 1/4"
            case "ours":
                wrong = row["wrong_times"] + row["wrong_pictures"]
                goal = f"{_mark(not wrong)} {row['samples'] - wrong} of {row['samples']} samples exact"
        cells = (
            row["video"],
            row["tool"],
            row["repeats"],
            row["cpu_s"],
            f"{cpu:.3f}",
            row["peak_mib"],
            f"{memory:.2f}",
            goal,
        )
        table.add_row(*map(str, cells))
    Console(width=120).print(table, *(f"{name}: {value}" for name, value in figures["machine"].items()), sep="\n")


def _mark(reached: bool) -> str:
    return "yes:" if reached else "NO:"


if __name__ == "__main__":
    typer.run(main)
