"""Decoding at arm's length: in a child process of bounded memory and time, replaced when it dies."""

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
from m3l.media.limits import reply_bytes

START_TIMEOUT_S = 120.0  # imports, on a busy machine
_CHILD = "m3l.media.decode_worker"
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")  # it gets no keys, no tokens
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JOBLIB_MULTIPROCESSING": "0",  # else it tries whether it may start processes: it may not
    # The pictures of a video are as large as each other: memory that is kept for the next one spares page faults.
    "MALLOC_MMAP_THRESHOLD_": str(2**26),
    "MALLOC_TRIM_THRESHOLD_": str(2**28),
}


class Decoder:
    """Reads local media files in one child (m3l/media/decode_worker.py), started when needed; thread-safe."""

    def __init__(self, config: MediaConfig) -> None:
        self.config = config
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def read(self, path: Path) -> tuple[KeyFrame, ...]:
        """The key frames of a file in time order, at least one; MediaError, also `timeout` and `crashed`."""
        with self._lock:
            try:
                child = self._running()
                _ask(child, path)
                frames, error = _reply(child, self.config, self.config.decode_timeout_s)
            except BaseException:  # also Ctrl-C: a late reply would be taken for the next one's
                self._stop()
                raise
        if error:
            raise error
        return frames

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._child.pid if self._child and self._child.poll() is None else None

    def close(self) -> None:
        with self._lock:
            self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self.pid is None:
            self._stop()
            self._child = _start(self.config)
            _reply(self._child, self.config, START_TIMEOUT_S)
        assert self._child
        return self._child

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                assert pipe
                pipe.close()


def _start(config: MediaConfig) -> subprocess.Popen[bytes]:
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ} | _ENVIRONMENT
    environment["PYTHONPATH"] = os.pathsep.join(str(Path(folder).absolute()) for folder in sys.path)
    command = [sys.executable, "-P", "-m", _CHILD, config.model_dump_json()]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe, env=environment)


def _ask(child: subprocess.Popen[bytes], path: Path) -> None:
    assert child.stdin
    try:
        child.stdin.write(json.dumps(str(path.absolute())).encode() + b"\n")
    except OSError:
        raise _crashed(child) from None


def _reply(
    child: subprocess.Popen[bytes], config: MediaConfig, timeout_s: float
) -> tuple[tuple[KeyFrame, ...], MediaError | None]:
    """The next reply, as m3l/media/decode_worker.py describes it, taken as data of a stranger."""
    deadline, left = time.monotonic() + timeout_s, reply_bytes(config)

    def receive(count: int) -> bytes:
        nonlocal left
        left -= count
        if left < 0 or count < 0:
            raise MediaError("crashed", f"a reply of more than {reply_bytes(config):,} bytes")
        return _receive(child, count, deadline)

    (length,) = struct.unpack(">I", receive(4))
    try:
        header: dict[str, Any] = json.loads(receive(length))
        error = MediaError(*header["error"]) if header["error"] else None
        sizes = [(float(time_s), int(w), int(h), int(size)) for time_s, w, h, size in header["frames"]]
    except (ValueError, KeyError, TypeError) as mistake:
        raise MediaError("crashed", f"a reply that makes no sense: {mistake}") from None
    frames = tuple(KeyFrame(time_s=t, width=w, height=h, image=receive(size)) for t, w, h, size in sizes)
    return frames, error


def _receive(child: subprocess.Popen[bytes], count: int, deadline: float) -> bytes:
    assert child.stdout
    data = bytearray()
    ready = select.poll()
    ready.register(child.stdout, select.POLLIN)
    while len(data) < count:
        if not ready.poll(max(0, deadline - time.monotonic()) * 1000):
            raise MediaError("timeout", "decoding took longer than media.decode_timeout_s")
        chunk = os.read(child.stdout.fileno(), min(count - len(data), 2**20))
        if not chunk:
            raise _crashed(child)
        data += chunk
    return bytes(data)


def _crashed(child: subprocess.Popen[bytes]) -> MediaError:
    child.kill()
    return MediaError("crashed", f"the decoder ended with {child.wait()}")  # -N: killed by signal N
