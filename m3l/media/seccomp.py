"""A process that gives up the network for good, as any user and in a container too: by a filter of system calls."""

import ctypes
import os
import struct

_MACHINES = {  # the kernel's number of the architecture, and those of its calls socket and seccomp
    "x86_64": (0xC000003E, 41, 317),
    "aarch64": (0xC00000B7, 198, 277),
}
_IO_URING_SETUP = 425  # the other way to a socket
_X32_BIT = 0x4000_0000  # the same calls under other numbers
_LOAD, _IS, _IS_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE = 0, 4  # where in the kernel's record of the call they lie
_ALLOW, _ACCESS_DENIED = 0x7FFF_0000, 0x0005_000D
_NO_NEW_PRIVILEGES = 38
_SET_FILTER, _IN_ALL_THREADS = 1, 1


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def give_up_network() -> bool:
    """No thread of this process, and no child of it, opens a socket again: PermissionError.

    False where the kernel refuses, and all stays as it was.
    """
    if os.uname().machine not in _MACHINES:
        return False
    architecture, socket, seccomp = _MACHINES[os.uname().machine]
    filter = _filter(architecture, socket)
    program = _Program(len(filter) // 8, filter)
    libc = ctypes.CDLL(None)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return False
    return libc.syscall(seccomp, _SET_FILTER, _IN_ALL_THREADS, ctypes.byref(program)) == 0


def _filter(architecture: int, socket: int) -> bytes:
    """Instructions of the kernel's packet filter: code, jumps if true and if false, value."""
    instructions = (
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IS, 0, 5, architecture),
        (_LOAD, 0, 0, _NUMBER),
        (_IS_AT_LEAST, 3, 0, _X32_BIT),
        (_IS, 2, 0, socket),
        (_IS, 1, 0, _IO_URING_SETUP),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ACCESS_DENIED),
    )
    return b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)
