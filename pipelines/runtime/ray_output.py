"""Where Ray, Tune and Serve print to: a file, so that a person sees only the lines of this project."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m3l.data import storage
from pipelines.runtime.console import console

LOG = "logs/ray.log"
_active: list[str] = []  # the log that output goes to, innermost last


@contextmanager
def ray_output(run: str) -> Iterator[str]:
    """Send all that this process prints, but for the console's lines, to `logs/ray.log` of a run.

    Standard output and error themselves are redirected, since Ray prints from C++, from `print` and from loggers.
    Where it is active already, it changes nothing.

    Args:
        run: Folder of the run, local or `s3://`.

    Yields:
        The path of the log. It is printed if the block fails.
    """
    log = f"{run}/{LOG}"
    if _active:
        yield _active[-1]
        return
    with _local_file(log) as path:
        _active.append(log)
        try:
            with _redirected(path):
                yield log
        except Exception:
            if path.exists() and path.stat().st_size:
                console.print(f"what Ray printed: {log}", highlight=False)
            raise
        finally:
            _active.pop()


@contextmanager
def _local_file(log: str) -> Iterator[Path]:
    """A local file whose content is in `log` afterwards."""
    if "://" not in log:
        path = Path(log)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path
        return
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "ray.log"
        try:
            yield path
        finally:
            storage.write_text(log, path.read_text(errors="replace"))


@contextmanager
def _redirected(path: Path) -> Iterator[None]:
    """File descriptors 1 and 2 append to a file; the console goes on where standard error was."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    own_file = console.file
    with path.open("ab") as log, os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8") as terminal:
        if _writes_to(own_file, 2):
            console.file = terminal
        try:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for saved_fd, fd in zip(saved, (1, 2), strict=True):
                os.dup2(saved_fd, fd)
                os.close(saved_fd)
            console.file = None  # type: ignore[assignment]  # sys.stderr, whatever that is


def _writes_to(file: object, fd: int) -> bool:
    """Whether a stream is that of a file descriptor, rather than one that a test has put in its place."""
    try:
        return file.fileno() == fd  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False
