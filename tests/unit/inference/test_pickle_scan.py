"""A pickle is recognised by its content, and no file of a bundle is mistaken for one."""

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from m3l.inference.pickle_scan import find_pickles


def zipped(legacy: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save({"w": torch.ones(3)}, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights"))
    return buffer.getvalue()


PICKLES = [pickle.dumps({"a": [1, "x"]}, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
DISGUISED = [
    *PICKLES,
    b"cos\nsystem\n(S'true'\ntR.",
    zipped(legacy=False),
    zipped(legacy=True),
    tarred(),
    gzip.compress(PICKLES[0]),
    bz2.compress(PICKLES[2]),
    lzma.compress(PICKLES[4]),
]


@pytest.mark.parametrize("content", DISGUISED, ids=range(len(DISGUISED)))
@pytest.mark.parametrize("name", ["model.safetensors", "deep/er/tokenizer.json", "README"])
def test_a_disguised_pickle_is_found(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    assert list(find_pickles(tmp_path)) == [path]


def test_the_files_of_a_bundle_are_not_pickles(tmp_path: Path) -> None:
    save_file({"w": torch.randn(300)}, tmp_path / "model.safetensors")
    for name, text in {
        "config.yaml": "name: tiny\nseed: 0\n",
        "tokenizer.json": '{"a": ["\\u0120."]}',
        "MODEL_CARD.md": "# A model\n\nI. It predicts likes.\n",
        "chat_template.jinja": "{{ bos }}",
        "merges.txt": "# version 0.2\nI n\n",
        "empty": "",
    }.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "spiece.model").write_bytes(b"\n\x0e\n\x05<pad>\x15\x00\x00\x00\x00\x18\x03")
    assert list(find_pickles(tmp_path)) == []
