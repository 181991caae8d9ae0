"""Starting: a process imports no library that its work has no use for."""

import subprocess
import sys

import pytest

MODELS = {"torch", "transformers", "open_clip", "sklearn", "Katna", "matplotlib"}
SPARED = {
    "pipelines.cli": MODELS | {"numpy", "pyarrow", "ray"},  # `m3l --help`
    "m3l.media.decode_worker": MODELS | {"pandas", "scipy.stats", "ray"},  # one for every worker that reads media
    "pipelines.frames": MODELS | {"openpyxl", "cv2"},
}


@pytest.mark.parametrize("module", SPARED)
def test_a_module_spares_its_process_what_it_has_no_use_for(module: str) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not SPARED[module] & set(done.stdout.split())
