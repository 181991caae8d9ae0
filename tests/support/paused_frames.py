"""The stage `frames`, held in the middle of its work: `python -m tests.pipelines.held_frames FOLDER --config FILE`.

FOLDER/begun gets a line for every media file whose reading begins: its id and the worker's pid. The lines from the
number in FOLDER/hold on wait until it rises.
"""

import os
import sys
import time
from pathlib import Path

from m3l.data.records import Media, MediaFrames
from pipelines import frames
from pipelines.cli import app

CONTROL = Path(sys.argv.pop(1))


class Held(frames.Distil):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.honest, self.read = self.read, self.held

    def held(self, media: Media) -> MediaFrames:
        with (CONTROL / "begun").open("a") as begun:
            begun.write(f"{media.media_id} {os.getpid()}\n")
            begun.flush()
            line = begun.tell() // len(f"{media.media_id} {os.getpid()}\n")
        while line >= int((CONTROL / "hold").read_text()):
            time.sleep(0.02)
        return self.honest(media)


if __name__ == "__main__":
    frames.Distil = Held
    app(["frames", *sys.argv[1:]])
