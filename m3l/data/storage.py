"""Folders of Parquet parts, and small files: local or `s3://`, written as a whole or not at all, read in a stream."""

import atexit
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

ROW_GROUP_BYTES = 2**18  # small, so that one row can be read without its neighbours


def locate(path: str) -> tuple[pafs.FileSystem, str]:
    """The filesystem of a local path or an `s3://` URI, and the path inside it."""
    if "://" in path:
        return pafs.FileSystem.from_uri(path)
    return pafs.LocalFileSystem(), str(Path(path).expanduser().absolute())


def parts(folder: str) -> list[str]:
    """The Parquet parts of a folder in name order, as paths of its filesystem; empty if there is no folder."""
    return sorted(f.path for f in _entries(folder) if f.is_file and f.base_name.endswith(".parquet"))


def folders(folder: str) -> list[str]:
    """The names of the folders in a folder, in order; empty if there is no folder."""
    return sorted(entry.base_name for entry in _entries(folder) if entry.type == pafs.FileType.Directory)


def short_hash(texts: Iterable[str]) -> str:
    """A name of 20 hexadecimal digits for some texts in their order."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:20]


def write_part(table: pa.Table, folder: str, key: Iterable[str]) -> str:
    """Write one part of a folder, as a whole or not at all.

    Args:
        table: The rows of the part. Heavy rows get a row group each, so that they can be read one by one.
        folder: Created if it is missing.
        key: Ids that name the part: writing a part with the same key again replaces it.

    Returns:
        The path of the part in its filesystem.
    """
    fs, root = locate(folder)
    fs.create_dir(root, recursive=True)
    rows = max(1, ROW_GROUP_BYTES * table.num_rows // max(1, table.nbytes))
    name = short_hash(key)
    target = f"{root}/part-{name}.parquet"
    if isinstance(fs, pafs.LocalFileSystem):  # an object store shows a file only once it is complete
        partial = f"{root}/.{name}-{uuid4().hex}"
        pq.write_table(table, partial, filesystem=fs, row_group_size=rows)
        fs.move(partial, target)
    else:
        pq.write_table(table, target, filesystem=fs, row_group_size=rows)
    return target


def read_rows(folder: str, columns: list[str] | None = None, batch_rows: int = 64) -> Iterator[dict[str, Any]]:
    """The rows of a folder, part by part.

    Args:
        folder: A folder of parts; one that is missing has no rows.
        columns: The columns to read; all by default.
        batch_rows: Number of rows in memory at a time.
    """
    for batch in read_batches(folder, columns, batch_rows):
        yield from batch.to_pylist()


def read_batches(folder: str, columns: list[str] | None = None, batch_rows: int = 65536) -> Iterator[pa.RecordBatch]:
    """The rows of a folder as Arrow batches, in the order of `read_rows` and with its arguments."""
    fs, _ = locate(folder)
    for path in parts(folder):
        with fs.open_input_file(path) as source:
            yield from pq.ParquetFile(source).iter_batches(batch_rows, columns=columns)


def read_column(folder: str, column: str) -> Iterator[str]:
    """The values of one column of a folder; no other column is read."""
    return (row[column] for row in read_rows(folder, [column], batch_rows=65536))


def count_rows(folder: str) -> int:
    """Number of rows in a folder, read from the footers of its parts alone."""
    import pyarrow.dataset as pads  # here, because it imports pandas, which a process that decodes does not need

    paths = parts(folder)
    return pads.dataset(paths, filesystem=locate(folder)[0]).count_rows() if paths else 0


def size_bytes(folder: str) -> int:
    """The size of a folder's parts, in bytes."""
    fs, _ = locate(folder)
    return sum(info.size for info in fs.get_file_info(parts(folder)))


def write_text(path: str, text: str) -> None:
    """Write a small text file, as a whole or not at all; its folder is created if it is missing."""
    fs, target = locate(path)
    fs.create_dir(target.rsplit("/", 1)[0], recursive=True)
    partial = target if not isinstance(fs, pafs.LocalFileSystem) else f"{target}.{uuid4().hex}"
    with fs.open_output_stream(partial) as sink:
        sink.write(text.encode())
    if partial != target:
        fs.move(partial, target)


def read_text(path: str) -> str | None:
    """The text of a small file, or None if there is no file."""
    fs, target = locate(path)
    if fs.get_file_info(target).type != pafs.FileType.File:
        return None
    with fs.open_input_stream(target) as source:
        return source.read().decode()


def write_json(path: str, value: Any) -> None:
    """Write a value as an indented JSON file, as a whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str) -> Any:
    """The value of a JSON file, or None if there is no file."""
    text = read_text(path)
    return None if text is None else json.loads(text)


def remove(path: str) -> None:
    """Remove a file, or a folder with everything in it, if it exists."""
    fs, target = locate(path)
    match fs.get_file_info(target).type:
        case pafs.FileType.File:
            fs.delete_file(target)
        case pafs.FileType.Directory:
            fs.delete_dir(target)


def digest(*paths: str) -> str:
    """The SHA-256 of the bytes of some files, one after another; FileNotFoundError if one is missing."""
    sha256 = hashlib.sha256()
    for path in paths:
        fs, target = locate(path)
        with fs.open_input_stream(target) as source:
            while piece := source.read(2**20):
                sha256.update(piece)
    return sha256.hexdigest()


def local_copy(folder: str, target: Path | None = None) -> Path:
    """The local folder that holds a folder's files.

    Args:
        folder: A local folder, which is returned without a copy, or a URI, whose files are downloaded.
        target: Where files are downloaded to; by default a temporary folder that is removed when the process exits.
    """
    fs, root = locate(folder)
    if isinstance(fs, pafs.LocalFileSystem):
        return Path(root)
    if target is None:
        target = Path(tempfile.mkdtemp(prefix="m3l-"))
        atexit.register(shutil.rmtree, target, ignore_errors=True)
    pafs.copy_files(root, str(target), source_filesystem=fs)
    return target


def upload(source: Path, folder: str) -> None:
    """Copy the files of a local folder to a folder, which is created if it is missing."""
    fs, root = locate(folder)
    fs.create_dir(root, recursive=True)
    pafs.copy_files(str(source), root, destination_filesystem=fs)


@contextmanager
def uploaded_on_exit(folder: str) -> Iterator[Path]:
    """A local folder to write files to, which are in `folder` once the context ends without an error."""
    fs, root = locate(folder)
    if isinstance(fs, pafs.LocalFileSystem):
        Path(root).mkdir(parents=True, exist_ok=True)
        yield Path(root)
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)
        upload(Path(temporary), folder)


def copy(source: str, target: str) -> None:
    """Copy one file; source and target may lie in different filesystems."""
    (source_fs, source_path), (target_fs, target_path) = locate(source), locate(target)
    target_fs.create_dir(target_path.rsplit("/", 1)[0], recursive=True)
    pafs.copy_files(source_path, target_path, source_filesystem=source_fs, destination_filesystem=target_fs)


def _entries(folder: str) -> list[pafs.FileInfo]:
    """The files and folders directly in a folder; empty if there is no folder."""
    fs, root = locate(folder)
    return list(fs.get_file_info(pafs.FileSelector(root, allow_not_found=True)))
