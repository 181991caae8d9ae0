"""Our step, by the process that decodes in every pipeline: `python -m tests.benchmarks.ours VIDEO`, figures in JSON."""

import json
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import psutil

from m3l.config import MediaConfig
from m3l.media.decoder import Decoder

CONFIG = MediaConfig(stride_s=0.5, key_frames=50)


def main() -> None:
    with Decoder(CONFIG) as decoder, tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "a.png"
        cv2.imwrite(str(picture), np.zeros((64, 64, 3), np.uint8))
        decoder.read(picture)  # starts the process
        assert decoder.pid
        processes = psutil.Process(), psutil.Process(decoder.pid)
        started_s, start = _cpu_s(processes), time.monotonic()
        frames = decoder.read(Path(sys.argv[1]))
        wall_s = time.monotonic() - start
        cpu_s = _cpu_s(processes) - started_s
    figures = {"cpu_s": cpu_s, "wall_s": wall_s, "frames": len(frames), "start_cpu_s": started_s}
    print(json.dumps(figures))


def _cpu_s(processes: tuple[psutil.Process, ...]) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


if __name__ == "__main__":
    main()
