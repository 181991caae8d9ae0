"""Checkpoints of a run: sharded, written beside the next steps, whole or not at all.

A folder holds `step-N/` folders of torch.distributed.checkpoint. Each has a manifest, written last, with the SHA-256 of
every file: a folder without one, or whose files differ from it, is no checkpoint.
"""

import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from m3l.data import storage
from m3l.distributed.parallelize import place

MANIFEST, FACTS = "manifest.json", "facts.json"
KEPT = 2  # should the newest be damaged, the one before is used
PATIENCE = timedelta(minutes=10)  # with the slowest rank's disk


class Writer:
    """Writes one checkpoint at a time in the background; every rank makes one and calls it at the same steps.

    `with Writer(folder) as writer:` ends when the last one is written.
    """

    def __init__(self, folder: str):
        from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions  # slow to import

        self.folder, self.stager = folder, DefaultStager(StagingOptions(False, False, False, False))
        self.pool = ThreadPoolExecutor(1, "checkpoint")
        self.pending: Future[None] | None = None
        # Of its own: the steps that go on meanwhile exchange gradients.
        self.group: Any = dist.new_group(backend="gloo", timeout=PATIENCE) if place()[1] > 1 else None

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown()

    def write(self, step: int, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Copy tensors and facts, and return; waits for the checkpoint before, and raises what that one met."""
        self.wait()
        self.pending = self.pool.submit(self._write, step, self.stager.stage(tensors), json.dumps(facts))

    def wait(self) -> None:
        """Until the last checkpoint is whole; raises what it met."""
        if self.pending:
            self.pending.result()
            self.pending = None

    def _write(self, step: int, tensors: Any, facts: str) -> None:
        import torch.distributed.checkpoint as dcp

        rank, folder = place()[0], f"{self.folder}/{_name(step)}"
        with storage.filled(folder) as local:
            writer = dcp.FileSystemWriter(local, sync_files=False)
            dcp.save(tensors, storage_writer=writer, process_group=self.group, no_dist=self.group is None)
            mine = [path for path in local.iterdir() if path.name.startswith(f"__{rank}_")]
            if rank == 0:
                (local / FACTS).write_text(facts)
                mine += [local / FACTS, local / ".metadata"]
            files = {path.name: storage.digest(str(path)) for path in mine}
        for other in self._gathered(files):
            files |= other
        if rank == 0:
            storage.write_json(f"{folder}/{MANIFEST}", files)
            for old in _names(self.folder)[KEPT:]:
                storage.remove(f"{self.folder}/{old}")

    def _gathered(self, files: dict[str, str]) -> list[dict[str, str]]:
        if self.group is None:
            return [files]
        found: list[Any] = [None] * dist.get_world_size(self.group)
        dist.all_gather_object(found, files, group=self.group)
        return found


def recover(folder: str) -> tuple[int, dict[str, Any]] | None:
    """The step of the newest whole checkpoint and its facts, equal on every rank; removes what is none."""
    found: list[Any] = [_recover(folder) if place()[0] == 0 else None]
    if place()[1] > 1:
        dist.broadcast_object_list(found)
    return found[0]


def newest(folder: str) -> int:
    """The step of the newest checkpoint, whose files are not looked at; 0 if there is none."""
    return next(map(_step, _names(folder)), 0)


def load(folder: str, step: int, room: Callable[[dict[str, torch.Size]], dict[str, Tensor]]) -> None:
    """Fill tensors in place from a checkpoint; `room` makes them, given every stored tensor's name and size."""
    import torch.distributed.checkpoint as dcp

    with TemporaryDirectory() as temporary:
        local = storage.download(f"{folder}/{_name(step)}", Path(temporary))
        reader = dcp.FileSystemReader(local)
        stored: dict[str, Any] = reader.read_metadata().state_dict_metadata
        sizes = {name: tensor.size for name, tensor in stored.items()}
        dcp.load(room(sizes), storage_reader=reader, no_dist=place()[1] == 1)


def _recover(folder: str) -> tuple[int, dict[str, Any]] | None:
    for name in _names(folder):
        if _is_whole(f"{folder}/{name}"):
            return _step(name), dict(storage.read_json(f"{folder}/{name}/{FACTS}"))
        storage.remove(f"{folder}/{name}")
    return None


def _is_whole(folder: str) -> bool:
    try:
        files = storage.read_json(f"{folder}/{MANIFEST}") or {}
        return FACTS in files and all(storage.digest(f"{folder}/{name}") == told for name, told in files.items())
    except (FileNotFoundError, ValueError):  # a name or a digit that has changed
        return False


def _names(folder: str) -> list[str]:
    """The checkpoints of a folder, the newest first."""
    return sorted((name for name in storage.folders(folder) if name.startswith("step-")), reverse=True)


def _name(step: int) -> str:
    return f"step-{step:09d}"


def _step(name: str) -> int:
    return int(name.removeprefix("step-"))
