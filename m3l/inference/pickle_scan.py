"""Files that could run code when they are loaded: pickles, whatever they are called."""

import pickletools
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SUFFIXES = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib"}
# torch.save writes a zip (once a tar), joblib packs its pickles: what unpacks a file by itself may load one.
ARCHIVES = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"\x93NUMPY")
TAR = slice(257, 262)
HEADER_BYTES = 2**27  # of a safetensors file, at most


def pickles(folder: Path) -> Iterator[Path]:
    """The files below the folder that are pickles or may hold one, by their names or by their contents."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and _is_pickle(path))


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(512)
        if path.suffix.lower() in SUFFIXES or head.startswith(ARCHIVES) or head[TAR] == b"ustar":
            return True
        if 0 < int.from_bytes(head[:8], "little") < HEADER_BYTES and head[8:9] == b"{":
            return False  # safetensors: the length of a JSON header, and the header
        file.seek(0)
        with suppress(ValueError, IndexError, UnicodeError):  # no pickle: an unknown opcode, a bad argument, the end
            return any(opcode.name == "STOP" for opcode, _, _ in pickletools.genops(file))
    return False
