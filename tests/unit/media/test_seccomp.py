"""The decoder has no network access, in existing threads and in processes that it starts."""

import subprocess
import sys
from pathlib import Path

import pytest

from m3l.media.seccomp import block_network
from tests.support.media_reader import ReaderHarness

PROGRAM = """
import socket, subprocess, sys, threading
from m3l.media.seccomp import block_network

def connects():
    try:
        socket.create_connection(server.getsockname(), 1).close()
        return True
    except PermissionError:
        return False

def later():
    blocked.wait()
    print("thread", connects())

server, blocked = socket.create_server(("127.0.0.1", 0)), threading.Event()
thread = threading.Thread(target=later)
thread.start()
print("before", connects())
print("blocked", block_network())
blocked.set()
thread.join()
print("after", connects())
print("child", not subprocess.run([sys.executable, "-c", "import socket; socket.socket()"], stderr=-3).returncode)
"""


def test_neither_threads_nor_children_can_open_a_socket() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    expected = {"before": "True", "blocked": "True", "thread": "False", "after": "False", "child": "False"}
    lines = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    if lines["blocked"] == "False":
        pytest.skip("this kernel does not support seccomp filters")
    assert lines == expected


def test_the_decoder_process_has_a_seccomp_filter(harness: ReaderHarness) -> None:
    harness.assert_still_works()
    status = Path(f"/proc/{harness.reader._decoder.pid}/status").read_text()
    assert "Seccomp:\t2" in status


def test_on_other_architectures_nothing_is_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m3l.media.seccomp._MACHINES", {})
    assert not block_network()
