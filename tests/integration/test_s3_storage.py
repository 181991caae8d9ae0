"""Storage and checkpoints on a real S3 server."""

from pathlib import Path
from typing import Any

import pytest

from m3l.data import storage
from m3l.training import checkpoint
from tests.support.models import CutOff, checkpointing_trainer, train_in, weights


@pytest.mark.parametrize("where", ["local", "bucket"])
def test_a_folder_of_files_is_filled_named_digested_and_removed(where: str, tmp_path: Path, bucket: str) -> None:
    folder = f"{bucket}/filled" if where == "bucket" else str(tmp_path / "filled")
    for name in ("one", "two"):
        with storage.uploaded_on_exit(f"{folder}/{name}") as local:
            (local / "file").write_text(name)
    assert storage.folders(folder) == ["one", "two"] and storage.folders(f"{folder}/absent") == []
    assert storage.digest(f"{folder}/one/file") == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    with pytest.raises(FileNotFoundError):
        storage.digest(f"{folder}/one/absent")
    storage.remove(f"{folder}/one")
    storage.remove(f"{folder}/absent")
    assert storage.folders(folder) == ["two"]


def test_a_training_run_resumes_from_a_bucket(processor: Any, bucket: str, tmp_path: Path) -> None:
    uncut, folder = checkpointing_trainer(processor), f"{bucket}/checkpoints"
    expected = train_in(uncut, str(tmp_path))
    with pytest.raises(CutOff):
        train_in(checkpointing_trainer(processor), folder, until=5)
    assert checkpoint.latest_step(folder) == 4
    trainer = checkpointing_trainer(processor)
    assert train_in(trainer, folder) == expected
    assert all((parameter == weights(uncut)[name]).all() for name, parameter in weights(trainer).items())
    assert storage.folders(folder) == ["step-000000006", "step-000000008"]
