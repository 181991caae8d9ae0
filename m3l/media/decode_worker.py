"""The process that decodes: `python -m m3l.media.child CONFIG`, one request a line in, one reply each out.

A request is a JSON string: the path of a local file. A reply is the length of its header (4 bytes,
big-endian), the header in JSON, {"frames": [[time_s, width, height, bytes], ...], "error": null or [kind,
detail]}, and the JPEGs one after another. The first reply, with no frames, says that the process is ready.
"""

import json
import math
import os
import resource
import signal
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import av
import cv2

from m3l.config import MediaConfig
from m3l.media.errors import MediaError
from m3l.media.extract import Encoded, extract
from m3l.media.limits import decoder_bytes
from m3l.media.seccomp import give_up_network


def main() -> None:
    config = MediaConfig.model_validate_json(sys.argv[1])
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no reply
    _confine(decoder_bytes(config))
    _reply(replies, [])
    for line in sys.stdin.buffer:
        # Where the parent is gone, the alarm ends a decoding without end, in the middle of C code.
        signal.alarm(math.ceil(config.decode_timeout_s) + 5)
        frames, error = _read(Path(json.loads(line)), config)
        signal.alarm(0)
        _reply(replies, frames, error)


def _confine(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it writes no files
    if not give_up_network():
        print("m3l: this kernel lets the decoder keep its network", file=sys.stderr)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which then closes our input
    cv2.setNumThreads(1)
    av.logging.set_level(None)


def _read(path: Path, config: MediaConfig) -> tuple[list[Encoded], MediaError | None]:
    try:
        return extract(path, config), None
    except MediaError as error:
        return [], error
    except MemoryError:
        return [], MediaError("out_of_memory", f"more than {decoder_bytes(config) / 2**30:.1f} GiB")
    except Exception as error:
        return [], MediaError("failed", f"{type(error).__name__} {error}")


def _reply(out: BinaryIO, frames: Sequence[Encoded], error: MediaError | None = None) -> None:
    sizes = [(time_s, width, height, len(jpeg)) for time_s, width, height, jpeg in frames]
    reason = error and (error.kind, error.detail)
    header = json.dumps({"frames": sizes, "error": reason}).encode()
    out.write(struct.pack(">I", len(header)) + header)
    for *_, jpeg in frames:
        out.write(jpeg)
    out.flush()


if __name__ == "__main__":
    main()
