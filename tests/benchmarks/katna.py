"""Katna's own extraction, end to end: `python -m tests.benchmarks.katna VIDEO` in an empty folder prints JSON."""

import json
import resource
import sys
import time
from pathlib import Path

from Katna.video import Video
from Katna.writer import KeyFrameDiskWriter


def main() -> None:
    started_s, start = _cpu_s(), time.monotonic()
    Path("frames").mkdir()
    Video().extract_video_keyframes(50, sys.argv[1], KeyFrameDiskWriter(location="frames"))
    figures = {
        "cpu_s": _cpu_s() - started_s,
        "wall_s": time.monotonic() - start,
        "frames": len(list(Path("frames").iterdir())),
        "start_cpu_s": started_s,
    }
    print(json.dumps(figures))


def _cpu_s() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
