"""The key frames that the unmodified Katna library selects: `python katna_choice.py CLIPS CHOICES`.

CLIPS is a pickle of name -> (RGB frames, number of key frames), CHOICES becomes a JSON file of name -> indices in
Katna's order. It is a separate program, so that it can run with its own number of threads.
"""

import json
import pickle
import sys
from pathlib import Path

import numpy as np
from Katna.image_selector import ImageSelector


def choice(frames: list[np.ndarray], count: int) -> list[int]:
    pictures = [np.ascontiguousarray(frame[..., ::-1]) for frame in frames]
    chosen = ImageSelector(1).select_best_frames(pictures, count)
    return [next(index for index, picture in enumerate(pictures) if picture is one) for one in chosen]


if __name__ == "__main__":
    clips = pickle.loads(Path(sys.argv[1]).read_bytes())
    Path(sys.argv[2]).write_text(json.dumps({name: choice(*clip) for name, clip in clips.items()}))
