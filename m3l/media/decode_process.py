"""Decoding in a sandboxed subprocess of bounded memory and time, which is restarted when it dies."""

import json
import os
import select
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

from m3l.config import MediaConfig
from m3l.data.records import KeyFrame
from m3l.media.errors import MediaError
from m3l.media.limits import max_reply_bytes

START_TIMEOUT_S = 120.0  # for imports, on a busy machine
_WORKER_MODULE = "m3l.media.decode_worker"
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")  # nothing else, so no keys and no tokens
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JOBLIB_MULTIPROCESSING": "0",  # otherwise joblib tests whether it may start processes, which it may not
    # All pictures of a video have the same size: reusing freed memory for the next one saves page faults.
    "MALLOC_MMAP_THRESHOLD_": str(2**26),
    "MALLOC_TRIM_THRESHOLD_": str(2**28),
}


class DecoderProcess:
    """Reads local media files in one subprocess (m3l/media/decode_worker.py); thread-safe.

    The process starts with the first file and ends with `close`, or with the `with` block.

    Args:
        config: Limits and sampling, see `MediaConfig`.
    """

    def __init__(self, config: MediaConfig) -> None:
        self.config = config
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def read(self, path: Path) -> tuple[KeyFrame, ...]:
        """The key frames of a local file in time order, at least one.

        Raises:
            MediaError: Every kind except those of fetching; `timeout` and `crashed` also end the process.
        """
        with self._lock:
            try:
                process = self._ensure_running()
                _send_request(process, path)
                frames, error = _receive_reply(process, self.config, self.config.decode_timeout_s)
            except BaseException:  # Ctrl-C too: otherwise a late reply would be taken for that of the next file
                self._stop()
                raise
        if error:
            raise error
        return frames

    @property
    def pid(self) -> int | None:
        """The subprocess's id; None while it is not running."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def close(self) -> None:
        """End the subprocess."""
        with self._lock:
            self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ensure_running(self) -> subprocess.Popen[bytes]:
        if self.pid is None:
            self._stop()
            self._process = _start(self.config)
            _receive_reply(self._process, self.config, START_TIMEOUT_S)
        assert self._process
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe
                pipe.close()


def _start(config: MediaConfig) -> subprocess.Popen[bytes]:
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ} | _ENVIRONMENT
    environment["PYTHONPATH"] = os.pathsep.join(str(Path(folder).absolute()) for folder in sys.path)
    command = [sys.executable, "-P", "-m", _WORKER_MODULE, config.model_dump_json()]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe, env=environment)


def _send_request(process: subprocess.Popen[bytes], path: Path) -> None:
    assert process.stdin
    try:
        process.stdin.write(json.dumps(str(path.absolute())).encode() + b"\n")
    except OSError:
        raise _crashed(process) from None


def _receive_reply(
    process: subprocess.Popen[bytes], config: MediaConfig, timeout_s: float
) -> tuple[tuple[KeyFrame, ...], MediaError | None]:
    """The next reply in the format of m3l/media/decode_worker.py, which is not trusted: sizes and types are checked."""
    deadline, remaining = time.monotonic() + timeout_s, max_reply_bytes(config)

    def receive(count: int) -> bytes:
        nonlocal remaining
        remaining -= count
        if remaining < 0 or count < 0:
            raise MediaError("crashed", f"a reply of more than {max_reply_bytes(config):,} bytes")
        return _receive_bytes(process, count, deadline)

    (length,) = struct.unpack(">I", receive(4))
    try:
        header: dict[str, Any] = json.loads(receive(length))
        error = MediaError(*header["error"]) if header["error"] else None
        sizes = [(float(time_s), int(w), int(h), int(size)) for time_s, w, h, size in header["frames"]]
    except (ValueError, KeyError, TypeError) as mistake:
        raise MediaError("crashed", f"an invalid reply: {mistake}") from None
    frames = tuple(KeyFrame(time_s=t, width=w, height=h, image=receive(size)) for t, w, h, size in sizes)
    return frames, error


def _receive_bytes(process: subprocess.Popen[bytes], count: int, deadline: float) -> bytes:
    """Exactly `count` bytes, before `deadline` on the monotonic clock."""
    assert process.stdout
    data = bytearray()
    ready = select.poll()
    ready.register(process.stdout, select.POLLIN)
    while len(data) < count:
        if not ready.poll(max(0, deadline - time.monotonic()) * 1000):
            raise MediaError("timeout", "decoding took longer than media.decode_timeout_s")
        chunk = os.read(process.stdout.fileno(), min(count - len(data), 2**20))
        if not chunk:
            raise _crashed(process)
        data += chunk
    return bytes(data)


def _crashed(process: subprocess.Popen[bytes]) -> MediaError:
    process.kill()
    return MediaError("crashed", f"the decoder ended with {process.wait()}")  # -N: killed by signal N
