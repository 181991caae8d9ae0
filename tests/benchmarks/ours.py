"""Our extraction, in the decoder process that the stages use: `python -m tests.benchmarks.ours VIDEO` prints JSON."""

import json
import sys
import time
from pathlib import Path

import psutil

from m3l.config import MediaConfig
from m3l.media.decode_process import DecoderProcess
from tests.benchmarks.footage import footage

CONFIG = MediaConfig(stride_s=0.5, key_frames=50)


def main() -> None:
    with DecoderProcess(CONFIG) as decoder:
        decoder.read(footage(180, "calm"))  # starts the process and loads Katna's libraries, once for all videos
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
