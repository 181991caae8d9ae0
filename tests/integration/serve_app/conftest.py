"""A complete tiny bundle with random weights, and a video to send to it."""

from pathlib import Path

import av
import numpy as np
import pytest

from m3l.config import ClipConfig, Config, EvaluateConfig, ModelConfig, RetrieverConfig, TinyModel


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bundle with random weights: its predictions are nonsense in the right format."""
    from m3l.inference import bundle
    from m3l.inference.conformal import Intervals, half_widths
    from m3l.model.build import build_model, build_processor
    from m3l.prompts.collator import LikesScale
    from m3l.retriever.clip import Retriever

    folder = tmp_path_factory.mktemp("served") / "bundle"
    sizes = TinyModel(
        vision_hidden=32, qformer_hidden=32, text_hidden=32, vision_layers=1, text_layers=1, vocabulary=400
    )
    config = Config(
        name="tiny-test",
        model=ModelConfig(tiny=sizes, head_hidden=32),
        retriever=RetrieverConfig(clip=ClipConfig(tiny=True), top_k=3),
        evaluate=EvaluateConfig(max_new_tokens=8),
    )
    processor = build_processor(config.model, ["Sunrise over the pad by nasa"] * 3)
    model = build_model(config.model, processor, config.seed)
    calibration = {"intervals": Intervals(known=half_widths(np.linspace(-1, 1, 40))), "accounts": ["nasa"]}
    bundle.save(folder, config, model, processor, LikesScale(6.0, 1.5), calibration)
    Retriever.build(config.retriever.clip, config.seed).save(folder / "retriever")
    return folder


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MP4 of two seconds whose picture changes every half second."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (4, 6, 8, 3), dtype=np.uint8)
    with av.open(str(path), "w") as media:
        stream = media.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for i in range(20):
            picture = noise[i // 5].repeat(16, axis=0).repeat(16, axis=1)
            media.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        media.mux(stream.encode())
    return path
