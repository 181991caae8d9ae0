"""Blocking a process's network access for good with a seccomp filter: needs no privileges, works in containers."""

import ctypes
import os
import struct

_MACHINES = {  # the kernel's number of the architecture, and of its system calls socket and seccomp
    "x86_64": (0xC000003E, 41, 317),
    "aarch64": (0xC00000B7, 198, 277),
}
_IO_URING_SETUP = 425  # io_uring could open a socket without the system call
_X32_BIT = 0x4000_0000  # the x32 ABI has the same system calls under other numbers
_LOAD, _IS, _IS_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE = 0, 4  # their offsets in the kernel's record of a system call
_ALLOW, _ACCESS_DENIED = 0x7FFF_0000, 0x0005_000D
_NO_NEW_PRIVILEGES = 38
_SET_FILTER, _IN_ALL_THREADS = 1, 1


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def block_network() -> bool:
    """Make every attempt of this process to open a socket a PermissionError, in all threads and future children.

    Returns:
        False if the kernel or the architecture does not support it; nothing has changed then.
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
    """Instructions of the kernel's packet filter (BPF): code, jump if true, jump if false, value."""
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
