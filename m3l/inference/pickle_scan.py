"""Finds files that could run code when they are loaded: pickles, whatever their names."""

import pickletools
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SUFFIXES = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib"}
# torch.save writes a zip (formerly a tar) and joblib compresses its pickles: an archive may hold a pickle.
ARCHIVES = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"\x93NUMPY")
TAR = slice(257, 262)  # where a tar file says "ustar"
MAX_HEADER_BYTES = 2**27  # of a safetensors file


def find_pickles(folder: Path) -> Iterator[Path]:
    """The files below a folder that are pickles or may hold one, by name or by content."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and _is_pickle(path))


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(512)
        if path.suffix.lower() in SUFFIXES or head.startswith(ARCHIVES) or head[TAR] == b"ustar":
            return True
        if 0 < int.from_bytes(head[:8], "little") < MAX_HEADER_BYTES and head[8:9] == b"{":
            return False  # safetensors: the length of a JSON header, then the header
        file.seek(0)
        with suppress(ValueError, IndexError, UnicodeError):  # not a pickle: unknown opcode, bad argument, early end
            return any(opcode.name == "STOP" for opcode, _, _ in pickletools.genops(file))
    return False
