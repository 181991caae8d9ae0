"""Start-up: a process does not import libraries that its work does not use."""

import subprocess
import sys

import pytest

MODELS = {"torch", "transformers", "open_clip", "sklearn", "Katna", "matplotlib"}
UNUSED = {
    "pipelines.cli": MODELS | {"numpy", "pyarrow", "ray"},  # `m3l --help`
    "m3l.media.decode_worker": MODELS | {"pandas", "scipy.stats", "ray"},  # one for every worker that reads media
    "pipelines.frames": MODELS | {"openpyxl", "cv2"},
    "pipelines.workers.train_data": MODELS,  # Ray Train's controller, which trains nothing itself
    "pipelines.workers.retriever_samples": MODELS,
}


@pytest.mark.parametrize("module", UNUSED)
def test_a_module_does_not_import_what_its_process_does_not_use(module: str) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not UNUSED[module] & set(done.stdout.split())
