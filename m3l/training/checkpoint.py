"""Checkpoints of a run: sharded, written in the background of the next steps, whole or not at all.

A folder holds `step-N/` folders of torch.distributed.checkpoint. Each has a manifest, written last, with the SHA-256 of
every file: a folder without a manifest, or whose files differ from it, is not a checkpoint.
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
from m3l.distributed.collectives import rank_and_world_size

MANIFEST, RUN_STATE = "manifest.json", "facts.json"
KEEP_LAST = 2  # should the newest be damaged, the one before is used
TIMEOUT = timedelta(minutes=10)  # for the slowest rank's disk


class CheckpointWriter:
    """Writes one checkpoint at a time in the background.

    Every rank has a writer and calls it at the same steps. `with CheckpointWriter(folder) as writer:` ends when the
    last checkpoint is written.

    Args:
        folder: Folder of the run's checkpoints, local or `s3://`.
    """

    def __init__(self, folder: str):
        from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions  # slow to import

        self.folder, self.stager = folder, DefaultStager(StagingOptions(False, False, False, False))
        self.pool = ThreadPoolExecutor(1, "checkpoint")
        self.pending: Future[None] | None = None
        # A process group of its own, because the next steps exchange gradients meanwhile.
        self.group: Any = dist.new_group(backend="gloo", timeout=TIMEOUT) if rank_and_world_size()[1] > 1 else None

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown()

    def write(self, step: int, tensors: dict[str, Tensor], run_state: dict[str, Any]) -> None:
        """Copy the state and return; it is written in the background.

        Waits for the checkpoint before, and raises the error that writing it met.

        Args:
            step: Number of steps that are done.
            tensors: Tensors by name, sharded or whole.
            run_state: Everything else that the run needs, for JSON; rank 0's is written.
        """
        self.wait()
        self.pending = self.pool.submit(self._write, step, self.stager.stage(tensors), json.dumps(run_state))

    def wait(self) -> None:
        """Wait until the last checkpoint is complete; raises the error that writing it met."""
        if self.pending:
            self.pending.result()
            self.pending = None

    def _write(self, step: int, tensors: Any, run_state: str) -> None:
        import torch.distributed.checkpoint as dcp

        rank, folder = rank_and_world_size()[0], f"{self.folder}/{_name(step)}"
        with storage.uploaded_on_exit(folder) as local:
            writer = dcp.FileSystemWriter(local, sync_files=False)
            dcp.save(tensors, storage_writer=writer, process_group=self.group, no_dist=self.group is None)
            own_files = [path for path in local.iterdir() if path.name.startswith(f"__{rank}_")]
            if rank == 0:
                (local / RUN_STATE).write_text(run_state)
                own_files += [local / RUN_STATE, local / ".metadata"]
            digests = {path.name: storage.digest(str(path)) for path in own_files}
        for of_rank in self._gather(digests):
            digests |= of_rank
        if rank == 0:
            storage.write_json(f"{folder}/{MANIFEST}", digests)
            for old in _names(self.folder)[KEEP_LAST:]:
                storage.remove(f"{self.folder}/{old}")

    def _gather(self, digests: dict[str, str]) -> list[dict[str, str]]:
        if self.group is None:
            return [digests]
        gathered: list[Any] = [None] * dist.get_world_size(self.group)
        dist.all_gather_object(gathered, digests, group=self.group)
        return gathered


def recover(folder: str) -> tuple[int, dict[str, Any]] | None:
    """Find the newest valid checkpoint, and remove the folders of damaged and unfinished ones.

    Args:
        folder: Folder of the run's checkpoints.

    Returns:
        Its step and its `run_state`, the same on every rank; None if there is none.
    """
    rank, world_size = rank_and_world_size()
    newest: list[Any] = [_newest_valid(folder) if rank == 0 else None]
    if world_size > 1:
        dist.broadcast_object_list(newest)
    return newest[0]


def latest_step(folder: str) -> int:
    """The step of the newest checkpoint, without checking its files; 0 if there is none."""
    return next(map(_step, _names(folder)), 0)


def load(folder: str, step: int, allocate: Callable[[dict[str, torch.Size]], dict[str, Tensor]]) -> None:
    """Fill tensors in place from a checkpoint.

    Args:
        folder: Folder of the run's checkpoints.
        step: The step of the checkpoint.
        allocate: Returns the tensors to fill, given the name and the shape of every stored one.
    """
    import torch.distributed.checkpoint as dcp

    with TemporaryDirectory() as temporary:
        local = storage.local_copy(f"{folder}/{_name(step)}", Path(temporary))
        reader = dcp.FileSystemReader(local)
        stored: dict[str, Any] = reader.read_metadata().state_dict_metadata
        shapes = {name: tensor.size for name, tensor in stored.items()}
        dcp.load(allocate(shapes), storage_reader=reader, no_dist=rank_and_world_size()[1] == 1)


def _newest_valid(folder: str) -> tuple[int, dict[str, Any]] | None:
    for name in _names(folder):
        if _is_valid(f"{folder}/{name}"):
            return _step(name), dict(storage.read_json(f"{folder}/{name}/{RUN_STATE}"))
        storage.remove(f"{folder}/{name}")
    return None


def _is_valid(folder: str) -> bool:
    try:
        digests = storage.read_json(f"{folder}/{MANIFEST}") or {}
        return RUN_STATE in digests and all(
            storage.digest(f"{folder}/{name}") == digest for name, digest in digests.items()
        )
    except (FileNotFoundError, ValueError):  # a name in the manifest is damaged, or its JSON
        return False


def _names(folder: str) -> list[str]:
    """The names of a run's checkpoints, the newest first."""
    return sorted((name for name in storage.folders(folder) if name.startswith("step-")), reverse=True)


def _name(step: int) -> str:
    return f"step-{step:09d}"


def _step(name: str) -> int:
    return int(name.removeprefix("step-"))
