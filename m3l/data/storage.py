"""Folders of Parquet parts, local or `s3://`: written whole or not at all, read in a stream."""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from m3l.config import ConfigError
from m3l.data import storage

ROW_GROUP_BYTES = 2**18  # small, so that one row can be read without its neighbours


def locate(path: str) -> tuple[pafs.FileSystem, str]:
    """The filesystem of a local path or an `s3://` URI, and the path inside it."""
    if "://" in path:
        return pafs.FileSystem.from_uri(path)
    return pafs.LocalFileSystem(), str(Path(path).expanduser().absolute())


def parts(folder: str) -> list[str]:
    """The Parquet parts of a folder in name order, as paths of its filesystem; empty if there is no folder."""
    fs, root = locate(folder)
    found = fs.get_file_info(pafs.FileSelector(root, allow_not_found=True))
    return sorted(f.path for f in found if f.is_file and f.base_name.endswith(".parquet"))


def name_of(ids: Iterable[str]) -> str:
    """A short name for some ids in their order."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:20]


def write_part(table: pa.Table, folder: str, key: Iterable[str]) -> str:
    """Write one part that is named by the ids which it holds, so that writing it again replaces it."""
    fs, root = locate(folder)
    fs.create_dir(root, recursive=True)
    rows = max(1, ROW_GROUP_BYTES * table.num_rows // max(1, table.nbytes))
    name = name_of(key)
    target = f"{root}/part-{name}.parquet"
    if isinstance(fs, pafs.LocalFileSystem):  # an object store shows a file only once it is whole
        partial = f"{root}/.{name}-{uuid4().hex}"
        pq.write_table(table, partial, filesystem=fs, row_group_size=rows)
        fs.move(partial, target)
    else:
        pq.write_table(table, target, filesystem=fs, row_group_size=rows)
    return target


def read_rows(folder: str, columns: list[str] | None = None, batch_rows: int = 64) -> Iterator[dict[str, Any]]:
    """The rows of a folder, a few at a time in memory."""
    for batch in read_batches(folder, columns, batch_rows):
        yield from batch.to_pylist()


def read_batches(folder: str, columns: list[str] | None = None, batch_rows: int = 65536) -> Iterator[pa.RecordBatch]:
    """The rows of a folder as Arrow has them, in the same order."""
    fs, _ = locate(folder)
    for path in parts(folder):
        with fs.open_input_file(path) as source:
            yield from pq.ParquetFile(source).iter_batches(batch_rows, columns=columns)


def read_column(folder: str, column: str) -> Iterator[str]:
    """One column of a folder; no other column is read."""
    return (row[column] for row in read_rows(folder, [column], batch_rows=65536))


def count_rows(folder: str) -> int:
    """Rows in a folder, from the footers alone, many of them at a time."""
    import pyarrow.dataset as pads  # here, because it brings pandas, which a process that decodes has no use for

    found = parts(folder)
    return pads.dataset(found, filesystem=locate(folder)[0]).count_rows() if found else 0


def size(folder: str) -> int:
    """Bytes of a folder's parts."""
    fs, _ = locate(folder)
    return sum(info.size for info in fs.get_file_info(parts(folder)))


def write_text(path: str, text: str) -> None:
    """Write a small text file, whole or not at all."""
    fs, target = locate(path)
    fs.create_dir(target.rsplit("/", 1)[0], recursive=True)
    partial = target if not isinstance(fs, pafs.LocalFileSystem) else f"{target}.{uuid4().hex}"
    with fs.open_output_stream(partial) as sink:
        sink.write(text.encode())
    if partial != target:
        fs.move(partial, target)


def read_text(path: str) -> str | None:
    """The text of a small file, or None if there is none."""
    fs, target = locate(path)
    if fs.get_file_info(target).type != pafs.FileType.File:
        return None
    with fs.open_input_stream(target) as source:
        return source.read().decode()


def remove(path: str) -> None:
    """Remove a file or a whole folder, if it is there."""
    fs, target = locate(path)
    match fs.get_file_info(target).type:
        case pafs.FileType.File:
            fs.delete_file(target)
        case pafs.FileType.Directory:
            fs.delete_dir(target)


def write_json(path: str, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str) -> Any:
    """The value of a JSON file, or None if there is none."""
    text = read_text(path)
    return None if text is None else json.loads(text)


def digest(*paths: str) -> str:
    """The SHA-256 of files' bytes, one after another; FileNotFoundError if one is missing."""
    found = hashlib.sha256()
    for path in paths:
        fs, target = locate(path)
        with fs.open_input_stream(target) as source:
            while piece := source.read(2**20):
                found.update(piece)
    return found.hexdigest()


def download(folder: str, target: Path) -> Path:
    """A local copy of a folder; a local folder is its own copy."""
    fs, root = locate(folder)
    if isinstance(fs, pafs.LocalFileSystem):
        return Path(root)
    pafs.copy_files(root, str(target), source_filesystem=fs)
    return target


def fetched(folder: str) -> Path:
    """A folder as a local one that lasts as long as the process does."""
    return download(folder, Path(tempfile.mkdtemp(prefix="m3l-")))


def upload(source: Path, folder: str) -> None:
    """Copy a local folder's files to a folder."""
    fs, root = locate(folder)
    fs.create_dir(root, recursive=True)
    pafs.copy_files(str(source), root, destination_filesystem=fs)


def copy(source: str, target: str) -> None:
    """Copy one file between folders of any kind."""
    (source_fs, source_path), (target_fs, target_path) = locate(source), locate(target)
    target_fs.create_dir(target_path.rsplit("/", 1)[0], recursive=True)
    pafs.copy_files(source_path, target_path, source_filesystem=source_fs, destination_filesystem=target_fs)


@contextmanager
def filled(folder: str) -> Iterator[Path]:
    """A local folder to write files into; they are in `folder` afterwards."""
    fs, root = locate(folder)
    if isinstance(fs, pafs.LocalFileSystem):
        Path(root).mkdir(parents=True, exist_ok=True)
        yield Path(root)
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)
        upload(Path(temporary), folder)


def folders(folder: str) -> list[str]:
    """The names of the folders in a folder; empty if there is none."""
    fs, root = locate(folder)
    found = fs.get_file_info(pafs.FileSelector(root, allow_not_found=True))
    return sorted(info.base_name for info in found if info.type == pafs.FileType.Directory)


SETTINGS = "_settings.json"


def claim(folder: str, settings: dict[str, Any]) -> None:
    """Say which settings fill a folder; ConfigError if other settings have filled it already."""
    known = storage.read_json(f"{folder}/{SETTINGS}")
    if known is None:
        storage.write_json(f"{folder}/{SETTINGS}", settings)
    elif known != settings:
        changed = sorted(k for k in known.keys() | settings.keys() if known.get(k) != settings.get(k))
        raise ConfigError(f"{folder} was made with other settings ({', '.join(changed)}): remove it or name another")
