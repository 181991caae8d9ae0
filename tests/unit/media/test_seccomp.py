"""The decoder has no network: neither the threads that it has already, nor the processes that it starts."""

import subprocess
import sys
from pathlib import Path

import pytest

from m3l.media.seccomp import give_up_network
from tests.support.media_reader import Desk

PROGRAM = """
import socket, subprocess, sys, threading
from m3l.media.network import give_up_network

def connects():
    try:
        socket.create_connection(server.getsockname(), 1).close()
        return True
    except PermissionError:
        return False

def later():
    given_up.wait()
    print("thread", connects())

server, given_up = socket.create_server(("127.0.0.1", 0)), threading.Event()
thread = threading.Thread(target=later)
thread.start()
print("before", connects())
print("given up", give_up_network())
given_up.set()
thread.join()
print("after", connects())
print("child", not subprocess.run([sys.executable, "-c", "import socket; socket.socket()"], stderr=-3).returncode)
"""


def test_no_thread_and_no_child_opens_a_socket_again() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    expected = {"before": "True", "given up": "True", "thread": "False", "after": "False", "child": "False"}
    lines = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    if lines["given up"] == "False":
        pytest.skip("this kernel refuses")
    assert lines == expected


def test_the_decoder_has_given_it_up(desk: Desk) -> None:
    desk.assert_good()
    status = Path(f"/proc/{desk.reader._decoder.pid}/status").read_text()
    assert "Seccomp:\t2" in status


def test_elsewhere_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m3l.media.seccomp._MACHINES", {})
    assert not give_up_network()
