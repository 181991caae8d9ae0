"""The program of the decoder process: `python -m m3l.media.decode_worker CONFIG`, with requests on standard input.

A request is one line, a JSON string: the path of a local file. Its reply is, in this order:
  - the length of the header: 4 bytes, big-endian;
  - the header in JSON: {"frames": [[time_s, width, height, bytes], ...], "error": null or [kind, detail]};
  - the JPEG images of the frames, one after another.
A first reply without frames says that the process is ready.
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
from m3l.media.extract import EncodedFrame, extract
from m3l.media.limits import decoder_memory_bytes
from m3l.media.seccomp import block_network

ALARM_MARGIN_S = 5  # after media.decode_timeout_s, at which the parent kills this process


def main() -> None:
    """Answer requests until standard input ends."""
    config = MediaConfig.model_validate_json(sys.argv[1])
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # so that what a library prints does not mix with replies
    _enter_sandbox(decoder_memory_bytes(config))
    _send_reply(replies, [])
    for line in sys.stdin.buffer:
        # If the parent is gone, the alarm ends a decoder that hangs, even inside C code.
        signal.alarm(math.ceil(config.decode_timeout_s) + ALARM_MARGIN_S)
        frames, error = _extract(Path(json.loads(line)), config)
        signal.alarm(0)
        _send_reply(replies, frames, error)


def _enter_sandbox(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it writes no files
    if not block_network():
        print("m3l: this kernel cannot block the decoder's network access", file=sys.stderr)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes our input
    cv2.setNumThreads(1)
    av.logging.set_level(None)


def _extract(path: Path, config: MediaConfig) -> tuple[list[EncodedFrame], MediaError | None]:
    try:
        return extract(path, config), None
    except MediaError as error:
        return [], error
    except MemoryError:
        return [], MediaError("out_of_memory", f"more than {decoder_memory_bytes(config) / 2**30:.1f} GiB")
    except Exception as error:
        return [], MediaError("failed", f"{type(error).__name__} {error}")


def _send_reply(out: BinaryIO, frames: Sequence[EncodedFrame], error: MediaError | None = None) -> None:
    sizes = [(time_s, width, height, len(jpeg)) for time_s, width, height, jpeg in frames]
    reason = error and (error.kind, error.detail)
    header = json.dumps({"frames": sizes, "error": reason}).encode()
    out.write(struct.pack(">I", len(header)) + header)
    for *_, jpeg in frames:
        out.write(jpeg)
    out.flush()


if __name__ == "__main__":
    main()
